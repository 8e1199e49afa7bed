//! PostgreSQL and MySQL: a bounded number of connections, transactions that are run again when the
//! engine gave up on them, and locks that many processes respect.

mod connection;
mod connections;
mod locks;
mod rooms;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidewire_core::clock::random_fraction;
use tokio_util::task::TaskTracker;

use self::connections::Connections;
pub(crate) use self::{
    connection::Target,
    connections::Lease,
    locks::{LOCKS_TABLE, Locks, Patience},
    rooms::Rooms,
};
use crate::{
    Arg, Dialect, Error, Result, Row, Sql, Tx,
    round::{Closure, Health},
    session::Session,
    tx::Parts,
    writer::Verdict,
};

/// A commit that takes longer has an unknown outcome.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How often a transaction is run in all, if the engine gives up on it or others come in between.
const TRIES: u32 = 8;

pub(crate) struct Server {
    pub(crate) dialect: &'static Dialect,
    connections: Arc<Connections>,
    pub(crate) locks: Arc<Locks>,
    pub(crate) rooms: Rooms,
    pub(crate) health: Arc<Health>,
    /// Everything that must end before the store is closed: writers, rooms, closures.
    pub(crate) tasks: TaskTracker,
}

impl Server {
    /// Connects once, so that a wrong address, name or password is told at the start.
    pub(crate) async fn open(
        target: Target,
        dialect: &'static Dialect,
        connections: u32,
    ) -> Result<Arc<Self>> {
        let connections = Arc::new(Connections::new(target, connections));
        connections.check().await?;
        Ok(Arc::new(Server {
            dialect,
            rooms: Rooms::new(connections.most() / 2),
            connections,
            locks: Arc::new(Locks::new(dialect)),
            health: Arc::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Runs `work` in one transaction and commits it; on any error nothing of it stays, unless the
    /// connection broke during the commit: its outcome is unknown then.
    pub(crate) async fn transaction<F>(
        &self,
        deadline: Duration,
        label: &str,
        work: F,
    ) -> Result<()>
    where
        F: AsyncFnOnce(&mut Tx) -> Result<Verdict>,
    {
        let lease = self.connections.begin().await?;
        let mut tx = Tx::new(Session::Server(lease), self.dialect).locking(Arc::clone(&self.locks));
        let worked = tokio::time::timeout(deadline, work(&mut tx)).await;
        let Parts {
            session,
            hooks,
            failure,
        } = tx.into_parts();
        let Session::Server(mut lease) = session else {
            return Err(Error::Broken(
                "a transaction came back with another engine's session".to_owned(),
            ));
        };
        let verdict = match worked {
            // Somewhere inside a statement: the connection is of no more use, and the server rolls
            // back when it closes.
            Err(_) => {
                return Err(Error::Unavailable(format!(
                    "the transaction {label} took longer than {deadline:?}"
                )));
            }
            Ok(Err(error)) => Err(error),
            // PostgreSQL takes the COMMIT of a transaction in which a statement has failed, and
            // rolls back.
            Ok(Ok(Verdict::Commit)) => failure.map_or(Ok(Verdict::Commit), Err),
            // It gave up because of something that passes.
            Ok(Ok(Verdict::Rollback)) => match failure.filter(Error::is_passing) {
                Some(failure) => Err(failure),
                None => Ok(Verdict::Rollback),
            },
        };
        let end = match verdict {
            Ok(Verdict::Commit) => "COMMIT",
            _ => "ROLLBACK",
        };
        let ended = tokio::time::timeout(COMMIT_WITHIN, lease.batch(end)).await;
        let ended = ended.unwrap_or_else(|_| {
            Err(Error::Unavailable(format!(
                "the {end} of the transaction {label} was not answered within {COMMIT_WITHIN:?}"
            )))
        });
        if ended.is_ok() {
            lease.give_back();
        }
        match verdict? {
            Verdict::Commit => {
                ended.map_err(|error| match error {
                    Error::Unavailable(why) => Error::Unknown(why),
                    told => told,
                })?;
                hooks.into_iter().for_each(|hook| hook());
                Ok(())
            }
            Verdict::Rollback => Ok(()),
        }
    }

    /// Runs a closure to its answer, again if it must.
    pub(crate) async fn run_closure(&self, mut closure: Box<dyn Closure>) {
        let (label, deadline) = (closure.label(), closure.deadline());
        let mut tries = Tries::new(label);
        let ran = loop {
            let ran = self
                .transaction(deadline, label, async |tx| closure.run(tx).await)
                .await;
            match &ran {
                Err(error) if tries.again(error).await => {}
                _ => break ran,
            }
        };
        if ran.is_err() || self.health.is_failing() {
            self.health.note(&ran);
        }
        match ran {
            Ok(()) => closure.done(),
            Err(error) => closure.fail(error),
        }
    }

    /// Runs one statement outside any transaction. A connection that turns out to be dead is
    /// replaced once: reads may be repeated.
    pub(crate) async fn read(&self, sql: &Sql, args: Vec<Arg>) -> Result<Vec<Row>> {
        let read = async {
            let mut lease = self.connections.take().await?;
            let (used, copy) = (lease.is_used(), args.clone());
            let first = lease.read(sql, args).await;
            if let Err(Error::Unavailable(_)) = &first
                && used
            {
                drop(lease);
                let mut fresh = self.connections.renew().await?;
                let rows = fresh.read(sql, copy).await?;
                fresh.give_back();
                return Ok(rows);
            }
            // An error of the statement leaves the connection in order.
            if !matches!(first, Err(Error::Unavailable(_))) {
                lease.give_back();
            }
            first
        };
        tokio::time::timeout(READ_WITHIN, read)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Unavailable(format!(
                    "a read took longer than {READ_WITHIN:?}"
                )))
            })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.health.closed.load(Ordering::SeqCst)
    }

    /// Waits for what runs, then closes the connections.
    pub(crate) async fn close(&self, within: Duration) {
        self.health.closed.store(true, Ordering::SeqCst);
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the writers did not finish in time, what waits is refused");
        }
        self.connections.close().await;
    }
}

/// Counts how often a transaction was run.
pub(crate) struct Tries {
    label: &'static str,
    left: u32,
}

impl Tries {
    pub(crate) fn new(label: &'static str) -> Self {
        Tries { label, left: TRIES }
    }

    /// Whether to run it again after this failure; if so, after a growing pause of random length:
    /// those who met must not meet again.
    pub(crate) async fn again(&mut self, error: &Error) -> bool {
        self.left -= 1;
        if !error.is_passing() || self.left == 0 {
            return false;
        }
        tracing::debug!(%error, label = self.label, "a transaction is run again");
        metrics::counter!("tidewire_store_retries_total", "label" => self.label).increment(1);
        let most = f64::from(2u32 << (TRIES - self.left).min(6));
        tokio::time::sleep(Duration::from_secs_f64(random_fraction() * most / 1000.0)).await;
        true
    }
}
