//! Steps that other rooms take inside transactions of their own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tidewire_core::Clock;
use tidewire_testkit::{Engine, every_engine};
use tokio::sync::{Notify, broadcast::error::TryRecvError};

use super::{MINUTE, Queue, follow::Followed};
use crate::{Error, Job, NewJob, Status};

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
    let beat = here.jobs.heartbeat(&here.tenant, &job.id, token, None);
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
