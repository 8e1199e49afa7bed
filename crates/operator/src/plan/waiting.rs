//! Who gets an instance: the threads that wait, and the warm pools behind them.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use tidewire_core::Time;

use super::{
    Action, Planner, Retired, Said, Whose,
    room::{Place, Room, Scope},
};
use crate::{Instance, Phase, Template, ThreadKey};

/// A thread without an instance.
struct Waiting {
    key: ThreadKey,
    agent: Option<Arc<str>>,
    turn: Option<Arc<str>>,
    since: Time,
}

/// An instance that may give way to a thread that waits.
struct Idle<'l> {
    instance: &'l Instance,
    place: Place,
}

/// A tenant and an agent.
type Pool = (Arc<str>, Option<Arc<str>>);

/// Warm instances by whom they are for, the best one last.
type Warm<'l> = HashMap<Pool, Vec<&'l Instance>>;

impl<'l> Planner<'l> {
    pub(super) fn threads(&mut self, room: &mut Room<'l>) {
        let mut warm = self.warm();
        let mut coming = self.coming();
        let mut promised: HashMap<Pool, u32> = HashMap::new();
        let mut idle = self.idle_ones(room);
        // Searched in vain: whoever is like these finds nobody either.
        let mut nobody: HashSet<(Place, bool, bool)> = HashSet::new();
        for waiting in self.in_order(room) {
            let pool = (Arc::clone(&waiting.key.tenant), waiting.agent.clone());
            if let Some(instance) = warm.get_mut(&pool).and_then(Vec::pop) {
                idle.retain(|it| it.instance.name != instance.name);
                self.memory.waits.remove(&waiting.key);
                self.bind(&instance.name, waiting.key);
                continue;
            }
            if let Some(count @ 1..) = coming.get_mut(&pool) {
                // A moment later it can be bound.
                *count -= 1;
                *promised.entry(pool).or_default() += 1;
                continue;
            }
            let place = room.place(&waiting.key.tenant, waiting.agent.as_deref());
            if room.has_place(&place) {
                room.start(&place);
                self.memory.waits.remove(&waiting.key);
                self.start(waiting);
                continue;
            }
            let reached = room.reached(&place);
            if reached.is_empty() {
                // Somebody goes already.
                room.reserve(&place);
                self.plan.waiting += 1;
                continue;
            }
            let has = |scope| reached.contains(&scope);
            let like = (place.clone(), has(Scope::Tenant), has(Scope::Template));
            let way = match nobody.contains(&like) {
                true => None,
                false => idle
                    .iter()
                    .position(|it| room.helps(&it.place, &place, &reached)),
            };
            self.plan.waiting += 1;
            match way {
                Some(at) => {
                    let way = idle.remove(at);
                    // Nobody is bound to one that goes.
                    for pool in warm.values_mut() {
                        pool.retain(|it| it.name != way.instance.name);
                    }
                    room.leave(&way.place);
                    room.reserve(&place);
                    self.retire(way.instance, Retired::Room);
                }
                None => {
                    nobody.insert(like);
                    self.waits(waiting.key, reached[0]);
                }
            }
        }
        self.fill_pools(room, warm, &promised);
    }

    /// The threads that wait for an instance: the oldest first of whichever tenant has the fewest.
    fn in_order(&mut self, room: &Room<'_>) -> Vec<Waiting> {
        let mut of_tenants: HashMap<Arc<str>, VecDeque<Waiting>> = HashMap::new();
        let mut all = self.waiting();
        all.sort_by(|a, b| (a.since, &a.key).cmp(&(b.since, &b.key)));
        for waiting in all {
            let tenant = Arc::clone(&waiting.key.tenant);
            of_tenants.entry(tenant).or_default().push_back(waiting);
        }
        let turn = |tenant: &Arc<str>, threads: &VecDeque<Waiting>, has: u32| {
            let first = threads.front()?;
            Some((has, first.since, Arc::clone(tenant)))
        };
        let mut next: BTreeSet<_> = of_tenants
            .iter()
            .filter_map(|(tenant, threads)| turn(tenant, threads, room.of_tenant(tenant)))
            .collect();
        let mut order = Vec::new();
        while let Some((has, _, tenant)) = next.pop_first() {
            let Some(threads) = of_tenants.get_mut(&tenant) else {
                continue;
            };
            order.extend(threads.pop_front());
            next.extend(turn(&tenant, threads, has + 1));
        }
        order
    }

    fn waiting(&mut self) -> Vec<Waiting> {
        let look = self.look;
        let taken: HashSet<_> = look.instances.iter().filter_map(Instance::key).collect();
        let open = look.wanted.iter().map(|it| Waiting {
            key: it.key.clone(),
            agent: it.agent.clone(),
            turn: Some(Arc::clone(&it.turn)),
            since: it.since,
        });
        let unasked = |key: &ThreadKey| !self.wanted.contains_key(key);
        let rested = &self.memory.rested;
        let pinned = look.pinned.iter();
        let pinned = pinned
            .filter(|it| unasked(&it.key) && !rested.contains(&it.key))
            .map(|it| Waiting {
                key: it.key.clone(),
                agent: it.agent.clone(),
                turn: None,
                since: look.now,
            });
        let all: Vec<_> = open.chain(pinned).collect();
        all.into_iter()
            .filter(|it| !taken.contains(&it.key) && self.may_have_one(it))
            .collect()
    }

    fn may_have_one(&mut self, waiting: &Waiting) -> bool {
        let (look, key) = (self.look, &waiting.key);
        let is_leaving = self.pinned.get(key).is_some_and(|it| it.is_leaving);
        let template = Template::of(look.templates, &key.tenant, waiting.agent.as_deref());
        if is_leaving || template.is_none() || look.busy.threads.contains(key) {
            return false;
        }
        self.may_start(key) && !self.is_anothers(key)
    }

    /// Whether another operator's instance has the thread, or one here of which that is not known yet.
    fn is_anothers(&mut self, key: &ThreadKey) -> bool {
        let Some(wanted) = self.wanted.get(key).copied() else {
            return false;
        };
        let (Some(by), Some(until)) = (&wanted.leased_by, wanted.leased_until) else {
            return false;
        };
        if self.memory.has_ended(by) || until <= self.look.now {
            return false;
        }
        self.look_at(until);
        true
    }

    /// Warm instances that threads may have.
    fn warm(&mut self) -> Warm<'l> {
        let mut warm = Warm::new();
        for it in self.look.instances {
            if it.thread.is_none() && self.is_free(it) {
                let pool = (Arc::clone(&it.tenant), it.agent.clone());
                warm.entry(pool).or_default().push(it);
            }
        }
        for pool in warm.values_mut() {
            pool.sort_by_key(|it| (it.phase == Phase::Ready, Reverse(it.started_at)));
        }
        warm
    }

    /// Warm instances for which something is under way, so that nobody can have them yet.
    fn coming(&self) -> HashMap<Pool, u32> {
        let look = self.look;
        let mut coming = HashMap::new();
        for it in look.instances {
            if it.thread.is_none() && it.is_live() && look.busy.names.contains(&it.name) {
                let pool = (Arc::clone(&it.tenant), it.agent.clone());
                *coming.entry(pool).or_default() += 1;
            }
        }
        coming
    }

    /// Instances that may give way, in this order: warm ones, then those that are idle for the
    /// longest, then those that somebody has pinned.
    fn idle_ones(&mut self, room: &Room<'_>) -> Vec<Idle<'l>> {
        let mut idle = Vec::new();
        for it in self.look.instances {
            let key = it.key();
            let is_wanted = key.as_ref().is_some_and(|key| {
                self.wanted.contains_key(key) || self.look.busy.threads.contains(key)
            });
            if is_wanted || !self.is_free(it) {
                continue;
            }
            let is_pinned = key.is_some_and(|key| self.pinned.contains_key(&key));
            let since = match it.thread {
                Some(_) => self.memory.idle_since(&it.name, self.look.now),
                None => it.started_at,
            };
            let instance = it;
            let place = room.place(&it.tenant, it.agent.as_deref());
            let rank = (is_pinned, it.thread.is_some(), since);
            idle.push((rank, Idle { instance, place }));
        }
        idle.sort_by(|(a, one), (b, other)| {
            (a, &one.instance.name).cmp(&(b, &other.instance.name))
        });
        idle.into_iter().map(|(_, idle)| idle).collect()
    }

    /// Whether it runs and nothing is under way, or planned, for it.
    fn is_free(&mut self, it: &Instance) -> bool {
        let look = self.look;
        it.is_live()
            && !look.busy.names.contains(&it.name)
            && !look.unbound.contains(&it.name)
            && !self.leaving.contains(&it.name)
            && self.may_act(&it.name)
    }

    fn start(&mut self, waiting: Waiting) {
        self.plan.actions.push(Action::Start {
            tenant: waiting.key.tenant,
            agent: waiting.agent,
            thread: Some(waiting.key.thread),
            turn: waiting.turn,
        });
    }

    fn waits(&mut self, key: ThreadKey, scope: Scope) {
        let is_told = self.memory.waits.contains(&key) || self.look.busy.noted.contains(&key);
        if !is_told {
            self.memory.waits.insert(key.clone());
            let why = scope.to_string();
            let said = Said::Waits { why };
            self.plan.actions.push(Action::Note { key, said });
        }
    }

    /// Warm instances are stopped that are too many, and started where there are too few, as far as
    /// nobody waits for their places. Those that are promised to threads are no part of a pool any more.
    fn fill_pools(
        &mut self,
        room: &mut Room<'_>,
        mut warm: Warm<'l>,
        promised: &HashMap<Pool, u32>,
    ) {
        let look = self.look;
        // Those too that something is under way for.
        let mut there: HashMap<(&str, Option<&str>), u32> = HashMap::new();
        for it in look.instances.iter().filter(|it| it.thread.is_none()) {
            if it.is_live() && !self.leaving.contains(&it.name) {
                *there.entry((&it.tenant, it.agent.as_deref())).or_default() += 1;
            }
        }
        let bound = self.plan.actions.iter().filter_map(|action| match action {
            Action::Bind { name, .. } => look.instances.iter().find(|it| it.name == *name),
            _ => None,
        });
        let bound = bound
            .filter(|it| it.thread.is_none())
            .map(|it| ((&*it.tenant, it.agent.as_deref()), 1));
        let promised = promised
            .iter()
            .map(|((tenant, agent), count)| ((&**tenant, agent.as_deref()), *count));
        for (pool, count) in bound.chain(promised) {
            if let Some(there) = there.get_mut(&pool) {
                *there = there.saturating_sub(count);
            }
        }
        for (of, template) in look.templates.iter().enumerate() {
            let (tenant, agent) = (template.warm_for(), template.agent.as_deref());
            // Another template of the same agent may be the tenant's own.
            let wanted = match Template::of(look.templates, tenant, agent) {
                Some(own) if own == of => template.warm,
                _ => continue,
            };
            let is = there.remove(&(tenant, agent)).unwrap_or(0);
            let tenant: Arc<str> = tenant.into();
            let place = room.place(&tenant, agent);
            let whose = Whose::Warm(Arc::clone(&tenant), template.agent.clone());
            let put_off = self.memory.start_at(&whose);
            for _ in is..wanted {
                if !self.is_due(put_off) || !room.has_place(&place) {
                    break;
                }
                room.start(&place);
                self.plan.actions.push(Action::Start {
                    tenant: Arc::clone(&tenant),
                    agent: template.agent.clone(),
                    thread: None,
                    turn: None,
                });
            }
            let pool = warm.remove(&(tenant, template.agent.clone()));
            let surplus = is.saturating_sub(wanted) as usize;
            for it in pool.into_iter().flatten().take(surplus) {
                self.retire(it, Retired::Surplus);
            }
        }
        // Nobody has a use for these.
        for it in warm.into_values().flatten() {
            self.retire(it, Retired::Surplus);
        }
    }
}
