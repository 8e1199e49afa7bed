//! All that is known, and what follows of it: instances, templates, pinned threads.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt as _;
use tidewire_core::{Clock, Time};
use tokio::sync::watch;

use super::{
    AgentTemplate, AgentThread, ThreadPhase,
    cache::Cache,
    crds::DEFAULT_TENANT,
    made::{self, AGENT, AGENT_THREAD, TENANT, THREAD, WORKER},
    seen::{self, Failure, Nodes, Patience, Seen},
};
use crate::{Instance, Phase, Pinned, Template, ThreadKey};

/// An idle Pod stays for so long where nobody said how long.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
const DRAIN: Duration = Duration::from_secs(30);

pub struct State {
    known: Mutex<Known>,
    changes: watch::Sender<u64>,
    patience: Patience,
    clock: Clock,
}

#[derive(Default)]
pub struct Known {
    pub pods: Cache<Pod>,
    pub threads: Cache<AgentThread>,
    pub templates: Cache<AgentTemplate>,
    pub nodes: Cache<Node>,
    /// Instances that were told to stop by us.
    pub stopping: HashSet<String>,
    /// AgentThreads that somebody else made and whose instance went because it was idle; their status will say
    /// so too.
    pub rested: HashSet<String>,
    pub turns: HashMap<ThreadKey, LastTurn>,
    /// Why threads wait.
    pub waits: HashMap<ThreadKey, String>,
}

#[derive(Clone, Debug)]
pub struct LastTurn {
    pub turn: String,
    pub at: Time,
}

impl Nodes for Cache<Node> {
    fn are_known(&self) -> bool {
        self.is_synced()
    }

    fn node(&self, name: &str) -> Option<&Node> {
        self.get(name).map(|it| &**it)
    }
}

impl State {
    pub fn new(patience: Patience, clock: Clock) -> Self {
        State {
            known: Mutex::default(),
            changes: watch::channel(0).0,
            patience,
            clock,
        }
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes what is known, and says so to whoever waits if that is the answer.
    pub fn change(&self, change: impl FnOnce(&mut Known) -> bool) {
        let says = change(&mut self.known());
        if says {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until patience with something is over.
    pub fn next_look(&self) -> Option<Duration> {
        let (now, known) = (self.clock.now(), self.known());
        let looks = known.pods.all();
        let next = looks.filter_map(|pod| self.look(&known, pod, now).1).min();
        // A moment later: the clocks here and there are not one.
        next.map(|at| at.since(now) + Duration::from_millis(50))
    }

    fn look(&self, known: &Known, pod: &Pod, now: Time) -> (Seen, Option<Time>) {
        seen::look(pod, &known.nodes, self.patience, now)
    }

    /// How the instance of that name is; `None` if there is nothing of it.
    pub fn seen(&self, known: &Known, name: &str) -> Option<Seen> {
        if let Some(pod) = known.pods.get(name) {
            return Some(self.look(known, pod, self.clock.now()).0);
        }
        known.thread_of(name)?;
        Some(match known.is_being_started(name) {
            true => Seen::Starting(None),
            false => Seen::Failed(Failure::Gone),
        })
    }

    pub fn instances(&self) -> Vec<Instance> {
        let (now, mut known) = (self.clock.now(), self.known());
        known.tidy();
        let of_pods = known.pods.all().map(|pod| {
            let (name, owner) = (pod.name_any(), known.owner(pod));
            let is_unwanted = owner.is_some_and(|it| {
                it.spec.thread_id.is_none() && it.metadata.deletion_timestamp.is_some()
            });
            let phase = match self.look(&known, pod, now).0 {
                _ if known.stopping.contains(&name) => Phase::Stopping,
                _ if is_unwanted => Phase::Failed(Failure::Unwanted.to_string()),
                seen => seen.phase(),
            };
            let said = |name: &str| pod.annotations().get(name).map(String::as_str);
            let bound = owner.and_then(|it| it.spec.thread_id.as_deref());
            Instance {
                tenant: said(TENANT).unwrap_or(DEFAULT_TENANT).into(),
                agent: said(AGENT).map(Arc::from),
                thread: bound.or_else(|| said(THREAD)).map(Arc::from),
                phase,
                started_at: made_at(&pod.metadata),
                idle_timeout: owner.and_then(|it| idle_timeout(it)),
                name: name.into(),
            }
        });
        let without = known.threads.all().filter_map(|thread| {
            let name = thread.labels().get(WORKER)?;
            if known.pods.get(name).is_some() {
                return None;
            }
            let phase = if known.stopping.contains(name) {
                Phase::Stopping
            } else if known.is_being_started(name) {
                Phase::Starting
            } else {
                Phase::Failed(Failure::Gone.to_string())
            };
            Some(Instance {
                name: name.as_str().into(),
                tenant: thread.tenant().into(),
                agent: thread.spec.agent.as_deref().map(Arc::from),
                thread: thread.spec.thread_id.as_deref().map(Arc::from),
                phase,
                started_at: made_at(&thread.metadata),
                idle_timeout: idle_timeout(thread),
            })
        });
        of_pods.chain(without).collect()
    }
}

impl Known {
    pub fn is_synced(&self) -> bool {
        self.pods.is_synced() && self.threads.is_synced() && self.templates.is_synced()
    }

    /// What is remembered of what is no more.
    fn tidy(&mut self) {
        let (pods, threads) = (&self.pods, &self.threads);
        let workers: HashSet<&str> = threads
            .all()
            .filter_map(|it| it.labels().get(WORKER).map(String::as_str))
            .collect();
        self.stopping
            .retain(|it| pods.get(it).is_some() || workers.contains(&**it));
        self.rested.retain(|it| threads.get(it).is_some());
        let keys: HashSet<_> = threads.all().filter_map(|it| key(it)).collect();
        self.turns.retain(|it, _| keys.contains(it));
    }

    /// The templates by which something is made: of two for the same, the one that was first.
    fn chosen_templates(&self) -> Vec<&Arc<AgentTemplate>> {
        let mut all: Vec<_> = self.templates.all().collect();
        all.sort_by_key(|it| age(&it.metadata));
        let mut seen = HashSet::new();
        all.retain(|it| seen.insert((&it.spec.agent, &it.spec.tenant)));
        all
    }

    pub fn template_list(&self) -> Vec<Template> {
        let seconds =
            |seconds: Option<u32>, or| seconds.map_or(or, |it| Duration::from_secs(it.into()));
        let chosen = self.chosen_templates().into_iter();
        chosen
            .map(|it| {
                let of = &it.spec;
                Template {
                    agent: of.agent.as_deref().map(Arc::from),
                    tenant: of.tenant.as_deref().map(Arc::from),
                    idle_timeout: seconds(of.recipe.idle_timeout_seconds, IDLE_TIMEOUT),
                    // A volume is a thread's, and a Pod's volumes are chosen when it is made.
                    warm: match of.recipe.volume {
                        Some(_) => 0,
                        None => of.warm,
                    },
                    most: of.max_instances,
                    drain: seconds(of.drain_seconds, DRAIN),
                }
            })
            .collect()
    }

    /// The template by which a tenant's instances of an agent are made.
    pub fn template(&self, tenant: &str, agent: Option<&str>) -> Option<&Arc<AgentTemplate>> {
        let all = self.chosen_templates();
        let of = |whose: Option<&str>| {
            let found = all
                .iter()
                .find(|it| it.spec.agent.as_deref() == agent && it.spec.tenant.as_deref() == whose);
            found.copied()
        };
        of(Some(tenant)).or_else(|| of(None))
    }

    pub fn pinned(&self) -> Vec<Pinned> {
        let mut all: Vec<_> = self.threads.all().collect();
        all.sort_by_key(|it| age(&it.metadata));
        let mut seen = HashSet::new();
        let pinned = all.into_iter().filter_map(|thread| {
            let key = key(thread)?;
            let is_leaving = thread.metadata.deletion_timestamp.is_some();
            let is_pinned = match is_leaving {
                true => thread.labels().contains_key(WORKER),
                false => !made::is_ours(thread) && !self.is_resting(thread),
            };
            let first = is_pinned && seen.insert(key.clone());
            first.then(|| Pinned {
                key,
                agent: thread.spec.agent.as_deref().map(Arc::from),
                is_leaving,
            })
        });
        pinned.collect()
    }

    /// Whether it has had its instance, and waits for its next turn. Whoever changes it asks for one again.
    pub fn is_resting(&self, thread: &AgentThread) -> bool {
        let status = thread.status.as_ref();
        let said = status.is_some_and(|it| {
            it.phase == Some(ThreadPhase::Idle)
                && it.observed_generation == thread.metadata.generation
        });
        said || self.rested.contains(&thread.name_any())
    }

    /// The AgentThread by which a thread's next instance is made: the oldest that stays.
    pub fn thread_for(&self, tenant: &str, thread: &str) -> Option<&Arc<AgentThread>> {
        let all = self.threads.all();
        all.filter(|it| it.is_of(tenant, thread) && it.metadata.deletion_timestamp.is_none())
            .min_by_key(|it| age(&it.metadata))
    }

    /// The AgentThread that an instance has.
    pub fn thread_of(&self, name: &str) -> Option<&Arc<AgentThread>> {
        let all = &mut self.threads.all();
        all.find(|it| it.labels().get(WORKER).is_some_and(|it| it == name))
    }

    /// The AgentThread of a Pod, if the Pod is its instance still.
    fn owner(&self, pod: &Pod) -> Option<&Arc<AgentThread>> {
        let owner = self.threads.get(pod.labels().get(AGENT_THREAD)?)?;
        let is_its = owner.labels().get(WORKER) == pod.metadata.name.as_ref();
        is_its.then_some(owner)
    }

    fn is_being_started(&self, name: &str) -> bool {
        self.pods.is_being_made(name)
    }
}

/// The thread that it is, if it is one.
pub fn key(thread: &AgentThread) -> Option<ThreadKey> {
    Some(ThreadKey {
        tenant: thread.tenant().into(),
        thread: thread.spec.thread_id.as_deref()?.into(),
    })
}

fn idle_timeout(thread: &AgentThread) -> Option<Duration> {
    let seconds = thread.spec.recipe.idle_timeout_seconds?;
    Some(Duration::from_secs(seconds.into()))
}

/// The older one first, and of two of one second by name.
fn age(meta: &ObjectMeta) -> (Time, String) {
    (made_at(meta), meta.name.clone().unwrap_or_default())
}

fn made_at(meta: &ObjectMeta) -> Time {
    let at = meta.creation_timestamp.as_ref();
    at.map_or(Time::EPOCH, seen::time)
}
