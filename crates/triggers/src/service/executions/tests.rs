//! Executions as they are read, on a real store. Time stands still unless a test moves it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json, value::RawValue};
use tidewire_core::{Clock, Problem, Time};
use tidewire_db::{Db, Migration};
use tidewire_events::Events;
use tidewire_jobs::{ClaimRequest, ClaimedJob, Filter, Followers, JobSettings, Jobs};
use tidewire_outbound::{AddressPolicy, LOOPBACK};
use tidewire_testkit::{Engine, TestStore, eventually, every_engine};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ExecutionQuery;
use crate::{
    Error, Execution, ExecutionStatus, Executions, FOLLOWER, NewTrigger, Page, RetentionStatus,
    SetOff, Source, TriggerSettings, TriggerStatus, TriggerType, Triggers,
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

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

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

fn only(edit: impl FnOnce(&mut ExecutionQuery)) -> ExecutionQuery {
    let mut query = ExecutionQuery::default();
    edit(&mut query);
    query
}

fn refusal(error: Error) -> (u16, String) {
    let problem = Problem::from(error);
    (problem.kind.status(), problem.detail)
}

#[every_engine]
async fn an_execution_shows_what_was_sent_and_each_attempt(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.webhook("orders").await;
    let set_off = world.call(&trigger, &json!({"n": 1.50})).await;
    let pending = world.get(&set_off.execution_id).await;
    assert_eq!(
        serde_json::to_value(&pending).unwrap(),
        json!({
            "id": set_off.execution_id, "trigger_id": trigger, "trigger_type": "webhook",
            "fired_at": "2023-11-14T22:13:20.000000Z", "payload": {"n": 1.50},
            "source": "webhook", "execution_status": "pending", "error_message": null,
            "retention_status": "active", "is_test_run": false, "job_id": set_off.job_id,
            "attempts": [], "created_at": "2023-11-14T22:13:20.000000Z",
        })
    );

    let first = world.claim(1).await.remove(0);
    world.clock.advance(Duration::from_millis(250));
    let again = Some(Duration::ZERO);
    let (id, token) = (&set_off.job_id, first.lease_token.clone());
    let failed = world
        .jobs
        .fail(&world.tenant, id, token, "boom", again, false);
    failed.await.unwrap();
    let retried = world.get(&set_off.execution_id).await;
    assert_eq!(retried.execution_status, ExecutionStatus::Pending);
    assert_eq!(retried.error_message.as_deref(), Some("boom"));
    world.end_all(true).await;
    let done = world.get(&set_off.execution_id).await;
    assert_eq!(done.execution_status, ExecutionStatus::Success);
    assert_eq!(done.error_message, None);
    let attempts: Vec<_> = done
        .attempts
        .iter()
        .map(|a| (a.attempt, a.duration_ms, a.error.as_deref()))
        .collect();
    assert_eq!(attempts, [(1, Some(250), Some("boom")), (2, Some(0), None)]);

    for unknown in ["01HF7YAT00000000000000000A", "no id at all", ""] {
        assert!(world.is_gone(unknown).await);
    }
}

#[every_engine]
async fn lists_are_filtered_and_come_in_pages_newest_first(engine: Engine) {
    let world = World::open(engine).await;
    let (a, b) = (world.webhook("a").await, world.webhook("b").await);
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(world.call(&a, &json!({"n": n})).await.execution_id);
    }
    world.end_all(false).await;
    ids.push(world.call(&b, &json!({})).await.execution_id);
    let config = raw(&json!({"endpoint": "http://127.0.0.1:9/"}));
    let stray = world
        .triggers
        .test_config(&world.tenant, TriggerType::Webhook, config, None, 0)
        .await
        .unwrap();
    ids.push(stray.execution_id);
    world.end_all(true).await;
    let test = world.triggers.test(&world.tenant, &a, None, 0).await;
    ids.push(test.unwrap().execution_id);
    let shown = |places: &[usize]| -> (Vec<String>, u64) {
        let ids: Vec<_> = places.iter().map(|place| ids[*place].clone()).collect();
        (ids, places.len() as u64)
    };

    let all = world.list(ExecutionQuery::default()).await;
    assert_eq!(all, shown(&[6, 5, 4, 3, 2, 1, 0]));
    for (query, places) in [
        (
            only(|q| q.trigger_id = Some(a.clone())),
            &[6, 3, 2, 1, 0][..],
        ),
        (only(|q| q.trigger_id = Some(b.clone())), &[4]),
        (only(|q| q.trigger_id = Some(String::from("nobody"))), &[]),
        (
            only(|q| q.execution_status = Some(ExecutionStatus::Failure)),
            &[3, 2, 1, 0],
        ),
        (
            only(|q| q.execution_status = Some(ExecutionStatus::Pending)),
            &[6],
        ),
        (only(|q| q.source = Some(Source::ManualTest)), &[6, 5]),
        (only(|q| q.source = Some(Source::Scheduler)), &[]),
        (only(|q| q.is_test_run = Some(false)), &[4, 3, 2, 1, 0]),
        (
            only(|q| {
                q.trigger_id = Some(a.clone());
                q.is_test_run = Some(true);
                q.source = Some(Source::ManualTest);
            }),
            &[6],
        ),
        (
            only(|q| q.retention_status = Some(RetentionStatus::Archived)),
            &[],
        ),
    ] {
        assert_eq!(world.list(query.clone()).await, shown(places), "{query:?}");
    }

    let mut read = Vec::new();
    for number in 1..=4 {
        let page = Page::of(Some(number), Some(3)).unwrap();
        let query = only(|q| q.trigger_id = Some(a.clone()));
        let listed = world.triggers.executions(&world.tenant, query, page).await;
        let (executions, pagination) = listed.unwrap();
        assert_eq!((pagination.total_records, pagination.total_pages), (5, 2));
        assert_eq!(pagination.current_page, number);
        read.extend(executions);
    }
    let order: Vec<_> = read.iter().map(|execution| &execution.id).collect();
    assert_eq!(order, [&ids[6], &ids[3], &ids[2], &ids[1], &ids[0]]);
    // Each with its own payload and attempts.
    assert_eq!(read[1].payload.get().replace(' ', ""), r#"{"n":3}"#);
    assert_eq!(read[1].attempts.len(), 1);
    assert_eq!(read[0].attempts.len(), 0);
    let stray = world.get(&ids[5]).await;
    assert_eq!((stray.trigger_id, stray.is_test_run), (None, true));
}

#[every_engine]
async fn tenants_are_apart(engine: Engine) {
    let (ours, theirs) = {
        let ours = World::open(engine).await;
        let theirs = ours.of_tenant("other");
        (ours, theirs)
    };
    let trigger = ours.webhook("a").await;
    let id = ours.call(&trigger, &json!({})).await.execution_id;
    ours.end_all(false).await;
    assert!(theirs.is_gone(&id).await);
    assert_eq!(theirs.list(ExecutionQuery::default()).await, (vec![], 0));
    let query = only(|q| q.trigger_id = Some(trigger.clone()));
    assert_eq!(theirs.list(query).await, (vec![], 0));
    let summary = theirs
        .triggers
        .execution_summary(&theirs.tenant, None)
        .await;
    assert_eq!(summary.unwrap().total, 0);
    let retried = theirs.triggers.retry_execution(&theirs.tenant, &id).await;
    assert!(matches!(retried, Err(Error::NoSuchExecution(_))));
    assert_eq!(
        ours.get(&id).await.execution_status,
        ExecutionStatus::Failure
    );
}

#[every_engine]
async fn a_failed_execution_is_tried_again_by_hand_and_no_other(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.webhook("a").await;
    let set_off = world.call(&trigger, &json!({})).await;
    let id = &set_off.execution_id;
    let retry = || world.triggers.retry_execution(&world.tenant, id);
    let (status, detail) = refusal(retry().await.unwrap_err());
    assert_eq!(status, 409);
    assert!(detail.contains("has not ended"), "{detail}");
    world.end_all(false).await;
    let failed = world.get(id).await;
    assert_eq!(failed.execution_status, ExecutionStatus::Failure);
    assert_eq!(failed.error_message.as_deref(), Some("boom"));

    let retried = retry().await.unwrap();
    assert_eq!(retried.execution_status, ExecutionStatus::Pending);
    assert_eq!(retried.attempts.len(), 1);
    assert!(retry().await.is_err(), "it is pending again");
    world.end_all(true).await;
    let done = world.get(id).await;
    assert_eq!(done.execution_status, ExecutionStatus::Success);
    assert_eq!(done.attempts.len(), 2);
    let (status, detail) = refusal(retry().await.unwrap_err());
    assert_eq!(status, 409);
    assert!(detail.contains("has succeeded"), "{detail}");

    // A cancelled one has failed too, and outlives its trigger.
    let second = world.call(&trigger, &json!({})).await;
    world
        .jobs
        .cancel(&world.tenant, &second.job_id)
        .await
        .unwrap();
    let cancelled = world.get(&second.execution_id).await;
    assert_eq!(cancelled.execution_status, ExecutionStatus::Failure);
    world
        .triggers
        .delete(&world.tenant, &trigger)
        .await
        .unwrap();
    let retried = world
        .triggers
        .retry_execution(&world.tenant, &second.execution_id)
        .await
        .unwrap();
    assert_eq!(retried.trigger_id.as_ref(), Some(&trigger));
    assert_eq!(world.claim(10).await.len(), 1);
}

#[every_engine]
async fn an_execution_without_its_job_says_so(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.webhook("a").await;
    let set_off = world.call(&trigger, &json!({"a": 1})).await;
    world.end_all(false).await;
    let (jobs, tenant, job) = (
        world.jobs.clone(),
        Arc::clone(&world.tenant),
        set_off.job_id,
    );
    let deleted = world.db.transact("test.delete", move |tx| {
        let (jobs, tenant, job) = (jobs.clone(), Arc::clone(&tenant), job.clone());
        Box::pin(async move { jobs.delete_in(tx, &tenant, &[job]).await })
    });
    deleted.await.unwrap();
    let left = world.get(&set_off.execution_id).await;
    assert_eq!((left.job_id, left.payload.get()), (None, "null"));
    let retried = world
        .triggers
        .retry_execution(&world.tenant, &set_off.execution_id)
        .await;
    let (status, detail) = refusal(retried.unwrap_err());
    assert_eq!(status, 409);
    assert!(detail.contains("is gone"), "{detail}");
}

#[every_engine]
async fn a_summary_adds_up(engine: Engine) {
    let world = World::open(engine).await;
    let (a, b) = (world.webhook("orders").await, world.webhook("gone").await);
    world.call(&a, &json!({})).await;
    world.clock.advance(60 * MINUTE);
    for _ in 0..2 {
        world.call(&a, &json!({})).await;
    }
    world.end_all(true).await;
    world.call(&b, &json!({})).await;
    world
        .triggers
        .test(&world.tenant, &b, None, 0)
        .await
        .unwrap();
    world.end_all(false).await;
    world.call(&a, &json!({})).await;
    let config = raw(&json!({"endpoint": "http://127.0.0.1:9/"}));
    world
        .triggers
        .test_config(&world.tenant, TriggerType::Webhook, config, None, 0)
        .await
        .unwrap();
    world.triggers.delete(&world.tenant, &b).await.unwrap();

    let whole = world.triggers.execution_summary(&world.tenant, None).await;
    assert_eq!(
        serde_json::to_value(whole.unwrap()).unwrap(),
        json!({
            "hours": 48, "from": "2023-11-12T23:13:20.000000Z", "total": 7,
            "by_status": {"pending": 2, "success": 3, "failure": 2}, "test_runs": 2,
            "triggers": [
                {"trigger_id": a, "name": "orders", "pending": 1, "success": 3, "failure": 0,
                 "total": 4, "test_runs": 0},
                {"trigger_id": b, "name": null, "pending": 0, "success": 0, "failure": 2,
                 "total": 2, "test_runs": 1},
                {"trigger_id": null, "name": null, "pending": 1, "success": 0, "failure": 0,
                 "total": 1, "test_runs": 1},
            ],
            "triggers_not_listed": 0,
        })
    );
    // What was fired exactly an hour ago counts, and nothing that is older.
    let hour = || world.triggers.execution_summary(&world.tenant, Some(1));
    assert_eq!(hour().await.unwrap().total, 7);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(hour().await.unwrap().total, 6);
    let bad = world
        .triggers
        .execution_summary(&world.tenant, Some(0))
        .await;
    assert_eq!(refusal(bad.unwrap_err()).0, 400);
}

#[every_engine]
async fn an_attempt_that_was_given_up_and_goes_on_after_all_is_one(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.webhook("slow").await;
    let called = world.call(&trigger, &json!({})).await;
    let job = world.claim(1).await.remove(0);
    let keeper = world.keep_jobs();
    world.clock.advance(Duration::from_mins(2));
    let attempts = async || world.get(&called.execution_id).await.attempts;
    eventually("its lease runs out", async || {
        (!attempts().await.is_empty()).then_some(())
    })
    .await;
    drop(keeper);
    // Its worker has it still.
    let (tenant, id, token) = (&job.job.tenant, &job.job.id, job.lease_token.clone());
    let late = world.jobs.heartbeat(tenant, id, token, None, None);
    late.await.unwrap();
    assert!(attempts().await.is_empty());
    world.complete(&job).await;
    let ended = world.get(&called.execution_id).await;
    assert_eq!(ended.execution_status, ExecutionStatus::Success);
    assert_eq!(ended.attempts.len(), 1);
    assert_eq!(
        (ended.attempts[0].attempt, &ended.attempts[0].error),
        (1, &None)
    );
}
