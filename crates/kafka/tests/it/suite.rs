//! What holds on every bus.

use std::{sync::Arc, time::Duration};

use tidewire_db::BoxFuture;
use tidewire_jobs::{
    JobContext, Outcome, Output, Processors, Status,
    bus::{BusError, Feed, JobBus, JobMessage, Message, Sent, Topic, Wanted},
};
use tidewire_testkit::eventually;
use tidewire_triggers::DISPATCH;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::house::{House, TENANT};

pub async fn firings_are_delivered_once(mut house: House) {
    house.relay();
    house.work("w1");
    let mut fired = Vec::new();
    for n in 0..30 {
        let trigger = house.trigger(&format!("t{n}")).await;
        fired.push(house.fire(&trigger, &format!(r#"{{"n": {n}}}"#)).await);
    }
    house.all_done(&fired).await;
    house.all_told().await;
    for fired in &fired {
        assert_eq!(house.ran.times(&fired.job_id), 1);
        assert_eq!(house.job(&fired.job_id).await.attempts, 1);
    }
    house.stop().await;
}

pub async fn what_is_said_twice_runs_once(mut house: House) {
    house.relay();
    let trigger = house.trigger("t").await;
    let fired = house.fire(&trigger, "{}").await;
    house.all_told().await;
    let job = house.job(&fired.job_id).await;
    let word = JobMessage {
        job_id: job.id.as_str().into(),
        tenant: TENANT.into(),
        run_at: job.run_at,
        execution_id: None,
        trigger_id: None,
    };
    let again = Message {
        topic: Topic::Jobs,
        key: trigger,
        value: word.to_json(),
        header: None,
    };
    // One that nobody knows, and one that nobody can read.
    let unknown = JobMessage {
        job_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
        ..word
    };
    let unknown = Message {
        value: unknown.to_json(),
        ..again.clone()
    };
    let garbage = Message {
        value: b"\xff{".to_vec(),
        ..again.clone()
    };
    let all = [again.clone(), garbage, unknown, again.clone()];
    house.bus.bus.publish(&all).await.unwrap();
    house.work("w1");
    house.work("w2");
    house.all_done(std::slice::from_ref(&fired)).await;
    house.bus.bus.publish(&[again]).await.unwrap();
    let after = house.trigger("after").await;
    let after = house.fire(&after, "{}").await;
    house.all_done(std::slice::from_ref(&after)).await;
    assert_eq!(house.ran.times(&fired.job_id), 1);
    assert_eq!(house.job(&fired.job_id).await.attempts, 1);
    house.stop().await;
}

/// A bus whose listener never says that it has dealt with anything.
struct Forgetful(Arc<dyn JobBus>);

struct ForgetfulFeed(Box<dyn Feed>);

impl JobBus for Forgetful {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is_apart(&self) -> bool {
        self.0.is_apart()
    }

    fn publish<'a>(
        &'a self,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Result<Vec<Sent>, BusError>> {
        self.0.publish(messages)
    }

    fn subscribe(&self) -> Result<Box<dyn Feed>, BusError> {
        Ok(Box::new(ForgetfulFeed(self.0.subscribe()?)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        self.0.check()
    }
}

impl Feed for ForgetfulFeed {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Wanted>, BusError>> {
        self.0.next(most)
    }

    fn done(&mut self) -> Result<(), BusError> {
        Ok(())
    }
}

/// It has claimed, durably, and dies; its message comes again to another, who must not run what is
/// claimed, until the lease is over.
pub async fn a_worker_that_dies_before_it_commits(mut house: House) {
    house.relay();
    house.keep();
    let begun = Arc::new(Notify::new());
    let mut processors = Processors::new();
    let begins = Arc::clone(&begun);
    processors.register(DISPATCH, move |_: JobContext| {
        begins.notify_one();
        std::future::pending::<Result<Output, _>>()
    });
    let bus: Arc<dyn JobBus> = Arc::new(Forgetful(house.bus.second()));
    let worker = house.worker_with("dies", processors, bus);
    // In a runtime of its own, as a process is: when it ends, nothing of it goes on.
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    process.spawn(worker.run(CancellationToken::new()));
    let trigger = house.trigger("t").await;
    let fired = house.fire(&trigger, "{}").await;
    begun.notified().await;
    process.shutdown_background();
    house.work("lives");
    house.all_done(std::slice::from_ref(&fired)).await;
    let log = house.process.jobs.get(TENANT, &fired.job_id).await.unwrap();
    let outcomes: Vec<_> = log
        .attempts_log
        .iter()
        .map(|attempt| (attempt.outcome, attempt.worker.clone()))
        .collect();
    assert_eq!(
        outcomes,
        [
            (Outcome::Expired, Some("dies".to_owned())),
            (Outcome::Done, Some("lives".to_owned()))
        ]
    );
    assert_eq!(house.ran.times(&fired.job_id), 1);
    house.stop().await;
}

pub async fn workers_share_what_there_is(mut house: House) {
    house.relay();
    house.work("w1");
    house.work("w2");
    let mut triggers = Vec::new();
    for n in 0..20 {
        triggers.push(house.trigger(&format!("t{n}")).await);
    }
    let mut fired = Vec::new();
    for n in 0..100 {
        let trigger = &triggers[n % triggers.len()];
        fired.push(house.fire(trigger, "{}").await);
    }
    house.all_done(&fired).await;
    for fired in &fired {
        assert_eq!(house.ran.times(&fired.job_id), 1);
        assert_eq!(house.job(&fired.job_id).await.attempts, 1);
    }
    assert_eq!(house.ran.jobs(), 100);
    house.stop().await;
}

/// What became of a job since its firing counts, not what a message says.
pub async fn a_job_of_another_time_is_left(mut house: House) {
    let trigger = house.trigger("t").await;
    let cancelled = house.fire(&trigger, "{}").await;
    let kept = house.fire(&trigger, "{}").await;
    house
        .process
        .jobs
        .cancel(&house.tenant, &cancelled.job_id)
        .await
        .unwrap();
    house.relay();
    house.work("w1");
    house.all_done(std::slice::from_ref(&kept)).await;
    house.all_told().await;
    eventually("it stays cancelled", || async {
        let job = house.job(&cancelled.job_id).await;
        (job.status == Status::Cancelled).then_some(())
    })
    .await;
    assert_eq!(house.ran.times(&cancelled.job_id), 0);
    // Not even when its message is from before the cancelling.
    tokio::time::timeout(Duration::from_secs(30), house.stop())
        .await
        .unwrap();
}
