//! The loop: looks at what is wanted and at what there is, plans, and sets off what is planned.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidewire_client::Client;
use tidewire_core::{Clock, ids};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Driver, Instance, Phase, Settings, ThreadKey,
    act::{Acts, Learned},
    asks,
    demand::{self, Seen},
    leases::{Leases, Standing},
    metrics,
    plan::{Action, Busy, Look, Memory, Plan, plan},
};

/// Looks at everything at least so often, should a hint be lost.
const LOOK: Duration = Duration::from_secs(5);
/// What changes within this time is looked at once.
const GATHER: Duration = Duration::from_millis(2);
/// Looks may take one part in so many of the time, however much there is to look at.
const SHARE: u32 = 5;
/// And no rest between them is longer, should one have stood still with the machine.
const REST: Duration = Duration::from_millis(500);
/// What the last word to the server and the driver may take when everything has been stopped.
const MARGIN: Duration = Duration::from_secs(2);
/// Of an agent's name, in its instances' names.
const SLUG: usize = 30;

/// Keeps an instance for each thread that wants one.
pub struct Operator<D> {
    client: Client,
    driver: Arc<D>,
    settings: Settings,
    clock: Clock,
    seen: watch::Sender<Seen>,
}

/// Tells whether the server answers.
pub struct Reached(watch::Receiver<Seen>);

impl Reached {
    /// Until it has answered.
    pub async fn first(&mut self) {
        if self.0.wait_for(|seen| seen.is_current).await.is_err() {
            std::future::pending().await
        }
    }
}

/// What is being done.
struct UnderWay {
    action: Action,
    fresh: Arc<str>,
}

struct Loop<'o, D> {
    operator: &'o Operator<D>,
    leases: Arc<Leases>,
    acts: Arc<Acts<D>>,
    memory: Memory,
    under_way: HashMap<Id, UnderWay>,
    tasks: JoinSet<Vec<Learned>>,
    closing: Option<Duration>,
    /// What the last look found.
    left: usize,
}

impl<D: Driver> Operator<D> {
    /// The client needs a key with the scope `admin`, and no repeats of its own: what fails is planned
    /// again.
    pub fn new(client: Client, driver: Arc<D>, settings: Settings, clock: Clock) -> Self {
        Operator {
            client,
            driver,
            settings,
            clock,
            seen: watch::Sender::new(Seen::default()),
        }
    }

    /// Whether the server answers, as far as is known.
    pub fn reached(&self) -> Reached {
        Reached(self.seen.subscribe())
    }

    /// Runs until `stop`. Instances that outlive their operator are left as they are then; others are drained
    /// and stopped.
    pub async fn run(&self, stop: CancellationToken) {
        let (asks, courier) = asks::open(self.client.clone());
        let leases = Arc::new(Leases::new(asks, self.settings.lease));
        let acts = Acts::new(
            Arc::clone(&leases),
            Arc::clone(&self.driver),
            self.settings.grace,
        );
        let mut looks = Loop {
            operator: self,
            leases: Arc::clone(&leases),
            acts: Arc::new(acts),
            memory: Memory::default(),
            under_way: HashMap::new(),
            tasks: JoinSet::new(),
            closing: None,
            left: 0,
        };
        tokio::select! {
            () = Box::pin(looks.run(self.seen.subscribe(), stop)) => {}
            () = demand::follow(&self.client, &self.seen) => {}
            () = leases.keep() => {}
            () = courier.run() => {}
        }
    }
}

impl<D: Driver> Loop<'_, D> {
    async fn run(&mut self, mut seen: watch::Receiver<Seen>, stop: CancellationToken) {
        let mut driver = self.operator.driver.changes();
        let mut leases = self.leases.changes();
        let mut end = None;
        loop {
            let now = seen.borrow_and_update().clone();
            driver.mark_unchanged();
            leases.mark_unchanged();
            let began = Instant::now();
            let next = self.look(&now).await;
            let took = began.elapsed();
            if end.is_some_and(|end| Instant::now() >= end || self.is_over(&now)) {
                return;
            }
            let next = end.map_or(next, |end| next.min(end));
            tokio::select! {
                () = stop.cancelled(), if end.is_none() => {
                    if self.operator.driver.outlives_operator() {
                        return;
                    }
                    let Settings { drain, grace, .. } = self.operator.settings;
                    tracing::info!(?drain, "takes its instances along");
                    self.closing = Some(drain);
                    end = Some(Instant::now() + drain + grace + MARGIN);
                }
                _ = seen.changed() => {}
                _ = driver.changed() => {}
                _ = leases.changed() => {}
                Some(joined) = self.tasks.join_next_with_id() => self.done(joined),
                () = sleep_until(next) => {}
            }
            sleep((took * (SHARE - 1)).clamp(GATHER, REST)).await;
            while let Some(joined) = self.tasks.try_join_next_with_id() {
                self.done(joined);
            }
        }
    }

    /// Whether nothing is left that would have to be stopped.
    fn is_over(&self, seen: &Seen) -> bool {
        // Without the server leases run out by themselves.
        let is_told = self.leases.standing().held.is_empty() || !seen.is_current;
        self.left == 0 && self.under_way.is_empty() && is_told
    }

    /// Looks once, and says when to look again at the latest.
    async fn look(&mut self, seen: &Seen) -> Instant {
        let latest = Instant::now() + LOOK;
        // While the server is away nobody knows what is wanted, and everything stays as it is.
        if !seen.is_current && self.closing.is_none() {
            return latest;
        }
        let found = match self.operator.driver.instances().await {
            Ok(found) => found,
            Err(error) => {
                let driver = self.operator.driver.name();
                tracing::warn!(driver, %error, "it is not known which instances there are");
                return Instant::now() + Duration::from_secs(1);
            }
        };
        let started = Instant::now();
        let mut busy = self.busy();
        self.leases.found(&found, &busy.names);
        let standing = self.leases.standing();
        busy.names.extend(standing.unknown.iter().cloned());
        let (instances, unbound) = self.overlaid(found, &standing);
        let driver = &self.operator.driver;
        let now = self.operator.clock.now();
        let look = Look {
            now,
            // Without the server no turn comes to its end.
            wanted: if seen.is_current { &seen.wanted } else { &[] },
            instances: &instances,
            templates: &driver.templates(),
            pinned: &driver.pinned(),
            limits: &self.operator.settings.limits,
            busy: &busy,
            lost: &standing.lost,
            unbound: &unbound,
            leases: &standing.held,
            closing: self.closing,
        };
        let Plan {
            actions,
            look_at,
            waiting,
        } = plan(&look, &mut self.memory);
        self.left = instances.len();
        metrics::looked(&instances, waiting, started.elapsed());
        for action in actions {
            self.set_off(match action {
                // Nobody is there to end leases: they run out.
                Action::Retire { name, .. } if !seen.is_current => Action::Evict { name },
                Action::Lose { .. } if !seen.is_current => continue,
                action => action,
            });
        }
        look_at.map_or(latest, |at| latest.min(Instant::now() + at.since(now)))
    }

    fn busy(&self) -> Busy {
        let mut busy = Busy::default();
        for it in self.under_way.values() {
            match &it.action {
                Action::Start { tenant, thread, .. } => {
                    busy.names.insert(Arc::clone(&it.fresh));
                    busy.threads.extend(thread.as_ref().map(|thread| ThreadKey {
                        tenant: Arc::clone(tenant),
                        thread: Arc::clone(thread),
                    }));
                }
                Action::Bind { name, key } => {
                    busy.names.insert(Arc::clone(name));
                    busy.threads.insert(key.clone());
                }
                Action::Bury { name, key, .. } => {
                    busy.names.insert(Arc::clone(name));
                    busy.threads.extend(key.clone());
                }
                Action::Retire { name, .. }
                | Action::Evict { name }
                | Action::Lose { name, .. } => {
                    busy.names.insert(Arc::clone(name));
                }
                Action::Forget { key } => {
                    busy.threads.insert(key.clone());
                }
                Action::Note { key, .. } => {
                    busy.noted.insert(key.clone());
                }
            }
        }
        busy
    }

    /// What there is, as it will be when what is under way is done; and those whose threads only their leases
    /// tell.
    fn overlaid(
        &self,
        mut instances: Vec<Instance>,
        standing: &Standing,
    ) -> (Vec<Instance>, HashSet<Arc<str>>) {
        let mut unbound = HashSet::new();
        for it in instances.iter_mut().filter(|it| it.thread.is_none()) {
            if let Some(thread) = standing.threads.get(&it.name) {
                it.thread = Some(Arc::clone(thread));
                unbound.insert(Arc::clone(&it.name));
            }
        }
        let places = instances.iter().enumerate();
        let places: HashMap<_, _> = places.map(|(at, it)| (Arc::clone(&it.name), at)).collect();
        for it in self.under_way.values() {
            match &it.action {
                Action::Start {
                    tenant,
                    agent,
                    thread,
                    ..
                } => {
                    if !places.contains_key(&it.fresh) {
                        instances.push(Instance {
                            name: Arc::clone(&it.fresh),
                            tenant: Arc::clone(tenant),
                            agent: agent.clone(),
                            thread: thread.clone(),
                            phase: Phase::Starting,
                            started_at: self.operator.clock.now(),
                            idle_timeout: None,
                        });
                    }
                }
                Action::Bind { name, key } => {
                    if let Some(at) = places.get(name) {
                        instances[*at].thread = Some(Arc::clone(&key.thread));
                    }
                }
                Action::Retire { name, .. }
                | Action::Bury { name, .. }
                | Action::Evict { name } => {
                    if let Some(at) = places.get(name) {
                        instances[*at].phase = Phase::Stopping;
                    }
                }
                Action::Lose { .. } | Action::Forget { .. } | Action::Note { .. } => {}
            }
        }
        (instances, unbound)
    }

    fn set_off(&mut self, action: Action) {
        let fresh = match &action {
            Action::Start { agent, .. } => fresh_name(agent.as_deref(), &self.operator.clock),
            _ => Arc::default(),
        };
        let acts = Arc::clone(&self.acts);
        let (doing, name) = (action.clone(), Arc::clone(&fresh));
        let task = self.tasks.spawn(async move { acts.act(doing, name).await });
        self.under_way.insert(task.id(), UnderWay { action, fresh });
    }

    fn done(&mut self, joined: Result<(Id, Vec<Learned>), JoinError>) {
        let (id, learned) = match joined {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "an action was not ended");
                (error.id(), Vec::new())
            }
        };
        self.under_way.remove(&id);
        let now = self.operator.clock.now();
        for learned in learned {
            match learned {
                Learned::Ended(name) => self.memory.ended(&name, now),
                Learned::PutOff(name) => self.memory.put_off(&name, now),
                Learned::NotStarted { whose, wait, turn } => match wait {
                    Some(wait) => self.memory.put_off_until(whose, now.plus(wait)),
                    None => drop(self.memory.crashed(whose, turn, Duration::ZERO, now)),
                },
            }
        }
    }
}

/// A name that nobody had before, and that can be a Pod's.
fn fresh_name(agent: Option<&str>, clock: &Clock) -> Arc<str> {
    let of = agent.unwrap_or("agent").chars();
    let slug: String = of
        .map(|c| match c {
            'a'..='z' | '0'..='9' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '-',
        })
        .take(SLUG)
        .collect();
    let slug = slug.trim_matches('-');
    let slug = if slug.is_empty() { "agent" } else { slug };
    let id = ids::new_id(clock).to_ascii_lowercase();
    format!("{slug}-{id}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_that_of_a_pod() {
        let clock = Clock::system();
        for (agent, begins) in [
            (None, "agent-"),
            (Some("Support.Tier_2:eu"), "support-tier-2-eu-"),
            (Some("::"), "agent-"),
            (Some(&*"x".repeat(128)), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-"),
        ] {
            let name = fresh_name(agent, &clock);
            assert!(name.starts_with(begins) && name.len() <= 63, "{name}");
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(fits), "{name}");
        }
    }
}
