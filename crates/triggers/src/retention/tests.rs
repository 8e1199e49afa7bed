//! Sweeps on a real store. Time stands still unless a test moves it.

mod several;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidewire_core::ids;
use tidewire_db::Query;
use tidewire_jobs::JobFilter;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio_util::sync::CancellationToken;

use super::Swept;
use crate::{
    Error, ExecutionQuery, ExecutionStatus, NewTrigger, RetentionStatus, Source, TriggerEdit,
    TriggerSettings, TriggerStatus, TriggerType,
    configs::Known,
    firing::{Firing, HEAD_START},
    model::{Page, ScheduleStatus},
    service::executions::tests::{World, raw},
    store::{ScheduleRow, probe},
};

const HOUR: Duration = Duration::from_hours(1);
const MS: Duration = Duration::from_millis(1);

/// All that is written about firings.
const KEPT: [&str; 8] = [
    "executions",
    "executions_archive",
    "execution_attempts",
    "idempotency_keys",
    "trigger_outbox",
    "trigger_schedules",
    "trigger_configs",
    "jobs",
];

impl World {
    async fn sweep(&self) -> Swept {
        self.triggers.sweep(true).await.unwrap()
    }

    /// Archived and deleted.
    async fn moved(&self) -> (u64, u64) {
        let swept = self.sweep().await;
        (swept.archived, swept.deleted)
    }

    /// The rows of each table.
    async fn rows(&self) -> [u64; KEPT.len()] {
        let mut rows = [0; KEPT.len()];
        for (count, table) in rows.iter_mut().zip(KEPT) {
            let sql = self.db.dialect().sql(&probe::count_of(table));
            let row = self.db.read().row(&sql, Vec::new()).await.unwrap();
            *count = row.unwrap().count(0).unwrap();
        }
        rows
    }

    async fn archived(&self) -> Vec<String> {
        let archived = ExecutionQuery {
            retention_status: Some(RetentionStatus::Archived),
            ..ExecutionQuery::default()
        };
        self.list(archived).await.0
    }

    async fn active(&self) -> Vec<String> {
        self.list(ExecutionQuery::default()).await.0
    }

    /// What fires every hour.
    async fn hourly(&self) -> String {
        let new = NewTrigger {
            name: "hourly".to_owned(),
            kind: TriggerType::IntervalScheduled,
            config: raw(&json!({"endpoint": "http://127.0.0.1:9/", "every": "1h"})),
            status: TriggerStatus::Active,
        };
        self.make(new).await
    }

    /// Fires a trigger as the scheduler does, for this moment.
    async fn fire_by_clock(&self, trigger: &str) -> String {
        let (inner, now) = (Arc::clone(&self.triggers.inner), self.clock.now());
        let (tenant, trigger) = (Arc::clone(&self.tenant), trigger.to_owned());
        let fired = self.db.transact("test.fire", move |tx| {
            let (inner, tenant, trigger) =
                (Arc::clone(&inner), Arc::clone(&tenant), trigger.clone());
            Box::pin(async move {
                let row = inner.store.trigger(tx, &tenant, &trigger).await?.unwrap();
                let config: Option<Arc<Known>> =
                    inner.configs.one(tx, &tenant, &row.config_id).await?;
                let firing = Firing {
                    tenant: Arc::clone(&tenant),
                    trigger_id: Some(row.id),
                    config: config.unwrap(),
                    source: Source::Scheduler,
                    payload: raw(&json!({})),
                    is_test_run: false,
                    scheduled_for: Some(now),
                    depth: 1,
                    run_at: None,
                    new_config: None,
                };
                let occurrence = ScheduleRow {
                    tenant: &tenant,
                    trigger_id: &trigger,
                    fire_at: now,
                    id: ids::new_id(&inner.fire.clock),
                    status: ScheduleStatus::Completed,
                };
                inner.store.insert_schedules(tx, &[occurrence], now).await?;
                Ok::<_, Error>(inner.fire.fire(tx, &[firing]).await?.remove(0).execution_id)
            })
        });
        fired.await.unwrap()
    }
}

#[every_engine]
async fn active_then_archived_then_deleted_with_everything(engine: Engine) {
    // A bus that is never told.
    let relayed = TriggerSettings {
        relayed: true,
        ..TriggerSettings::default()
    };
    let world = World::with(engine, relayed).await;
    let (webhook, hourly) = (world.webhook("a").await, world.hourly().await);
    let before = world.rows().await;
    let called = world.call(&webhook, &json!({"n": 1})).await;
    let fired = world.fire_by_clock(&hourly).await;
    let config = raw(&json!({"endpoint": "http://127.0.0.1:9/"}));
    let stray = world
        .triggers
        .test_config(&world.tenant, TriggerType::Webhook, config, None, 0)
        .await
        .unwrap();
    world.clock.advance(HEAD_START);
    let first = world.claim(1).await.remove(0);
    let (id, token) = (&first.job.id, first.lease_token.clone());
    let again = Some(Duration::ZERO);
    let failed = world
        .jobs
        .fail(&world.tenant, id, token, "busy", again, false);
    failed.await.unwrap();
    world.end_all(true).await;
    // Retention counts from the firing, also for what is in the archive.
    let all = [called.execution_id, fired, stray.execution_id];

    world.clock.advance(2 * HOUR - HEAD_START - MS);
    assert_eq!(world.sweep().await, Swept::default());
    assert_eq!(world.active().await.len(), 3);
    world.clock.advance(MS);
    assert_eq!(world.moved().await, (3, 0));
    assert_eq!(world.active().await, Vec::<String>::new());
    assert_eq!(world.archived().await.len(), 3);
    let archived = world.get(&all[0]).await;
    assert_eq!(archived.retention_status, RetentionStatus::Archived);
    assert_eq!(archived.execution_status, ExecutionStatus::Success);
    assert_eq!(archived.payload.get().replace(' ', ""), r#"{"n":1}"#);
    let mut attempts = 0;
    for id in &all {
        attempts += world.get(id).await.attempts.len();
    }
    assert_eq!(attempts, 4, "one of them was tried twice");
    assert_eq!(world.rows().await[..2], [0, 3]);
    let summary = world.triggers.execution_summary(&world.tenant, None).await;
    assert_eq!(summary.unwrap().by_status.success, 3);
    assert_eq!(world.sweep().await, Swept::default());

    world.clock.advance(46 * HOUR - MS);
    assert_eq!(world.sweep().await, Swept::default());
    world.clock.advance(MS);
    assert_eq!(world.moved().await, (0, 3));
    for id in &all {
        assert!(world.is_gone(id).await);
    }
    assert_eq!(world.rows().await, before, "{KEPT:?}");
    assert_eq!(world.sweep().await, Swept::default());
}

#[every_engine]
async fn what_is_pending_stays_and_what_ends_late_is_seen(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.webhook("a").await;
    let late = world.call(&trigger, &json!({})).await.execution_id;
    world.clock.advance(100 * HOUR);
    let young = world.call(&trigger, &json!({})).await.execution_id;
    assert_eq!(world.sweep().await, Swept::default());
    assert_eq!(world.active().await, [young.clone(), late.clone()]);
    world.end_all(false).await;
    assert_eq!(world.moved().await, (1, 0), "it ended a moment ago");
    assert_eq!(world.archived().await, std::slice::from_ref(&late));
    assert_eq!(world.active().await, [young]);
    world.clock.advance(2 * HOUR);
    assert_eq!(world.moved().await, (1, 1));
    assert!(world.is_gone(&late).await);
}

#[every_engine]
async fn an_archived_one_comes_back_when_it_is_tried_again(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.webhook("a").await;
    let mut fired = Vec::new();
    for _ in 0..4 {
        fired.push(world.call(&trigger, &json!({})).await);
    }
    world.end_all(false).await;
    world.clock.advance(3 * HOUR);
    assert_eq!(world.moved().await, (4, 0));

    // By hand, by its job, and with all jobs at once.
    let by_hand = &fired[0].execution_id;
    let retried = world.triggers.retry_execution(&world.tenant, by_hand).await;
    let retried = retried.unwrap();
    assert_eq!(retried.execution_status, ExecutionStatus::Pending);
    assert_eq!(retried.retention_status, RetentionStatus::Active);
    assert_eq!(world.archived().await.len(), 3);
    world
        .jobs
        .retry(&world.tenant, &fired[1].job_id)
        .await
        .unwrap();
    let all = world
        .jobs
        .retry_all(&world.tenant, &JobFilter::default())
        .await;
    assert_eq!(all.unwrap(), 2);
    assert_eq!(world.active().await.len(), 4);
    assert_eq!(world.rows().await[..2], [4, 0]);
    assert_eq!(world.sweep().await, Swept::default());

    world.end_all(true).await;
    assert_eq!(world.moved().await, (4, 0));
    let done = world.get(by_hand).await;
    assert_eq!(done.execution_status, ExecutionStatus::Success);
    assert_eq!(done.attempts.len(), 2);
    world.clock.advance(45 * HOUR);
    assert_eq!(world.moved().await, (0, 4));
    assert_eq!(world.rows().await[..4], [0, 0, 0, 0]);
}

#[every_engine]
async fn occurrences_and_configs_go_when_nothing_names_them(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.hourly().await;
    let pending = world.fire_by_clock(&trigger).await;
    let edit = || TriggerEdit {
        config: Some(raw(
            &json!({"endpoint": "http://127.0.0.1:9/", "every": "2h"}),
        )),
        ..TriggerEdit::default()
    };
    // The second config is retired without ever having fired.
    for _ in 0..2 {
        world
            .triggers
            .update(&world.tenant, &trigger, edit())
            .await
            .unwrap();
        world.clock.advance(MS);
    }
    let statuses = || async {
        let page = Page::of(None, None).unwrap();
        let list = world
            .triggers
            .schedules(&world.tenant, &trigger, None, page);
        let (schedules, _) = list.await.unwrap();
        schedules
            .into_iter()
            .map(|schedule| schedule.status)
            .collect::<Vec<_>>()
    };
    use ScheduleStatus::{Cancelled, Completed, Pending};
    assert_eq!(statuses().await, [Pending, Cancelled, Cancelled, Completed]);
    world.clock.advance(48 * HOUR - 3 * MS);
    assert_eq!(world.sweep().await, Swept::default());
    world.clock.advance(3 * MS);
    assert_eq!(world.sweep().await.schedules, 3);
    assert_eq!(statuses().await, [Pending]);

    // A firing that read it before may still have been on its way.
    world.clock.advance(Duration::from_mins(10));
    let swept = world.sweep().await;
    assert_eq!((swept.configs, swept.archived), (1, 0));
    world.end_all(false).await;
    assert_eq!(world.moved().await, (1, 0));
    let again = world
        .triggers
        .retry_execution(&world.tenant, &pending)
        .await;
    assert_eq!(again.unwrap().execution_status, ExecutionStatus::Pending);
    assert_eq!(world.sweep().await.configs, 0, "it goes by the first one");
    world.end_all(true).await;
    world.clock.advance(2 * HOUR);
    let swept = world.sweep().await;
    assert_eq!((swept.archived, swept.deleted, swept.configs), (1, 1, 1));
    assert_eq!(world.rows().await[6], 1, "the one that the trigger has");
}

#[every_engine]
async fn tenants_age_each_by_itself(engine: Engine) {
    let ours = World::open(engine).await;
    let theirs = ours.of_tenant("another");
    for world in [&ours, &theirs] {
        let trigger = world.webhook("a").await;
        world.call(&trigger, &json!({})).await;
        world.end_all(true).await;
        world.clock.advance(HOUR);
    }
    assert_eq!(ours.moved().await, (1, 0));
    assert_eq!(
        (ours.archived().await.len(), theirs.archived().await.len()),
        (1, 0)
    );
    ours.clock.advance(HOUR);
    assert_eq!(ours.moved().await, (1, 0));
    assert_eq!(theirs.archived().await.len(), 1);
}

#[every_engine]
async fn the_sweeper_sweeps_until_it_is_stopped(engine: Engine) {
    let short = TriggerSettings {
        active_for: Duration::from_millis(100),
        keep_for: Duration::from_millis(200),
        ..TriggerSettings::default()
    };
    let world = World::with(engine, short).await;
    let trigger = world.webhook("a").await;
    let id = world.call(&trigger, &json!({})).await.execution_id;
    world.end_all(true).await;
    let stop = CancellationToken::new();
    let (triggers, stopped) = (world.triggers.clone(), stop.clone());
    let sweeper = tokio::spawn(async move { triggers.keep_sweeping(stopped).await });
    world.clock.advance(Duration::from_millis(100));
    eventually("it is archived", || async {
        let found = world.get(&id).await;
        (found.retention_status == RetentionStatus::Archived).then_some(())
    })
    .await;
    world.clock.advance(Duration::from_millis(100));
    eventually("it is deleted", || async {
        world.is_gone(&id).await.then_some(())
    })
    .await;
    stop.cancel();
    sweeper.await.unwrap();
}
