//! The board: which lanes have jobs, and when the next one of each is due.
//!
//! A lane is (tenant, queue, type, priority); in the store its entries are one index range in due
//! order. What is reserved for a worker is in lanes of that worker's own, besides, for as long as others
//! must wait for it. The board is only a hint that spares the store idle questions: commits add to it, here and
//! in other processes, claims correct it, and the keeper rebuilds it from the store at every poll
//! interval. Losing all of it costs at most that interval.

mod lane;
mod state;
mod waiter;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidewire_core::Time;
use tokio::sync::Notify;

use lane::Lane;
pub(crate) use lane::{Mark, Next};
pub(crate) use waiter::Waiter;
use waiter::Waiting;

/// Lanes that one claim reads at most.
const LANES_A_CLAIM: usize = 64;

/// More claims than this are never between their look at the board and their word to it.
const CLAIMS_UNDER_WAY: u64 = 1024;

/// Where a job waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LaneKey {
    pub tenant: Arc<str>,
    pub queue: Arc<str>,
    pub kind: Arc<str>,
    pub priority: i32,
    /// The worker whose lane it is, if it is not everybody's.
    pub reserved_for: Option<Arc<str>>,
}

impl LaneKey {
    pub(crate) fn new(
        tenant: impl Into<Arc<str>>,
        queue: impl Into<Arc<str>>,
        kind: impl Into<Arc<str>>,
        priority: i32,
    ) -> Self {
        LaneKey {
            tenant: tenant.into(),
            queue: queue.into(),
            kind: kind.into(),
            priority,
            reserved_for: None,
        }
    }

    /// The same lane of one worker.
    pub(crate) fn reserved_for(&self, worker: &Arc<str>) -> Self {
        LaneKey {
            reserved_for: Some(Arc::clone(worker)),
            ..self.clone()
        }
    }
}

/// Which lanes a worker takes from; what is `None` does not narrow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    pub tenant: Option<Arc<str>>,
    pub types: Option<BTreeSet<Arc<str>>>,
    pub queues: Option<BTreeSet<Arc<str>>>,
    /// Not these types.
    pub except: BTreeSet<Arc<str>>,
    /// Only what is reserved for it, and nothing that is everybody's.
    pub own: bool,
}

impl Filter {
    pub(crate) fn takes_job(&self, tenant: &str, queue: &str, kind: &str) -> bool {
        self.tenant.as_deref().is_none_or(|only| only == tenant)
            && self.types.as_ref().is_none_or(|all| all.contains(kind))
            && self.queues.as_ref().is_none_or(|all| all.contains(queue))
            && !self.except.contains(kind)
    }

    fn takes(&self, tenant: &str, place: &Place) -> bool {
        self.takes_job(tenant, &place.queue, &place.kind)
    }
}

/// A lane that may have jobs which are due.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub lane: LaneKey,
    /// Nothing of it lies before.
    pub from: Mark,
    pick: u64,
}

/// What a claim should read.
#[derive(Debug, Default)]
pub(crate) struct Pick {
    /// In the order in which they should be served: each tenant's most urgent lane, then each
    /// tenant's second …
    pub lanes: Vec<Candidate>,
    /// What a tenant may get while others wait.
    pub share: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    wait_begins: Notify,
}

/// By their tenants.
type Lanes = BTreeMap<Arc<str>, HashMap<Place, Lane>>;

#[derive(Debug, Default)]
struct State {
    lanes: Lanes,
    /// Of workers that have any reserved for them.
    reserved: HashMap<Arc<str>, Lanes>,
    /// (tenant, queue) pairs that are at their limit: nothing of them is due until a job ends.
    full: HashSet<(Arc<str>, Arc<str>)>,
    /// Pairs of which a job has ended, and after which claim. A claim may count before that end is
    /// written, and tell after it was heard of.
    freed: HashMap<(Arc<str>, Arc<str>), u64>,
    /// Counts hints, so that a rebuild does not erase what was heard while it read.
    generation: u64,
    /// Counts claims, so that none passes over what was heard while it read.
    picks: u64,
    /// The tenant that was served first by the last claim over all tenants.
    served: Option<Arc<str>>,
    waiters: BTreeMap<u64, Waiting>,
    next_waiter: u64,
}

/// A lane within its tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    queue: Arc<str>,
    kind: Arc<str>,
    priority: i32,
}

impl Board {
    /// `count` jobs of a lane wait, the first of them due at `due`.
    pub(crate) fn hint(&self, lane: &LaneKey, due: Time, count: usize, now: Time) {
        let mut state = self.lock();
        let earlier = state.note(lane, Mark::start_of(due));
        if due <= now {
            state.wake(lane, count);
        } else if earlier {
            // Everybody who waits must wait for less.
            state.wake(lane, usize::MAX);
        }
    }

    /// What to read for a claim of `limit` jobs.
    pub(crate) fn pick(&self, filter: &Filter, now: Time, limit: u32) -> Pick {
        self.lock().pick(None, filter, now, limit)
    }

    /// The same of what is reserved for a worker.
    pub(crate) fn pick_reserved(
        &self,
        worker: &Arc<str>,
        filter: &Filter,
        now: Time,
        limit: u32,
    ) -> Pick {
        self.lock().pick(Some(worker), filter, now, limit)
    }

    /// Whether anything may be reserved for anybody.
    pub(crate) fn has_reserved(&self) -> bool {
        !self.lock().reserved.is_empty()
    }

    /// After a claim: what it has learned of a lane.
    pub(crate) fn settle(&self, candidate: &Candidate, next: Next, now: Time) {
        let mut state = self.lock();
        let state = &mut *state;
        let key = &candidate.lane;
        let place = Place::of(key);
        let Some(lane) = state.lane_mut(key, &place) else {
            // A rebuild dropped it meanwhile.
            if let Next::At(mark) | Next::Held(mark) = next {
                state.note(key, mark);
            }
            return;
        };
        if !lane.settle(candidate.pick, next, now) {
            state.remove(key, &place);
            return;
        }
        if lane.due() <= now {
            // One hint may stand for many jobs of another process.
            state.wake(key, 1);
        }
    }

    /// A claim has found the lane's queue at its limit.
    pub(crate) fn fill(&self, candidate: &Candidate) {
        let mut state = self.lock();
        let LaneKey { tenant, queue, .. } = &candidate.lane;
        let pair = (Arc::clone(tenant), Arc::clone(queue));
        if state
            .freed
            .get(&pair)
            .is_some_and(|after| *after >= candidate.pick)
        {
            state.wake_queue(tenant, queue, 1);
        } else {
            state.full.insert(pair);
        }
    }

    /// A job of a queue that has a limit has ended, or several; that many may look.
    pub(crate) fn drained(&self, tenant: &Arc<str>, queue: &Arc<str>, ended: usize) {
        let mut state = self.lock();
        let (pair, pick) = ((Arc::clone(tenant), Arc::clone(queue)), state.picks);
        if state.full.remove(&pair) {
            state.wake_queue(tenant, queue, ended);
        }
        state.freed.insert(pair, pick);
    }

    /// Begins a rebuild; what it returns goes to [`Board::rebuilt`].
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Ends a rebuild that found these lanes and the first entry of each. Lanes that it did not find
    /// and of which nothing was heard since it began are empty. Whether it found anything that was
    /// not known.
    pub(crate) fn rebuilt(&self, since: u64, found: &[(LaneKey, Mark)], now: Time) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        // A limit may have been raised, and what ended elsewhere was not heard here.
        state.full.clear();
        let oldest = state.picks.saturating_sub(CLAIMS_UNDER_WAY);
        state.freed.retain(|_, after| *after >= oldest);
        let mut seen: HashMap<(Option<&str>, &str), HashSet<Place>> = HashMap::new();
        for (lane, _) in found {
            seen.entry((lane.reserved_for.as_deref(), &lane.tenant))
                .or_default()
                .insert(Place::of(lane));
        }
        let keep = |worker: Option<&str>, lanes: &mut Lanes| {
            lanes.retain(|tenant, places| {
                let seen = seen.get(&(worker, &**tenant));
                places.retain(|place, lane| {
                    lane.generation > since || seen.is_some_and(|seen| seen.contains(place))
                });
                !places.is_empty()
            });
            !lanes.is_empty()
        };
        keep(None, &mut state.lanes);
        state
            .reserved
            .retain(|worker, lanes| keep(Some(&**worker), lanes));
        let mut news = false;
        for (key, first) in found {
            let place = Place::of(key);
            match state.lane_mut(key, &place) {
                // Nothing was heard of it: what it has begins where the store says.
                Some(lane) if lane.generation <= since && lane.from <= *first => {
                    lane.from = first.clone();
                }
                _ => news |= state.note(key, first.clone()),
            }
            if first.due <= now {
                state.wake(key, 1);
            }
        }
        news
    }

    #[cfg(test)]
    pub(crate) fn next_due(&self, filter: &Filter) -> Option<Time> {
        self.lock().next_due(filter, None)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything, as if every wake-up had been lost.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.lanes.clear();
        state.reserved.clear();
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiters.len()
    }
}

impl Place {
    fn of(lane: &LaneKey) -> Self {
        Place {
            queue: Arc::clone(&lane.queue),
            kind: Arc::clone(&lane.kind),
            priority: lane.priority,
        }
    }
}

#[cfg(test)]
mod tests;
