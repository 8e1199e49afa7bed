//! Steps that other rooms take inside transactions of their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::value::RawValue;
use tidewire_core::Clock;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio::sync::{Notify, broadcast::error::TryRecvError};
use tokio_util::sync::CancellationToken;

use super::{MINUTE, Queue, follow::Followed};
use crate::{
    ClaimRequest, Error, Filter, Job, JobContext, NewJob, Outcome, Output, Processors, Settled,
    Status, Worker, WorkerOptions,
};

impl Queue {
    /// Cancels a job inside a transaction that commits or does not.
    async fn cancel_in(&self, id: &str, commits: bool) -> Result<Job, Error> {
        let (jobs, tenant, id) = (self.jobs.clone(), Arc::clone(&self.tenant), id.to_owned());
        self.db
            .transact("test.cancel", move |tx| {
                let (jobs, tenant, id) = (jobs.clone(), Arc::clone(&tenant), id.clone());
                Box::pin(async move {
                    let job = jobs.cancel_in(tx, &tenant, &id).await?;
                    match commits {
                        true => Ok(job),
                        false => Err(Error::NoSuchJob("rolled back".to_owned())),
                    }
                })
            })
            .await
    }

    /// Cancels a job inside a transaction that is undone, from the first signal to the second.
    async fn cancel_for_nothing(&self, id: &str, held: Arc<Notify>, until: Arc<Notify>) {
        let (jobs, tenant, id) = (self.jobs.clone(), Arc::clone(&self.tenant), id.to_owned());
        let undone = self.db.transact("test.step", move |tx| {
            let (jobs, tenant, id) = (jobs.clone(), Arc::clone(&tenant), id.clone());
            let (held, until) = (Arc::clone(&held), Arc::clone(&until));
            Box::pin(async move {
                jobs.cancel_in(tx, &tenant, &id).await?;
                held.notify_one();
                until.notified().await;
                Err::<(), _>(Error::NoSuchJob(String::new()))
            })
        });
        undone.await.unwrap_err();
    }
}

#[every_engine]
async fn a_cancel_is_there_exactly_if_its_transaction_is(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    let mut stopped = queue.jobs.cancellations();
    let job = queue.add(NewJob::new("t").followed("diary", "x")).await;
    let claimed = queue.claim_one().await;
    queue.cancel_in(&job.id, false).await.unwrap_err();
    assert_eq!(queue.status(&job.id).await, Status::Running);
    assert_eq!(stopped.try_recv(), Err(TryRecvError::Empty));
    assert!(this.told(&job.id).await.is_empty());

    let cancelled = queue.cancel_in(&job.id, true).await.unwrap();
    assert_eq!(cancelled.status, Status::Cancelled);
    assert_eq!(&*stopped.try_recv().unwrap(), job.id);
    let told = ["x: running to cancelled, attempt 1 over"];
    assert_eq!(this.told(&job.id).await, told);
    let late = queue.complete(&claimed).await.unwrap_err();
    assert!(late.to_string().contains("it was cancelled"), "{late}");

    // Again it changes nothing; of what has ended or is unknown it says so.
    queue.cancel_in(&job.id, true).await.unwrap();
    assert_eq!(this.told(&job.id).await.len(), 1);
    let done = queue.add(NewJob::new("t")).await;
    queue.complete(&queue.claim_one().await).await.unwrap();
    let refused = queue.cancel_in(&done.id, true).await;
    assert!(matches!(refused, Err(Error::WrongState { .. })));
    let unknown = queue.cancel_in("01ARZ3NDEKTSV4RRFFQ69G5FAV", true).await;
    assert!(matches!(unknown, Err(Error::NoSuchJob(_))));
    queue.check().await;
}

#[every_engine(servers)]
async fn workers_of_other_processes_hear_of_it(engine: Engine) {
    let here = Queue::with_clock(engine, Clock::system()).await;
    let there = here.second().await;
    let _upkeep = here.keep();
    let job = here.add(NewJob::new("t")).await;
    let claimed = here.claim_one().await;
    let mut stopped = here.jobs.cancellations();
    there.cancel_in(&job.id, true).await.unwrap();
    if engine == Engine::Postgres {
        let heard = tokio::time::timeout(MINUTE, stopped.recv()).await;
        assert_eq!(&*heard.unwrap().unwrap(), job.id);
    }
    // Where nobody tells, the next heartbeat does.
    let token = claimed.lease_token.clone();
    let beat = here
        .jobs
        .heartbeat(&here.tenant, &job.id, token, None, None);
    assert!(matches!(beat.await, Err(Error::LeaseLost { .. })));
}

/// Two transactions that each have what the other one wants next would wait until the engine gives
/// one of them up.
#[every_engine(servers)]
async fn a_cancel_that_meets_somebody_begins_again_and_waits_for_nobody(engine: Engine) {
    let here = Queue::with_clock(engine, Clock::system()).await;
    let there = here.second().await;
    for is_claimed in [false, true] {
        let job = here.add(NewJob::new("t")).await;
        let (held, until) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let tries = Arc::new(AtomicUsize::new(0));
        let cancel = async {
            held.notified().await;
            let (jobs, tenant) = (there.jobs.clone(), Arc::clone(&there.tenant));
            let (tries, until, id) = (Arc::clone(&tries), Arc::clone(&until), job.id.clone());
            let cancelled = there.db.transact("test.cancel", move |tx| {
                let (jobs, tenant, id) = (jobs.clone(), Arc::clone(&tenant), id.clone());
                if tries.fetch_add(1, Ordering::SeqCst) == 1 {
                    until.notify_one();
                }
                Box::pin(async move { jobs.cancel_in(tx, &tenant, &id).await })
            });
            cancelled.await.unwrap()
        };
        let cancelled = if is_claimed {
            // Somebody who takes a step of the running job.
            here.claim_one().await;
            let step = here.cancel_for_nothing(&job.id, Arc::clone(&held), Arc::clone(&until));
            tokio::join!(step, cancel).1
        } else {
            let hold = here.jobs.hold(&job, Arc::clone(&held), Arc::clone(&until));
            tokio::join!(hold, cancel).1
        };
        assert_eq!(cancelled.status, Status::Cancelled);
        assert!(tries.load(Ordering::SeqCst) > 1, "it did not meet anybody");
    }
    here.check().await;
}

fn output() -> Option<Box<RawValue>> {
    Some(RawValue::from_string("{\"n\":1}".to_owned()).unwrap())
}

fn ends() -> [(Settled, Status); 3] {
    [
        (Settled::Done(output()), Status::Done),
        (Settled::Failed("no use".to_owned()), Status::Failed),
        (Settled::Cancelled, Status::Cancelled),
    ]
}

fn outcomes(detail: &crate::JobDetail) -> Vec<(u32, Outcome)> {
    let log = detail.attempts_log.iter();
    log.map(|entry| (entry.attempt, entry.outcome)).collect()
}

#[every_engine]
async fn a_follower_ends_its_job_whoever_has_it(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    for (end, status) in ends() {
        let outcome = match status {
            Status::Done => Outcome::Done,
            Status::Failed => Outcome::Failed,
            _ => Outcome::Cancelled,
        };
        // An expiry is forgotten if the attempt ends after all.
        let late = match status {
            Status::Cancelled => Outcome::Expired,
            _ => outcome,
        };
        for (state, log) in [
            ("waits", vec![]),
            ("runs", vec![(1, outcome)]),
            ("failed once", vec![(1, Outcome::Failed)]),
            ("ran out", vec![(1, late)]),
        ] {
            let job = queue.add(NewJob::new("t").followed("diary", "x")).await;
            if state != "waits" {
                let claimed = queue.claim_one().await;
                if state == "failed once" {
                    queue.fail(&claimed).await.unwrap();
                }
            }
            if state == "ran out" {
                queue.clock.advance(2 * MINUTE);
                assert_eq!(queue.jobs.expire().await.unwrap(), 1);
            }
            let (counts, told) = (queue.counts().await, this.told(&job.id).await.len());
            let settled = queue.settle(&job.id, end.clone()).await.unwrap();
            assert_eq!(
                (settled.status, settled.locked_by),
                (status, None),
                "{state}"
            );
            assert_eq!(settled.finished_at, Some(queue.clock.now()));
            let (done, failed) = counts;
            let expected = match status {
                Status::Done => (done + 1, failed),
                Status::Failed => (done, failed + 1),
                _ => counts,
            };
            assert_eq!(queue.counts().await, expected, "{state}");
            assert_eq!(this.told(&job.id).await.len(), told, "it spoke itself");
            let detail = queue.jobs.get("default", &job.id).await.unwrap();
            assert_eq!(outcomes(&detail), log, "{state} {status}");
            let kept = detail.job.output.map(|json| super::squeezed(json.get()));
            assert_eq!(kept.is_some(), status == Status::Done, "{kept:?}");
            if status == Status::Failed {
                assert_eq!(detail.job.last_error.as_deref(), Some("no use"));
            }
            assert!(queue.settle(&job.id, Settled::Cancelled).await.is_none());
            queue.clock.advance(MINUTE);
            assert!(queue.claim(1).await.is_empty(), "nobody gets it any more");
            queue.check().await;
        }
    }
    let unknown = queue.settle("01ARZ3NDEKTSV4RRFFQ69G5FAV", Settled::Cancelled);
    assert!(unknown.await.is_none());
}

#[every_engine]
async fn the_worker_of_a_settled_job_is_answered_and_changes_nothing(engine: Engine) {
    let queue = Queue::open(engine).await;
    for (end, status) in ends() {
        let job = queue.add(NewJob::new("t")).await;
        let claimed = queue.claim_one().await;
        let settled = queue.settle(&job.id, end).await.unwrap();
        let counts = queue.counts().await;
        queue.clock.advance(MINUTE);
        let token = || claimed.lease_token.clone();
        let (tenant, id) = (&queue.tenant, &job.id);
        let theirs = RawValue::from_string("2".to_owned()).unwrap();
        for again in [
            queue.jobs.complete(tenant, id, token(), Some(theirs)).await,
            queue.fail(&claimed).await,
            queue.jobs.release(tenant, id, token()).await,
        ] {
            let again = again.unwrap();
            assert_eq!(
                (again.status, again.attempts, again.updated_at),
                (status, 1, settled.updated_at)
            );
            assert_eq!(
                again.output.map(|json| super::squeezed(json.get())),
                settled
                    .output
                    .as_ref()
                    .map(|json| super::squeezed(json.get()))
            );
            assert_eq!(again.last_error, settled.last_error);
        }
        let beat = queue.jobs.heartbeat(tenant, id, token(), None, None).await;
        let lost = beat.unwrap_err();
        assert!(lost.to_string().contains("it has ended"), "{lost}");
        let other = queue.jobs.complete(tenant, id, "another".to_owned(), None);
        assert!(matches!(other.await, Err(Error::LeaseLost { .. })));
        assert_eq!(queue.counts().await, counts);
        queue.check().await;
        // What a retry begins is not its business any more.
        if status != Status::Done {
            queue.jobs.retry(tenant, id).await.unwrap();
            assert!(queue.complete(&claimed).await.is_err());
            queue.complete(&queue.claim_one().await).await.unwrap();
        }
    }
}

#[every_engine]
async fn a_settled_job_makes_room_in_its_queue(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    queue.settings.send_modify(|settings| {
        settings.queue_limits.insert("narrow".to_owned(), 1);
        settings.poll_interval = Duration::from_hours(1);
    });
    let jobs = queue.add_many(2, &NewJob::new("t").queue("narrow")).await;
    let first = queue.claim_one().await;
    let next = jobs.iter().find(|job| job.id != first.job.id).unwrap();
    assert!(queue.claim(1).await.is_empty(), "the queue is full");
    let claim = {
        let jobs = queue.jobs.clone();
        let request = ClaimRequest {
            filter: Filter::default(),
            worker: "waits".to_owned(),
            limit: 1,
            wait: MINUTE,
            lease: None,
        };
        tokio::spawn(async move { jobs.claim(request).await })
    };
    eventually("the claim waits", || async {
        (queue.jobs.board().waiting() == 1).then_some(())
    })
    .await;
    queue.settle(&first.job.id, Settled::Cancelled).await;
    let claimed = claim.await.unwrap().unwrap();
    assert_eq!(claimed[0].job.id, next.id);
    queue.check().await;
}

#[every_engine(multi_thread)]
async fn a_worker_of_the_house_ends_a_settled_job_in_peace(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut processors = Processors::new();
    let (starting, going) = (Arc::clone(&started), Arc::clone(&go_on));
    processors.register("patient", move |job: JobContext| {
        let (started, go_on) = (Arc::clone(&starting), Arc::clone(&going));
        async move {
            started.notify_one();
            tokio::select! {
                () = go_on.notified() => {}
                () = job.lost().cancelled() => {}
            }
            Ok(Output::none())
        }
    });
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.jobs.clone(), processors, WorkerOptions::default());
    let worker = tokio::spawn(worker.run(stop.clone()));
    for (end, status) in ends() {
        let job = queue.add(NewJob::new("patient")).await;
        started.notified().await;
        queue.settle(&job.id, end).await.unwrap();
        // One that was cancelled is told so; the others report, to no effect.
        if status != Status::Cancelled {
            go_on.notify_one();
        }
        let next = queue.add(NewJob::new("patient")).await;
        started.notified().await;
        go_on.notify_one();
        eventually("the next is done", || async {
            (queue.status(&next.id).await == Status::Done).then_some(())
        })
        .await;
        assert_eq!(queue.status(&job.id).await, status);
    }
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(queue.counts().await, (4, 1));
    queue.check().await;
}
