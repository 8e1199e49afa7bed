//! What one scheduler does. Time stands still unless a test moves it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidewire_core::Time;
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{
    TestTriggers,
    harness::{raw, start},
};
use crate::{
    ScheduleStatus::{self, Cancelled, Completed, Pending},
    TriggerEdit,
    TriggerStatus::{Active, Inactive},
    TriggerType::{CronScheduled, IntervalScheduled, TimeScheduled},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// So long after ten o'clock.
fn at(text: &str) -> Time {
    format!("2026-01-01T{text}Z").parse().unwrap()
}

fn all<const N: usize>(times: [&str; N]) -> Vec<Time> {
    times.into_iter().map(at).collect()
}

fn kept<const N: usize>(rows: [(&str, ScheduleStatus); N]) -> Vec<(Time, ScheduleStatus)> {
    rows.map(|(time, status)| (at(time), status)).to_vec()
}

fn cron(pattern: &str, misfire: &str) -> Value {
    json!({"job": {"type": "t"}, "cron": pattern, "misfire": misfire})
}

#[every_engine]
async fn a_one_shot_fires_on_time_and_once(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let config =
        json!({"job": {"type": "report", "queue": "q", "payload": {"n": 1}}, "delay": "10m"});
    let once = t.create(TimeScheduled, config).await;
    assert_eq!(once.next_scheduled_run, Some(at("10:10:00.5")));
    t.pass(9, MINUTE).await;
    assert_eq!(t.fired(&once.id).await, []);
    t.check().await;
    t.pass(1, MINUTE).await;
    assert_eq!(t.fired(&once.id).await, [at("10:10:00.5")]);
    t.pass(20, MINUTE).await;
    assert_eq!(t.fired(&once.id).await, [at("10:10:00.5")]);
    assert_eq!(t.next_run(&once.id).await, None);
    assert_eq!(
        t.occurrences(&once.id).await,
        [(at("10:10:00.5"), Completed)]
    );
    let all = tidewire_jobs::JobFilter::default();
    let jobs = t.jobs.list("default", &all, None, 10).await.unwrap().jobs;
    assert_eq!(jobs.len(), 1);
    let payload: String = jobs[0].payload.get().split_whitespace().collect();
    assert_eq!(
        (&*jobs[0].kind, &*jobs[0].queue, &*payload),
        ("report", "q", r#"{"n":1}"#)
    );
    t.check().await;
}

#[every_engine]
async fn an_interval_keeps_its_grid(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let config = json!({"job": {"type": "t"}, "every": "30s"});
    let every = t.create(IntervalScheduled, config).await;
    // Looked at late, and late again.
    t.pass(6, Duration::from_secs(35)).await;
    let fired = t.fired(&every.id).await;
    let off = |at: &&Time| !at.since(start()).as_micros().is_multiple_of(30_000_000);
    assert_eq!(fired.iter().find(off), None, "{fired:?}");
    assert_eq!(fired.last(), Some(&at("10:03:30.5")));
    assert_eq!(t.next_run(&every.id).await, Some(at("10:04:00.5")));
    t.check().await;
}

#[every_engine]
async fn what_was_missed_is_made_up_as_the_trigger_says(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let fire_once = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    let skip = t.create(CronScheduled, cron("* * * * *", "skip")).await;
    let fire_all = t.create(CronScheduled, cron("* * * * *", "fire_all")).await;
    let one_shot = t
        .create(TimeScheduled, json!({"job": {"type": "t"}, "delay": "1m"}))
        .await;
    t.pass(1, Duration::from_secs(330)).await;
    assert_eq!(t.fired(&fire_once.id).await, [at("10:05:00")]);
    assert_eq!(
        t.occurrences(&fire_once.id).await,
        kept([
            ("10:01:00", Cancelled),
            ("10:05:00", Completed),
            ("10:06:00", Pending)
        ])
    );
    assert_eq!(t.fired(&skip.id).await, []);
    assert_eq!(
        t.occurrences(&skip.id).await,
        kept([("10:01:00", Cancelled), ("10:06:00", Pending)])
    );
    assert_eq!(
        t.fired(&fire_all.id).await,
        all(["10:01:00", "10:02:00", "10:03:00", "10:04:00", "10:05:00"])
    );
    assert_eq!(t.fired(&one_shot.id).await, [at("10:01:00.5")]);
    t.pass(1, Duration::from_secs(30)).await;
    for trigger in [&fire_once, &skip, &fire_all] {
        assert_eq!(t.fired(&trigger.id).await.last(), Some(&at("10:06:00")));
    }
    t.check().await;
}

#[every_engine]
async fn a_long_outage_is_made_up_in_pieces(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let seconds = t
        .create(CronScheduled, cron("* * * * * *", "fire_all"))
        .await;
    let others = t
        .create(CronScheduled, cron("*/2 * * * * *", "fire_all"))
        .await;
    t.pass(1, Duration::from_secs(730)).await;
    let times = |step: usize| (1..=730).filter(move |n| n % step == 0);
    let of = |n| at("10:00:00").plus(SECOND * n);
    assert_eq!(
        t.fired(&seconds.id).await,
        times(1).map(|n| of(n as u32)).collect::<Vec<_>>()
    );
    assert_eq!(
        t.fired(&others.id).await,
        times(2).map(|n| of(n as u32)).collect::<Vec<_>>()
    );
    t.check().await;
}

#[every_engine]
async fn an_edit_moves_what_is_to_come_and_leaves_what_was(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let minutes = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    t.pass(2, MINUTE).await;
    let edited = t
        .edit_config(&minutes.id, cron("30 * * * *", "fire_once"))
        .await;
    assert_eq!(edited.next_scheduled_run, Some(at("10:30:00")));
    t.check().await;
    t.pass(30, MINUTE).await;
    let fired = ["10:01:00", "10:02:00", "10:30:00"];
    assert_eq!(t.fired(&minutes.id).await, all(fired));
    // Back: what was cancelled is to come again, and one of its times is passed over by the next edit.
    t.edit_config(&minutes.id, cron("40 * * * *", "fire_once"))
        .await;
    t.edit_config(&minutes.id, cron("*/5 * * * *", "fire_once"))
        .await;
    t.check().await;
    t.pass(12, MINUTE).await;
    assert_eq!(
        t.occurrences(&minutes.id).await,
        kept([
            ("10:01:00", Completed),
            ("10:02:00", Completed),
            ("10:03:00", Cancelled),
            ("10:30:00", Completed),
            ("10:35:00", Completed),
            ("10:40:00", Completed),
            ("10:45:00", Pending),
            ("11:30:00", Cancelled),
        ])
    );
    t.check().await;
    // A name is no reason to change when it fires.
    let edit = TriggerEdit {
        name: Some("other".to_owned()),
        ..TriggerEdit::default()
    };
    assert_eq!(
        t.edit(&minutes.id, edit).await.next_scheduled_run,
        Some(at("10:45:00"))
    );
    t.check().await;
}

#[every_engine]
async fn what_is_due_is_fired_before_its_config_is_replaced(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let minutes = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    t.clock.advance(MINUTE + Duration::from_millis(3));
    // Nobody has looked yet.
    let edited = t
        .edit_config(&minutes.id, cron("0 * * * *", "fire_once"))
        .await;
    assert_eq!(t.fired(&minutes.id).await, [at("10:01:00")]);
    assert_eq!(edited.next_scheduled_run, Some(at("11:00:00")));
    t.triggers.fire_due().await.unwrap();
    assert_eq!(t.fired(&minutes.id).await, [at("10:01:00")]);
    t.check().await;
}

#[every_engine]
async fn nothing_is_fired_again_when_the_clock_goes_back(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let seconds = t
        .create(CronScheduled, cron("* * * * * *", "fire_all"))
        .await;
    t.pass(20, SECOND).await;
    let back = tidewire_core::clock::Skew {
        ahead: -15_000_000,
        unsure: 0,
    };
    t.clock.correct(back);
    t.pass(5, SECOND).await;
    assert_eq!(t.fired(&seconds.id).await.len(), 20);
    // Edits count from now on, and now comes once more.
    t.edit_config(&seconds.id, cron("*/5 * * * * *", "fire_all"))
        .await;
    t.check().await;
    t.edit_config(&seconds.id, cron("* * * * * *", "fire_all"))
        .await;
    t.pass(3, SECOND).await;
    t.check().await;
    t.pass(1, SECOND * 20).await;
    assert_eq!(t.fired(&seconds.id).await.len(), 33);
    t.check().await;
}

#[every_engine]
async fn an_inactive_trigger_rests_and_an_active_one_goes_on(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let mut triggers = Vec::new();
    for misfire in ["fire_once", "skip", "fire_all"] {
        triggers.push(t.create(CronScheduled, cron("* * * * *", misfire)).await);
    }
    t.pass(1, MINUTE).await;
    for trigger in &triggers {
        let rests = t.set_status(&trigger.id, Inactive).await;
        assert_eq!(rests.next_scheduled_run, None);
        assert_eq!(
            t.occurrences(&trigger.id).await,
            kept([("10:01:00", Completed), ("10:02:00", Cancelled)])
        );
    }
    t.check().await;
    t.pass(3, MINUTE).await;
    t.clock.advance(SECOND * 30);
    for trigger in &triggers {
        assert_eq!(t.fired(&trigger.id).await, all(["10:01:00"]));
        t.set_status(&trigger.id, Active).await;
    }
    t.check().await;
    t.triggers.fire_due().await.unwrap();
    let fired = [
        &["10:01:00", "10:04:00"][..],
        &["10:01:00"],
        &["10:01:00", "10:02:00", "10:03:00", "10:04:00"],
    ];
    for (trigger, fired) in triggers.iter().zip(fired) {
        let fired: Vec<_> = fired.iter().map(|text| at(text)).collect();
        assert_eq!(t.fired(&trigger.id).await, fired);
        assert_eq!(t.next_run(&trigger.id).await, Some(at("10:05:00")));
    }
    t.check().await;
}

#[every_engine]
async fn a_deleted_trigger_fires_no_more_and_its_executions_stay(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let minutes = t.create(CronScheduled, cron("* * * * *", "fire_all")).await;
    t.pass(2, MINUTE).await;
    t.triggers.delete(&t.tenant, &minutes.id).await.unwrap();
    t.check().await;
    t.pass(3, MINUTE).await;
    assert_eq!(t.fired(&minutes.id).await, all(["10:01:00", "10:02:00"]));
    t.check().await;
}

#[every_engine]
async fn a_config_that_cannot_be_read_stops_nobody_else(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let bad = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    let good = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    let id = bad.id.clone();
    t.write(move |store, tx| {
        let id = id.clone();
        Box::pin(async move { store.spoil_config(tx, &id).await })
    })
    .await;
    // It is known to those who have read it before.
    let t = t.second().await;
    t.pass(2, MINUTE).await;
    assert_eq!(t.fired(&good.id).await, all(["10:01:00", "10:02:00"]));
    assert_eq!(t.fired(&bad.id).await, []);
    assert_eq!(
        t.occurrences(&good.id).await,
        kept([
            ("10:01:00", Completed),
            ("10:02:00", Completed),
            ("10:03:00", Pending)
        ])
    );
    t.check().await;
}

#[every_engine]
async fn a_firing_that_fails_stops_nobody_else(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let bad = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    let good = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    for _ in 0..5 {
        t.create(CronScheduled, cron("* * * * *", "fire_once"))
            .await;
    }
    let key = (Arc::clone(&t.tenant), bad.id.clone());
    let spoilt = key.clone();
    t.write(move |store, tx| {
        let (tenant, id) = spoilt.clone();
        Box::pin(async move {
            store
                .spoil_schedule(tx, (&tenant, &id), at("10:02:00"))
                .await
        })
    })
    .await;
    let _scheduler = t.schedule();
    t.clock.advance(MINUTE);
    t.until_fired(6).await;
    assert_eq!(t.fired(&good.id).await, all(["10:01:00"]));
    assert_eq!(t.fired(&bad.id).await, []);
    let waits = t.triggers.scheduler_health();
    assert_eq!(waits.late(at("10:02:00")), MINUTE);
    t.write(move |store, tx| {
        let (tenant, id) = key.clone();
        Box::pin(async move {
            store
                .clear_schedule(tx, (&tenant, &id), at("10:02:00"))
                .await
        })
    })
    .await;
    t.until_fired(7).await;
    assert_eq!(t.fired(&bad.id).await, all(["10:01:00"]));
    t.check().await;
}

#[every_engine]
async fn a_large_payload_goes_out_whole(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let payload = json!({"text": "x".repeat(200 << 10)});
    let config = json!({"job": {"type": "t"}, "cron": "* * * * * *", "misfire": "fire_all", "payload": payload});
    let large = t.create(CronScheduled, config).await;
    t.pass(1, SECOND * 40).await;
    assert_eq!(t.fired(&large.id).await.len(), 40);
    t.check().await;
}

#[every_engine]
async fn the_loop_fires_what_is_announced_whenever_it_is_due(engine: Engine) {
    let mut settings = TestTriggers::open(engine).await.settings;
    // So long that nothing here happens by it.
    settings.poll_interval = Duration::from_hours(1);
    let t = TestTriggers::with(engine, tidewire_core::Clock::system(), settings).await;
    let scheduler = t.schedule();
    let soon = |delay: &str| json!({"job": {"type": "t"}, "delay": delay});
    let late = t.create(TimeScheduled, soon("1h")).await;
    t.create(TimeScheduled, soon("1s")).await;
    t.until_fired(1).await;
    // Earlier than all that it knows of.
    t.create(TimeScheduled, soon("1s")).await;
    t.until_fired(2).await;
    let overdue = json!({"job": {"type": "t"}, "every": "1h", "starts_at": "2020-01-01T00:00:00Z"});
    t.create(IntervalScheduled, overdue).await;
    let again = t
        .create(CronScheduled, cron("* * * * * *", "fire_once"))
        .await;
    t.until_fired(4).await;
    t.triggers.delete(&t.tenant, &again.id).await.unwrap();
    assert_eq!(t.fired(&late.id).await, []);
    let health = t.triggers.scheduler_health();
    assert_eq!(health.check(t.clock.now(), SECOND * 10), Ok(()));
    t.check().await;
    drop(scheduler);
    eventually("it has stopped", || async {
        t.triggers
            .scheduler_health()
            .looked_at
            .is_none()
            .then_some(())
    })
    .await;
}

#[every_engine]
async fn a_test_run_has_no_occurrence(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let minutes = t
        .create(CronScheduled, cron("* * * * *", "fire_once"))
        .await;
    let payload = Some(raw(&json!({"a": 1})));
    t.triggers
        .test(&t.tenant, &minutes.id, payload, 0)
        .await
        .unwrap();
    assert_eq!(
        t.occurrences(&minutes.id).await,
        kept([("10:01:00", Pending)])
    );
    assert_eq!(t.fired_in_all().await, 0);
    t.check().await;
}
