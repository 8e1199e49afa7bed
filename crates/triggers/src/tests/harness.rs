//! A store with triggers, jobs and events over it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, value::RawValue};
use tidewire_core::{Clock, Time, ids};
use tidewire_db::{BoxFuture, Db, Migration, Tx};
use tidewire_events::Events;
use tidewire_jobs::{Followers, JobSettings, Jobs};
use tidewire_outbound::AddressPolicy;
use tidewire_testkit::{Engine, TestStore, eventually};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Executions, FOLLOWER, NewTrigger, Page, Schedule, ScheduleStatus, Trigger, TriggerEdit,
    TriggerSettings, TriggerStatus, TriggerType, Triggers, store::Store,
};

pub(crate) fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat()
}

/// When clocks that stand still begin: between the times of all patterns.
pub(crate) fn start() -> Time {
    "2026-01-01T10:00:00.5Z".parse().unwrap()
}

/// Triggers as one process has them.
pub(crate) struct TestTriggers {
    pub triggers: Triggers,
    pub jobs: Jobs,
    pub clock: Clock,
    pub tenant: Arc<str>,
    pub db: Db,
    pub store: Arc<TestStore>,
    pub settings: TriggerSettings,
}

impl TestTriggers {
    /// Under a clock that stands still, and with a poll interval by which it is noticed at once that a
    /// test moves it.
    pub(crate) async fn open(engine: Engine) -> Self {
        let settings = TriggerSettings {
            poll_interval: Duration::from_millis(10),
            ..TriggerSettings::default()
        };
        Self::with(engine, Clock::fake(start()), settings).await
    }

    pub(crate) async fn with(engine: Engine, clock: Clock, settings: TriggerSettings) -> Self {
        let store = TestStore::on_with_clock(engine, &migrations(), clock).await;
        let db = store.db.clone();
        Self::over(db, Arc::new(store), settings)
    }

    pub(crate) fn over(db: Db, store: Arc<TestStore>, settings: TriggerSettings) -> Self {
        let clock = store.clock.clone();
        let shutdown = CancellationToken::new();
        let (_, live) = watch::channel(JobSettings::default());
        let followers = Followers::default().with(FOLLOWER, Executions::new(&db, clock.clone()));
        let jobs = Jobs::new(db.clone(), clock.clone(), live, followers, shutdown.clone());
        let log = tidewire_events::Settings::default();
        let events = Events::new(db.clone(), clock.clone(), log, shutdown);
        let triggers = Triggers::new(
            db.clone(),
            clock.clone(),
            settings,
            AddressPolicy::public(),
            (jobs.clone(), events),
        );
        TestTriggers {
            triggers,
            jobs,
            clock,
            tenant: "default".into(),
            db,
            store,
            settings,
        }
    }

    /// The same triggers as another process has them; on an engine whose store belongs to one process,
    /// as another part of it has them.
    pub(crate) async fn second(&self) -> Self {
        let db = if self.db.dialect().sole_writer {
            self.db.clone()
        } else {
            self.store.second().await
        };
        Self::over(db, Arc::clone(&self.store), self.settings)
    }

    pub(crate) async fn create(&self, kind: TriggerType, config: Value) -> Trigger {
        self.create_for(&self.tenant, kind, config).await
    }

    pub(crate) async fn create_for(
        &self,
        tenant: &Arc<str>,
        kind: TriggerType,
        config: Value,
    ) -> Trigger {
        self.create_many(tenant, kind, vec![config]).await.remove(0)
    }

    /// Makes triggers in one transaction.
    pub(crate) async fn create_many(
        &self,
        tenant: &Arc<str>,
        kind: TriggerType,
        configs: Vec<Value>,
    ) -> Vec<Trigger> {
        let mut checked = Vec::new();
        for config in configs {
            let new = NewTrigger {
                name: "n".to_owned(),
                kind,
                config: raw(&config),
                status: TriggerStatus::Active,
            };
            checked.push(self.triggers.check(tenant, new).await.unwrap());
        }
        let (triggers, tenant, checked) =
            (self.triggers.clone(), Arc::clone(tenant), Arc::new(checked));
        let made = self.db.transact("test.create", move |tx| {
            let (triggers, tenant, checked) =
                (triggers.clone(), Arc::clone(&tenant), Arc::clone(&checked));
            Box::pin(async move {
                let mut made = Vec::new();
                for new in checked.iter() {
                    made.push(triggers.create_in(tx, &tenant, new).await?);
                }
                Ok::<_, crate::Error>(made)
            })
        });
        made.await.unwrap()
    }

    /// Adds triggers that are as this one, which has not been fired.
    pub(crate) async fn multiply(&self, trigger: &Trigger, count: usize) {
        let ids: Vec<_> = (0..count).map(|_| ids::new_id(&self.clock)).collect();
        let (tenant, id) = (Arc::clone(&trigger.tenant), trigger.id.clone());
        self.write(move |store, tx| {
            let (tenant, id, ids) = (Arc::clone(&tenant), id.clone(), ids.clone());
            Box::pin(async move { store.multiply(tx, (&tenant, &id), &ids).await })
        })
        .await;
        let at = trigger.next_scheduled_run.unwrap();
        self.triggers.inner.due.tell(at);
    }

    /// Writes behind the service's back.
    pub(crate) async fn write<F>(&self, work: F)
    where
        F: for<'a> Fn(Arc<Store>, &'a mut Tx) -> BoxFuture<'a, tidewire_db::Result<()>>
            + Send
            + 'static,
    {
        let store = Arc::clone(&self.triggers.inner.store);
        let written = self
            .db
            .transact("test.write", move |tx| work(Arc::clone(&store), tx));
        written.await.unwrap();
    }

    pub(crate) async fn edit(&self, id: &str, edit: TriggerEdit) -> Trigger {
        self.triggers.update(&self.tenant, id, edit).await.unwrap()
    }

    pub(crate) async fn edit_config(&self, id: &str, config: Value) -> Trigger {
        let config = Some(raw(&config));
        let edit = TriggerEdit {
            config,
            ..TriggerEdit::default()
        };
        self.edit(id, edit).await
    }

    pub(crate) async fn set_status(&self, id: &str, status: TriggerStatus) -> Trigger {
        let edit = TriggerEdit {
            status: Some(status),
            ..TriggerEdit::default()
        };
        self.edit(id, edit).await
    }

    /// Lets time pass, a step at a time, and fires what is due after each.
    pub(crate) async fn pass(&self, steps: usize, step: Duration) {
        for _ in 0..steps {
            self.clock.advance(step);
            self.triggers.fire_due().await.unwrap();
        }
    }

    /// A scheduler, until the guard is dropped.
    pub(crate) fn schedule(&self) -> DropGuard {
        let stop = CancellationToken::new();
        let (triggers, stopped) = (self.triggers.clone(), stop.clone());
        tokio::spawn(async move { triggers.keep_scheduling(stopped).await });
        stop.drop_guard()
    }

    /// The times for which a trigger was fired, in the order of time.
    pub(crate) async fn fired(&self, trigger: &str) -> Vec<Time> {
        let inner = &self.triggers.inner;
        let fired = inner.store.fired(&mut self.db.read(), Some(trigger)).await;
        fired.unwrap()
    }

    /// How many firings by the clock there were of all triggers.
    pub(crate) async fn fired_in_all(&self) -> usize {
        let inner = &self.triggers.inner;
        let fired = inner.store.fired(&mut self.db.read(), None).await;
        fired.unwrap().len()
    }

    pub(crate) async fn until_fired(&self, count: usize) {
        eventually("all are fired", || async {
            (self.fired_in_all().await >= count).then_some(())
        })
        .await;
    }

    /// All occurrences of a trigger, the oldest first.
    pub(crate) async fn occurrences(&self, trigger: &str) -> Vec<(Time, ScheduleStatus)> {
        let page = Page {
            number: 1,
            size: 500,
        };
        let found = self.triggers.schedules(&self.tenant, trigger, None, page);
        let (found, _): (Vec<Schedule>, _) = found.await.unwrap();
        let pairs = found.iter().rev();
        pairs.map(|of| (of.fire_at, of.status)).collect()
    }

    pub(crate) async fn next_run(&self, trigger: &str) -> Option<Time> {
        let found = self.triggers.get(&self.tenant, trigger).await.unwrap();
        found.next_scheduled_run
    }

    /// Every rule between the tables holds.
    pub(crate) async fn check(&self) {
        let inner = &self.triggers.inner;
        let broken = inner.store.broken(&mut self.db.read()).await.unwrap();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}
