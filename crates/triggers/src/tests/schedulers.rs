//! Several schedulers on one store: nobody is leader, and every occurrence is fired once.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidewire_core::{Clock, Time};
use tidewire_testkit::{Engine, Proxy, eventually, every_engine};

use super::{TestTriggers, harness::start};
use crate::{
    TriggerSettings,
    TriggerStatus::{Active, Inactive},
    TriggerType::{CronScheduled, TimeScheduled},
};

const SECOND: Duration = Duration::from_secs(1);
const HALF: Duration = Duration::from_millis(500);

fn every_second(n: u64) -> Value {
    json!({"job": {"type": "t", "payload": {"n": n}}, "cron": "* * * * * *"})
}

fn seconds(count: u32) -> Vec<Time> {
    let first = start().minus(HALF);
    (1..=count).map(|n| first.plus(SECOND * n)).collect()
}

async fn many(engine: Engine, count: usize) -> Vec<TestTriggers> {
    let mut all = vec![TestTriggers::open(engine).await];
    for _ in 1..count {
        let next = all[0].second().await;
        all.push(next);
    }
    all
}

async fn fires_each_once(engine: Engine, schedulers: usize) {
    let all = many(engine, schedulers).await;
    let t = &all[0];
    let mut triggers = Vec::new();
    for n in 0..7 {
        triggers.push(t.create(CronScheduled, every_second(n)).await);
    }
    let _running: Vec<_> = all.iter().map(TestTriggers::schedule).collect();
    for second in 1..=12 {
        t.clock.advance(SECOND);
        t.until_fired(triggers.len() * second).await;
    }
    for trigger in &triggers {
        assert_eq!(t.fired(&trigger.id).await, seconds(12));
    }
    t.check().await;
}

#[every_engine(multi_thread)]
async fn two_fire_each_occurrence_once(engine: Engine) {
    fires_each_once(engine, 2).await;
}

#[every_engine(multi_thread)]
async fn three_fire_each_occurrence_once(engine: Engine) {
    fires_each_once(engine, 3).await;
}

#[every_engine(multi_thread)]
async fn an_edit_that_meets_a_firing_loses_and_doubles_nothing(engine: Engine) {
    let all = many(engine, 3).await;
    let t = &all[0];
    let trigger = t.create(CronScheduled, every_second(0)).await;
    let other = t.create(CronScheduled, every_second(0)).await;
    let _running: Vec<_> = all[..2].iter().map(TestTriggers::schedule).collect();
    let edits = async {
        for n in 1..=60 {
            // Its pattern stays, so every second is one of its times whoever comes first.
            all[2].edit_config(&trigger.id, every_second(n)).await;
        }
    };
    let switches = async {
        for n in 0..60 {
            let status = if n % 2 == 0 { Inactive } else { Active };
            all[1].set_status(&other.id, status).await;
        }
    };
    let ticks = async {
        // The clock then stands at a time of the pattern, which every edit may take for one to come.
        t.clock.advance(HALF);
        for tick in 0..10 {
            if tick > 0 {
                t.clock.advance(SECOND);
            }
            let due = t.clock.now();
            eventually("the tick is fired", || async {
                (t.fired(&trigger.id).await.last() == Some(&due)).then_some(())
            })
            .await;
        }
    };
    tokio::join!(edits, switches, ticks);
    assert_eq!(t.fired(&trigger.id).await, seconds(10));
    t.clock.advance(SECOND);
    eventually("both go on", || async {
        let last = Some(t.clock.now());
        let (a, b) = (t.fired(&trigger.id).await, t.fired(&other.id).await);
        (a.last().copied() == last && b.last().copied() == last).then_some(())
    })
    .await;
    t.check().await;
}

#[every_engine(multi_thread)]
async fn one_that_is_stopped_in_a_burst_loses_nothing(engine: Engine) {
    let all = many(engine, 2).await;
    let t = &all[0];
    let config = json!({"job": {"type": "t"}, "delay": "1m"});
    let first = t.create(TimeScheduled, config).await;
    t.multiply(&first, 4_999).await;
    t.clock.advance(SECOND * 60);
    let running = t.schedule();
    t.until_fired(1).await;
    drop(running);
    eventually("it has stopped", || async {
        t.triggers
            .scheduler_health()
            .looked_at
            .is_none()
            .then_some(())
    })
    .await;
    t.check().await;
    let _running = all[1].schedule();
    t.until_fired(5_000).await;
    assert_eq!(t.fired_in_all().await, 5_000);
    t.check().await;
}

#[every_engine(multi_thread)]
async fn ten_thousand_of_one_second_fire_once_and_nobody_starves(engine: Engine) {
    let all = many(engine, 2).await;
    let t = &all[0];
    let config = json!({"job": {"type": "t"}, "delay": "1m"});
    let first = t.create(TimeScheduled, config.clone()).await;
    t.multiply(&first, 9_999).await;
    let tenant: Arc<str> = "zzz".into();
    let theirs = t.create_for(&tenant, TimeScheduled, config).await;
    let _running: Vec<_> = all.iter().map(TestTriggers::schedule).collect();
    t.clock.advance(SECOND * 60);
    t.until_fired(10_001).await;
    assert_eq!(t.fired_in_all().await, 10_001);
    assert_eq!(t.fired(&theirs.id).await.len(), 1);
    t.check().await;
}

#[every_engine(multi_thread)]
async fn what_is_on_time_does_not_wait_for_what_is_made_up(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let config = json!({"job": {"type": "t"}, "cron": "* * * * * *", "misfire": "fire_all"});
    let first = t.create(CronScheduled, config).await;
    t.multiply(&first, 99).await;
    let theirs = t
        .create_for(
            &"zzz".into(),
            TimeScheduled,
            json!({"job": {"type": "t"}, "delay": "10m"}),
        )
        .await;
    t.clock.advance(SECOND * 600);
    let running = t.schedule();
    eventually("it is fired", || async {
        (t.fired(&theirs.id).await.len() == 1).then_some(())
    })
    .await;
    // A minute of work is left of what was missed.
    let made_up = t.fired_in_all().await;
    assert!(made_up < 30_000, "{made_up}");
    drop(running);
    eventually("it has stopped", || async {
        t.triggers
            .scheduler_health()
            .looked_at
            .is_none()
            .then_some(())
    })
    .await;
    t.check().await;
}

#[every_engine(servers, multi_thread)]
async fn one_process_makes_a_trigger_and_another_fires_it(engine: Engine) {
    let settings = TriggerSettings {
        // So long that nothing here happens by it.
        poll_interval: Duration::from_hours(1),
        ..TriggerSettings::default()
    };
    let here = TestTriggers::with(engine, Clock::system(), settings).await;
    let there = here.second().await;
    let _running = there.schedule();
    eventually("it runs", || async {
        there.triggers.scheduler_health().looked_at
    })
    .await;
    for (count, delay) in [(1, "500ms"), (2, "100ms")] {
        here.create(TimeScheduled, json!({"job": {"type": "t"}, "delay": delay}))
            .await;
        here.until_fired(count).await;
    }
    here.check().await;
}

#[every_engine(servers, multi_thread)]
async fn a_store_that_goes_away_and_comes_back_delays_and_loses_nothing(engine: Engine) {
    let here = TestTriggers::open(engine).await;
    let mut proxy = Proxy::start(here.store.address()).await;
    let db = here.store.through(proxy.address()).await;
    let there = TestTriggers::over(db, Arc::clone(&here.store), here.settings);
    let trigger = here.create(CronScheduled, every_second(0)).await;
    let _running = there.schedule();
    here.clock.advance(SECOND);
    here.until_fired(1).await;
    proxy.refuse().await;
    proxy.cut();
    for _ in 0..3 {
        here.clock.advance(SECOND);
    }
    proxy.accept().await;
    here.until_fired(4).await;
    assert_eq!(here.fired(&trigger.id).await, seconds(4));
    here.check().await;
}
