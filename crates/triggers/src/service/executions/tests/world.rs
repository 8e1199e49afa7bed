//! Triggers whose workers are the tests themselves.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json, value::RawValue};
use tidewire_core::{Clock, Time};
use tidewire_db::{Db, Migration};
use tidewire_events::Events;
use tidewire_jobs::{ClaimRequest, ClaimedJob, Filter, Followers, JobSettings, Jobs};
use tidewire_outbound::{AddressPolicy, LOOPBACK};
use tidewire_testkit::{Engine, TestStore};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Error, Execution, ExecutionQuery, Executions, FOLLOWER, NewTrigger, Page, SetOff,
    TriggerSettings, TriggerStatus, TriggerType, Triggers,
};

/// Triggers over jobs over a store, as a process has them; workers are the tests themselves.
pub(crate) struct World {
    pub triggers: Triggers,
    pub jobs: Jobs,
    pub clock: Clock,
    pub tenant: Arc<str>,
    pub db: Db,
    pub store: Arc<TestStore>,
    settings: TriggerSettings,
}

pub(crate) fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat()
}

pub(crate) fn raw(json: &Value) -> Box<RawValue> {
    RawValue::from_string(json.to_string()).unwrap()
}

impl World {
    pub(crate) async fn open(engine: Engine) -> Self {
        Self::with(engine, TriggerSettings::default()).await
    }

    pub(crate) async fn with(engine: Engine, settings: TriggerSettings) -> Self {
        let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
        let store = TestStore::on_with_clock(engine, &migrations(), clock).await;
        Self::over(store.db.clone(), Arc::new(store), settings)
    }

    fn over(db: Db, store: Arc<TestStore>, settings: TriggerSettings) -> Self {
        let (clock, stop) = (store.clock.clone(), CancellationToken::new());
        let (_, live) = watch::channel(JobSettings::default());
        let followers = Followers::default().with(FOLLOWER, Executions::new(&db, clock.clone()));
        let jobs = Jobs::new(db.clone(), clock.clone(), live, followers, stop.clone());
        let of_events = tidewire_events::Settings::default();
        let events = Events::new(db.clone(), clock.clone(), of_events, stop);
        let policy = AddressPolicy::allowing(LOOPBACK);
        let rooms = (jobs.clone(), events);
        World {
            triggers: Triggers::new(db.clone(), clock.clone(), settings, policy, rooms),
            jobs,
            clock,
            tenant: "default".into(),
            db,
            store,
            settings,
        }
    }

    /// The same store as another process has it.
    pub(crate) async fn second(&self) -> Self {
        let db = self.store.second().await;
        Self::over(db, Arc::clone(&self.store), self.settings)
    }

    /// The same as another tenant.
    pub(crate) fn of_tenant(&self, tenant: &str) -> Self {
        World {
            triggers: self.triggers.clone(),
            jobs: self.jobs.clone(),
            clock: self.clock.clone(),
            tenant: tenant.into(),
            db: self.db.clone(),
            store: Arc::clone(&self.store),
            settings: self.settings,
        }
    }

    /// A webhook's id.
    pub(crate) async fn webhook(&self, name: &str) -> String {
        let config = json!({"endpoint": "http://127.0.0.1:9/", "retry": {"max_attempts": 2}});
        let new = NewTrigger {
            name: name.to_owned(),
            kind: TriggerType::Webhook,
            config: raw(&config),
            status: TriggerStatus::Active,
        };
        self.make(new).await
    }

    /// A trigger's id.
    pub(crate) async fn make(&self, new: NewTrigger) -> String {
        let checked = self.triggers.check(&self.tenant, new).await.unwrap();
        let (triggers, tenant) = (self.triggers.clone(), Arc::clone(&self.tenant));
        let made = self.db.transact("test.create", move |tx| {
            let (triggers, tenant, checked) =
                (triggers.clone(), Arc::clone(&tenant), checked.clone());
            Box::pin(async move { triggers.create_in(tx, &tenant, &checked).await })
        });
        made.await.unwrap().id
    }

    pub(crate) async fn call(&self, trigger: &str, payload: &Value) -> SetOff {
        let called = self.triggers.webhook(trigger, raw(payload), None, 0).await;
        called.unwrap()
    }

    pub(crate) async fn claim(&self, limit: u32) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            filter: Filter::default(),
            worker: "w".to_owned(),
            limit,
            wait: Duration::ZERO,
            lease: None,
        };
        self.jobs.claim(request).await.unwrap()
    }

    pub(crate) async fn complete(&self, job: &ClaimedJob) {
        let (tenant, id) = (&job.job.tenant, &job.job.id);
        let done = self
            .jobs
            .complete(tenant, id, job.lease_token.clone(), None);
        done.await.unwrap();
    }

    pub(crate) async fn fail(&self, job: &ClaimedJob) {
        let (tenant, id, token) = (&job.job.tenant, &job.job.id, job.lease_token.clone());
        let failed = self.jobs.fail(tenant, id, token, "boom", None, true);
        failed.await.unwrap();
    }

    /// From here on leases run out, and what no claim finds is found, as in a server.
    pub(crate) fn keep_jobs(&self) -> DropGuard {
        let (jobs, stop) = (self.jobs.clone(), CancellationToken::new());
        let guard = stop.clone().drop_guard();
        tokio::spawn(async move { jobs.keep(stop).await });
        guard
    }

    /// Ends all that is due: well, or badly.
    pub(crate) async fn end_all(&self, well: bool) {
        loop {
            let claimed = self.claim(100).await;
            if claimed.is_empty() {
                return;
            }
            for job in &claimed {
                match well {
                    true => self.complete(job).await,
                    false => self.fail(job).await,
                }
            }
        }
    }

    pub(crate) async fn get(&self, id: &str) -> Execution {
        self.triggers.execution(&self.tenant, id).await.unwrap()
    }

    pub(crate) async fn is_gone(&self, id: &str) -> bool {
        let found = self.triggers.execution(&self.tenant, id).await;
        matches!(found, Err(Error::NoSuchExecution(_)))
    }

    /// The ids on the first page, and how many there are.
    pub(crate) async fn list(&self, query: ExecutionQuery) -> (Vec<String>, u64) {
        let page = Page::of(None, None).unwrap();
        let listed = self.triggers.executions(&self.tenant, query, page).await;
        let (executions, pagination) = listed.unwrap();
        let ids = executions.into_iter().map(|execution| execution.id);
        (ids.collect(), pagination.total_records)
    }
}
