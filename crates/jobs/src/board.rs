//! The board: which lanes have jobs, and when the next one of each is due.
//!
//! A lane is (tenant, queue, type, priority); in the store its entries are one index range in due
//! order. The board is only a hint that spares the store idle questions: commits add to it, claims
//! correct it, and the keeper rebuilds it from the store at every poll interval. Losing all of it
//! costs at most that interval.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidewire_core::{Clock, Time};
use tokio::{sync::Notify, time::Instant};

/// Lanes that one claim reads at most.
const LANES_A_CLAIM: usize = 64;

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
}

impl Filter {
    fn takes(&self, tenant: &str, place: &Place) -> bool {
        self.tenant.as_deref().is_none_or(|only| only == tenant)
            && self
                .types
                .as_ref()
                .is_none_or(|all| all.contains(&place.kind))
            && self
                .queues
                .as_ref()
                .is_none_or(|all| all.contains(&place.queue))
    }
}

/// A lane that may have jobs which are due.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub lane: LaneKey,
    generation: u64,
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
}

#[derive(Debug, Default)]
struct State {
    tenants: BTreeMap<Arc<str>, HashMap<Place, Lane>>,
    /// (tenant, queue) pairs that are at their limit: nothing of them is due until a job ends.
    full: HashSet<(Arc<str>, Arc<str>)>,
    /// Counts hints, so that a claim that found a lane empty does not erase a newer hint.
    generation: u64,
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

#[derive(Debug)]
struct Lane {
    due: Time,
    generation: u64,
}

#[derive(Debug)]
struct Waiting {
    filter: Arc<Filter>,
    notify: Arc<Notify>,
    /// It was told to look and has not looked yet.
    woken: bool,
}

impl Board {
    /// `count` jobs of a lane wait, the first of them due at `due`.
    pub(crate) fn hint(&self, lane: &LaneKey, due: Time, count: usize, now: Time) {
        let mut state = self.lock();
        let earlier = state.note(lane, due);
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
                if let Some((place, generation)) = places.get(rank) {
                    let lane = LaneKey {
                        tenant: Arc::clone(tenant),
                        queue: Arc::clone(&place.queue),
                        kind: Arc::clone(&place.kind),
                        priority: place.priority,
                    };
                    lanes.push(Candidate {
                        lane,
                        generation: *generation,
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

    /// After a claim: when the next job of the lane is due, or that it has none.
    pub(crate) fn settle(&self, candidate: &Candidate, next: Option<Time>) {
        let mut state = self.lock();
        let place = Place::of(&candidate.lane);
        let Some(places) = state.tenants.get_mut(&candidate.lane.tenant) else {
            return;
        };
        let Some(lane) = places.get_mut(&place) else {
            return;
        };
        match next {
            Some(due) if lane.generation == candidate.generation => lane.due = due,
            Some(due) => lane.due = lane.due.min(due),
            None if lane.generation == candidate.generation => {
                places.remove(&place);
                if places.is_empty() {
                    state.tenants.remove(&candidate.lane.tenant);
                }
            }
            None => {}
        }
    }

    /// The queue is at its limit.
    pub(crate) fn fill(&self, tenant: &Arc<str>, queue: &Arc<str>) {
        let pair = (Arc::clone(tenant), Arc::clone(queue));
        self.lock().full.insert(pair);
    }

    /// A job of the queue has ended.
    pub(crate) fn drained(&self, tenant: &Arc<str>, queue: &Arc<str>, ended: usize) {
        let mut state = self.lock();
        if state.full.is_empty() {
            return;
        }
        if state.full.remove(&(Arc::clone(tenant), Arc::clone(queue))) {
            state.wake_queue(tenant, queue, ended);
        }
    }

    /// Begins a rebuild; what it returns goes to [`Board::rebuilt`].
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Ends a rebuild that found these lanes. Lanes that it did not find and of which nothing was
    /// heard since it began are empty.
    pub(crate) fn rebuilt(&self, since: u64, found: &[(LaneKey, Time)], now: Time) {
        let mut state = self.lock();
        // A limit may have been raised, and what ended elsewhere was not heard here.
        state.full.clear();
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
        for (lane, due) in found {
            state.note(lane, *due);
            if *due <= now {
                state.wake(lane, 1);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn next_due(&self, filter: &Filter) -> Option<Time> {
        self.lock().next_due(filter)
    }

    /// A place among those who wait for jobs.
    pub(crate) fn waiter(self: &Arc<Self>, filter: Arc<Filter>) -> Waiter {
        let notify = Arc::new(Notify::new());
        let mut state = self.lock();
        let id = state.next_waiter;
        state.next_waiter += 1;
        let waiting = Waiting {
            filter: Arc::clone(&filter),
            notify: Arc::clone(&notify),
            woken: false,
        };
        state.waiters.insert(id, waiting);
        Waiter {
            board: Arc::clone(self),
            id,
            filter,
            notify,
        }
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

type DueLanes = Vec<(Arc<str>, Vec<(Place, u64)>)>;

impl State {
    /// Whether the lane is due earlier now than it was.
    fn note(&mut self, lane: &LaneKey, due: Time) -> bool {
        self.generation += 1;
        let generation = self.generation;
        let places = match self.tenants.get_mut(&lane.tenant) {
            Some(places) => places,
            None => self.tenants.entry(Arc::clone(&lane.tenant)).or_default(),
        };
        let mut earlier = true;
        places
            .entry(Place::of(lane))
            .and_modify(|known| {
                earlier = due < known.due;
                known.due = known.due.min(due);
                known.generation = generation;
            })
            .or_insert(Lane { due, generation });
        earlier
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
                    lane.due <= now && filter.takes(tenant, place) && !self.is_full(tenant, place)
                })
                .map(|(place, lane)| (place.priority, lane.due, place, lane.generation))
                .collect();
            if due.is_empty() {
                return found.len() < most;
            }
            due.sort_by_key(|lane| (lane.0, lane.1));
            let due = due
                .into_iter()
                .map(|(_, _, place, generation)| (place.clone(), generation));
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
                .map(|(_, lane)| lane.due)
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

/// Somebody who waits for jobs. Dropping it gives its place up, and a wake-up that it did not use
/// goes to the others.
#[derive(Debug)]
pub(crate) struct Waiter {
    board: Arc<Board>,
    id: u64,
    filter: Arc<Filter>,
    notify: Arc<Notify>,
}

impl Waiter {
    /// Waits until something is due, at most until `end`; whether something is. It looks by itself
    /// every `poll`, should a wake-up be lost.
    pub(crate) async fn due(&self, clock: &Clock, end: Option<Instant>, poll: Duration) -> bool {
        loop {
            let now = clock.now();
            let next = self.look();
            if next.is_some_and(|due| due <= now) {
                return true;
            }
            let started = Instant::now();
            if end.is_some_and(|end| end <= started) {
                return false;
            }
            let wait = next.map_or(poll, |due| due.since(now).min(poll));
            let until = started + wait.max(Duration::from_millis(1));
            let until = end.map_or(until, |end| end.min(until));
            tokio::select! {
                () = self.notify.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn look(&self) -> Option<Time> {
        let mut state = self.board.lock();
        if let Some(waiting) = state.waiters.get_mut(&self.id) {
            waiting.woken = false;
        }
        state.next_due(&self.filter)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.board.lock();
        if state
            .waiters
            .remove(&self.id)
            .is_some_and(|waiting| waiting.woken)
        {
            state.wake_where(usize::MAX, |_| true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    fn lane(tenant: &str, queue: &str, priority: i32) -> LaneKey {
        LaneKey::new(tenant, queue, "t", priority)
    }

    fn picked(board: &Board, filter: &Filter, limit: u32) -> Vec<(String, i32)> {
        let pick = board.pick(filter, at(100), limit);
        let name =
            |candidate: &Candidate| (candidate.lane.tenant.to_string(), candidate.lane.priority);
        pick.lanes.iter().map(name).collect()
    }

    #[test]
    fn the_lower_priority_comes_first_and_what_is_not_due_not_at_all() {
        let board = Board::default();
        board.hint(&lane("a", "q", 5), at(1), 1, at(100));
        board.hint(&lane("a", "q", -5), at(90), 1, at(100));
        board.hint(&lane("a", "q", 0), at(101), 1, at(100));
        let both = [("a".to_owned(), -5), ("a".to_owned(), 5)];
        assert_eq!(picked(&board, &Filter::default(), 10), both);
        assert_eq!(board.next_due(&Filter::default()), Some(at(1)));
    }

    #[test]
    fn tenants_take_turns() {
        let board = Board::default();
        for tenant in ["a", "b", "c"] {
            board.hint(&lane(tenant, "q", 0), at(1), 1, at(100));
        }
        let first = || picked(&board, &Filter::default(), 1)[0].0.clone();
        let turns = [first(), first(), first(), first()];
        assert_eq!(turns, ["a", "b", "c", "a"]);
        let pick = board.pick(&Filter::default(), at(100), 10);
        assert_eq!((pick.lanes.len(), pick.share), (3, 4));
    }

    #[test]
    fn an_empty_lane_goes_unless_something_came_meanwhile() {
        let board = Board::default();
        let all = Filter::default();
        board.hint(&lane("a", "q", 0), at(1), 1, at(100));
        let pick = board.pick(&all, at(100), 1);
        board.hint(&lane("a", "q", 0), at(2), 1, at(100));
        board.settle(&pick.lanes[0], None);
        assert!(board.next_due(&all).is_some(), "a newer hint came");
        let pick = board.pick(&all, at(100), 1);
        board.settle(&pick.lanes[0], Some(at(500)));
        assert_eq!(board.next_due(&all), Some(at(500)));
    }

    #[test]
    fn a_full_queue_is_passed_over_until_a_job_of_it_ends() {
        let board = Board::default();
        let all = Filter::default();
        let full = lane("a", "q", 0);
        board.hint(&full, at(1), 1, at(100));
        board.fill(&full.tenant, &full.queue);
        assert!(picked(&board, &all, 1).is_empty());
        assert_eq!(board.next_due(&all), None);
        board.drained(&full.tenant, &full.queue, 1);
        assert_eq!(picked(&board, &all, 1).len(), 1);
    }

    #[test]
    fn a_rebuild_adds_what_was_lost_and_drops_what_is_gone() {
        let board = Board::default();
        let all = Filter::default();
        board.hint(&lane("gone", "q", 0), at(1), 1, at(100));
        let since = board.generation();
        board.hint(&lane("new", "q", 0), at(3), 1, at(100));
        board.rebuilt(since, &[(lane("lost", "q", 0), at(2))], at(100));
        let mut left: Vec<_> = picked(&board, &all, 10)
            .into_iter()
            .map(|(tenant, _)| tenant)
            .collect();
        left.sort();
        assert_eq!(left, ["lost", "new"]);
    }

    #[tokio::test]
    async fn one_job_wakes_one_of_those_who_wait_and_its_leaving_wakes_the_next() {
        let board = Arc::new(Board::default());
        let filter = Arc::new(Filter::default());
        let (first, second) = (board.waiter(Arc::clone(&filter)), board.waiter(filter));
        board.hint(&lane("a", "q", 0), at(1), 1, at(100));
        assert_eq!(board.lock().waiters.values().filter(|w| w.woken).count(), 1);
        drop(first);
        let clock = Clock::fake(at(100));
        assert!(second.due(&clock, None, Duration::from_secs(60)).await);
        drop(second);
        assert_eq!(board.waiting(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_another_type_sleeps_on() {
        let board = Arc::new(Board::default());
        let filter = Filter {
            types: Some(["other".into()].into()),
            ..Filter::default()
        };
        let waiter = board.waiter(Arc::new(filter));
        board.hint(&lane("a", "q", 0), at(1), 5, at(100));
        let clock = Clock::fake(at(100));
        let end = Some(Instant::now() + Duration::from_millis(20));
        assert!(!waiter.due(&clock, end, Duration::from_secs(60)).await);
    }
}
