//! The handle to a store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use tidewire_core::{Clock, clock::Skew};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Batch, Dialect, Error, Hints, Lane, Query, Reach, Reader, Result, StoreUrl, Tx,
    dialect::{MYSQL, POSTGRES, SQLITE},
    hints,
    lane::stopped,
    round::{self, Closure, DEADLINE, Health, Sources, Wake},
    server::{Server, Target},
    sqlite::{self, WriteConnection},
    tx::Source,
    writer::{Verdict, Writer},
};

#[derive(Clone, Debug)]
pub struct Options {
    pub url: StoreUrl,
    /// Connections for reads, on SQLite.
    pub readers: u32,
    /// Connections for everything, on a server; one more listens for other processes.
    pub connections: u32,
    /// Where PostgreSQL is reached without a pooler in between, to listen there.
    pub listen_url: Option<StoreUrl>,
}

impl Options {
    #[must_use]
    pub fn new(url: StoreUrl) -> Self {
        Options {
            url,
            readers: 4,
            connections: 10,
            listen_url: None,
        }
    }
}

/// Cheap to clone. The store closes when the last handle and the last lane are dropped, or by
/// [`Db::close`].
#[derive(Clone)]
pub struct Db {
    dialect: &'static Dialect,
    way: Way,
    health: Arc<Health>,
    hints: Hints,
}

/// How the engine is reached.
#[derive(Clone)]
enum Way {
    Sqlite {
        readers: SqlitePool,
        group: Group,
        writer: Arc<Mutex<Option<JoinHandle<()>>>>,
    },
    Server {
        server: Arc<Server>,
        /// By the names of their writers.
        groups: Arc<Mutex<HashMap<&'static str, Group>>>,
    },
}

/// Lanes that share a writer.
#[derive(Clone)]
struct Group {
    sources: Sources,
    wake: Arc<Wake>,
    /// While it is there the writer's loop runs.
    closures: mpsc::Sender<Box<dyn Closure>>,
}

impl Group {
    fn new(health: &Arc<Health>) -> (Self, mpsc::Receiver<Box<dyn Closure>>) {
        let (closures, received) = mpsc::channel(CLOSURE_QUEUE);
        let group = Group {
            sources: Arc::default(),
            wake: Arc::new(Wake::new(Arc::clone(health))),
            closures,
        };
        (group, received)
    }
}

/// Closures that may wait; a caller past them waits for a place.
const CLOSURE_QUEUE: usize = 1024;

/// How long closing waits for what is still to be written.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

impl Db {
    /// Opens the store and starts its writers. Nothing is migrated yet.
    pub async fn open(options: Options) -> Result<Self> {
        match options.url {
            StoreUrl::Sqlite(path) => {
                let connection = WriteConnection::open(path.clone()).await?;
                let readers = sqlite::readers(&path, options.readers).await?;
                let health = Arc::default();
                let (group, received) = Group::new(&health);
                let writer = tokio::spawn(round::run(
                    Writer::Sqlite(connection),
                    Arc::clone(&group.sources),
                    Arc::clone(&group.wake),
                    received,
                ));
                Ok(Db {
                    dialect: &SQLITE,
                    way: Way::Sqlite {
                        readers,
                        group,
                        writer: Arc::new(Mutex::new(Some(writer))),
                    },
                    health,
                    hints: Hints::new(Reach::Alone, false),
                })
            }
            StoreUrl::Postgres(url) => {
                let listen = match &options.listen_url {
                    Some(StoreUrl::Postgres(direct)) if !direct.is_pooled() => Some(direct),
                    Some(other) => {
                        return Err(Error::Setup(format!(
                            "`{other}` cannot be listened on: it must be a postgres:// URL without pgbouncer=true, of the same database"
                        )));
                    }
                    None => Some(&url).filter(|url| !url.is_pooled()),
                };
                let listen = listen.map(|url| url.postgres()).transpose();
                let listen = listen.map_err(Error::Setup)?;
                let target =
                    Target::postgres(url.postgres().map_err(Error::Setup)?, url.is_pooled());
                let server = Server::open(target, &POSTGRES, options.connections).await?;
                let hints = Hints::new(Reach::Polled, true);
                hints::start(&hints, &server, listen);
                Ok(Self::on_server(server, hints))
            }
            StoreUrl::MySql(url) => {
                let target = Target::mysql(url.mysql().map_err(Error::Setup)?);
                let server = Server::open(target, &MYSQL, options.connections).await?;
                Ok(Self::on_server(server, Hints::new(Reach::Polled, false)))
            }
        }
    }

    fn on_server(server: Arc<Server>, hints: Hints) -> Self {
        Db {
            dialect: server.dialect,
            health: Arc::clone(&server.health),
            way: Way::Server {
                server,
                groups: Arc::default(),
            },
            hints,
        }
    }

    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Wake-ups between the processes that share this store.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Reads; each statement sees what was committed when it began.
    #[must_use]
    pub fn read(&self) -> Reader {
        let source = match &self.way {
            Way::Sqlite { readers, .. } => Source::Sqlite(readers.clone()),
            Way::Server { server, .. } => Source::Server(Arc::clone(server)),
        };
        Reader::new(source, self.dialect)
    }

    /// Adds a lane; [`Batch::WRITER`] says with which others it shares a round, and [`Batch::RANK`]
    /// where in it the lane is applied.
    pub fn lane<B: Batch>(&self, batch: B) -> Lane<B> {
        let group = match &self.way {
            Way::Sqlite { group, .. } => group.clone(),
            Way::Server { server, groups } => {
                let mut groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
                groups
                    .entry(B::WRITER)
                    .or_insert_with(|| {
                        let (group, received) = Group::new(&self.health);
                        server.tasks.spawn(round::run(
                            Writer::Server(Arc::clone(server)),
                            Arc::clone(&group.sources),
                            Arc::clone(&group.wake),
                            received,
                        ));
                        group
                    })
                    .clone()
            }
        };
        let (lane, source) = Lane::new(batch, Arc::clone(&group.wake));
        let mut sources = group.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.push(source);
        sources.sort_by_key(|source| source.rank());
        drop(sources);
        lane
    }

    /// Runs `work` in a transaction of its own: committed if it succeeds, gone if it does not. It
    /// may be run again, so it must not do anything but speak to the store; effects on memory
    /// belong in [`Tx::on_commit`].
    pub async fn transact<T, E, F>(&self, label: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        self.transact_within(DEADLINE, label, work).await
    }

    /// As [`Db::transact`], for what may take longer than the ten seconds that others get: it holds
    /// what it has locked for as long, and on SQLite everybody else.
    pub async fn transact_within<T, E, F>(
        &self,
        deadline: Duration,
        label: &'static str,
        work: F,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let closure: Box<dyn Closure> = Box::new(Transact {
            label,
            deadline,
            work,
            answer,
            result: None,
        });
        let stopped = || E::from(stopped());
        match &self.way {
            Way::Sqlite { group, .. } => {
                let sent = group.closures.send(closure).await;
                sent.map_err(|_| stopped())?;
            }
            // In a task: a caller that hangs up must not leave a commit halfway.
            Way::Server { server, .. } if !server.is_closed() => {
                let inner = Arc::clone(server);
                server
                    .tasks
                    .spawn(async move { inner.run_closure(closure).await });
            }
            Way::Server { .. } => return Err(stopped()),
        }
        answered.await.map_err(|_| stopped())?
    }

    /// How far the engine's clock is ahead of this one: the most certain of a few questions, as one
    /// of them may have had to wait.
    pub async fn measure_clock(&self, clock: &Clock) -> Result<Skew> {
        const QUESTIONS: usize = 3;
        let sql = self.dialect.now();
        let mut best: Option<Skew> = None;
        for _ in 0..QUESTIONS {
            let (asked, began) = (clock.now(), Instant::now());
            let row = self.read().row(&sql, Vec::new()).await?;
            let trip = began.elapsed();
            let row = row.ok_or_else(|| Error::Broken("the store has no time".to_owned()))?;
            let skew = Skew::new(asked, row.time(0)?, trip);
            if best.is_none_or(|best| skew.unsure < best.unsure) {
                best = Some(skew);
            }
        }
        best.ok_or_else(|| Error::Broken("the store was not asked for its time".to_owned()))
    }

    /// Whether the store answers, for health checks.
    pub async fn ping(&self) -> Result<()> {
        let sql = self.dialect.sql("SELECT 1");
        self.read().rows(&sql, Vec::new()).await.map(drop)
    }

    /// Whether the store takes writes. While they succeed this only asks whether the writer still
    /// answers; after one was refused it writes, so that health comes back without traffic.
    pub async fn ping_writer(&self) -> Result<()> {
        if self.health.closed.load(Ordering::SeqCst) {
            return Err(stopped());
        }
        if !self.health.is_failing() {
            return self.transact("ping", |_| Box::pin(async { Ok(()) })).await;
        }
        let sql = self
            .dialect
            .sql("UPDATE schema_migrations SET applied_at = applied_at");
        self.transact(round::PROBE, move |tx| {
            let sql = sql.clone();
            Box::pin(async move { tx.push(&sql, Vec::new()).await })
        })
        .await
    }

    /// Finishes what waits, closes the connections and releases the file.
    pub async fn close(self) {
        match self.way {
            Way::Sqlite {
                readers,
                group,
                writer,
            } => {
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
                group.wake.close();
                if let Some(mut writer) = writer
                    && tokio::time::timeout(CLOSE_WITHIN, &mut writer)
                        .await
                        .is_err()
                {
                    tracing::warn!("the writer did not finish in time, what waits is refused");
                    writer.abort();
                }
                readers.close().await;
            }
            Way::Server { server, groups } => {
                let groups: Vec<_> = {
                    let mut groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
                    groups.drain().map(|(_, group)| group).collect()
                };
                groups.iter().for_each(|group| group.wake.close());
                server.close(CLOSE_WITHIN).await;
            }
        }
    }
}

struct Transact<T, E, F> {
    label: &'static str,
    deadline: Duration,
    work: F,
    answer: oneshot::Sender<Result<T, E>>,
    result: Option<Result<T, E>>,
}

impl<T, E, F> Closure for Transact<T, E, F>
where
    T: Send,
    E: From<Error> + Send,
    F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send,
{
    fn label(&self) -> &'static str {
        self.label
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(async move {
            let result = (self.work)(tx).await;
            let verdict = if result.is_ok() {
                Verdict::Commit
            } else {
                Verdict::Rollback
            };
            self.result = Some(result);
            Ok(verdict)
        })
    }

    fn done(self: Box<Self>) {
        if let Some(result) = self.result {
            let _ = self.answer.send(result);
        }
    }

    fn fail(self: Box<Self>, error: Error) {
        tracing::warn!(%error, label = self.label, "a transaction failed");
        let _ = self.answer.send(Err(error.into()));
    }
}
