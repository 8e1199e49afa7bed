//! Crowds, which are fired ahead of their time: nobody sees it, and all of it can be taken back.

use std::time::Duration;

use serde_json::{Value, json};
use tidewire_core::Time;
use tidewire_jobs::{ClaimRequest, ClaimedJob, Filter, JobFilter};
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{TestTriggers, harness::start};
use crate::{
    Error, ExecutionQuery, Page,
    ScheduleStatus::{self, Cancelled, Completed, Pending},
    Trigger, TriggerSettings,
    TriggerStatus::{Active, Inactive},
    TriggerType::{CronScheduled, TimeScheduled},
    scheduler::CROWD,
};

const SECOND: Duration = Duration::from_secs(1);
const MANY: usize = CROWD as usize + 1;

fn in_a_minute() -> Value {
    json!({"job": {"type": "t", "queue": "q"}, "delay": "1m"})
}

fn soon() -> Time {
    start().plus(SECOND * 60)
}

impl TestTriggers {
    /// So many one-shot triggers of one time, which is a second and a half away; the first two.
    async fn crowd(&self, count: usize) -> [Trigger; 2] {
        let first = self.create(TimeScheduled, in_a_minute()).await;
        let second = self.create(TimeScheduled, in_a_minute()).await;
        self.multiply(&first, count - 2).await;
        self.clock.advance(Duration::from_millis(58_500));
        [first, second]
    }

    /// Executions as a list, a summary and the log of one trigger count them.
    async fn seen(&self) -> [u64; 2] {
        let query = ExecutionQuery::default();
        let page = Page { number: 1, size: 1 };
        let listed = self.triggers.executions(&self.tenant, query, page);
        let summary = self.triggers.execution_summary(&self.tenant, None);
        let (page, of_page) = listed.await.unwrap();
        assert_eq!(page.len() as u64, of_page.total_records.min(1));
        [of_page.total_records, summary.await.unwrap().total]
    }

    async fn of_trigger(&self, trigger: &str) -> u64 {
        let query = ExecutionQuery {
            trigger_id: Some(trigger.to_owned()),
            ..ExecutionQuery::default()
        };
        let page = Page { number: 1, size: 9 };
        let listed = self.triggers.executions(&self.tenant, query, page);
        listed.await.unwrap().1.total_records
    }

    /// What a worker gets that asks for some jobs now.
    async fn claim(&self, limit: u32) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            filter: Filter::default(),
            worker: "w".to_owned(),
            limit,
            lease: None,
            wait: Duration::ZERO,
        };
        self.jobs.claim(request).await.unwrap()
    }

    async fn jobs_in_all(&self) -> usize {
        let all = JobFilter::default();
        let page = self.jobs.list(&self.tenant, &all, None, 1_000);
        page.await.unwrap().jobs.len()
    }

    async fn statuses(&self, trigger: &str) -> Vec<ScheduleStatus> {
        let all = self.occurrences(trigger).await;
        all.into_iter().map(|(_, status)| status).collect()
    }
}

#[every_engine]
async fn a_crowd_is_fired_ahead_and_seen_at_its_time(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let [first, _] = t.crowd(MANY).await;
    assert_eq!(t.triggers.fire_ahead().await.unwrap(), Some(soon()));
    assert_eq!(t.fired_in_all().await, MANY);
    t.check().await;

    assert_eq!(t.seen().await, [0, 0]);
    assert_eq!(t.of_trigger(&first.id).await, 0);
    assert_eq!(t.statuses(&first.id).await, [Pending]);
    assert_eq!(t.next_run(&first.id).await, Some(soon()));
    assert_eq!(t.claim(1).await.len(), 0);
    // Whoever looks again finds nothing more to do.
    assert_eq!(t.triggers.fire_ahead().await.unwrap(), None);

    t.clock.advance(SECOND * 3 / 2);
    t.triggers.fire_due().await.unwrap();
    assert_eq!(t.fired(&first.id).await, [soon()]);
    assert_eq!(t.seen().await, [MANY as u64, MANY as u64]);
    assert_eq!(t.of_trigger(&first.id).await, 1);
    assert_eq!(t.statuses(&first.id).await, [Completed]);
    assert_eq!(t.next_run(&first.id).await, None);
    let claimed = t.claim(500).await;
    assert_eq!(claimed.len(), 500);
    let execution = claimed[0].job.event_id.clone().unwrap();
    let execution = t.triggers.execution(&t.tenant, &execution).await.unwrap();
    assert_eq!(execution.fired_at, soon());
    t.check().await;
}

#[every_engine]
async fn few_are_fired_when_they_are_due(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    t.crowd(MANY - 2).await;
    assert_eq!(t.triggers.fire_ahead().await.unwrap(), None);
    assert_eq!(t.fired_in_all().await, 0);
}

#[every_engine]
async fn an_execution_is_unknown_until_it_is_fired(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    t.crowd(MANY).await;
    t.triggers.fire_ahead().await.unwrap();
    let all = JobFilter::default();
    let job = t.jobs.list(&t.tenant, &all, None, 1).await.unwrap();
    let execution = job.jobs[0].event_id.clone().unwrap();
    let found = t.triggers.execution(&t.tenant, &execution).await;
    assert!(matches!(found, Err(Error::NoSuchExecution(_))), "{found:?}");
    let retried = t.triggers.retry_execution(&t.tenant, &execution).await;
    assert!(
        matches!(retried, Err(Error::NoSuchExecution(_))),
        "{retried:?}"
    );
    t.clock.advance(SECOND * 2);
    t.triggers.execution(&t.tenant, &execution).await.unwrap();
}

#[every_engine]
async fn what_was_fired_ahead_is_taken_back(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let [first, second] = t.crowd(MANY).await;
    let third = t.create(
        TimeScheduled,
        json!({"job": {"type": "t"}, "run_at": soon()}),
    );
    let third = third.await;
    let named = t.create(
        TimeScheduled,
        json!({"job": {"type": "t"}, "run_at": soon()}),
    );
    let named = named.await;
    t.triggers.fire_ahead().await.unwrap();
    assert_eq!(t.jobs_in_all().await, MANY + 2);

    t.set_status(&first.id, Inactive).await;
    t.check().await;
    assert_eq!(t.fired(&first.id).await, []);
    assert_eq!(t.statuses(&first.id).await, [Cancelled]);
    assert_eq!(t.next_run(&first.id).await, None);

    t.triggers.delete(&t.tenant, &second.id).await.unwrap();
    assert_eq!(t.fired(&second.id).await, []);

    let later = soon().plus(SECOND * 10);
    let edited = json!({"job": {"type": "edited"}, "run_at": later});
    t.edit_config(&third.id, edited).await;
    assert_eq!(t.next_run(&third.id).await, Some(later));
    assert_eq!(t.fired(&third.id).await, []);

    let edit = crate::TriggerEdit {
        name: Some("another".to_owned()),
        ..crate::TriggerEdit::default()
    };
    t.edit(&named.id, edit).await;
    assert_eq!(t.fired(&named.id).await, [soon()]);
    assert_eq!(t.next_run(&named.id).await, Some(soon()));

    // The jobs of the three are gone, and those of the others are there.
    assert_eq!(t.jobs_in_all().await, MANY - 1);
    t.check().await;
    t.pass(12, SECOND).await;
    assert_eq!(t.fired(&first.id).await, []);
    assert_eq!(t.fired(&third.id).await, [later]);
    assert_eq!(t.fired(&named.id).await, [soon()]);
    assert_eq!(t.fired_in_all().await, MANY);
    assert_eq!(t.seen().await, [MANY as u64, MANY as u64]);
    t.check().await;
}

#[every_engine]
async fn one_that_is_switched_off_and_on_fires_by_its_config(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let [first, second] = t.crowd(MANY).await;
    t.triggers.fire_ahead().await.unwrap();
    for status in [Inactive, Active] {
        t.set_status(&first.id, status).await;
        t.check().await;
    }
    let sooner = json!({"job": {"type": "t"}, "delay": "1s"});
    t.edit_config(&second.id, sooner).await;
    assert_eq!(t.next_run(&first.id).await, Some(soon()));
    t.pass(3, SECOND / 2).await;
    assert_eq!(t.fired(&first.id).await, [soon()]);
    assert_eq!(t.fired(&second.id).await, [soon().minus(SECOND / 2)]);
    t.check().await;
}

#[every_engine]
async fn what_has_begun_is_not_taken_back(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let [first, second] = t.crowd(MANY).await;
    t.triggers.fire_ahead().await.unwrap();
    // Somebody has done something to its job.
    let (store, mut read) = (&t.triggers.inner.store, t.db.read());
    let row = store.trigger(&mut read, &t.tenant, &second.id).await;
    let row = row.unwrap().unwrap();
    let ahead = store.fired_ahead(&mut read, &row, soon(), t.clock.now());
    let ahead = ahead.await.unwrap().unwrap();
    t.jobs.cancel(&t.tenant, &ahead.job_id).await.unwrap();
    t.triggers.delete(&t.tenant, &second.id).await.unwrap();
    // Its time has come.
    t.clock.advance(SECOND * 2);
    t.set_status(&first.id, Inactive).await;
    assert_eq!(t.fired(&first.id).await, [soon()]);
    assert_eq!(t.fired(&second.id).await, [soon()]);
    assert_eq!(t.fired_in_all().await, MANY);
    t.check().await;
}

#[every_engine]
async fn a_crowd_of_every_second_is_fired_one_at_a_time(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let config = json!({"job": {"type": "t"}, "cron": "* * * * * *"});
    let first = t.create(CronScheduled, config).await;
    t.multiply(&first, MANY - 1).await;
    for second in 0..3 {
        let time = start().plus(SECOND / 2).plus(SECOND * second);
        assert_eq!(t.triggers.fire_ahead().await.unwrap(), Some(time));
        t.triggers.fire_ahead().await.unwrap();
        assert_eq!(t.fired(&first.id).await.last(), Some(&time));
        assert_eq!(t.next_run(&first.id).await, Some(time));
        t.clock.advance(SECOND);
    }
    assert_eq!(t.fired_in_all().await, 3 * MANY);
    t.check().await;
}

#[every_engine(multi_thread)]
async fn schedulers_fire_crowds_ahead_by_themselves(engine: Engine) {
    let t = TestTriggers::open(engine).await;
    let other = t.second().await;
    let _running = [t.schedule(), other.schedule()];
    t.crowd(MANY).await;
    t.until_fired(MANY).await;
    assert_eq!(t.seen().await, [0, 0]);
    t.clock.advance(SECOND * 2);
    eventually("all are seen", || async {
        (t.seen().await == [MANY as u64; 2]).then_some(())
    })
    .await;
    t.check().await;
}

#[every_engine]
async fn nothing_is_fired_ahead_of_a_bus(engine: Engine) {
    let settings = TriggerSettings {
        relayed: true,
        poll_interval: Duration::from_millis(10),
        ..TriggerSettings::default()
    };
    let clock = tidewire_core::Clock::fake(start());
    let t = TestTriggers::with(engine, clock, settings).await;
    t.crowd(MANY).await;
    let _running = t.schedule();
    let one = t.create(
        TimeScheduled,
        json!({"job": {"type": "t"}, "delay": "10ms"}),
    );
    let one = one.await;
    // Once this one is fired, the scheduler has looked ahead.
    t.clock.advance(Duration::from_millis(10));
    eventually("it is fired", || async {
        (t.fired(&one.id).await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(t.fired_in_all().await, 1);
}
