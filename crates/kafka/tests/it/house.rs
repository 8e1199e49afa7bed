//! A house with triggers, jobs and a bus.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::value::RawValue;
use tidewire_core::Clock;
use tidewire_db::{BoxFuture, Db, Migration};
use tidewire_events::Events;
use tidewire_jobs::{
    Followers, Job, JobContext, JobSettings, Jobs, Output, Processors, Status, Worker,
    WorkerOptions,
    bus::{Database, JobBus},
};
use tidewire_kafka::{Kafka, KafkaSettings};
use tidewire_outbound::{AddressPolicy, LOOPBACK};
use tidewire_testkit::{Engine, TestStore, Threads, eventually, run_on, servers};
use tidewire_triggers::{
    DISPATCH, Executions, FOLLOWER, NewTrigger, SetOff, TriggerSettings, TriggerStatus,
    TriggerType, Triggers,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub const TENANT: &str = "default";

/// A bus for one test, and how to reach it besides.
#[derive(Clone)]
pub struct Bus {
    pub bus: Arc<dyn JobBus>,
    pub settings: Option<KafkaSettings>,
}

impl Bus {
    pub fn settings(&self) -> &KafkaSettings {
        self.settings.as_ref().expect("the bus is a Kafka")
    }

    /// The same bus as another process has it.
    pub fn second(&self) -> Arc<dyn JobBus> {
        match &self.settings {
            Some(settings) => Arc::new(Kafka::new(settings.clone())),
            None => Arc::new(Database),
        }
    }
}

pub fn database() -> BoxFuture<'static, Option<Bus>> {
    Box::pin(async {
        Some(Bus {
            bus: Arc::new(Database),
            settings: None,
        })
    })
}

/// With topics and a group of its own.
pub fn kafka() -> BoxFuture<'static, Option<Bus>> {
    Box::pin(async { Some(at(&servers::kafka().await?)) })
}

pub fn at(brokers: &str) -> Bus {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "t{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let settings = KafkaSettings {
        group: format!("{name}-workers"),
        jobs_topic: format!("{name}-jobs"),
        events_topic: format!("{name}-events"),
        partitions: 4,
        ..KafkaSettings::new(brokers)
    };
    Bus {
        bus: Arc::new(Kafka::new(settings.clone())),
        settings: Some(settings),
    }
}

/// Runs a scenario, unless its store or its bus is not there.
pub fn run<F: Future<Output = ()>>(
    engine: Engine,
    open: fn() -> BoxFuture<'static, Option<Bus>>,
    scenario: fn(House) -> F,
) {
    run_on(engine, Threads::Many, async |engine| {
        if let Some(bus) = open().await {
            Box::pin(scenario(House::open(engine, bus, Clock::system()).await)).await;
        }
    });
}

pub fn is_full() -> bool {
    std::env::var_os("TIDEWIRE_TEST_FULL").is_some_and(|value| value == "1")
}

/// Deliveries that ran here: how often each job did, and where.
#[derive(Clone, Default)]
pub struct Ran(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Ran {
    fn add(&self, job: &str, worker: &str) {
        let mut ran = self.0.lock().unwrap();
        ran.entry(job.to_owned())
            .or_default()
            .push(worker.to_owned());
    }

    pub fn times(&self, job: &str) -> usize {
        self.0.lock().unwrap().get(job).map_or(0, Vec::len)
    }

    pub fn jobs(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How many jobs each worker ran.
    pub fn by_worker(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for worker in self.0.lock().unwrap().values().flatten() {
            *count.entry(worker.clone()).or_default() += 1;
        }
        count
    }
}

pub struct House {
    pub engine: Engine,
    pub store: Arc<TestStore>,
    pub bus: Bus,
    pub clock: Clock,
    pub tenant: Arc<str>,
    pub process: Process,
    pub ran: Ran,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// What one process has of it.
#[derive(Clone)]
pub struct Process {
    pub jobs: Jobs,
    pub triggers: Triggers,
}

fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        tidewire_triggers::MIGRATIONS,
    ]
    .concat()
}

impl Process {
    fn over(db: &Db, clock: &Clock, relayed: bool) -> Self {
        let (_, settings) = watch::channel(JobSettings {
            lease: Duration::from_secs(2),
            ..JobSettings::default()
        });
        let followers = Followers::default().with(FOLLOWER, Executions::new(db, clock.clone()));
        let stop = CancellationToken::new();
        let jobs = Jobs::new(db.clone(), clock.clone(), settings, followers, stop.clone());
        let settings = tidewire_events::Settings {
            poll_interval: Duration::from_secs(5),
            ..tidewire_events::Settings::default()
        };
        let events = Events::new(db.clone(), clock.clone(), settings, stop);
        let settings = TriggerSettings {
            relayed,
            ..TriggerSettings::default()
        };
        let policy = AddressPolicy::allowing(LOOPBACK);
        let triggers = Triggers::new(
            db.clone(),
            clock.clone(),
            settings,
            policy,
            (jobs.clone(), events),
        );
        Process { jobs, triggers }
    }
}

impl House {
    pub async fn open(engine: Engine, bus: Bus, clock: Clock) -> Self {
        let store = TestStore::on_with_clock(engine, &migrations(), clock.clone()).await;
        House {
            process: Process::over(&store.db, &clock, bus.bus.is_apart()),
            engine,
            store: Arc::new(store),
            bus,
            clock,
            tenant: TENANT.into(),
            ran: Ran::default(),
            stop: CancellationToken::new(),
            tasks: Vec::new(),
        }
    }

    /// Another process on the same store; the same one where the store allows no other.
    pub async fn second(&self) -> Process {
        if self.engine == Engine::Sqlite {
            return self.process.clone();
        }
        let db = self.store.second().await;
        Process::over(&db, &self.clock, self.bus.bus.is_apart())
    }

    pub async fn trigger(&self, name: &str) -> Arc<str> {
        let config = r#"{"endpoint": "http://127.0.0.1:9/"}"#;
        let new = NewTrigger {
            name: name.to_owned(),
            kind: TriggerType::Webhook,
            config: RawValue::from_string(config.to_owned()).unwrap(),
            status: TriggerStatus::Active,
        };
        let triggers = self.process.triggers.clone();
        let checked = triggers.check(TENANT, new).await.unwrap();
        let tenant = Arc::clone(&self.tenant);
        let made = self.store.db.transact("test.trigger", move |tx| {
            let (triggers, checked, tenant) =
                (triggers.clone(), checked.clone(), Arc::clone(&tenant));
            Box::pin(async move { triggers.create_in(tx, &tenant, &checked).await })
        });
        made.await.unwrap().id.as_str().into()
    }

    pub async fn fire(&self, trigger: &str, payload: &str) -> SetOff {
        let payload = RawValue::from_string(payload.to_owned()).unwrap();
        let fired = self.process.triggers.webhook(trigger, payload, None, 0);
        fired.await.unwrap()
    }

    /// Runs deliveries by a worker, which is fed by the bus.
    pub fn work(&mut self, name: &str) {
        let worker = self.worker(name, self.bus.second());
        self.tasks.push(tokio::spawn(worker.run(self.stop.clone())));
    }

    pub fn worker(&self, name: &str, bus: Arc<dyn JobBus>) -> Worker {
        let ran = self.ran.clone();
        let mut processors = Processors::new();
        processors.register(DISPATCH, move |job: JobContext| {
            ran.add(&job.job().id, job.worker());
            async { Ok(Output::none()) }
        });
        self.worker_with(name, processors, bus)
    }

    pub fn worker_with(&self, name: &str, processors: Processors, bus: Arc<dyn JobBus>) -> Worker {
        let options = WorkerOptions {
            name: name.to_owned(),
            concurrency: 8,
            ..WorkerOptions::default()
        };
        Worker::new(self.process.jobs.clone(), processors, options).fed_by(bus)
    }

    pub fn relay(&mut self) {
        self.relay_of(&self.process.clone());
    }

    pub fn relay_of(&mut self, process: &Process) {
        let (triggers, bus) = (process.triggers.clone(), self.bus.second());
        let stop = self.stop.clone();
        self.tasks.push(tokio::spawn(async move {
            triggers.keep_relaying(bus, stop).await;
        }));
    }

    /// Watches over leases and finds what is due.
    pub fn keep(&mut self) {
        let (jobs, stop) = (self.process.jobs.clone(), self.stop.clone());
        self.tasks
            .push(tokio::spawn(async move { jobs.keep(stop).await }));
    }

    pub async fn job(&self, id: &str) -> Job {
        self.process.jobs.get(TENANT, id).await.unwrap().job
    }

    pub async fn all_done(&self, fired: &[SetOff]) {
        eventually("all deliveries are done", || async {
            let ids: Vec<_> = fired.iter().map(|fired| fired.job_id.as_str()).collect();
            let jobs = self.process.jobs.find(TENANT, &ids).await.unwrap();
            let mut jobs = jobs.iter().flatten();
            jobs.all(|job| job.status == Status::Done).then_some(())
        })
        .await;
    }

    /// Until the relay has told everything.
    pub async fn all_told(&self) {
        eventually("the outbox is empty", || async {
            (self.outbox().await == 0).then_some(())
        })
        .await;
    }

    pub async fn outbox(&self) -> u64 {
        self.process.triggers.outbox().await.unwrap().0
    }

    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}
