//! What the operator remembers from look to look. All of it may be lost at any instant: an idle
//! instance stays a while longer then, and one that crashed is started again at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidewire_core::{Time, backoff::Backoff};

use crate::{Instance, Pinned, ThreadKey, model::Wanted};

/// How long what failed waits before it is tried again.
pub(super) const AGAIN: Backoff = Backoff {
    base: Duration::from_secs(1),
    cap: Duration::from_mins(1),
};
/// What was asked for and could not be done is not asked for again for so long.
const PUT_OFF: Duration = Duration::from_secs(1);
/// Leases that ended are remembered for so long: the server may tell of them for a moment.
const ENDED: Duration = Duration::from_mins(1);

/// Whose instance crashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    Thread(ThreadKey),
    /// The warm ones of an agent for a tenant.
    Warm(Arc<str>, Option<Arc<str>>),
}

#[derive(Clone, Debug)]
struct Crash {
    /// In a row.
    count: u32,
    again_at: Time,
    /// The turn that was open then.
    turn: Option<Arc<str>>,
}

/// An instance that goes as soon as its turn is over.
#[derive(Clone, Debug)]
pub(super) struct Draining {
    pub since: Time,
    pub turn: Arc<str>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Since when instances have nothing to do.
    idle: HashMap<Arc<str>, Time>,
    crashes: HashMap<Whose, Crash>,
    /// Failed instances whose crash is counted, with what that led to.
    counted: HashMap<Arc<str>, Duration>,
    pub(super) draining: HashMap<Arc<str>, Draining>,
    /// Of which open turn was told where the thread's instance runs.
    pub(super) told: HashMap<ThreadKey, Arc<str>>,
    /// Threads that a limit keeps waiting, as was told of them.
    pub(super) waits: HashSet<ThreadKey>,
    /// Pinned threads whose instance went because it was idle.
    pub(super) rested: HashSet<ThreadKey>,
    ended: HashMap<Arc<str>, Time>,
    names: HashMap<Arc<str>, Time>,
    threads: HashMap<Whose, Time>,
}

impl Whose {
    pub(crate) fn of(instance: &Instance) -> Self {
        match instance.key() {
            Some(key) => Whose::Thread(key),
            None => Whose::Warm(Arc::clone(&instance.tenant), instance.agent.clone()),
        }
    }
}

impl Memory {
    /// An instance could not be let go: it has something to do after all, or nobody answered.
    pub(crate) fn put_off(&mut self, name: &Arc<str>, now: Time) {
        self.names.insert(Arc::clone(name), now.plus(PUT_OFF));
        self.idle.remove(name);
    }

    /// No instance could be had for these, and it is no use to try before that time.
    pub(crate) fn put_off_until(&mut self, whose: Whose, until: Time) {
        self.threads.insert(whose, until);
    }

    /// A lease ended here, whatever the server's word from before says.
    pub(crate) fn ended(&mut self, name: &Arc<str>, now: Time) {
        self.ended.insert(Arc::clone(name), now.plus(ENDED));
    }

    pub(super) fn has_ended(&self, name: &str) -> bool {
        self.ended.contains_key(name)
    }

    /// It did not come up, or ended by itself: how long until the next.
    pub(crate) fn crashed(
        &mut self,
        whose: Whose,
        turn: Option<Arc<str>>,
        lived: Duration,
        now: Time,
    ) -> Duration {
        let before = self.crashes.get(&whose).map_or(0, |crash| crash.count);
        // One that lived for long is no start that fails.
        let count = if lived >= AGAIN.cap { 1 } else { before + 1 };
        let wait = AGAIN.delay(count, 0.5);
        let again_at = now.plus(wait);
        self.crashes.insert(
            whose,
            Crash {
                count,
                again_at,
                turn,
            },
        );
        wait
    }

    /// The same for one that shows as failed, and goes on showing so until it is cleared away.
    pub(super) fn failed(
        &mut self,
        instance: &Instance,
        turn: Option<Arc<str>>,
        now: Time,
    ) -> Duration {
        if let Some(wait) = self.counted.get(&instance.name) {
            return *wait;
        }
        let lived = now.since(instance.started_at);
        let wait = self.crashed(Whose::of(instance), turn, lived, now);
        self.counted.insert(Arc::clone(&instance.name), wait);
        wait
    }

    /// Until when nothing is started for these.
    pub(super) fn start_at(&self, whose: &Whose) -> Option<Time> {
        let crash = self.crashes.get(whose).map(|crash| crash.again_at);
        crash.max(self.threads.get(whose).copied())
    }

    /// Until when an instance is left alone.
    pub(super) fn act_at(&self, name: &str) -> Option<Time> {
        self.names.get(name).copied()
    }

    pub(super) fn idle_since(&mut self, name: &Arc<str>, now: Time) -> Time {
        *self.idle.entry(Arc::clone(name)).or_insert(now)
    }

    pub(super) fn works(&mut self, name: &str) {
        self.idle.remove(name);
    }

    /// Forgets what is over.
    pub(super) fn tidy(
        &mut self,
        now: Time,
        instances: &[Instance],
        wanted: &HashMap<&ThreadKey, &Wanted>,
        pinned: &HashMap<&ThreadKey, &Pinned>,
    ) {
        let names: HashSet<&str> = instances.iter().map(|it| &*it.name).collect();
        let is_there = |name: &Arc<str>| names.contains(&**name);
        self.idle.retain(|name, _| is_there(name));
        self.counted.retain(|name, _| is_there(name));
        self.draining.retain(|name, _| is_there(name));
        for times in [&mut self.ended, &mut self.names] {
            times.retain(|_, until| *until > now);
        }
        self.threads.retain(|_, until| *until > now);
        self.waits
            .retain(|key| wanted.contains_key(key) || pinned.contains_key(key));
        self.rested
            .retain(|key| pinned.contains_key(key) && !wanted.contains_key(key));
        self.crashes.retain(|whose, crash| {
            let Whose::Thread(key) = whose else {
                return now < crash.again_at.plus(AGAIN.cap);
            };
            match wanted.get(key) {
                // It has come through one since.
                Some(wanted) => crash.turn.as_ref().is_none_or(|turn| *turn == wanted.turn),
                None => pinned.contains_key(key) && now < crash.again_at.plus(AGAIN.cap),
            }
        });
    }
}
