//! Jobs that cannot begin yet: put off and hastened, or aside of the slots.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidewire_core::Clock;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Queue;
use crate::{
    Failure, Hastened, Job, JobContext, NewJob, Output, Processors, PutOff, Status, Worker,
    WorkerOptions,
};

const LONG: Duration = Duration::from_hours(1);

fn put_off(queue: &Queue, job: &Job) -> PutOff {
    PutOff {
        tenant: Arc::clone(&queue.tenant),
        id: job.id.as_str().into(),
        attempts: 0,
    }
}

async fn job(queue: &Queue, id: &str) -> Job {
    queue.jobs.get(&queue.tenant, id).await.unwrap().job
}

/// A processor that cannot do anything before `open`, and counts how often it was asked.
fn waits_for(open: &Arc<AtomicUsize>, asked: &Arc<AtomicUsize>) -> Processors {
    let (open, asked) = (Arc::clone(open), Arc::clone(asked));
    let mut processors = Processors::new();
    processors.register("waits", move |_: JobContext| {
        let (open, asked) = (Arc::clone(&open), Arc::clone(&asked));
        async move {
            asked.fetch_add(1, Ordering::SeqCst);
            match open.load(Ordering::SeqCst) {
                0 => Err(Failure::not_now("it is not open", LONG)),
                _ => Ok(Output::none()),
            }
        }
    });
    processors
}

#[every_engine]
async fn what_was_put_off_is_hastened_at_once(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    let (open, asked) = (Arc::default(), Arc::default());
    let stop = CancellationToken::new();
    let processors = waits_for(&open, &asked);
    let worker = Worker::new(queue.jobs.clone(), processors, WorkerOptions::default());
    let worker = tokio::spawn(worker.run(stop.clone()));
    let mut jobs = queue.add_many(700, &NewJob::new("waits")).await;
    eventually("all are put off", || async {
        let mut waits = asked.load(Ordering::SeqCst) == jobs.len();
        for id in [&jobs[0].id, &jobs[699].id] {
            let job = job(&queue, id).await;
            waits &= job.status == Status::Pending && job.last_error.is_some();
        }
        waits.then_some(())
    })
    .await;
    let first = job(&queue, &jobs[0].id).await;
    assert_eq!(first.attempts, 0, "it does not count");
    assert!(first.run_at > queue.clock.now());

    // One that was tried in between is not what was meant, and one that is gone is passed over.
    let unknown = PutOff {
        id: "01JUNKNOWN".into(),
        ..put_off(&queue, &first)
    };
    let tried = PutOff {
        attempts: 1,
        ..put_off(&queue, &first)
    };
    let hastened = queue.jobs.hasten(vec![tried, unknown]).await.unwrap();
    assert_eq!(hastened, Hastened::default());

    open.store(1, Ordering::SeqCst);
    jobs.reverse();
    let all: Vec<_> = jobs.iter().map(|job| put_off(&queue, job)).collect();
    let mut left = queue.jobs.hasten(all).await.unwrap();
    assert!(left.count > 0);
    // What was not written yet is told of, and can be asked for again.
    while !left.in_hand.is_empty() {
        left = queue.jobs.hasten(left.in_hand).await.unwrap();
    }
    eventually("all are done", || async {
        (queue.counts().await.0 == 700).then_some(())
    })
    .await;
    stop.cancel();
    worker.await.unwrap();
    queue.check().await;
}

#[every_engine]
async fn a_job_that_is_not_due_yet_is_claimed_once_it_is_hastened(engine: Engine) {
    let queue = Queue::open(engine).await;
    let late = queue.clock.now().plus(LONG);
    let mut new = NewJob::new("t");
    new.run_at = Some(late);
    let added = queue.add(new).await;
    assert!(queue.claim(1).await.is_empty());
    let hastened = queue.jobs.hasten(vec![put_off(&queue, &added)]).await;
    assert_eq!(hastened.unwrap().count, 1);
    queue.check().await;
    assert_eq!(queue.claim_one().await.job.run_at, queue.clock.now());
    let again = queue.jobs.hasten(vec![put_off(&queue, &added)]).await;
    let in_hand = vec![put_off(&queue, &added)];
    assert_eq!(again.unwrap(), Hastened { count: 0, in_hand });
}

/// Jobs of type `aside` wait aside for a permit; those of type `quick` do not wait.
struct Aside {
    waiting: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

impl Aside {
    fn new() -> Self {
        Aside {
            waiting: Arc::default(),
            permits: Arc::new(Semaphore::new(0)),
        }
    }

    fn processors(&self) -> Processors {
        let (waiting, permits) = (Arc::clone(&self.waiting), Arc::clone(&self.permits));
        let mut processors = Processors::new();
        processors.register("quick", |_: JobContext| async { Ok(Output::none()) });
        processors.register("aside", move |job: JobContext| {
            let (waiting, permits) = (Arc::clone(&waiting), Arc::clone(&permits));
            async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                job.aside(permits.acquire()).await?.forget();
                Ok(Output::none())
            }
        });
        processors
    }
}

#[every_engine]
async fn jobs_that_wait_aside_keep_no_slot_from_others(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    let aside = Aside::new();
    let options = WorkerOptions {
        concurrency: 2,
        ..WorkerOptions::default()
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.jobs.clone(), aside.processors(), options);
    let worker = tokio::spawn(worker.run(stop.clone()));
    let waiting = queue.add_many(20, &NewJob::new("aside")).await;
    eventually("all wait", || async {
        (aside.waiting.load(Ordering::SeqCst) == waiting.len()).then_some(())
    })
    .await;
    queue.add_many(20, &NewJob::new("quick")).await;
    eventually("the others have run", || async {
        (queue.counts().await.0 == 20).then_some(())
    })
    .await;
    aside.permits.add_permits(5);
    eventually("five more have ended", || async {
        (queue.counts().await.0 == 25).then_some(())
    })
    .await;

    // What is aside when the worker stops goes back, and does not wait for the drain.
    stop.cancel();
    worker.await.unwrap();
    for waited in &waiting {
        let job = job(&queue, &waited.id).await;
        let goes_on = (job.status, job.attempts) == (Status::Pending, 0);
        assert!(goes_on || job.status == Status::Done, "{job:?}");
    }
    queue.check().await;
}
