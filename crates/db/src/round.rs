//! The writer's loop: a round takes what its lanes have gathered into one transaction.
//!
//! On SQLite there is one loop for all lanes, and closures run between its rounds, each in a
//! transaction of its own. On a server each writer's name has a loop, and closures run beside them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc};

use crate::{
    Result, Tx,
    lane::{Pending, Source, stopped},
    server::{Patience, Rooms, Server, Tries},
    writer::{Verdict, Writer},
};

/// A closure that waits for its transaction.
pub(crate) trait Closure: Send {
    fn label(&self) -> &'static str;
    /// A transaction that takes longer is rolled back.
    fn deadline(&self) -> Duration;
    /// Runs it; its answer is kept until the commit.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<Verdict>>;
    fn done(self: Box<Self>);
    fn fail(self: Box<Self>, error: crate::Error);
}

/// Closures that run before the lanes get their turn again.
const CLOSURES_A_ROUND: usize = 32;
/// A transaction that takes longer is rolled back: it holds up everybody's writes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What all writers of a store share.
#[derive(Default)]
pub(crate) struct Health {
    pub(crate) closed: AtomicBool,
    /// The store did not take the last write.
    failing: AtomicBool,
}

impl Health {
    /// Whether the store refused the last write that it was given.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::SeqCst)
    }

    pub(crate) fn note(&self, result: &Result<()>) {
        match result {
            Ok(()) => self.failing.store(false, Ordering::SeqCst),
            Err(crate::Error::Unavailable(_) | crate::Error::Unknown(_)) => {
                self.failing.store(true, Ordering::SeqCst);
            }
            Err(_) => {}
        }
    }
}

/// How a writer is told that something waits, or that nothing more will come.
#[derive(Default)]
pub(crate) struct Wake {
    notify: Notify,
    pub(crate) health: Arc<Health>,
}

impl Wake {
    pub(crate) fn new(health: Arc<Health>) -> Self {
        Wake {
            notify: Notify::new(),
            health,
        }
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    pub(crate) fn close(&self) {
        self.health.closed.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.health.closed.load(Ordering::SeqCst)
    }
}

/// The label of the closure that writes to see whether writing works again.
pub(crate) const PROBE: &str = "probe";

/// The lanes, in the order in which a round applies them.
pub(crate) type Sources = Arc<Mutex<Vec<Arc<dyn Source>>>>;

pub(crate) async fn run(
    mut writer: Writer,
    sources: Sources,
    wake: Arc<Wake>,
    mut closures: mpsc::Receiver<Box<dyn Closure>>,
) {
    let ending = Ending {
        sources: Arc::clone(&sources),
        wake: Arc::clone(&wake),
    };
    let health = Arc::clone(&wake.health);
    let context = Round {
        health: &health,
        patience: Patience::Skip,
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
            round(&mut writer, &context, batches).await;
        }
        let mut ran = 0;
        while ran < CLOSURES_A_ROUND
            && let Ok(closure) = closures.try_recv()
        {
            closure_in_tx(&mut writer, &health, closure).await;
            ran += 1;
        }
        if idle && ran == 0 {
            if wake.is_closed() {
                break;
            }
            tokio::select! {
                () = wake.notify.notified() => {}
                closure = closures.recv() => match closure {
                    Some(closure) => closure_in_tx(&mut writer, &health, closure).await,
                    // Every handle to the store is gone.
                    None => break,
                },
            }
        }
    }
    drop(ending);
    if let Writer::Sqlite(connection) = writer {
        connection.close().await;
    }
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

/// What a round needs to know beside its batches.
#[derive(Clone, Copy)]
pub(crate) struct Round<'r> {
    pub health: &'r Health,
    pub patience: Patience,
}

/// One transaction for all batches; if it fails, one for each; if that fails, one for each
/// operation, so that what is bad fails alone. Whether the store could be written to.
pub(crate) async fn round(
    writer: &mut Writer,
    context: &Round<'_>,
    mut batches: Vec<Box<dyn Pending>>,
) -> bool {
    let written = written(writer, context, &mut batches).await;
    context.health.note(&written);
    batches.retain(|batch| batch.len() > 0);
    match written {
        Ok(()) => batches.into_iter().for_each(Pending::done),
        Err(error) if error.is_unavailable() => {
            tracing::warn!(%error, "a round of writes failed");
            batches.into_iter().for_each(|batch| batch.fail(&error));
            return false;
        }
        Err(error) => {
            if let [batch] = batches.as_slice()
                && batch.len() == 1
            {
                tracing::error!(%error, lane = batch.name(), "an operation failed");
                batches.into_iter().for_each(|batch| batch.fail(&error));
                return true;
            }
            tracing::warn!(%error, "a round of writes failed, its parts are tried one by one");
            let parts: Vec<_> = if batches.len() == 1 {
                batches.into_iter().flat_map(Pending::split).collect()
            } else {
                batches
            };
            for part in parts {
                Box::pin(round(writer, context, vec![part])).await;
            }
        }
    }
    true
}

/// Writes the batches in one transaction, again while it fails for a reason that passes. Operations
/// that must wait for a lock leave the batches.
async fn written(
    writer: &mut Writer,
    context: &Round<'_>,
    batches: &mut Vec<Box<dyn Pending>>,
) -> Result<()> {
    let Writer::Server(server) = writer else {
        return together(writer, None, batches).await;
    };
    let server = Arc::clone(server);
    let mut tries = Tries::new("round");
    loop {
        let mut names = BTreeSet::new();
        batches.iter().for_each(|batch| batch.locks(&mut names));
        if context.patience == Patience::Skip {
            // Others wait for these already, and go first.
            for name in server.rooms.open(&names) {
                send_to_room(&server, &name, batches);
                names.remove(&name);
            }
        }
        if batches.iter().all(|batch| batch.len() == 0) {
            return Ok(());
        }
        let ran = match make_locks(&server, writer, &names).await {
            Ok(()) => {
                let locks = Locking {
                    server: &server,
                    names: &names,
                    patience: context.patience,
                };
                together(writer, Some(locks), batches).await
            }
            Err(error) => Err(error),
        };
        match &ran {
            Err(error) if tries.again(error).await => {}
            _ => return ran,
        }
    }
}

fn send_to_room(server: &Arc<Server>, name: &str, batches: &mut [Box<dyn Pending>]) {
    for aside in batches.iter_mut().filter_map(|batch| batch.set_aside(name)) {
        Rooms::wait(server, name, aside);
    }
}

/// Makes the rows of locks that are named for the first time.
async fn make_locks(
    server: &Arc<Server>,
    writer: &mut Writer,
    names: &BTreeSet<Box<str>>,
) -> Result<()> {
    let unknown = server.locks.unknown(names);
    if unknown.is_empty() {
        return Ok(());
    }
    let new = &unknown;
    writer
        .transaction(DEADLINE, "locks", async |tx| {
            server.locks.make(tx, new).await?;
            Ok(Verdict::Commit)
        })
        .await?;
    server.locks.made(unknown);
    Ok(())
}

/// The locks that a round takes first.
struct Locking<'l> {
    server: &'l Arc<Server>,
    names: &'l BTreeSet<Box<str>>,
    patience: Patience,
}

async fn together(
    writer: &mut Writer,
    locking: Option<Locking<'_>>,
    batches: &mut Vec<Box<dyn Pending>>,
) -> Result<()> {
    writer
        .transaction(DEADLINE, "round", async |tx| {
            if let Some(Locking {
                server,
                names,
                patience,
            }) = locking
                && !names.is_empty()
            {
                for name in server.locks.take(tx, names, patience).await? {
                    send_to_room(server, &name, batches);
                }
            }
            for batch in batches.iter_mut() {
                batch.apply(tx).await?;
            }
            Ok(Verdict::Commit)
        })
        .await
}

async fn closure_in_tx(writer: &mut Writer, health: &Health, mut closure: Box<dyn Closure>) {
    let (label, deadline) = (closure.label(), closure.deadline());
    let ran = writer
        .transaction(deadline, label, async |tx| closure.run(tx).await)
        .await;
    // Many closures commit without having written anything; only the probe surely has.
    if ran.is_err() || label == PROBE {
        health.note(&ran);
    }
    match ran {
        Ok(()) => closure.done(),
        Err(error) => closure.fail(error),
    }
}
