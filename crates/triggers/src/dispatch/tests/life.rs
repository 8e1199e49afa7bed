//! Workers that stop, die, or lose what they have.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidewire_jobs::Status;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio::{runtime::Runtime, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    house::{House, brisk, local_client, options, settings},
    sink::{Reply, Sink, status},
};
use crate::{dispatch_worker, model::ExecutionStatus};

fn held(permits: &Arc<Semaphore>) -> Reply {
    Reply::After(Arc::clone(permits), Box::new(status(200)))
}

async fn is_asked(sink: &Sink, count: usize) {
    eventually("it is asked", || async {
        (sink.count() == count).then_some(())
    })
    .await;
}

#[every_engine]
async fn a_delivery_that_is_cancelled_hangs_up(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    let sink = Sink::always(Reply::Hang).await;
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    let fired = house.fire(&trigger, json!({})).await;
    is_asked(&sink, 1).await;
    house
        .jobs
        .cancel(&house.tenant, &fired.job_id)
        .await
        .unwrap();
    eventually("the connection is closed", || async {
        (sink.left() == 1).then_some(())
    })
    .await;
    let seen = house.ended(&fired).await;
    assert_eq!(seen.status, ExecutionStatus::Failure);
    assert!(seen.error.unwrap().contains("cancelled"));
    working.stop().await;
}

#[every_engine]
async fn what_a_stopping_worker_cannot_end_goes_back_without_an_attempt(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::start(|got| match got.number {
        0 => Reply::Hang,
        _ => status(200),
    })
    .await;
    let mut hasty = options("w");
    hasty.drain = Duration::from_millis(50);
    let worker = dispatch_worker(&house.triggers, local_client(), settings(brisk()), hasty);
    let stop = CancellationToken::new();
    let task = tokio::spawn(worker.run(stop.clone()));
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    let fired = house.fire(&trigger, json!({})).await;
    is_asked(&sink, 1).await;
    stop.cancel();
    task.await.unwrap();
    let job = house.job(&fired).await;
    assert_eq!((job.status, job.attempts), (Status::Pending, 0));
    let working = house.work();
    let seen = house.ended(&fired).await;
    assert_eq!(seen.status, ExecutionStatus::Success);
    assert_eq!(seen.attempts.len(), 1);
    working.stop().await;
}

#[every_engine]
async fn what_waits_for_its_endpoint_goes_back_at_once_when_the_worker_stops(engine: Engine) {
    let house = House::open(engine).await;
    let permits = Arc::new(Semaphore::new(0));
    let sink = Sink::always(held(&permits)).await;
    let mut limits = settings(brisk());
    limits.gate.concurrency = 1;
    let working = house.work_with(local_client(), limits, "w");
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    let fired = house.fire_many(&trigger, 10).await;
    is_asked(&sink, 1).await;
    let stopping = tokio::spawn(working.stop());
    eventually("the others are back", || async {
        let mut back = 0;
        for one in &fired {
            let job = house.job(one).await;
            back += usize::from(job.status == Status::Pending && job.attempts == 0);
        }
        (back == 9).then_some(())
    })
    .await;
    permits.add_permits(1);
    stopping.await.unwrap();
    assert_eq!((sink.count(), house.counts().await), (1, (10, 1)));
}

#[every_engine]
async fn a_delivery_that_ran_twice_is_one_execution_with_one_result(engine: Engine) {
    let house = House::open(engine).await;
    house.settings.send_modify(|settings| {
        settings.lease = Duration::from_millis(300);
        settings.poll_interval = Duration::from_millis(50);
    });
    let permits = Arc::new(Semaphore::new(0));
    let sink = Sink::always(held(&permits)).await;
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    let worker = dispatch_worker(
        &house.triggers,
        local_client(),
        settings(brisk()),
        options("first"),
    );
    let first = tokio::spawn(worker.run(CancellationToken::new()));
    let fired = house.fire(&trigger, json!({})).await;
    is_asked(&sink, 1).await;
    // Nobody beats any more, but its request goes on, as on a machine that stalls.
    first.abort();
    let second = house.work_with(local_client(), settings(brisk()), "second");
    is_asked(&sink, 2).await;
    permits.add_permits(2);
    let seen = house.ended(&fired).await;
    assert_eq!(seen.status, ExecutionStatus::Success);
    eventually("both were answered", || async {
        (sink.now() == 0).then_some(())
    })
    .await;
    second.stop().await;
    let ids: Vec<_> = sink.got();
    assert_eq!(ids[0].header("webhook-id"), ids[1].header("webhook-id"));
    assert_eq!(house.counts().await, (1, 1));
    let accepted = house.look(&fired.execution_id).await.attempts;
    let accepted = accepted.iter().filter(|tried| tried.status == Some(200));
    assert_eq!(accepted.count(), 1, "one result counts");
    assert_eq!(house.job(&fired).await.status, Status::Done);
}

#[every_engine(multi_thread)]
async fn what_a_killed_worker_had_is_delivered_again_and_succeeds_once(engine: Engine) {
    let house = House::open(engine).await;
    house.settings.send_modify(|settings| {
        settings.lease = Duration::from_millis(500);
        settings.poll_interval = Duration::from_millis(50);
    });
    let sink = Sink::start(|got| match got.number {
        0..5 => Reply::Hang,
        _ => status(200),
    })
    .await;
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    // Its tasks die with it, all at once.
    let machine = Runtime::new().unwrap();
    let worker = dispatch_worker(
        &house.triggers,
        local_client(),
        settings(brisk()),
        options("killed"),
    );
    machine.spawn(worker.run(CancellationToken::new()));
    let fired = house.fire_many(&trigger, 5).await;
    is_asked(&sink, 5).await;
    machine.shutdown_background();
    let working = house.work_with(local_client(), settings(brisk()), "next");
    house.succeed(5).await;
    assert_eq!(house.counts().await, (5, 5));
    for one in &fired {
        let seen = house.look(&one.execution_id).await;
        let good = seen
            .attempts
            .iter()
            .filter(|tried| tried.status == Some(200));
        assert_eq!(good.count(), 1, "{seen:?}");
    }
    working.stop().await;
}

#[every_engine]
async fn a_retry_by_hand_gives_it_as_many_attempts_again(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    let sink = Sink::start(|got| match got.number {
        0..5 => status(500),
        _ => status(200),
    })
    .await;
    let config = json!({"retry": {"max_attempts": 2, "base_seconds": 0.01}});
    let trigger = house.trigger(&sink.url("/"), config).await;
    let fired = house.fire(&trigger, json!({})).await;
    assert_eq!(house.ended(&fired).await.status, ExecutionStatus::Failure);
    for _ in 0..2 {
        house
            .jobs
            .retry(&house.tenant, &fired.job_id)
            .await
            .unwrap();
        house.ended(&fired).await;
    }
    let seen = house.look(&fired.execution_id).await;
    assert_eq!(seen.status, ExecutionStatus::Success);
    let attempts: Vec<_> = seen.attempts.iter().map(|tried| tried.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 6]);
    working.stop().await;
}
