//! What the board does with its lanes, under its lock.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Bound,
    sync::Arc,
};

use tidewire_core::Time;

use super::{
    Candidate, Filter, LANES_A_CLAIM, Lane, LaneKey, Lanes, Mark, Pick, Place, State, Waiting,
};

type DueLanes = Vec<(Arc<str>, Vec<(Place, Mark)>)>;

impl State {
    /// A lane has jobs from this place on. Whether it is due earlier now than it was.
    pub(super) fn note(&mut self, key: &LaneKey, from: Mark) -> bool {
        self.generation += 1;
        let (generation, pick) = (self.generation, self.picks);
        let lanes = match &key.reserved_for {
            Some(worker) => self.reserved.entry(Arc::clone(worker)).or_default(),
            None => &mut self.lanes,
        };
        let places = match lanes.get_mut(&key.tenant) {
            Some(places) => places,
            None => lanes.entry(Arc::clone(&key.tenant)).or_default(),
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

    pub(super) fn remove(&mut self, key: &LaneKey, place: &Place) {
        let lanes = match &key.reserved_for {
            Some(worker) => self.reserved.get_mut(worker),
            None => Some(&mut self.lanes),
        };
        let Some(lanes) = lanes else { return };
        if let Some(places) = lanes.get_mut(&key.tenant) {
            places.remove(place);
            if places.is_empty() {
                lanes.remove(&key.tenant);
            }
        }
        if lanes.is_empty()
            && let Some(worker) = &key.reserved_for
        {
            self.reserved.remove(worker);
        }
    }

    pub(super) fn lane_mut(&mut self, key: &LaneKey, place: &Place) -> Option<&mut Lane> {
        let lanes = match &key.reserved_for {
            Some(worker) => self.reserved.get_mut(worker)?,
            None => &mut self.lanes,
        };
        lanes.get_mut(&key.tenant)?.get_mut(place)
    }

    /// What to read for a claim of `limit` jobs: those of everybody, or those of a worker's own.
    pub(super) fn pick(
        &mut self,
        worker: Option<&Arc<str>>,
        filter: &Filter,
        now: Time,
        limit: u32,
    ) -> Pick {
        self.picks += 1;
        let pick = self.picks;
        let lanes = match worker {
            Some(worker) => self.reserved.get(worker),
            None => Some(&self.lanes),
        };
        let most = limit.max(1) as usize;
        let found = lanes.map(|lanes| self.due_by_tenant(lanes, filter, now, most));
        let found = found.unwrap_or_default();
        if found.is_empty() {
            return Pick::default();
        }
        let tenants = u32::try_from(found.len()).unwrap_or(u32::MAX);
        if filter.tenant.is_none()
            && worker.is_none()
            && let Some((first, _)) = found.first()
        {
            self.served = Some(Arc::clone(first));
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
                        reserved_for: worker.cloned(),
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

    /// Up to `most` tenants with lanes that are due, each with these in the order of urgency;
    /// beginning behind the tenant that came first last time.
    fn due_by_tenant(&self, lanes: &Lanes, filter: &Filter, now: Time, most: usize) -> DueLanes {
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
            if let Some(places) = lanes.get(tenant) {
                look(tenant, places);
            }
            return found;
        }
        let after = match &self.served {
            Some(served) => (Bound::Excluded(Arc::clone(served)), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let turn = lanes.range(after);
        let before = self
            .served
            .iter()
            .flat_map(|served| lanes.range(..=Arc::clone(served)));
        for (tenant, places) in turn.chain(before) {
            if !look(tenant, places) {
                break;
            }
        }
        found
    }

    /// When a claim with this filter should look next, by anybody or by this worker.
    pub(super) fn next_due(&self, filter: &Filter, worker: Option<&str>) -> Option<Time> {
        let reserved = worker.and_then(|worker| self.reserved.get(worker));
        let own = reserved.and_then(|lanes| self.next_due_of(lanes, filter));
        if filter.own {
            return own;
        }
        let next = self.next_due_of(&self.lanes, filter);
        own.into_iter().chain(next).min()
    }

    fn next_due_of(&self, lanes: &Lanes, filter: &Filter) -> Option<Time> {
        let of = |tenant: &Arc<str>, places: &HashMap<Place, Lane>| {
            places
                .iter()
                .filter(|(place, _)| filter.takes(tenant, place) && !self.is_full(tenant, place))
                .map(|(_, lane)| lane.due())
                .min()
        };
        match &filter.tenant {
            Some(tenant) => of(tenant, lanes.get(tenant)?),
            None => lanes
                .iter()
                .filter_map(|(tenant, places)| of(tenant, places))
                .min(),
        }
    }

    pub(super) fn is_full(&self, tenant: &Arc<str>, place: &Place) -> bool {
        !self.full.is_empty()
            && self
                .full
                .contains(&(Arc::clone(tenant), Arc::clone(&place.queue)))
    }

    /// Tells up to `count` of those who wait for this lane to look, the longest waiting first.
    pub(super) fn wake(&mut self, lane: &LaneKey, count: usize) {
        if self.waiters.is_empty() {
            return;
        }
        let place = Place::of(lane);
        let only = lane.reserved_for.as_deref();
        self.wake_where(count, |waiting| {
            only.map_or(!waiting.filter.own, |worker| worker == &*waiting.worker)
                && waiting.filter.takes(&lane.tenant, &place)
        });
    }

    pub(super) fn wake_queue(&mut self, tenant: &Arc<str>, queue: &Arc<str>, count: usize) {
        let takes = |Waiting { filter, .. }: &Waiting| {
            filter.tenant.as_ref().is_none_or(|only| only == tenant)
                && filter.queues.as_ref().is_none_or(|all| all.contains(queue))
        };
        self.wake_where(count, |waiting| !waiting.filter.own && takes(waiting));
        // Besides, and not in the place of one of those: what has ended may have been in their way.
        self.wake_where(usize::MAX, |waiting| waiting.filter.own && takes(waiting));
    }

    pub(super) fn wake_where(&mut self, count: usize, takes: impl Fn(&Waiting) -> bool) {
        let waiting = self.waiters.values_mut();
        for waiter in waiting
            .filter(|waiter| !waiter.woken && takes(waiter))
            .take(count)
        {
            waiter.woken = true;
            waiter.notify.notify_one();
        }
    }
}
