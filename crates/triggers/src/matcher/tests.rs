//! Events and their triggers on real stores. Time stands still unless a test moves it.

mod limits;
mod once;
mod several;
mod waking;

use crate::store::probe;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tidewire_core::{Clock, Time};
use tidewire_db::{Db, Migration, Query as _};
use tidewire_events::{Event, Events, NewEvent, Settings, Stretch};
use tidewire_jobs::{Followers, Job, JobFilter, JobSettings, Jobs};
use tidewire_outbound::AddressPolicy;
use tidewire_testkit::{Engine, TestStore, eventually};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Executions, FOLLOWER, NewTrigger, TriggerEdit, TriggerSettings, TriggerStatus,
    TriggerType, Triggers, firing::Context,
};

/// So long that what happens did not wait for it.
const NEVER: Duration = Duration::from_hours(24);
const TENANT: &str = "default";

fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat()
}

/// One process.
struct House {
    triggers: Triggers,
    events: Events,
    jobs: Jobs,
    clock: Clock,
    db: Db,
    tenant: Arc<str>,
    settings: TriggerSettings,
    store: Arc<TestStore>,
}

/// What a trigger set off.
#[derive(Clone, Debug, PartialEq)]
struct Fired {
    trigger: String,
    payload: Value,
    run_at: Time,
    depth: u32,
}

impl House {
    async fn open(engine: Engine) -> Self {
        Self::with(engine, |_| {}).await
    }

    async fn with(engine: Engine, edit: impl FnOnce(&mut TriggerSettings)) -> Self {
        let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
        let mut settings = TriggerSettings {
            poll_interval: Duration::from_millis(200),
            ..TriggerSettings::default()
        };
        edit(&mut settings);
        let store = TestStore::on_with_clock(engine, &migrations(), clock).await;
        let store = Arc::new(store);
        Self::over(store.db.clone(), &store, settings)
    }

    fn over(db: Db, store: &Arc<TestStore>, settings: TriggerSettings) -> Self {
        let (clock, stop) = (store.clock.clone(), CancellationToken::new());
        let log = Settings {
            poll_interval: settings.poll_interval,
            ..Settings::default()
        };
        let events = Events::new(db.clone(), clock.clone(), log, stop.clone());
        let follower = Executions::new(&db, clock.clone());
        let jobs = Jobs::new(
            db.clone(),
            clock.clone(),
            watch::channel(JobSettings::default()).1,
            Followers::default().with(FOLLOWER, follower),
            stop,
        );
        let triggers = Triggers::new(
            db.clone(),
            clock.clone(),
            settings,
            AddressPolicy::public(),
            (jobs.clone(), events.clone()),
        );
        House {
            triggers,
            events,
            jobs,
            clock,
            db,
            tenant: TENANT.into(),
            settings,
            store: Arc::clone(store),
        }
    }

    /// The same store as another process has it.
    async fn second(&self) -> Self {
        let db = self.store.second().await;
        Self::over(db, &self.store, self.settings)
    }

    /// Another process in its place, which knows nothing.
    async fn restart(self, engine: Engine) -> Self {
        let House {
            store,
            settings,
            db,
            ..
        } = self;
        let db = match engine {
            Engine::Sqlite => {
                db.close().await;
                let url = store.url().parse().unwrap();
                Db::open(tidewire_db::Options::new(url)).await.unwrap()
            }
            Engine::Postgres | Engine::MySql => store.second().await,
        };
        Self::over(db, &store, settings)
    }

    /// Another tenant of the same process.
    fn of(&self, tenant: &str) -> Self {
        House {
            triggers: self.triggers.clone(),
            events: self.events.clone(),
            jobs: self.jobs.clone(),
            clock: self.clock.clone(),
            db: self.db.clone(),
            tenant: tenant.into(),
            settings: self.settings,
            store: Arc::clone(&self.store),
        }
    }

    /// A matcher, until it is dropped.
    fn keep(&self) -> Keeping {
        let (triggers, stop) = (self.triggers.clone(), CancellationToken::new());
        let stopped = stop.clone();
        Keeping {
            task: tokio::spawn(async move { triggers.keep_matching(stopped).await }),
            stop,
        }
    }

    /// An event trigger that makes jobs.
    async fn on(&self, event_type: &str, more: Value) -> String {
        self.create(config(event_type, more)).await
    }

    async fn create(&self, config: Box<RawValue>) -> String {
        self.create_all(vec![config]).await.remove(0)
    }

    /// Several, in one transaction.
    async fn create_all(&self, configs: Vec<Box<RawValue>>) -> Vec<String> {
        let mut checked = Vec::new();
        for config in configs {
            let new = NewTrigger {
                name: "t".to_owned(),
                kind: TriggerType::Event,
                config,
                status: TriggerStatus::Active,
            };
            checked.push(self.triggers.check(&self.tenant, new).await.unwrap());
        }
        let (triggers, tenant) = (self.triggers.clone(), Arc::clone(&self.tenant));
        let checked = Arc::new(checked);
        let created: Result<Vec<String>, Error> = self
            .db
            .transact("create", move |tx| {
                let (triggers, tenant) = (triggers.clone(), Arc::clone(&tenant));
                let checked = Arc::clone(&checked);
                Box::pin(async move {
                    let mut ids = Vec::new();
                    for new in &*checked {
                        ids.push(triggers.create_in(tx, &tenant, new).await?.id);
                    }
                    Ok(ids)
                })
            })
            .await;
        created.unwrap()
    }

    async fn edit(&self, id: &str, edit: TriggerEdit) {
        self.triggers.update(&self.tenant, id, edit).await.unwrap();
    }

    async fn reconfigure(&self, id: &str, event_type: &str, more: Value) {
        let edit = TriggerEdit {
            config: Some(config(event_type, more)),
            ..TriggerEdit::default()
        };
        self.edit(id, edit).await;
    }

    async fn switch(&self, id: &str, status: TriggerStatus) {
        let edit = TriggerEdit {
            status: Some(status),
            ..TriggerEdit::default()
        };
        self.edit(id, edit).await;
    }

    async fn append(&self, kind: &str, payload: Value) {
        self.append_all([(kind, payload)]).await;
    }

    async fn append_all<'k>(&self, events: impl IntoIterator<Item = (&'k str, Value)>) {
        self.append_at(0, events).await;
    }

    async fn append_at<'k>(&self, depth: u32, events: impl IntoIterator<Item = (&'k str, Value)>) {
        let events: Vec<_> = events
            .into_iter()
            .map(|(kind, payload)| {
                let payload = to_raw_value(&payload).unwrap();
                NewEvent::new(kind, payload).unwrap().at_depth(depth)
            })
            .collect();
        for some in events.chunks(1000) {
            self.events
                .append(&self.tenant, some.to_vec())
                .await
                .unwrap();
        }
    }

    /// All that was fired, in the order in which it was.
    async fn fired(&self) -> Vec<Fired> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut before: Option<String> = None;
        loop {
            let page = self
                .jobs
                .list(&self.tenant, &JobFilter::default(), before.as_deref(), 500)
                .await
                .unwrap();
            jobs.extend(page.jobs);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        jobs.iter().map(fired).collect()
    }

    /// How often it was fired, by one trigger or by any.
    async fn count(&self, trigger: Option<&str>) -> usize {
        let sql = probe::COUNT_EXECUTIONS;
        let args = vec![(&self.tenant).into(), trigger.into()];
        let row = self
            .db
            .read()
            .row(&self.db.dialect().sql(sql), args)
            .await
            .unwrap();
        usize::try_from(row.unwrap().count(0).unwrap()).unwrap()
    }

    /// Waits until so much was fired, and for nothing else: what would come behind it is not seen.
    async fn fires(&self, count: usize) -> Vec<Fired> {
        eventually(&format!("{count} firings"), || async {
            (self.count(None).await >= count).then_some(())
        })
        .await;
        self.fired().await
    }

    /// Waits until all that was appended was matched, and answers what it set off.
    async fn settled(&self) -> Vec<Fired> {
        let marker = self.on("marker", json!({})).await;
        self.append("marker", json!(null)).await;
        eventually("the marker's firing", || async {
            (self.count(Some(&marker)).await > 0).then_some(())
        })
        .await;
        let mut fired = self.fired().await;
        let all = fired.iter().filter(|fired| fired.trigger == marker);
        assert_eq!(all.count(), 1);
        self.triggers.delete(&self.tenant, &marker).await.unwrap();
        fired.retain(|fired| fired.payload["type"] != "marker");
        fired
    }

    /// Events of a stretch of the log, as they were stored.
    async fn log(&self) -> Vec<Event> {
        let all = Stretch {
            events: 100_000,
            bytes: 1 << 30,
        };
        self.events.after(&self.tenant, 0, all).await.unwrap()
    }

    /// Runs a statement that nothing here would.
    async fn sql(&self, text: &str) {
        let sql = self.db.dialect().sql(text);
        let done: Result<(), tidewire_db::Error> = self
            .db
            .transact("test", move |tx| {
                let sql = sql.clone();
                Box::pin(async move { tx.push(&sql, Vec::new()).await })
            })
            .await;
        done.unwrap();
    }
}

/// A running matcher.
struct Keeping {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Keeping {
    /// Stops it as a server does.
    async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Keeping {
    /// Drops it wherever it is.
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(event_type: &str, more: Value) -> Box<RawValue> {
    let mut config = json!({"job": {"type": "j"}, "event_type": event_type});
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    to_raw_value(&config).unwrap()
}

fn fired(job: &Job) -> Fired {
    let followed = job.followed.as_ref().unwrap();
    let context: Context = serde_json::from_str(&followed.context).unwrap();
    Fired {
        trigger: context.trigger.unwrap(),
        payload: serde_json::from_str(job.payload.get()).unwrap(),
        run_at: job.run_at,
        depth: context.depth,
    }
}

/// The numbers in the payloads of the events that set a trigger off, in the order of the firings.
fn numbers(fired: &[Fired], trigger: &str) -> Vec<u64> {
    let of = fired.iter().filter(|fired| fired.trigger == trigger);
    of.map(|fired| fired.payload["payload"].as_u64().unwrap())
        .collect()
}

/// How often each trigger fired.
fn counts(fired: &[Fired]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for fired in fired {
        *counts.entry(fired.trigger.as_str()).or_default() += 1;
    }
    counts
}
