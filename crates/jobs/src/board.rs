//! The board: which lanes have jobs, and when the next one of each is due.
//!
//! A lane is (tenant, queue, type, priority); in the store its entries are one index range in due
//! order. The board is only a hint that spares the store idle questions: commits add to it, here and
//! in other processes, claims correct it, and the keeper rebuilds it from the store at every poll
//! interval. Losing all of it costs at most that interval.

mod lane;
mod waiter;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    ops::Bound,
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

#[derive(Debug, Default)]
struct State {
    tenants: BTreeMap<Arc<str>, HashMap<Place, Lane>>,
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
        let mut state = self.lock();
        state.picks += 1;
        let pick = state.picks;
        let found = state.due_by_tenant(filter, now, limit.max(1) as usize);
        if found.is_empty() {
            return Pick::default();
        }
        let tenants = u32::try_from(found.len()).unwrap_or(u32::MAX);
        if filter.tenant.is_none()
            && let Some((first, _)) = found.first()
        {
            state.served = Some(Arc::clone(first));
        }
        let mut lanes = Vec::new();
        for rank in 0.. {
            let before = lanes.len();
            for (tenant, places) in &found {
                if let Some((place, from)) = places.get(rank) {
                    let lane = LaneKey {
                        tenant: Arc::clone(tenant),
                        queue: Arc::clone(&place.queue),
                        kind: Arc::clone(&place.kind),
                        priority: place.priority,
                    };
                    lanes.push(Candidate {
                        lane,
                        from: from.clone(),
                        pick,
                    });
                }
            }
            if lanes.len() == before || lanes.len() >= LANES_A_CLAIM {
                break;
            }
        }
        lanes.truncate(LANES_A_CLAIM);
        Pick {
            lanes,
            share: limit.div_ceil(tenants).max(1),
        }
    }

    /// After a claim: what it has learned of a lane.
    pub(crate) fn settle(&self, candidate: &Candidate, next: Next, now: Time) {
        let mut state = self.lock();
        let state = &mut *state;
        let key = &candidate.lane;
        let place = Place::of(key);
        let known = state
            .tenants
            .get_mut(&key.tenant)
            .and_then(|places| places.get_mut(&place));
        let Some(lane) = known else {
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
        let mut seen: HashMap<&str, HashSet<Place>> = HashMap::new();
        for (lane, _) in found {
            seen.entry(&lane.tenant)
                .or_default()
                .insert(Place::of(lane));
        }
        state.tenants.retain(|tenant, places| {
            let seen = seen.get(&**tenant);
            places.retain(|place, lane| {
                lane.generation > since || seen.is_some_and(|seen| seen.contains(place))
            });
            !places.is_empty()
        });
        let mut news = false;
        for (key, first) in found {
            let place = Place::of(key);
            let known = state
                .tenants
                .get_mut(&key.tenant)
                .and_then(|places| places.get_mut(&place));
            match known {
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
        self.lock().next_due(filter)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything, as if every wake-up had been lost.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        self.lock().tenants.clear();
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

type DueLanes = Vec<(Arc<str>, Vec<(Place, Mark)>)>;

impl State {
    /// A lane has jobs from this place on. Whether it is due earlier now than it was.
    fn note(&mut self, key: &LaneKey, from: Mark) -> bool {
        self.generation += 1;
        let (generation, pick) = (self.generation, self.picks);
        let places = match self.tenants.get_mut(&key.tenant) {
            Some(places) => places,
            None => self.tenants.entry(Arc::clone(&key.tenant)).or_default(),
        };
        match places.entry(Place::of(key)) {
            Entry::Occupied(mut lane) => {
                let lane = lane.get_mut();
                lane.generation = generation;
                lane.hear(from, pick)
            }
            Entry::Vacant(place) => {
                let lane = place.insert(Lane::new(from.clone(), generation));
                lane.hear(from, pick);
                true
            }
        }
    }

    fn remove(&mut self, key: &LaneKey, place: &Place) {
        if let Some(places) = self.tenants.get_mut(&key.tenant) {
            places.remove(place);
            if places.is_empty() {
                self.tenants.remove(&key.tenant);
            }
        }
    }

    /// Up to `most` tenants with lanes that are due, each with these in the order of urgency;
    /// beginning behind the tenant that came first last time.
    fn due_by_tenant(&self, filter: &Filter, now: Time, most: usize) -> DueLanes {
        let most = most.min(LANES_A_CLAIM);
        let mut found = Vec::new();
        let mut look = |tenant: &Arc<str>, places: &HashMap<Place, Lane>| {
            let mut due: Vec<_> = places
                .iter()
                .filter(|(place, lane)| {
                    lane.due() <= now && filter.takes(tenant, place) && !self.is_full(tenant, place)
                })
                .map(|(place, lane)| (place.priority, lane.from.due, place, &lane.from))
                .collect();
            if due.is_empty() {
                return found.len() < most;
            }
            due.sort_by_key(|lane| (lane.0, lane.1));
            let due = due
                .into_iter()
                .map(|(_, _, place, from)| (place.clone(), from.clone()));
            found.push((Arc::clone(tenant), due.collect()));
            found.len() < most
        };
        if let Some(tenant) = &filter.tenant {
            if let Some(places) = self.tenants.get(tenant) {
                look(tenant, places);
            }
            return found;
        }
        let after = match &self.served {
            Some(served) => (Bound::Excluded(Arc::clone(served)), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let turn = self.tenants.range(after);
        let before = self
            .served
            .iter()
            .flat_map(|served| self.tenants.range(..=Arc::clone(served)));
        for (tenant, places) in turn.chain(before) {
            if !look(tenant, places) {
                break;
            }
        }
        found
    }

    fn next_due(&self, filter: &Filter) -> Option<Time> {
        let of = |tenant: &Arc<str>, places: &HashMap<Place, Lane>| {
            places
                .iter()
                .filter(|(place, _)| filter.takes(tenant, place) && !self.is_full(tenant, place))
                .map(|(_, lane)| lane.due())
                .min()
        };
        match &filter.tenant {
            Some(tenant) => of(tenant, self.tenants.get(tenant)?),
            None => self
                .tenants
                .iter()
                .filter_map(|(tenant, places)| of(tenant, places))
                .min(),
        }
    }

    fn is_full(&self, tenant: &Arc<str>, place: &Place) -> bool {
        !self.full.is_empty()
            && self
                .full
                .contains(&(Arc::clone(tenant), Arc::clone(&place.queue)))
    }

    /// Tells up to `count` of those who wait for this lane to look, the longest waiting first.
    fn wake(&mut self, lane: &LaneKey, count: usize) {
        if self.waiters.is_empty() {
            return;
        }
        let place = Place::of(lane);
        self.wake_where(count, |filter| filter.takes(&lane.tenant, &place));
    }

    fn wake_queue(&mut self, tenant: &Arc<str>, queue: &Arc<str>, count: usize) {
        self.wake_where(count, |filter| {
            filter.tenant.as_ref().is_none_or(|only| only == tenant)
                && filter.queues.as_ref().is_none_or(|all| all.contains(queue))
        });
    }

    fn wake_where(&mut self, count: usize, takes: impl Fn(&Filter) -> bool) {
        let waiting = self.waiters.values_mut();
        for waiter in waiting
            .filter(|waiter| !waiter.woken && takes(&waiter.filter))
            .take(count)
        {
            waiter.woken = true;
            waiter.notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
