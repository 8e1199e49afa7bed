//! The leases of the instances here: made, renewed, ended.
//!
//! A lease is short until its instance is there: an operator that dies in between keeps the thread from
//! others for no longer. From then on it is renewed at each third of its time, many with one request, whatever
//! else the operator waits for. Of instances that others have started it learns by asking for their leases
//! as if to renew them: a lease that is made by that says that there was none, and is given back.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tidewire_client::{LeaseAnswer, LeaseEnd, LeaseEndStatus, LeaseStatus, NewLease};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use crate::{
    Instance, Phase, ThreadKey,
    asks::{Answer, Asks},
};

/// How long a lease is at first.
const FIRST: Duration = Duration::from_secs(15);
/// How soon a renewal is repeated that was not answered.
const AGAIN: Duration = Duration::from_secs(1);
/// Renewals that are due so soon go along with those that are due.
const GATHER: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Somebody else made it, if there is one.
    Unknown,
    Held,
    /// It is another's, or nobody's.
    Lost,
    /// The server was asked to end it.
    Ending,
}

#[derive(Clone, Debug)]
struct Kept {
    tenant: Arc<str>,
    agent: Option<Arc<str>>,
    thread: Option<Arc<str>>,
    state: State,
    renew_at: Instant,
}

/// What came of asking for a first lease.
pub(crate) enum Begun {
    Held { api_key: String },
    Refused { why: String },
}

/// What came of asking for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Held,
    Refused,
}

/// How the leases are, for a look.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub lost: HashSet<Arc<str>>,
    /// Instances that were found, and of whose leases nothing is known yet.
    pub unknown: HashSet<Arc<str>>,
    pub held: Vec<(Arc<str>, Arc<str>)>,
    pub threads: HashMap<Arc<str>, Arc<str>>,
}

pub(crate) struct Leases {
    asks: Asks,
    lease: Duration,
    kept: Mutex<HashMap<Arc<str>, Kept>>,
    /// There may be something to renew sooner.
    sooner: Notify,
    changes: watch::Sender<()>,
}

impl Leases {
    pub fn new(asks: Asks, lease: Duration) -> Self {
        Leases {
            asks,
            lease,
            kept: Mutex::default(),
            sooner: Notify::new(),
            changes: watch::Sender::new(()),
        }
    }

    /// Something is known of a lease that was not.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for (name, kept) in &*self.kept() {
            let name = || Arc::clone(name);
            match kept.state {
                State::Lost => drop(standing.lost.insert(name())),
                State::Unknown => drop(standing.unknown.insert(name())),
                State::Held => standing.held.push((name(), Arc::clone(&kept.tenant))),
                State::Ending => {}
            }
            if let Some(thread) = &kept.thread {
                standing.threads.insert(name(), Arc::clone(thread));
            }
        }
        standing
    }

    /// These are there. Nothing is asked of those for which something is under way.
    pub fn found(&self, instances: &[Instance], busy: &HashSet<Arc<str>>) {
        let mut kept = self.kept();
        let mut is_new = false;
        for it in instances {
            let is_over = matches!(it.phase, Phase::Failed(_) | Phase::Stopping);
            if is_over || busy.contains(&it.name) || kept.contains_key(&it.name) {
                continue;
            }
            is_new = true;
            let unknown = Kept {
                tenant: Arc::clone(&it.tenant),
                agent: it.agent.clone(),
                thread: it.thread.clone(),
                state: State::Unknown,
                renew_at: Instant::now(),
            };
            kept.insert(Arc::clone(&it.name), unknown);
        }
        let there: HashSet<_> = instances.iter().map(|it| &it.name).collect();
        kept.retain(|name, it| {
            there.contains(name) || !matches!(it.state, State::Lost | State::Unknown)
        });
        drop(kept);
        if is_new {
            self.sooner.notify_one();
        }
    }

    pub async fn begin(
        &self,
        name: &Arc<str>,
        tenant: &Arc<str>,
        agent: Option<&Arc<str>>,
        thread: Option<&Arc<str>>,
    ) -> Answer<Begun> {
        let first = self.lease.min(FIRST);
        let mut kept = Kept {
            tenant: Arc::clone(tenant),
            agent: agent.cloned(),
            thread: thread.cloned(),
            state: State::Held,
            renew_at: Instant::now() + first / 3,
        };
        let answer = self.asks.hold(kept.asked(name, first)).await?;
        match (answer.status, answer.api_key) {
            (LeaseStatus::Held, Some(api_key)) => {
                kept.thread = answer.thread_id.map(Into::into).or(kept.thread);
                self.kept().insert(Arc::clone(name), kept);
                self.sooner.notify_one();
                Ok(Begun::Held { api_key })
            }
            (_, _) => Ok(Begun::Refused {
                why: answer.reason.unwrap_or_default(),
            }),
        }
    }

    /// Gives a lease its thread.
    pub async fn bind(&self, name: &Arc<str>, key: &ThreadKey) -> Answer<Bound> {
        let known = self.kept().get(name).cloned();
        let Some(mut kept) = known else {
            return Ok(Bound::Refused);
        };
        kept.thread = Some(Arc::clone(&key.thread));
        let answer = self.asks.hold(kept.asked(name, self.lease)).await?;
        let thread = answer.thread_id.as_deref();
        let is_held = answer.status == LeaseStatus::Held
            && answer.api_key.is_none()
            && thread.is_none_or(|thread| *thread == *key.thread);
        if is_held {
            if let Some(it) = self.kept().get_mut(name) {
                it.thread = kept.thread;
                it.renew_at = Instant::now() + self.lease / 3;
            }
            return Ok(Bound::Held);
        }
        // The thread may be another's while the lease is good: the next renewal says.
        let is_fresh = answer.api_key.is_some();
        if let Some(it) = self.kept().get_mut(name) {
            it.renew_at = Instant::now();
        }
        if is_fresh {
            self.give_back(name, &kept.tenant).await;
        }
        self.sooner.notify_one();
        Ok(Bound::Refused)
    }

    /// Ends a lease; nothing renews it from now on, unless its thread has a turn.
    pub async fn end(
        &self,
        name: &Arc<str>,
        tenant: &Arc<str>,
        lost: bool,
    ) -> Answer<LeaseEndStatus> {
        let before = self.change(name, State::Ending);
        let end = LeaseEnd {
            tenant_id: Some(tenant.to_string()),
            worker: name.to_string(),
            lost,
        };
        let answer = self.asks.end(end).await.map(|ended| ended.status);
        match (&answer, before) {
            (Ok(LeaseEndStatus::Busy) | Err(_), Some(before)) => {
                self.change(name, before);
                self.sooner.notify_one();
            }
            _ => drop(self.kept().remove(name)),
        }
        answer
    }

    /// Renews what is due, until it is dropped.
    pub async fn keep(&self) {
        loop {
            let due = self.due();
            if due.is_empty() {
                let next = self.next();
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = self.sooner.notified() => {}
                }
                continue;
            }
            let asked = due.into_iter().map(|(name, kept)| {
                let (asks, lease) = (self.asks.clone(), kept.asked(&name, self.lease));
                async move { (name, asks.hold(lease).await) }
            });
            let answers = join_all(asked).await;
            let mut errors = answers.iter().filter_map(|(_, it)| it.as_ref().err());
            if let Some(error) = errors.next() {
                let leases = errors.count() + 1;
                tracing::warn!(leases, %error, "leases could not be renewed");
            }
            for (name, answer) in answers {
                self.renewed(&name, answer).await;
            }
        }
    }

    async fn renewed(&self, name: &Arc<str>, answer: Answer<LeaseAnswer>) {
        let now = Instant::now();
        let mut fresh_for = None;
        {
            let mut all = self.kept();
            let Some(kept) = all.get_mut(name) else {
                return;
            };
            // It is being ended meanwhile.
            if kept.state == State::Ending {
                return;
            }
            let before = (kept.state, kept.thread.clone());
            match answer {
                Err(_) => kept.renew_at = now + AGAIN,
                Ok(answer) if answer.status == LeaseStatus::Held => {
                    kept.renew_at = now + self.lease / 3;
                    kept.state = State::Held;
                    if let Some(thread) = answer.thread_id {
                        kept.thread = Some(thread.into());
                    }
                    if answer.api_key.is_some() {
                        kept.state = State::Lost;
                        fresh_for = Some(Arc::clone(&kept.tenant));
                    }
                }
                Ok(answer) => {
                    let why = answer.reason;
                    tracing::info!(instance = %name, why, "a lease is another's");
                    kept.state = State::Lost;
                }
            }
            if before == (kept.state, kept.thread.clone()) {
                return;
            }
        }
        if let Some(tenant) = fresh_for {
            tracing::info!(instance = %name, "an instance has no lease any more");
            self.give_back(name, &tenant).await;
        }
        self.changes.send_replace(());
    }

    /// A lease that nobody has the key of.
    async fn give_back(&self, name: &Arc<str>, tenant: &Arc<str>) {
        let end = LeaseEnd {
            tenant_id: Some(tenant.to_string()),
            worker: name.to_string(),
            lost: true,
        };
        if let Err(error) = self.asks.end(end).await {
            tracing::warn!(instance = %name, %error, "a lease could not be given back, and runs out");
        }
    }

    fn due(&self) -> Vec<(Arc<str>, Kept)> {
        let until = Instant::now() + GATHER.min(self.lease / 10);
        let kept = self.kept();
        let is_due = |kept: &Kept| kept.is_renewed() && kept.renew_at <= until;
        let due = kept.iter().filter(|(_, kept)| is_due(kept));
        due.map(|(name, kept)| (Arc::clone(name), kept.clone()))
            .collect()
    }

    fn next(&self) -> Instant {
        let kept = self.kept();
        let renewed = kept.values().filter(|kept| kept.is_renewed());
        let next = renewed.map(|kept| kept.renew_at).min();
        next.unwrap_or_else(|| Instant::now() + self.lease)
    }

    fn change(&self, name: &Arc<str>, state: State) -> Option<State> {
        let mut kept = self.kept();
        let kept = kept.get_mut(name)?;
        Some(std::mem::replace(&mut kept.state, state))
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Arc<str>, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_renewed(&self) -> bool {
        matches!(self.state, State::Unknown | State::Held)
    }

    fn asked(&self, name: &Arc<str>, lease: Duration) -> NewLease {
        NewLease {
            tenant_id: Some(self.tenant.to_string()),
            worker: name.to_string(),
            agent: self.agent.as_deref().map(str::to_owned),
            thread_id: self.thread.as_deref().map(str::to_owned),
            lease_seconds: u32::try_from(lease.as_secs()).ok(),
        }
    }
}
