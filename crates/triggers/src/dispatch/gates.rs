//! The gates before all endpoints that this process delivers to, and the order in which deliveries go
//! through them.
//!
//! A delivery that may not go yet waits in one of two places, so that one dead or slow endpoint costs
//! the others nothing:
//!
//! - **Waiting**, in memory and aside of the worker's slots: about a second's worth for each endpoint
//!   that is busy or paced. Who leaves hands over to the oldest, so the endpoint is never idle while
//!   anybody waits.
//! - **Parked**, put off in the store: everything else. Each has a time of its own at which it comes
//!   back, one behind the other, so that however many there are, few come a second. What is parked
//!   here is remembered: when the circuit closes, or those who wait become few, the next are called
//!   back before their time, and a backlog drains as fast as its endpoint takes it.
//!
//! Memory decides nothing: what is not remembered (too many, another process, a restart) comes back
//! at its own time. [`door`] has the rules of one endpoint; [`super::tend`] carries out what needs time
//! or the store.

mod door;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidewire_core::{Clock, Time};
use tidewire_jobs::PutOff;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::metrics;
use crate::{
    circuit::{CircuitState, GateSettings, GateView, Permit},
    live::LiveRates,
    retry::Health,
};
use door::{Admission, Arrived, Effects};

pub(super) use door::Later;

/// Endpoints whose gates are kept; past it, those that nobody uses are forgotten.
const MOST_DOORS: usize = 10_000;
/// Deliveries that wait in memory, of all endpoints. A worker holds 5,000 jobs at most.
const MOST_WAITING: usize = 2_000;
/// Deliveries of all endpoints that are remembered as put off.
const MOST_PARKED: usize = 100_000;
/// How long a delivery waits in memory at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What is one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub tenant: Arc<str>,
    pub endpoint: Arc<str>,
}

/// A delivery, as far as gates know it. Ids grow with time: the lower one is the older.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub id: Arc<str>,
    /// The attempts before this one.
    pub attempts: u32,
}

/// What gates want done that needs time or the store.
pub(super) enum Order {
    /// Look at the door again at this time.
    Wake(Instant, Arc<Door>),
    /// These may come back now.
    Call(Arc<Door>, Vec<PutOff>),
    /// The circuit of this endpoint has changed.
    Changed(Key),
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Gates {
    common: Arc<Common>,
    doors: Arc<Mutex<HashMap<Key, Arc<Door>>>>,
}

/// What all doors share.
struct Common {
    settings: GateSettings,
    rates: Arc<LiveRates>,
    clock: Clock,
    orders: mpsc::UnboundedSender<Order>,
    waiting: AtomicUsize,
    parked: AtomicUsize,
    open: AtomicUsize,
    half_open: AtomicUsize,
}

/// The gate of one endpoint, and who stands before it.
pub(super) struct Door {
    key: Key,
    common: Arc<Common>,
    state: Mutex<door::Door<oneshot::Sender<Turn>>>,
}

/// What becomes of a delivery that waited.
pub(super) enum Turn {
    Go(Pass),
    Later(Later),
}

/// What becomes of a delivery that asks.
pub(super) enum Asked {
    Go(Pass),
    Wait(Ticket),
    Later(Later),
}

/// That one request may go. It goes back when it is dropped, whatever happens.
#[derive(Debug)]
pub(super) struct Pass {
    door: Arc<Door>,
    permit: Option<Permit>,
}

/// A place among those who wait. It is given up when it is dropped.
pub(super) struct Ticket {
    door: Arc<Door>,
    caller: Caller,
    turn: oneshot::Receiver<Turn>,
}

impl Gates {
    /// The gates, and what they want done.
    pub(super) fn new(
        settings: GateSettings,
        rates: Arc<LiveRates>,
        clock: Clock,
    ) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, received) = mpsc::unbounded_channel();
        let common = Common {
            settings,
            rates,
            clock,
            orders,
            waiting: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            half_open: AtomicUsize::new(0),
        };
        let gates = Gates {
            common: Arc::new(common),
            doors: Arc::default(),
        };
        (gates, received)
    }

    /// Asks for a delivery to go.
    pub(super) fn ask(&self, tenant: &Arc<str>, endpoint: &Arc<str>, caller: Caller) -> Asked {
        let door = self.door(tenant, endpoint);
        let (handle, turn) = oneshot::channel();
        let arrived = door.act(|state, now, effects| state.arrive(&caller, handle, now, effects));
        match arrived {
            Arrived::Goes(permit) => Asked::Go(door.pass(permit)),
            Arrived::Waits => Asked::Wait(Ticket { door, caller, turn }),
            Arrived::Later(later) => Asked::Later(later),
        }
    }

    fn door(&self, tenant: &Arc<str>, endpoint: &Arc<str>) -> Arc<Door> {
        let key = Key {
            tenant: Arc::clone(tenant),
            endpoint: Arc::clone(endpoint),
        };
        let mut doors = self.lock();
        if let Some(door) = doors.get(&key) {
            return Arc::clone(door);
        }
        if doors.len() >= MOST_DOORS {
            self.make_room(&mut doors);
        }
        let state = door::Door::new(self.common.settings, self.common.clock.now());
        let door = Arc::new(Door {
            key: key.clone(),
            common: Arc::clone(&self.common),
            state: Mutex::new(state),
        });
        doors.insert(key, Arc::clone(&door));
        door
    }

    /// Forgets half of the doors that nobody stands at, those first that were used longest ago.
    fn make_room(&self, doors: &mut HashMap<Key, Arc<Door>>) {
        let mut unused: Vec<_> = doors
            .iter()
            .filter(|(_, door)| Arc::strong_count(door) == 1)
            .map(|(key, door)| (door.lock().used(), key.clone()))
            .collect();
        unused.sort_by_key(|(used, _)| *used);
        unused.truncate(unused.len().div_ceil(2));
        for (_, key) in unused {
            if let Some(door) = doors.remove(&key) {
                self.forget(&door);
            }
        }
    }

    /// A door that was taken out, and which nobody else has.
    fn forget(&self, door: &Door) {
        let state = door.lock();
        let (circuit, parked) = (state.view().circuit, state.sizes().1);
        drop(state);
        self.common.parked.fetch_sub(parked, Ordering::Relaxed);
        if let Some(count) = self.common.count_of(circuit) {
            count.fetch_sub(1, Ordering::Relaxed);
            self.common.order(Order::Changed(door.key.clone()));
        }
    }

    /// Looks after all doors: calls back whom nothing else calls, and forgets what is of no use.
    pub(super) fn sweep(&self) {
        let all: Vec<_> = self.lock().values().map(Arc::clone).collect();
        for door in &all {
            door.act(|state, now, effects| state.look(now, effects));
        }
        drop(all);
        let now = self.common.clock.now();
        let mut doors = self.lock();
        let idle: Vec<_> = doors
            .iter()
            .filter(|(_, door)| Arc::strong_count(door) == 1 && door.lock().is_idle(now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in idle {
            if let Some(door) = doors.remove(&key) {
                self.forget(&door);
            }
        }
    }

    /// How an endpoint's gate stands; `None` if nothing is known of it, as of one that is well.
    pub(super) fn view(&self, key: &Key) -> Option<GateView> {
        let doors = self.lock();
        doors.get(key).map(|door| door.lock().view())
    }

    /// The endpoints whose circuits are not closed.
    pub(super) fn unwell(&self) -> Vec<Key> {
        let doors = self.lock();
        let unwell = doors.iter().filter(|(_, door)| {
            // A state that is being changed is told of when it has.
            door.lock().view().circuit != CircuitState::Closed
        });
        unwell.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn record(&self) {
        let Common {
            open,
            half_open,
            waiting,
            parked,
            ..
        } = &*self.common;
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        metrics::circuits(of(open), of(half_open));
        metrics::held_up(of(waiting), of(parked));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Door>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn known(&self) -> usize {
        self.lock().len()
    }
}

impl Common {
    fn order(&self, order: Order) {
        // Nobody takes orders any more only when the worker has ended.
        let _ = self.orders.send(order);
    }

    fn count_of(&self, circuit: CircuitState) -> Option<&AtomicUsize> {
        match circuit {
            CircuitState::Closed => None,
            CircuitState::Open => Some(&self.open),
            CircuitState::HalfOpen => Some(&self.half_open),
        }
    }

    fn room(&self) -> door::Room {
        let left =
            |most: usize, count: &AtomicUsize| most.saturating_sub(count.load(Ordering::Relaxed));
        door::Room {
            waiting: left(MOST_WAITING, &self.waiting),
            parked: left(MOST_PARKED, &self.parked),
        }
    }
}

fn moved(count: &AtomicUsize, before: usize, after: usize) {
    if after >= before {
        count.fetch_add(after - before, Ordering::Relaxed);
    } else {
        count.fetch_sub(before - after, Ordering::Relaxed);
    }
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, door::Door<oneshot::Sender<Turn>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(self: &Arc<Self>, permit: Permit) -> Pass {
        Pass {
            door: Arc::clone(self),
            permit: Some(permit),
        }
    }

    /// One step of the door, and then, without its lock, what follows from it.
    fn act<R>(
        self: &Arc<Self>,
        step: impl FnOnce(
            &mut door::Door<oneshot::Sender<Turn>>,
            Time,
            &mut Effects<oneshot::Sender<Turn>>,
        ) -> R,
    ) -> R {
        let common = &self.common;
        let mut effects = Effects::new(common.room());
        let mut state = self.lock();
        state.pace(common.rates.endpoint(common.settings.rate));
        let (sizes, circuit) = (state.sizes(), state.view().circuit);
        let result = step(&mut state, common.clock.now(), &mut effects);
        let (sizes_now, circuit_now) = (state.sizes(), state.view().circuit);
        drop(state);

        moved(&common.waiting, sizes.0, sizes_now.0);
        moved(&common.parked, sizes.1, sizes_now.1);
        if circuit != circuit_now {
            if let Some(count) = common.count_of(circuit) {
                count.fetch_sub(1, Ordering::Relaxed);
            }
            if let Some(count) = common.count_of(circuit_now) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            self.log(circuit_now);
            common.order(Order::Changed(self.key.clone()));
        }
        if let Some(wait) = effects.wake {
            common.order(Order::Wake(Instant::now() + wait, Arc::clone(self)));
        }
        if !effects.called.is_empty() {
            let tenant = &self.key.tenant;
            let called = effects.called.drain(..).map(|(id, attempts)| PutOff {
                tenant: Arc::clone(tenant),
                id,
                attempts,
            });
            common.order(Order::Call(Arc::clone(self), called.collect()));
        }
        for (handle, admission) in effects.admitted.drain(..) {
            let turn = match admission {
                Admission::Goes(permit) => Turn::Go(self.pass(permit)),
                Admission::Later(later) => Turn::Later(later),
            };
            // Whoever has gone away meanwhile leaves its pass to the next, as it is dropped.
            let _ = handle.send(turn);
        }
        result
    }

    fn log(&self, circuit: CircuitState) {
        // An endpoint's path may be a secret: the tenant sees it in the API, the log only the host.
        let host = url::Url::parse(&self.key.endpoint).ok();
        let host = host
            .as_ref()
            .and_then(url::Url::host_str)
            .unwrap_or_default();
        let tenant = &*self.key.tenant;
        match circuit {
            CircuitState::Open => {
                tracing::warn!(
                    tenant,
                    host,
                    "an endpoint keeps failing: its circuit is open"
                );
            }
            CircuitState::HalfOpen => tracing::debug!(tenant, host, "an endpoint is probed"),
            CircuitState::Closed => {
                tracing::info!(tenant, host, "an endpoint is back: its circuit is closed");
            }
        }
    }

    /// These could not be called back; somebody will try again.
    pub(super) fn recall(self: &Arc<Self>, ids: &[Arc<str>]) {
        self.act(|state, _, _| state.recall(ids.iter().map(|id| &**id)));
    }

    /// The time has come that was asked for.
    pub(super) fn wake(self: &Arc<Self>) {
        self.act(|state, now, effects| state.wake(now, effects));
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Door").field(&self.key).finish()
    }
}

impl Pass {
    /// The request has ended after `took`, and this is what it tells about the endpoint.
    pub(super) fn done(mut self, health: Health, took: Duration) {
        if let Some(permit) = self.permit.take() {
            self.door
                .act(|state, now, effects| state.done(permit, health, took, now, effects));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.door
                .act(|state, now, effects| state.abandon(permit, now, effects));
        }
    }
}

impl Ticket {
    /// Waits for its turn, and no longer than a delivery should.
    pub(super) async fn turn(mut self) -> Turn {
        match tokio::time::timeout(PATIENCE, &mut self.turn).await {
            Ok(Ok(turn)) => return turn,
            Ok(Err(_)) => {}
            Err(_) => {
                self.turn.close();
                // It may have come in this very moment.
                if let Ok(turn) = self.turn.try_recv() {
                    return turn;
                }
            }
        }
        let caller = self.caller.clone();
        Turn::Later(
            self.door
                .act(|state, now, effects| state.lose_patience(&caller, now, effects)),
        )
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let id = Arc::clone(&self.caller.id);
        self.door.act(|state, _, _| state.give_up(&id));
    }
}

#[cfg(test)]
mod tests;
