//! The writer's loop on an engine with one writing connection: a round takes what every lane has
//! gathered into one transaction; closures run between rounds, each in a transaction of its own.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc};

use crate::{
    Error, Result, Tx,
    lane::{Pending, Source, stopped},
    sqlite::WriteConnection,
};

/// A closure that waits for its transaction.
pub(crate) trait Closure: Send {
    fn label(&self) -> &'static str;
    /// Runs it; its answer is kept until the commit.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<Outcome>>;
    fn done(self: Box<Self>);
    fn fail(self: Box<Self>, error: Error);
}

/// What a closure wants done with its transaction.
pub(crate) enum Outcome {
    Commit,
    /// It refused by its own rules; nothing of it is kept, and it has its answer.
    Rollback,
}

/// Closures that run before the lanes get their turn again.
const CLOSURES_A_ROUND: usize = 32;
/// A transaction that takes longer is rolled back: it holds up everybody's writes.
const DEADLINE: Duration = Duration::from_secs(10);

/// How the writer is told that something waits, or that nothing more will come.
#[derive(Default)]
pub(crate) struct Wake {
    notify: Notify,
    closed: AtomicBool,
    /// The store did not take the last write.
    failing: AtomicBool,
}

impl Wake {
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    /// Whether the store refused the last write that it was given.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::SeqCst)
    }

    fn note(&self, result: &Result<()>) {
        match result {
            Ok(()) => self.failing.store(false, Ordering::SeqCst),
            Err(error) if error.is_unavailable() => self.failing.store(true, Ordering::SeqCst),
            Err(_) => {}
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// The label of the closure that writes to see whether writing works again.
pub(crate) const PROBE: &str = "probe";

/// The lanes, in the order in which a round applies them.
pub(crate) type Sources = Arc<Mutex<Vec<Arc<dyn Source>>>>;

pub(crate) async fn run(
    mut connection: WriteConnection,
    sources: Sources,
    wake: Arc<Wake>,
    mut closures: mpsc::Receiver<Box<dyn Closure>>,
) {
    let ending = Ending {
        sources: Arc::clone(&sources),
        wake: Arc::clone(&wake),
    };
    loop {
        let batches: Vec<_> = {
            let sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources
                .iter()
                .filter_map(|source| Arc::clone(source).take())
                .collect()
        };
        let idle = batches.is_empty();
        if !idle {
            round(&mut connection, &wake, batches).await;
        }
        let mut ran = 0;
        while ran < CLOSURES_A_ROUND
            && let Ok(closure) = closures.try_recv()
        {
            closure_in_tx(&mut connection, &wake, closure).await;
            ran += 1;
        }
        if idle && ran == 0 {
            if wake.is_closed() {
                break;
            }
            tokio::select! {
                () = wake.notify.notified() => {}
                closure = closures.recv() => match closure {
                    Some(closure) => closure_in_tx(&mut connection, &wake, closure).await,
                    // Every handle to the store is gone.
                    None => break,
                },
            }
        }
    }
    drop(ending);
    connection.close().await;
}

/// Refuses what was handed in after the writer's last look, however the writer ended: by order or
/// by a defect that panicked. Nobody may wait for ever; health then says that writing has stopped.
struct Ending {
    sources: Sources,
    wake: Arc<Wake>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.wake.close();
        let sources =
            std::mem::take(&mut *self.sources.lock().unwrap_or_else(PoisonError::into_inner));
        for source in sources {
            while let Some(late) = Arc::clone(&source).take() {
                late.fail(&stopped());
            }
        }
    }
}

/// One transaction for all batches; if it fails, one for each; if that fails, one for each
/// operation, so that what is bad fails alone.
async fn round(connection: &mut WriteConnection, wake: &Wake, mut batches: Vec<Box<dyn Pending>>) {
    let written = together(connection, &mut batches).await;
    wake.note(&written);
    match written {
        Ok(()) => batches.into_iter().for_each(Pending::done),
        Err(error) if error.is_unavailable() => {
            tracing::warn!(%error, "a round of writes failed");
            batches.into_iter().for_each(|batch| batch.fail(&error));
        }
        Err(error) => {
            if let [batch] = batches.as_slice()
                && batch.len() == 1
            {
                tracing::error!(%error, lane = batch.name(), "an operation failed");
                batches.into_iter().for_each(|batch| batch.fail(&error));
                return;
            }
            tracing::warn!(%error, "a round of writes failed, its parts are tried one by one");
            let parts: Vec<_> = if batches.len() == 1 {
                batches.into_iter().flat_map(Pending::split).collect()
            } else {
                batches
            };
            for part in parts {
                Box::pin(round(connection, wake, vec![part])).await;
            }
        }
    }
}

async fn together(
    connection: &mut WriteConnection,
    batches: &mut [Box<dyn Pending>],
) -> Result<()> {
    connection
        .transaction(DEADLINE, "round", async |tx| {
            for batch in batches {
                batch.apply(tx).await?;
            }
            Ok(Outcome::Commit)
        })
        .await
}

async fn closure_in_tx(
    connection: &mut WriteConnection,
    wake: &Wake,
    mut closure: Box<dyn Closure>,
) {
    let label = closure.label();
    let ran = connection
        .transaction(DEADLINE, label, async |tx| closure.run(tx).await)
        .await;
    // Many closures commit without having written anything; only the probe surely has.
    if ran.is_err() || label == PROBE {
        wake.note(&ran);
    }
    match ran {
        Ok(()) => closure.done(),
        Err(error) => closure.fail(error),
    }
}
