//! What is to be done: a pure function of what is wanted, of what there is, and of little that is
//! remembered.
//!
//! It is level-triggered: each look plans from everything, and what could not be done is planned
//! again. Names and threads for which something is under way are left alone until it has ended, so
//! that no two actions concern one instance at the same time.
//!
//! A thread has one instance at most, in whatever state: while the last one is being cleared away, no
//! other is started, as both might have the thread's files.

mod memory;
mod room;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidewire_core::Time;

use crate::{Instance, Limits, Phase, Pinned, Template, ThreadKey, model::Wanted};
use memory::Draining;
use room::Room;

pub(crate) use memory::{Memory, Whose};

/// How long an instance of no template outlives its thread's last turn.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// All that a plan is made of.
pub(crate) struct Look<'l> {
    pub now: Time,
    pub wanted: &'l [Wanted],
    /// With what is under way: an instance that is being started is [`Phase::Starting`], one that
    /// is being let go is [`Phase::Stopping`].
    pub instances: &'l [Instance],
    pub templates: &'l [Template],
    pub pinned: &'l [Pinned],
    pub limits: &'l Limits,
    pub busy: &'l Busy,
    /// Instances whose leases are somebody else's, or nobody's.
    pub lost: &'l HashSet<Arc<str>>,
    /// Instances whose leases say a thread that they do not say themselves; theirs is the leases'.
    pub unbound: &'l HashSet<Arc<str>>,
    /// The leases that are kept, with their tenants.
    pub leases: &'l [(Arc<str>, Arc<str>)],
    /// All are to go; running turns have so long.
    pub closing: Option<Duration>,
}

/// What something is under way for.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    pub names: HashSet<Arc<str>>,
    pub threads: HashSet<ThreadKey>,
    /// Threads of which something is being told.
    pub noted: HashSet<ThreadKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A lease under a fresh name, and then the instance.
    Start {
        tenant: Arc<str>,
        agent: Option<Arc<str>>,
        /// `None` for a warm one.
        thread: Option<Arc<str>>,
        /// The turn that it is started for.
        turn: Option<Arc<str>>,
    },
    /// The thread for a lease that has none, and then for its instance.
    Bind {
        name: Arc<str>,
        key: ThreadKey,
    },
    /// The lease ends if its thread has no open turn, and then the instance is stopped.
    Retire {
        name: Arc<str>,
        tenant: Arc<str>,
        why: Retired,
    },
    /// The lease ends, its turn goes to others, and what is left of the instance is cleared away.
    Bury {
        name: Arc<str>,
        tenant: Arc<str>,
        key: Option<ThreadKey>,
        why: Buried,
    },
    /// The instance is stopped with its turn; its lease ends when it is gone.
    Evict {
        name: Arc<str>,
    },
    /// The lease of an instance that is gone ends.
    Lose {
        name: Arc<str>,
        tenant: Arc<str>,
    },
    /// A thread that was to go has no instance any more.
    Forget {
        key: ThreadKey,
    },
    Note {
        key: ThreadKey,
        said: Said,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retired {
    Idle,
    /// Another thread waits for its place.
    Room,
    /// A warm one too many.
    Surplus,
    /// Its thread, or its operator, is to go.
    Leaving,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Buried {
    /// It ended by itself; another is not started for so long.
    Crashed { why: String, again_in: Duration },
    /// Its lease is another's, or nobody's.
    LeaseLost,
    /// Its thread has a turn of another agent.
    OtherAgent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Turn { turn: Arc<str>, is_open: bool },
    Waits { why: String },
}

#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub actions: Vec<Action>,
    /// When to look again though nothing has changed.
    pub look_at: Option<Time>,
    /// Threads that limits keep waiting.
    pub waiting: usize,
}

pub(crate) fn plan(look: &Look<'_>, memory: &mut Memory) -> Plan {
    let wanted: HashMap<_, _> = look.wanted.iter().map(|it| (&it.key, it)).collect();
    let pinned: HashMap<_, _> = look.pinned.iter().map(|it| (&it.key, it)).collect();
    memory.tidy(look.now, look.instances, &wanted, &pinned);
    let mut planner = Planner {
        look,
        memory,
        wanted,
        pinned,
        leaving: HashSet::new(),
        plan: Plan::default(),
    };
    for instance in look.instances {
        planner.instance(instance);
    }
    planner.gone();
    let mut room = Room::new(
        look.limits,
        look.templates,
        look.instances,
        &planner.leaving,
    );
    if look.closing.is_none() {
        planner.threads(&mut room);
    }
    planner.plan
}

struct Planner<'l> {
    look: &'l Look<'l>,
    memory: &'l mut Memory,
    wanted: HashMap<&'l ThreadKey, &'l Wanted>,
    pinned: HashMap<&'l ThreadKey, &'l Pinned>,
    /// Instances that this plan lets go.
    leaving: HashSet<Arc<str>>,
    plan: Plan,
}

impl<'l> Planner<'l> {
    /// What becomes of an instance, whoever else is waiting.
    fn instance(&mut self, it: &'l Instance) {
        let key = it.key();
        let wanted = key.as_ref().and_then(|key| self.wanted.get(key).copied());
        if let Some(key) = &key {
            self.note_turn(key, wanted);
        }
        if self.look.busy.names.contains(&it.name) || it.phase == Phase::Stopping {
            return;
        }
        if let Phase::Failed(why) = &it.phase {
            let turn = wanted.map(|wanted| Arc::clone(&wanted.turn));
            let again_in = self.memory.failed(it, turn, self.look.now);
            let why = why.clone();
            return self.bury(it, Buried::Crashed { why, again_in });
        }
        if self.look.lost.contains(&it.name) {
            return self.bury(it, Buried::LeaseLost);
        }
        let is_other = |wanted: &&Wanted| wanted.agent != it.agent && !wanted.is_running;
        if wanted.filter(is_other).is_some() {
            return self.bury(it, Buried::OtherAgent);
        }
        let is_leaving = key
            .as_ref()
            .and_then(|key| self.pinned.get(key))
            .is_some_and(|pinned| pinned.is_leaving);
        if is_leaving || self.look.closing.is_some() {
            return self.drain(it, wanted);
        }
        self.memory.draining.remove(&it.name);
        if wanted.is_some() {
            self.memory.works(&it.name);
        } else if key.is_some() {
            self.idle(it);
        }
        if let Some(key) = key.filter(|_| self.look.unbound.contains(&it.name)) {
            self.bind(&it.name, key);
        }
    }

    fn idle(&mut self, it: &Instance) {
        let since = self.memory.idle_since(&it.name, self.look.now);
        let template = Template::of(self.look.templates, &it.tenant, it.agent.as_deref());
        let template = template.map(|of| self.look.templates[of].idle_timeout);
        let timeout = it.idle_timeout.or(template).unwrap_or(IDLE_TIMEOUT);
        let due = since.plus(timeout);
        if due > self.look.now {
            self.look_at(due);
        } else {
            self.retire(it, Retired::Idle);
        }
    }

    /// It goes as soon as its turn is over, or when that takes too long.
    fn drain(&mut self, it: &Instance, wanted: Option<&Wanted>) {
        let Some(wanted) = wanted else {
            return self.retire(it, Retired::Leaving);
        };
        let template = Template::of(self.look.templates, &it.tenant, it.agent.as_deref());
        let own = template.map(|of| self.look.templates[of].drain);
        let most = [own, self.look.closing].into_iter().flatten().min();
        let begun = Draining {
            since: self.look.now,
            turn: Arc::clone(&wanted.turn),
        };
        let name = Arc::clone(&it.name);
        let draining = self.memory.draining.entry(name).or_insert(begun);
        let due = draining.since.plus(most.unwrap_or_default());
        // The turn behind it may go to another instance.
        let is_next = draining.turn != wanted.turn;
        if is_next || due <= self.look.now {
            if self.may_act(&it.name) {
                self.leaving.insert(Arc::clone(&it.name));
                let name = Arc::clone(&it.name);
                self.plan.actions.push(Action::Evict { name });
            }
        } else {
            self.look_at(due);
        }
    }

    /// What is left of instances, and of threads, that are gone.
    fn gone(&mut self) {
        let look = self.look;
        let there: HashSet<&str> = look.instances.iter().map(|it| &*it.name).collect();
        for (name, tenant) in look.leases {
            let is_there = there.contains(&**name) || look.busy.names.contains(name);
            if !is_there && self.may_act(name) {
                self.plan.actions.push(Action::Lose {
                    name: Arc::clone(name),
                    tenant: Arc::clone(tenant),
                });
            }
        }
        let threads: HashSet<_> = look.instances.iter().filter_map(Instance::key).collect();
        for pinned in look.pinned.iter().filter(|it| it.is_leaving) {
            let key = &pinned.key;
            if !threads.contains(key) && !look.busy.threads.contains(key) && self.may_start(key) {
                self.plan.actions.push(Action::Forget { key: key.clone() });
            }
        }
        // Who is not there any more is told of nothing.
        self.memory.told.retain(|key, _| threads.contains(key));
    }

    fn note_turn(&mut self, key: &ThreadKey, wanted: Option<&Wanted>) {
        if self.look.busy.noted.contains(key) {
            return;
        }
        let told = self.memory.told.get(key);
        let said = match (told, wanted) {
            (Some(told), Some(wanted)) if *told == wanted.turn => return,
            (_, Some(wanted)) => {
                let turn = Arc::clone(&wanted.turn);
                self.memory.told.insert(key.clone(), Arc::clone(&turn));
                let is_open = true;
                Said::Turn { turn, is_open }
            }
            (Some(_), None) => {
                let turn = self.memory.told.remove(key).unwrap_or_default();
                let is_open = false;
                Said::Turn { turn, is_open }
            }
            (None, None) => return,
        };
        let key = key.clone();
        self.plan.actions.push(Action::Note { key, said });
    }

    fn bind(&mut self, name: &Arc<str>, key: ThreadKey) {
        if self.may_act(name) {
            let name = Arc::clone(name);
            self.plan.actions.push(Action::Bind { name, key });
        }
    }

    fn retire(&mut self, it: &Instance, why: Retired) {
        if !self.may_act(&it.name) {
            return;
        }
        if let Some(key) = it.key().filter(|key| self.pinned.contains_key(key)) {
            self.memory.rested.insert(key);
        }
        self.leaving.insert(Arc::clone(&it.name));
        self.plan.actions.push(Action::Retire {
            name: Arc::clone(&it.name),
            tenant: Arc::clone(&it.tenant),
            why,
        });
    }

    fn bury(&mut self, it: &Instance, why: Buried) {
        if !self.may_act(&it.name) {
            return;
        }
        self.leaving.insert(Arc::clone(&it.name));
        self.plan.actions.push(Action::Bury {
            name: Arc::clone(&it.name),
            tenant: Arc::clone(&it.tenant),
            key: it.key(),
            why,
        });
    }

    /// Whether it was not put off.
    fn may_act(&mut self, name: &str) -> bool {
        let put_off = self.memory.act_at(name);
        self.is_due(put_off)
    }

    fn may_start(&mut self, key: &ThreadKey) -> bool {
        let put_off = self.memory.start_at(&Whose::Thread(key.clone()));
        self.is_due(put_off)
    }

    fn is_due(&mut self, at: Option<Time>) -> bool {
        match at {
            Some(at) if at > self.look.now => {
                self.look_at(at);
                false
            }
            _ => true,
        }
    }

    fn look_at(&mut self, at: Time) {
        let earlier = self.plan.look_at.map_or(at, |before| before.min(at));
        self.plan.look_at = Some(earlier);
    }
}
