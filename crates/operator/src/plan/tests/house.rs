//! A server and a driver in memory, which do what is planned at once. Each look checks what must
//! never be.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tidewire_core::Time;

use crate::{
    Instance, Limits, Phase, Pinned, Template, ThreadKey,
    model::Wanted,
    plan::{Action, Buried, Busy, Look, Memory, Retired, Said, plan},
};

pub fn key(tenant: &str, thread: &str) -> ThreadKey {
    ThreadKey {
        tenant: tenant.into(),
        thread: thread.into(),
    }
}

pub fn template(agent: &str) -> Template {
    Template {
        agent: Some(agent.into()),
        tenant: None,
        idle_timeout: Duration::from_secs(60),
        warm: 0,
        most: None,
        drain: Duration::from_secs(30),
    }
}

#[derive(Debug)]
struct Turn {
    agent: Arc<str>,
    id: Arc<str>,
    since: Time,
    is_running: bool,
}

#[derive(Debug)]
pub struct House {
    pub now: Time,
    pub templates: Vec<Template>,
    pub pinned: Vec<Pinned>,
    pub limits: Limits,
    pub lost: HashSet<Arc<str>>,
    /// Names for which something is under way.
    pub busy: HashSet<Arc<str>>,
    pub closing: Option<Duration>,
    pub look_at: Option<Time>,
    pub waiting: usize,
    /// Whether a turn is open, as the last look told.
    pub told: Vec<bool>,
    instances: Vec<Instance>,
    turns: BTreeMap<ThreadKey, VecDeque<Turn>>,
    /// Turns that a look does not see yet.
    unseen: Vec<(ThreadKey, Turn)>,
    elsewhere: HashMap<ThreadKey, Time>,
    leases: Vec<(Arc<str>, Arc<str>)>,
    memory: Memory,
    count: u32,
}

impl House {
    pub fn new(templates: Vec<Template>) -> Self {
        House {
            now: Time::from_millis(1_700_000_000_000),
            templates,
            pinned: Vec::new(),
            limits: Limits::default(),
            lost: HashSet::new(),
            busy: HashSet::new(),
            closing: None,
            look_at: None,
            waiting: 0,
            told: Vec::new(),
            instances: Vec::new(),
            turns: BTreeMap::new(),
            unseen: Vec::new(),
            elsewhere: HashMap::new(),
            leases: Vec::new(),
            memory: Memory::default(),
            count: 0,
        }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    pub fn turn(&mut self, tenant: &str, thread: &str, agent: &str) {
        let turn = self.new_turn(agent);
        let thread = self.turns.entry(key(tenant, thread)).or_default();
        thread.push_back(turn);
    }

    /// One that comes right behind the next look.
    pub fn unseen_turn(&mut self, tenant: &str, thread: &str, agent: &str) {
        let turn = self.new_turn(agent);
        self.unseen.push((key(tenant, thread), turn));
    }

    fn new_turn(&mut self, agent: &str) -> Turn {
        self.count += 1;
        Turn {
            agent: agent.into(),
            id: format!("turn-{}", self.count).into(),
            since: self.now,
            is_running: false,
        }
    }

    /// The thread's open turn ends.
    pub fn end(&mut self, thread: &str) {
        let turns = self
            .turns
            .iter_mut()
            .find(|(key, _)| *key.thread == *thread);
        if let Some((_, turns)) = turns {
            turns.pop_front();
        }
        self.turns.retain(|_, turns| !turns.is_empty());
    }

    pub fn runs(&self, thread: &str) -> bool {
        let turns = self.turns.iter().find(|(key, _)| *key.thread == *thread);
        let first = turns.and_then(|(_, turns)| turns.front());
        first.is_some_and(|turn| turn.is_running)
    }

    pub fn threads(&self) -> Vec<ThreadKey> {
        self.turns.keys().cloned().collect()
    }

    pub fn leased_elsewhere(&mut self, thread: &str, for_so_long: Duration) {
        let until = self.now.plus(for_so_long);
        let keys: Vec<_> = self.turns.keys().cloned().collect();
        let keys = keys.into_iter().filter(|key| *key.thread == *thread);
        self.elsewhere.extend(keys.map(|key| (key, until)));
    }

    #[track_caller]
    pub fn ready(&mut self, thread: &str) -> Arc<str> {
        let it = self.instance_mut(thread);
        it.phase = Phase::Ready;
        let (name, agent) = (Arc::clone(&it.name), it.agent.clone());
        let turns = self
            .turns
            .iter_mut()
            .find(|(key, _)| *key.thread == *thread);
        let first = turns.and_then(|(_, turns)| turns.front_mut());
        if let Some(turn) = first.filter(|turn| Some(&turn.agent) == agent.as_ref()) {
            turn.is_running = true;
        }
        name
    }

    pub fn all_ready(&mut self) {
        for it in &mut self.instances {
            if it.phase == Phase::Starting {
                it.phase = Phase::Ready;
            }
        }
    }

    #[track_caller]
    pub fn crash(&mut self, thread: &str) {
        self.instance_mut(thread).phase = Phase::Failed("killed".to_owned());
    }

    pub fn crash_nth(&mut self, nth: usize) {
        let live = self.instances.iter_mut().filter(|it| it.is_live());
        if let Some(it) = live.into_iter().nth(nth) {
            it.phase = Phase::Failed("killed".to_owned());
        }
    }

    /// What was told to stop has stopped.
    pub fn clear(&mut self) {
        self.instances.retain(|it| it.phase != Phase::Stopping);
    }

    #[track_caller]
    pub fn instance_mut(&mut self, thread: &str) -> &mut Instance {
        let found = self
            .instances
            .iter_mut()
            .find(|it| it.thread.as_deref() == Some(thread));
        found.unwrap_or_else(|| panic!("{thread} has no instance"))
    }

    pub fn instance_of(&self, thread: &str) -> Option<&Instance> {
        self.instances
            .iter()
            .find(|it| it.thread.as_deref() == Some(thread))
    }

    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    pub fn names(&self) -> Vec<Arc<str>> {
        self.instances
            .iter()
            .map(|it| Arc::clone(&it.name))
            .collect()
    }

    pub fn stopping(&self) -> usize {
        let stopping = |it: &&Instance| it.phase == Phase::Stopping;
        self.instances.iter().filter(stopping).count()
    }

    pub fn wanted(&self) -> Vec<Wanted> {
        let first = self.turns.iter().filter_map(|(key, turns)| {
            let turn = turns.front()?;
            let mine = self.instance_of(&key.thread).map(|it| Arc::clone(&it.name));
            let elsewhere = self.elsewhere.get(key);
            Some(Wanted {
                key: key.clone(),
                agent: Some(Arc::clone(&turn.agent)),
                turn: Arc::clone(&turn.id),
                is_running: turn.is_running,
                since: turn.since,
                leased_by: elsewhere.map(|_| "somebody".into()).or(mine),
                leased_until: elsewhere
                    .copied()
                    .or_else(|| Some(self.now.plus(Duration::from_secs(60)))),
            })
        });
        first.collect()
    }

    /// Plans, and does what is planned; what that was, without what is told of turns.
    pub fn look(&mut self) -> Vec<Action> {
        let wanted = self.wanted();
        let look = Look {
            now: self.now,
            wanted: &wanted,
            instances: &self.instances,
            templates: &self.templates,
            pinned: &self.pinned,
            limits: &self.limits,
            busy: &Busy {
                names: self.busy.clone(),
                ..Busy::default()
            },
            lost: &self.lost,
            unbound: &HashSet::new(),
            leases: &self.leases,
            closing: self.closing,
        };
        let planned = plan(&look, &mut self.memory);
        (self.look_at, self.waiting) = (planned.look_at, planned.waiting);
        for (key, turn) in std::mem::take(&mut self.unseen) {
            self.turns.entry(key).or_default().push_back(turn);
        }
        for action in &planned.actions {
            self.act(action, &wanted);
            self.check();
        }
        let mut actions = planned.actions;
        self.told.clear();
        actions.retain(|action| match action {
            Action::Note {
                said: Said::Turn { is_open, .. },
                ..
            } => {
                self.told.push(*is_open);
                false
            }
            _ => true,
        });
        actions
    }

    fn act(&mut self, action: &Action, seen: &[Wanted]) {
        match action {
            Action::Start {
                tenant,
                agent,
                thread,
                ..
            } => {
                self.count += 1;
                let name: Arc<str> = format!("i-{:05}", self.count).into();
                self.leases.push((Arc::clone(&name), Arc::clone(tenant)));
                self.instances.push(Instance {
                    name,
                    tenant: Arc::clone(tenant),
                    agent: agent.clone(),
                    thread: thread.clone(),
                    phase: Phase::Starting,
                    started_at: self.now,
                    idle_timeout: None,
                });
            }
            Action::Bind { name, key } => {
                let it = self.named(name);
                assert!(it.is_live() && it.thread.is_none(), "{action:?}: {it:?}");
                assert_eq!(it.tenant, key.tenant);
                it.thread = Some(Arc::clone(&key.thread));
            }
            Action::Retire { name, why, .. } => {
                let it = self.named(name);
                assert!(it.is_live(), "{action:?}: {it:?}");
                let key = it.key();
                let has_turn = |of: &[Wanted]| of.iter().any(|it| Some(&it.key) == key.as_ref());
                assert!(!has_turn(seen), "it is busy: {action:?}");
                assert!(*why == Retired::Leaving || self.closing.is_none());
                if has_turn(&self.wanted()) {
                    let name = Arc::clone(name);
                    self.memory.put_off(&name, self.now);
                } else {
                    self.named(name).phase = Phase::Stopping;
                    self.release(name);
                }
            }
            Action::Bury { name, key, why, .. } => {
                let it = self.named(name);
                let failed = matches!(it.phase, Phase::Failed(_));
                assert_eq!(failed, matches!(why, Buried::Crashed { .. }), "{action:?}");
                self.lost.remove(name);
                self.instances.retain(|it| it.name != *name);
                self.release(name);
                let turns = key.as_ref().and_then(|key| self.turns.get_mut(key));
                if let Some(turn) = turns.and_then(VecDeque::front_mut) {
                    turn.is_running = false;
                }
            }
            Action::Evict { name } => {
                let is_leaving = self.closing.is_some() || !self.pinned.is_empty();
                assert!(is_leaving, "{action:?}");
                self.named(name).phase = Phase::Stopping;
            }
            Action::Lose { name, .. } => {
                assert!(self.instances.iter().all(|it| it.name != *name));
                self.release(name);
            }
            Action::Forget { .. } | Action::Note { .. } => {}
        }
    }

    fn release(&mut self, name: &Arc<str>) {
        self.leases.retain(|(held, _)| held != name);
        self.memory.ended(name, self.now);
    }

    #[track_caller]
    fn named(&mut self, name: &str) -> &mut Instance {
        let found = self.instances.iter_mut().find(|it| *it.name == *name);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// What must never be.
    fn check(&self) {
        let mut threads = HashSet::new();
        let mut tenants: HashMap<_, u32> = HashMap::new();
        let mut templates: HashMap<_, u32> = HashMap::new();
        for it in &self.instances {
            if let Some(key) = it.key() {
                assert!(threads.insert(key), "two instances: {:#?}", self.instances);
            }
            *tenants.entry(&it.tenant).or_default() += 1;
            let of = Template::of(&self.templates, &it.tenant, it.agent.as_deref());
            *templates.entry(of).or_default() += 1;
        }
        let within = |count: u32, most: Option<u32>| most.is_none_or(|most| count <= most);
        let in_all = u32::try_from(self.instances.len()).unwrap();
        assert!(within(in_all, self.limits.in_all), "too many");
        for count in tenants.into_values() {
            assert!(within(count, self.limits.per_tenant), "too many of one");
        }
        for (of, count) in templates {
            let most = of.and_then(|of| self.templates[of].most);
            assert!(within(count, most), "too many of one template");
        }
    }
}
