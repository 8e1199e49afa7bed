//! A house that fires and delivers.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json, value::RawValue};
use tidewire_core::Clock;
use tidewire_db::Migration;
use tidewire_events::Events;
use tidewire_jobs::{Followers, Job, JobSettings, Jobs, WorkerOptions};
use tidewire_outbound::{AddressPolicy, Client, ClientOptions, LOOPBACK};
use tidewire_testkit::{Engine, TestStore, eventually};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    CircuitSettings, DispatchSettings, Executions, FOLLOWER, GateSettings, NewTrigger, SetOff,
    TriggerSettings, TriggerStatus, TriggerType, Triggers, dispatch_worker, model::ExecutionStatus,
    store::Seen,
};

pub(super) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

pub(super) struct House {
    pub triggers: Triggers,
    pub jobs: Jobs,
    pub settings: watch::Sender<JobSettings>,
    pub tenant: Arc<str>,
    pub store: TestStore,
    _upkeep: DropGuard,
}

/// A dispatching worker; it stops, and gives back what it has, when it is told to.
pub(super) struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub(super) fn local_client() -> Client {
    client(AddressPolicy::allowing(LOOPBACK))
}

pub(super) fn client(policy: AddressPolicy) -> Client {
    let options = ClientOptions {
        policy,
        ..ClientOptions::default()
    };
    Client::new(options).unwrap()
}

/// Gates whose circuits open and close fast.
pub(super) fn brisk() -> GateSettings {
    GateSettings {
        circuit: CircuitSettings {
            failures: 5,
            pause: Duration::from_millis(200),
            max_pause: Duration::from_secs(1),
            ..CircuitSettings::default()
        },
        ..GateSettings::default()
    }
}

pub(super) fn settings(gate: GateSettings) -> DispatchSettings {
    DispatchSettings {
        gate,
        ..DispatchSettings::default()
    }
}

pub(super) fn options(name: &str) -> WorkerOptions {
    WorkerOptions {
        name: name.to_owned(),
        drain: Duration::from_secs(20),
        ..WorkerOptions::default()
    }
}

pub(super) fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

impl House {
    pub async fn open(engine: Engine) -> Self {
        let migrations: Vec<Migration> = [
            tidewire_events::MIGRATIONS,
            tidewire_jobs::MIGRATIONS,
            crate::MIGRATIONS,
        ]
        .concat();
        let store = TestStore::on_with_clock(engine, &migrations, Clock::system()).await;
        let (db, clock) = (store.db.clone(), store.clock.clone());
        let (settings, live) = watch::channel(JobSettings {
            poll_interval: Duration::from_millis(500),
            ..JobSettings::default()
        });
        let followers = Followers::default().with(FOLLOWER, Executions::new(&db, clock.clone()));
        let stop = CancellationToken::new();
        let jobs = Jobs::new(db.clone(), clock.clone(), live, followers, stop.clone());
        let events = Events::new(
            db.clone(),
            clock.clone(),
            tidewire_events::Settings {
                poll_interval: Duration::from_secs(1),
                ..tidewire_events::Settings::default()
            },
            stop.clone(),
        );
        let (kept, stopped) = (jobs.clone(), stop.clone());
        tokio::spawn(async move { kept.keep(stopped).await });
        House {
            triggers: Triggers::new(
                db,
                clock,
                TriggerSettings::default(),
                AddressPolicy::allowing(LOOPBACK),
                (jobs.clone(), events),
            ),
            jobs,
            settings,
            tenant: "default".into(),
            store,
            _upkeep: stop.drop_guard(),
        }
    }

    pub fn work(&self) -> Working {
        self.work_with(local_client(), settings(brisk()), "w")
    }

    pub fn work_with(&self, client: Client, settings: DispatchSettings, name: &str) -> Working {
        let worker = dispatch_worker(&self.triggers, client, settings, options(name));
        let stop = CancellationToken::new();
        Working {
            task: tokio::spawn(worker.run(stop.clone())),
            stop,
        }
    }

    /// A webhook's trigger with retries that do not keep tests waiting, and what else its config has.
    pub async fn trigger(&self, endpoint: &str, config: Value) -> String {
        let mut whole = json!({
            "endpoint": endpoint,
            "retry": {"max_attempts": 50, "base_seconds": 0.05, "cap_seconds": 0.2},
        });
        let members = config.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(members);
        let new = NewTrigger {
            name: "test".to_owned(),
            kind: TriggerType::Webhook,
            config: raw(&whole),
            status: TriggerStatus::Active,
        };
        let (triggers, tenant) = (self.triggers.clone(), Arc::clone(&self.tenant));
        let checked = triggers.check(&tenant, new).await.unwrap();
        let created = self.store.db.transact("test.create", move |tx| {
            let (triggers, tenant) = (triggers.clone(), Arc::clone(&tenant));
            let checked = checked.clone();
            Box::pin(async move { triggers.create_in(tx, &tenant, &checked).await })
        });
        created.await.unwrap().id
    }

    pub async fn fire(&self, trigger: &str, payload: Value) -> SetOff {
        let fired = self.triggers.webhook(trigger, raw(&payload), None, 0);
        fired.await.unwrap()
    }

    pub async fn fire_many(&self, trigger: &str, count: usize) -> Vec<SetOff> {
        let all = (0..count).map(|n| self.fire(trigger, json!({"n": n})));
        futures_util::future::join_all(all).await
    }

    pub async fn look(&self, execution: &str) -> Seen {
        let mut read = self.store.db.read();
        let store = &self.triggers.inner.store;
        store
            .look_at(&mut read, &self.tenant, execution)
            .await
            .unwrap()
    }

    pub async fn job(&self, fired: &SetOff) -> Job {
        let detail = self.jobs.get(&self.tenant, &fired.job_id).await;
        detail.unwrap().job
    }

    pub async fn ended(&self, fired: &SetOff) -> Seen {
        eventually("the execution ends", || async {
            let seen = self.look(&fired.execution_id).await;
            (seen.status != ExecutionStatus::Pending).then_some(seen)
        })
        .await
    }

    /// Fires once, and what becomes of it.
    pub async fn deliver(&self, endpoint: &str, config: Value) -> Seen {
        let trigger = self.trigger(endpoint, config).await;
        let fired = self.fire(&trigger, json!({"hello": "world"})).await;
        self.ended(&fired).await
    }

    /// Executions, and those that succeeded.
    pub async fn counts(&self) -> (u64, u64) {
        let store = &self.triggers.inner.store;
        store
            .count_executions(&mut self.store.db.read())
            .await
            .unwrap()
    }

    pub async fn succeed(&self, count: u64) {
        eventually("all are delivered", || async {
            (self.counts().await.1 == count).then_some(())
        })
        .await;
    }
}
