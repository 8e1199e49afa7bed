//! A job's life: attempts, leases, tokens, and what people do to it by hand.

use std::time::Duration;

use serde_json::value::RawValue;
use tidewire_core::Kind;
use tidewire_testkit::{Engine, every_engine};

use super::{MINUTE, Queue};
use crate::{Error, JobFilter, NewJob, Outcome, Status};

fn lost(result: Result<crate::Job, Error>) {
    match result {
        Err(Error::LeaseLost { .. }) => {}
        other => panic!("the lease should be lost: {other:?}"),
    }
}

fn outcomes(detail: &crate::JobDetail) -> Vec<(u32, Outcome)> {
    detail
        .attempts_log
        .iter()
        .map(|entry| (entry.attempt, entry.outcome))
        .collect()
}

#[every_engine]
async fn a_job_is_enqueued_claimed_and_done(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t").max_attempts(2)).await;
    assert_eq!((job.status, job.attempts), (Status::Pending, 0));
    let claimed = queue.claim_one().await;
    assert_eq!(
        (claimed.job.status, claimed.job.attempts),
        (Status::Running, 1)
    );
    assert_eq!(claimed.job.locked_by.as_deref(), Some("w"));
    assert_eq!(claimed.lease_expires_at, queue.clock.now().plus(MINUTE));
    let output = RawValue::from_string("{\"n\": 1.50}".to_owned()).unwrap();
    let token = claimed.lease_token.clone();
    let done = queue
        .jobs
        .complete(&queue.tenant, &job.id, token, Some(output))
        .await
        .unwrap();
    assert_eq!(done.status, Status::Done);
    assert_eq!(
        super::squeezed(done.output.as_ref().unwrap().get()),
        "{\"n\":1.50}"
    );
    assert_eq!(
        (done.locked_by.clone(), done.finished_at),
        (None, Some(queue.clock.now()))
    );
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(outcomes(&detail), [(1, Outcome::Done)]);
    assert_eq!(detail.attempts_log[0].worker.as_deref(), Some("w"));
    assert_eq!(queue.counts().await, (1, 0));
    // A report that comes again is answered, and changes nothing.
    queue.clock.advance(MINUTE);
    for again in [queue.complete(&claimed).await, queue.fail(&claimed).await] {
        let again = again.unwrap();
        assert_eq!(
            (again.status, again.updated_at, again.last_error),
            (Status::Done, done.updated_at, None)
        );
        assert_eq!(super::squeezed(again.output.unwrap().get()), "{\"n\":1.50}");
    }
    let token = claimed.lease_token.clone();
    let beat = queue
        .jobs
        .heartbeat(&queue.tenant, &job.id, token, None, None);
    lost(beat.await);
    assert_eq!(queue.counts().await, (1, 0));
    queue.check().await;
}

#[every_engine]
async fn a_failure_that_is_told_twice_is_one(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t").max_attempts(2)).await;
    let first = queue.claim_one().await;
    let failed = queue.fail(&first).await.unwrap();
    let again = queue.fail(&first).await.unwrap();
    assert_eq!(
        (again.status, again.attempts, again.run_at),
        (Status::Pending, 1, failed.run_at)
    );
    // The next attempt is somebody else's, also if the worker is the same.
    queue.clock.advance(MINUTE);
    let second = queue.claim_one().await;
    lost(queue.fail(&first).await);
    queue.fail(&second).await.unwrap();
    assert_eq!(queue.fail(&second).await.unwrap().status, Status::Failed);
    lost(queue.fail(&first).await);
    assert_eq!(queue.counts().await, (0, 1));
    // And so is what a retry by hand begins.
    queue.jobs.retry(&queue.tenant, &job.id).await.unwrap();
    lost(queue.fail(&second).await);
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(
        outcomes(&detail),
        [(1, Outcome::Failed), (2, Outcome::Failed)]
    );
    queue.check().await;
}

#[every_engine]
async fn a_token_is_good_for_its_own_job_alone(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue.add_many(2, &NewJob::new("t")).await;
    let claimed = queue.claim(2).await;
    let (a, b) = (&claimed[0], &claimed[1]);
    let crossed = queue
        .jobs
        .complete(&queue.tenant, &a.job.id, b.lease_token.clone(), None);
    lost(crossed.await);
    queue.complete(a).await.unwrap();
    queue.complete(b).await.unwrap();
}

#[every_engine]
async fn a_failed_attempt_is_logged_and_tried_again_later_until_the_last(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t").max_attempts(2)).await;
    let failed = queue.fail(&queue.claim_one().await).await.unwrap();
    assert_eq!((failed.status, failed.attempts), (Status::Pending, 1));
    assert_eq!(failed.last_error.as_deref(), Some("boom"));
    let wait = failed.run_at.since(queue.clock.now());
    assert!(
        (Duration::from_millis(1600)..=Duration::from_millis(2400)).contains(&wait),
        "{wait:?}"
    );
    assert!(queue.claim(1).await.is_empty());
    queue.clock.advance(wait);
    let failed = queue.fail(&queue.claim_one().await).await.unwrap();
    assert_eq!((failed.status, failed.attempts), (Status::Failed, 2));
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(
        outcomes(&detail),
        [(1, Outcome::Failed), (2, Outcome::Failed)]
    );
    assert_eq!(detail.attempts_log[1].error.as_deref(), Some("boom"));
    assert_eq!(queue.counts().await, (0, 1));
    queue.check().await;
}

#[every_engine]
async fn an_expired_lease_is_taken_over_and_the_late_worker_is_refused(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t")).await;
    let first = queue.claim_one().await;
    assert!(!queue.jobs.any_expired().await.unwrap());
    queue.clock.advance(MINUTE);
    assert_eq!(queue.jobs.expire().await.unwrap(), 1);
    let second = queue.claim_one().await;
    assert_eq!(
        (second.job.id.as_str(), second.job.attempts),
        (job.id.as_str(), 2)
    );
    lost(queue.complete(&first).await);
    let beat = queue.jobs.heartbeat(
        &queue.tenant,
        &job.id,
        first.lease_token.clone(),
        None,
        None,
    );
    lost(beat.await);
    assert_eq!(queue.complete(&second).await.unwrap().status, Status::Done);
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(
        outcomes(&detail),
        [(1, Outcome::Expired), (2, Outcome::Done)]
    );
    assert!(
        detail.attempts_log[0]
            .error
            .as_ref()
            .unwrap()
            .contains("the lease ran out")
    );
    queue.check().await;
}

#[every_engine]
async fn a_late_worker_is_believed_as_long_as_nobody_took_over(engine: Engine) {
    let queue = Queue::open(engine).await;
    for late in ["complete", "fail", "release", "heartbeat"] {
        let job = queue.add(NewJob::new("t")).await;
        let claimed = queue.claim_one().await;
        queue.clock.advance(MINUTE);
        assert_eq!(queue.jobs.expire().await.unwrap(), 1);
        assert_eq!(queue.status(&job.id).await, Status::Pending);
        let token = claimed.lease_token.clone();
        let (status, log): (_, &[_]) = match late {
            "complete" => (queue.complete(&claimed).await, &[(1, Outcome::Done)]),
            "fail" => (queue.fail(&claimed).await, &[(1, Outcome::Failed)]),
            "release" => (queue.jobs.release(&queue.tenant, &job.id, token).await, &[]),
            _ => {
                let beat = queue
                    .jobs
                    .heartbeat(&queue.tenant, &job.id, token, None, None)
                    .await;
                (beat, &[(1, Outcome::Running)])
            }
        };
        let status = status.unwrap().status;
        let expected = match late {
            "complete" => Status::Done,
            "heartbeat" => Status::Running,
            _ => Status::Pending,
        };
        assert_eq!(status, expected, "{late}");
        let detail = queue.jobs.get("default", &job.id).await.unwrap();
        assert_eq!(outcomes(&detail), log, "{late}");
        queue.check().await;
        drop(queue.jobs.cancel(&queue.tenant, &job.id).await);
    }
}

#[every_engine]
async fn the_last_attempts_expiry_fails_the_job(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t").max_attempts(1)).await;
    let claimed = queue.claim_one().await;
    queue.clock.advance(MINUTE);
    queue.jobs.expire().await.unwrap();
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(detail.job.status, Status::Failed);
    assert_eq!(outcomes(&detail), [(1, Outcome::Expired)]);
    assert!(detail.job.last_error.unwrap().contains("attempt 1 of 1"));
    assert_eq!(queue.counts().await, (0, 1));
    lost(queue.complete(&claimed).await);
    queue.check().await;
}

#[every_engine]
async fn heartbeats_keep_a_job_until_its_timeout(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue
        .add(NewJob::new("t").timeout(Duration::from_secs(100)))
        .await;
    let claimed = queue.claim_one().await;
    let beat = || {
        queue.jobs.heartbeat(
            &queue.tenant,
            &job.id,
            claimed.lease_token.clone(),
            None,
            None,
        )
    };
    for _ in 0..3 {
        queue.clock.advance(Duration::from_secs(30));
        assert_eq!(beat().await.unwrap().status, Status::Running);
        assert_eq!(queue.jobs.expire().await.unwrap(), 0);
    }
    queue.clock.advance(Duration::from_secs(30));
    lost(beat().await);
    queue.clock.advance(Duration::from_secs(30));
    assert_eq!(queue.jobs.expire().await.unwrap(), 1);
}

#[every_engine]
async fn a_job_given_back_keeps_its_attempt_and_its_place(engine: Engine) {
    let queue = Queue::open(engine).await;
    let first = queue.add(NewJob::new("t")).await;
    queue.clock.advance(Duration::from_secs(1));
    queue.add(NewJob::new("t")).await;
    let claimed = queue.claim(1).await.remove(0);
    let token = claimed.lease_token.clone();
    let back = queue
        .jobs
        .release(&queue.tenant, &first.id, token)
        .await
        .unwrap();
    assert_eq!(
        (back.status, back.attempts, back.run_at),
        (Status::Pending, 0, first.run_at)
    );
    assert_eq!(queue.claim(1).await[0].job.id, first.id);
    let detail = queue.jobs.get("default", &first.id).await.unwrap();
    assert_eq!(outcomes(&detail), [(1, Outcome::Running)]);
    queue.check().await;
}

#[every_engine]
async fn cancelling_voids_the_lease_and_is_safe_to_repeat(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t")).await;
    let claimed = queue.claim_one().await;
    let cancelled = queue.jobs.cancel(&queue.tenant, &job.id).await.unwrap();
    assert_eq!(cancelled.status, Status::Cancelled);
    assert_eq!(
        queue
            .jobs
            .cancel(&queue.tenant, &job.id)
            .await
            .unwrap()
            .status,
        Status::Cancelled
    );
    lost(queue.complete(&claimed).await);
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(outcomes(&detail), [(1, Outcome::Cancelled)]);

    let pending = queue.add(NewJob::new("t")).await;
    queue.jobs.cancel(&queue.tenant, &pending.id).await.unwrap();
    assert!(queue.claim(1).await.is_empty());
    let detail = queue.jobs.get("default", &pending.id).await.unwrap();
    assert!(detail.attempts_log.is_empty());

    let done = queue.add(NewJob::new("t")).await;
    queue.complete(&queue.claim_one().await).await.unwrap();
    let refused = queue
        .jobs
        .cancel(&queue.tenant, &done.id)
        .await
        .unwrap_err();
    let problem = tidewire_core::Problem::from(refused);
    assert_eq!(problem.kind, Kind::Conflict);
    assert!(
        problem.detail.contains("is done and cannot be cancelled"),
        "{problem}"
    );
    assert_eq!(
        queue.counts().await,
        (1, 0),
        "cancelled jobs are neither done nor failed"
    );
    queue.check().await;
}

#[every_engine]
async fn a_retry_by_hand_gives_the_attempts_again_and_keeps_the_log(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t").max_attempts(1)).await;
    queue.fail(&queue.claim_one().await).await.unwrap();
    let retried = queue.jobs.retry(&queue.tenant, &job.id).await.unwrap();
    assert_eq!(
        (retried.status, retried.attempts, retried.max_attempts),
        (Status::Pending, 1, 2)
    );
    assert_eq!(retried.finished_at, None);
    assert!(
        queue.jobs.retry(&queue.tenant, &job.id).await.is_err(),
        "it is pending"
    );
    queue.complete(&queue.claim_one().await).await.unwrap();
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(
        outcomes(&detail),
        [(1, Outcome::Failed), (2, Outcome::Done)]
    );
    assert_eq!(queue.counts().await, (1, 1), "each end is counted");

    // An expiry that ended the job is in the log already.
    let job = queue.add(NewJob::new("t").max_attempts(1)).await;
    queue.claim_one().await;
    queue.clock.advance(MINUTE);
    queue.jobs.expire().await.unwrap();
    queue.jobs.retry(&queue.tenant, &job.id).await.unwrap();
    let detail = queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(outcomes(&detail), [(1, Outcome::Expired)]);
    queue.check().await;
}

#[every_engine]
async fn all_that_failed_is_redriven_and_nothing_else(engine: Engine) {
    let queue = Queue::open(engine).await;
    for (kind, count) in [("a", 1100), ("b", 3)] {
        queue
            .add_many(count, &NewJob::new(kind).max_attempts(1))
            .await;
    }
    let cancelled = queue.add(NewJob::new("a")).await;
    queue
        .jobs
        .cancel(&queue.tenant, &cancelled.id)
        .await
        .unwrap();
    loop {
        let claimed = queue.claim(500).await;
        if claimed.is_empty() {
            break;
        }
        let all = claimed.iter().map(|job| queue.fail(job));
        futures_util::future::join_all(all).await;
    }
    assert_eq!(queue.counts().await, (0, 1103));
    let of_a = JobFilter {
        kind: Some("a".to_owned()),
        ..JobFilter::default()
    };
    assert_eq!(
        queue.jobs.retry_all(&queue.tenant, &of_a).await.unwrap(),
        1100
    );
    assert_eq!(queue.jobs.retry_all(&queue.tenant, &of_a).await.unwrap(), 0);
    assert_eq!(
        queue
            .jobs
            .retry_all(&"other".into(), &JobFilter::default())
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        queue
            .jobs
            .retry_all(&queue.tenant, &JobFilter::default())
            .await
            .unwrap(),
        3
    );
    assert_eq!(queue.status(&cancelled.id).await, Status::Cancelled);
    queue.check().await;
}

#[every_engine]
async fn one_idempotency_key_is_one_job_also_within_a_batch(engine: Engine) {
    let queue = Queue::open(engine).await;
    let keyed = |kind: &str| NewJob::new(kind).idempotency_key("order-1");
    let both = [keyed("t"), keyed("other")].map(|job| queue.jobs.enqueue(&queue.tenant, job));
    let both = futures_util::future::join_all(both).await;
    let both: Vec<_> = both.into_iter().map(Result::unwrap).collect();
    assert_eq!(both[0].job.id, both[1].job.id);
    assert_eq!(both.iter().filter(|answer| answer.created).count(), 1);
    queue.complete(&queue.claim_one().await).await.unwrap();
    let again = queue.jobs.enqueue(&queue.tenant, keyed("t")).await.unwrap();
    assert_eq!((again.created, again.job.status), (false, Status::Done));
    // Another tenant's key is another key.
    let other = queue
        .jobs
        .enqueue(&"other".into(), keyed("t"))
        .await
        .unwrap();
    assert!(other.created);
    queue.check().await;
}

#[every_engine]
async fn jobs_of_a_transaction_are_there_exactly_if_it_commits(engine: Engine) {
    let queue = Queue::open(engine).await;
    for commits in [false, true] {
        let (jobs, tenant) = (queue.jobs.clone(), queue.tenant.clone());
        let result = queue
            .db
            .transact("test", move |tx| {
                let (jobs, tenant) = (jobs.clone(), tenant.clone());
                Box::pin(async move {
                    let new = [NewJob::new("t"), NewJob::new("t")];
                    let added = jobs.enqueue_in(tx, &tenant, &new).await?;
                    if commits {
                        Ok(added.len())
                    } else {
                        Err(Error::NoSuchJob(String::new()))
                    }
                })
            })
            .await;
        assert_eq!(result.is_ok(), commits);
        assert_eq!(queue.claim(10).await.len(), if commits { 2 } else { 0 });
    }
    queue.check().await;
}

#[every_engine]
async fn a_foreign_job_does_not_exist(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t")).await;
    let claimed = queue.claim_one().await;
    let other = "other".into();
    assert!(matches!(
        queue.jobs.get("other", &job.id).await,
        Err(Error::NoSuchJob(_))
    ));
    assert!(matches!(
        queue.jobs.cancel(&other, &job.id).await,
        Err(Error::NoSuchJob(_))
    ));
    let complete = queue
        .jobs
        .complete(&other, &job.id, claimed.lease_token.clone(), None);
    assert!(matches!(complete.await, Err(Error::NoSuchJob(_))));
    queue.complete(&claimed).await.unwrap();
}

#[every_engine]
async fn each_queue_says_how_much_waits_and_runs_in_it(engine: Engine) {
    let queue = Queue::open(engine).await;
    assert_eq!(queue.jobs.depths("default").await.unwrap(), []);
    let (now, mail) = (queue.clock.now(), "mail".to_owned());
    queue.add(NewJob::new("t").queue(&mail)).await;
    queue.clock.advance(MINUTE);
    queue.add_many(2, &NewJob::new("t").queue(&mail)).await;
    let later = NewJob::new("t").queue(&mail).run_at(now.plus(MINUTE * 9));
    queue.add(later).await;
    queue.add(NewJob::new("t")).await;
    let other = "other".into();
    queue.jobs.enqueue(&other, NewJob::new("t")).await.unwrap();
    let of_mail = crate::Filter {
        queues: Some([mail.as_str().into()].into()),
        ..crate::Filter::default()
    };
    assert_eq!(queue.claim_as("w", of_mail, 1).await.len(), 1);
    let depths = queue.jobs.depths("default").await.unwrap();
    let default = crate::QueueDepth {
        queue: "default".to_owned(),
        ready: 1,
        oldest: Some(queue.clock.now()),
        ..crate::QueueDepth::default()
    };
    let mail = crate::QueueDepth {
        queue: mail,
        ready: 2,
        scheduled: 1,
        running: 1,
        oldest: Some(queue.clock.now()),
    };
    assert_eq!(depths, [default, mail]);
}
