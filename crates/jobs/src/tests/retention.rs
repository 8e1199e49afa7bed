//! Pruning, and counts that outlive what they count.

use std::time::Duration;

use serde_json::value::RawValue;
use tidewire_testkit::{Engine, every_engine};

use super::Queue;
use crate::{Error, NewJob, Status};

const DAY: Duration = Duration::from_hours(24);

#[every_engine]
async fn finished_jobs_go_after_their_time_and_others_stay(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue
        .settings
        .send_modify(|settings| settings.keep_failed = 30 * DAY);
    let pending = queue
        .add(NewJob::new("t").run_at(queue.clock.now().plus(90 * DAY)))
        .await;
    let kept = queue.add(NewJob::new("t").max_attempts(1)).await;
    queue.fail(&queue.claim_one().await).await.unwrap();
    let cancelled = queue.add(NewJob::new("t")).await;
    queue
        .jobs
        .cancel(&queue.tenant, &cancelled.id)
        .await
        .unwrap();
    let retried = queue.add(NewJob::new("t").idempotency_key("k")).await;
    let first = queue.claim_one().await;
    let token = first.lease_token.clone();
    let now = Some(Duration::ZERO);
    queue
        .jobs
        .fail(&queue.tenant, &retried.id, token, "x", now, false)
        .await
        .unwrap();
    let again = queue.claim_one().await;
    let output = RawValue::from_string("1".to_owned()).unwrap();
    let done = queue.jobs.complete(
        &queue.tenant,
        &retried.id,
        again.lease_token.clone(),
        Some(output),
    );
    done.await.unwrap();

    queue.clock.advance(7 * DAY - Duration::from_millis(1));
    assert_eq!(queue.jobs.sweep().await.unwrap(), 0);
    queue.clock.advance(Duration::from_millis(2));
    assert_eq!(queue.jobs.sweep().await.unwrap(), 2);
    for gone in [&cancelled, &retried] {
        assert!(matches!(
            queue.jobs.get("default", &gone.id).await,
            Err(Error::NoSuchJob(_))
        ));
    }
    assert_eq!(queue.status(&kept.id).await, Status::Failed);
    assert_eq!(queue.status(&pending.id).await, Status::Pending);
    queue.check().await;
    assert!(
        queue
            .jobs
            .enqueue(&queue.tenant, NewJob::new("t").idempotency_key("k"))
            .await
            .unwrap()
            .created
    );
    queue.clock.advance(30 * DAY);
    assert_eq!(queue.jobs.sweep().await.unwrap(), 1);
}

#[every_engine]
async fn a_long_history_is_swept_step_by_step_for_every_tenant(engine: Engine) {
    let queue = Queue::open(engine).await;
    for tenant in ["a", "b"] {
        let tenant = tenant.into();
        let all = (0..700).map(|_| queue.jobs.enqueue(&tenant, NewJob::new("t")));
        futures_util::future::join_all(all).await;
    }
    loop {
        let claimed = queue.claim(500).await;
        if claimed.is_empty() {
            break;
        }
        let all = claimed.iter().map(|job| {
            queue
                .jobs
                .complete(&job.job.tenant, &job.job.id, job.lease_token.clone(), None)
        });
        futures_util::future::join_all(all).await;
    }
    queue.clock.advance(8 * DAY);
    assert_eq!(queue.jobs.sweep().await.unwrap(), 1400);
    queue.check().await;
}

#[every_engine]
async fn counts_are_the_same_before_and_after_they_are_folded_and_pruned(engine: Engine) {
    let queue = Queue::open(engine).await;
    let first_day = queue.clock.now().day();
    for round in 0..3 {
        queue.add_many(4, &NewJob::new("t").max_attempts(1)).await;
        for (n, job) in queue.claim(10).await.iter().enumerate() {
            let ended = if n == 0 {
                queue.fail(job).await
            } else {
                queue.complete(job).await
            };
            ended.unwrap();
        }
        assert_eq!(queue.counts().await, (3, 1));
        queue.jobs.fold().await.unwrap();
        assert_eq!(queue.counts().await, (3, 1));
        if round == 1 {
            queue.jobs.fold().await.unwrap();
        }
        queue.clock.advance(DAY);
    }
    queue.clock.advance(30 * DAY);
    assert_eq!(queue.jobs.sweep().await.unwrap(), 12);
    let days = queue
        .jobs
        .daily_counts("default", first_day, queue.clock.now().day())
        .await
        .unwrap();
    assert_eq!(
        days.values()
            .map(|day| (day.done, day.failed))
            .collect::<Vec<_>>(),
        [(3, 1); 3]
    );
    assert!(
        queue
            .jobs
            .daily_counts("other", first_day, first_day)
            .await
            .unwrap()
            .is_empty()
    );
}
