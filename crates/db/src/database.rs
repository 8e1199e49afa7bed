//! The handle to a store.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sea_orm::DatabaseConnection;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Batch, Dialect, Error, Lane, Query, Reader, Result, StoreUrl, Tx,
    dialect::SQLITE,
    lane::stopped,
    round::{self, Closure, Outcome, Sources, Wake},
    sqlite::{self, WriteConnection},
};

#[derive(Clone, Debug)]
pub struct Options {
    pub url: StoreUrl,
    /// Connections for reads.
    pub readers: u32,
}

impl Options {
    #[must_use]
    pub fn new(url: StoreUrl) -> Self {
        Options { url, readers: 4 }
    }
}

/// Cheap to clone. The store closes when the last handle and the last lane are dropped, or by
/// [`Db::close`].
#[derive(Clone)]
pub struct Db {
    dialect: &'static Dialect,
    readers: DatabaseConnection,
    sources: Sources,
    wake: Arc<Wake>,
    closures: mpsc::Sender<Box<dyn Closure>>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Closures that may wait; a caller past them waits for a place.
const CLOSURE_QUEUE: usize = 1024;

/// How long closing waits for what is still to be written.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

impl Db {
    /// Opens the store and starts its writer. Nothing is migrated yet.
    pub async fn open(options: Options) -> Result<Self> {
        let StoreUrl::Sqlite(path) = options.url;
        let connection = WriteConnection::open(path.clone()).await?;
        let readers = sqlite::readers(&path, options.readers).await?;
        let sources: Sources = Arc::default();
        let wake = Arc::new(Wake::default());
        let (closures, received) = mpsc::channel(CLOSURE_QUEUE);
        let writer = tokio::spawn(round::run(
            connection,
            Arc::clone(&sources),
            Arc::clone(&wake),
            received,
        ));
        Ok(Db {
            dialect: &SQLITE,
            readers,
            sources,
            wake,
            closures,
            writer: Arc::new(Mutex::new(Some(writer))),
        })
    }

    #[must_use]
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Reads; each statement sees what was committed when it began.
    #[must_use]
    pub fn read(&self) -> Reader {
        Reader::new(self.readers.clone(), self.dialect)
    }

    /// Adds a lane; [`Batch::RANK`] says where in a round it is applied.
    pub fn lane<B: Batch>(&self, batch: B) -> Lane<B> {
        let (lane, source) = Lane::new(batch, Arc::clone(&self.wake));
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
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
        let (answer, answered) = oneshot::channel();
        let closure = Box::new(Transact {
            label,
            work,
            answer,
            result: None,
        });
        let stopped = || E::from(stopped());
        self.closures.send(closure).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Whether the store answers, for health checks.
    pub async fn ping(&self) -> Result<()> {
        let sql = self.dialect.sql("SELECT 1");
        self.read().rows(&sql, Vec::new()).await.map(drop)
    }

    /// Whether the store takes writes. While they succeed this only asks whether the writer still
    /// answers; after one was refused it writes, so that health comes back without traffic.
    pub async fn ping_writer(&self) -> Result<()> {
        if !self.wake.is_failing() {
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
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.wake.close();
        if let Some(mut writer) = writer
            && tokio::time::timeout(CLOSE_WITHIN, &mut writer)
                .await
                .is_err()
        {
            tracing::warn!("the writer did not finish in time, what waits is refused");
            writer.abort();
        }
        let _ = self.readers.close().await;
    }
}

struct Transact<T, E, F> {
    label: &'static str,
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

    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let result = (self.work)(tx).await;
            let outcome = if result.is_ok() {
                Outcome::Commit
            } else {
                Outcome::Rollback
            };
            self.result = Some(result);
            Ok(outcome)
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
