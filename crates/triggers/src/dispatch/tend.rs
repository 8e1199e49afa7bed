//! What gates want done that needs time or the store, beside the deliveries themselves: waking doors,
//! calling back what was put off, and writing circuits for every process to see.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tidewire_jobs::{Hastened, PutOff};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    endpoints::{self, REFRESH},
    gates::{Door, Gates, Key, Order},
};
use crate::{CircuitState, Error, service::Inner, store::CircuitRow};

/// How often doors are looked at for those whom nothing else moves.
const SWEEP: Duration = Duration::from_secs(1);
/// Changes of circuits are written together.
const SETTLE: Duration = Duration::from_millis(200);
/// Circuits that one transaction writes.
const AT_ONCE: usize = 500;
/// How long a worker that ends tries to take its word back.
const LAST_WORD: Duration = Duration::from_secs(2);

pub(super) struct Tender {
    pub(super) gates: Gates,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) triggers: Arc<Inner>,
    pub(super) worker: Arc<str>,
}

/// What is under way.
type Work = FuturesUnordered<BoxFuture<'static, Done>>;

enum Done {
    /// Nothing follows from it.
    Nothing,
    /// These were written, or could not be.
    Written(Vec<Key>, Result<(), Error>),
}

/// The circuits, as far as they are written.
struct Circuits {
    triggers: Arc<Inner>,
    gates: Gates,
    worker: Arc<str>,
    /// To be written.
    changed: HashSet<Key>,
    /// There is a row of ours.
    written: HashSet<Key>,
    is_writing: bool,
}

impl Tender {
    pub(super) async fn run(self, over: CancellationToken) {
        let Tender {
            gates,
            mut orders,
            triggers,
            worker,
        } = self;
        let mut circuits = Circuits {
            triggers: Arc::clone(&triggers),
            gates: gates.clone(),
            worker,
            changed: HashSet::new(),
            written: HashSet::new(),
            is_writing: false,
        };
        let mut work = Work::new();
        let mut wakes: BTreeMap<(Instant, u64), Arc<Door>> = BTreeMap::new();
        let mut number = 0;
        let (mut sweep, mut refresh, mut settle) = (every(SWEEP), every(REFRESH), every(SETTLE));
        loop {
            let next = wakes.first_key_value().map(|((at, _), _)| *at);
            let wake = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over.cancelled() => break,
                Some(order) = orders.recv() => match order {
                    Order::Wake(at, door) => {
                        number += 1;
                        wakes.insert((at, number), door);
                    }
                    Order::Call(door, called) => {
                        work.push(call(Arc::clone(&triggers), door, called));
                    }
                    Order::Changed(key) => {
                        circuits.changed.insert(key);
                    }
                },
                () = wake => {
                    let now = Instant::now();
                    while let Some(first) = wakes.first_entry()
                        && first.key().0 <= now
                    {
                        first.remove().wake();
                    }
                }
                _ = sweep.tick() => {
                    gates.sweep();
                    gates.record();
                }
                _ = refresh.tick() => {
                    circuits.refresh();
                    work.push(forget(Arc::clone(&triggers)));
                }
                _ = settle.tick(), if circuits.has_news() => {
                    gates.record();
                    work.push(circuits.write());
                }
                Some(done) = work.next(), if !work.is_empty() => {
                    if let Done::Written(keys, result) = done {
                        circuits.wrote(keys, result);
                    }
                }
            }
        }
        circuits.take_back().await;
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn call(triggers: Arc<Inner>, door: Arc<Door>, called: Vec<PutOff>) -> BoxFuture<'static, Done> {
    async move {
        let of = |jobs: &[PutOff]| -> Vec<_> { jobs.iter().map(|job| job.id.clone()).collect() };
        let ids = of(&called);
        match triggers.fire.jobs.hasten(called).await {
            Ok(Hastened { count, in_hand }) => {
                tracing::debug!(
                    called = ids.len(),
                    count,
                    "deliveries were called back before their time"
                );
                // That they were put off is on its way to the store.
                door.recall(&of(&in_hand));
            }
            Err(error) => {
                tracing::debug!(%error, called = ids.len(), "deliveries were not called back");
                door.recall(&ids);
            }
        }
        Done::Nothing
    }
    .boxed()
}

/// Takes away what workers said that are gone.
fn forget(triggers: Arc<Inner>) -> BoxFuture<'static, Done> {
    async move {
        let store = Arc::clone(&triggers.store);
        let before = endpoints::stale(triggers.fire.clock.now());
        let forgotten = triggers.db.transact("circuits.forget", move |tx| {
            let store = Arc::clone(&store);
            Box::pin(async move { Ok::<_, Error>(store.forget_circuits(tx, before).await?) })
        });
        if let Err(error) = forgotten.await {
            tracing::debug!(%error, "old circuits were not taken away");
        }
        Done::Nothing
    }
    .boxed()
}

impl Circuits {
    fn has_news(&self) -> bool {
        !self.is_writing && !self.changed.is_empty()
    }

    /// All that are not closed are written again, so that nobody takes them for those of a worker
    /// that is gone.
    fn refresh(&mut self) {
        self.changed.extend(self.gates.unwell());
        self.changed.extend(self.written.iter().cloned());
    }

    fn write(&mut self) -> BoxFuture<'static, Done> {
        self.is_writing = true;
        let keys: Vec<_> = self.changed.iter().take(AT_ONCE).cloned().collect();
        for key in &keys {
            self.changed.remove(key);
        }
        // How each stands now, whatever it was when it was told of.
        let stands: Vec<_> = keys
            .iter()
            .map(|key| (key.clone(), self.gates.view(key)))
            .collect();
        let (store, db) = (Arc::clone(&self.triggers.store), self.triggers.db.clone());
        let (clock, worker) = (self.triggers.fire.clock.clone(), Arc::clone(&self.worker));
        let stands = Arc::new(stands);
        async move {
            let written = db.transact("circuits.write", move |tx| {
                let (store, stands) = (Arc::clone(&store), Arc::clone(&stands));
                let (clock, worker) = (clock.clone(), Arc::clone(&worker));
                Box::pin(async move {
                    let (mut open, mut closed) = (Vec::new(), Vec::new());
                    for (key, view) in &*stands {
                        match view.filter(|view| view.circuit != CircuitState::Closed) {
                            Some(view) => open.push(CircuitRow {
                                tenant: &key.tenant,
                                endpoint: &key.endpoint,
                                state: view.circuit,
                                failures: view.failures,
                                retry_at: view.retry_at,
                            }),
                            None => closed.push((&*key.tenant, &*key.endpoint)),
                        }
                    }
                    store.close_circuits(tx, &closed, &worker).await?;
                    let now = clock.now();
                    store.write_circuits(tx, &open, &worker, now).await?;
                    Ok::<_, Error>(())
                })
            });
            Done::Written(keys, written.await)
        }
        .boxed()
    }

    fn wrote(&mut self, keys: Vec<Key>, result: Result<(), Error>) {
        self.is_writing = false;
        match result {
            Ok(()) => {
                for key in keys {
                    let view = self.gates.view(&key);
                    match view.is_some_and(|view| view.circuit != CircuitState::Closed) {
                        true => self.written.insert(key),
                        false => self.written.remove(&key),
                    };
                }
            }
            Err(error) => {
                tracing::debug!(%error, count = keys.len(), "circuits were not written, it will be tried again");
                // Whatever became of them, there may be rows.
                self.written.extend(keys);
            }
        }
    }

    /// A worker that ends says nothing about endpoints any more.
    async fn take_back(self) {
        let keys: Arc<[Key]> = self.written.into_iter().collect();
        if keys.is_empty() {
            return;
        }
        let (store, worker) = (Arc::clone(&self.triggers.store), self.worker);
        let taken = self.triggers.db.transact("circuits.take_back", move |tx| {
            let (store, worker) = (Arc::clone(&store), Arc::clone(&worker));
            let keys = Arc::clone(&keys);
            Box::pin(async move {
                let of = |key: &Key| (key.tenant.to_string(), key.endpoint.to_string());
                let keys: Vec<_> = keys.iter().map(of).collect();
                let keys: Vec<_> = keys
                    .iter()
                    .map(|(tenant, endpoint)| (tenant.as_str(), endpoint.as_str()))
                    .collect();
                Ok::<_, Error>(store.close_circuits(tx, &keys, &worker).await?)
            })
        });
        match tokio::time::timeout(LAST_WORD, taken).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "circuits were left to age"),
            Err(_) => tracing::debug!("circuits were left to age: the store did not answer"),
        }
    }
}
