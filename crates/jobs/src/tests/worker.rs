//! The worker's runtime, against the real clock.

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
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::Queue;
use crate::{
    Failure, JobContext, JobDetail, NewJob, Outcome, Output, Processors, Status, Worker,
    WorkerOptions,
};

struct Working {
    queue: Queue,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

impl Working {
    async fn start(engine: Engine, processors: Processors, options: WorkerOptions) -> Self {
        let queue = Queue::with_clock(engine, Clock::system()).await;
        Self::on(queue, processors, options)
    }

    fn on(queue: Queue, processors: Processors, options: WorkerOptions) -> Self {
        let stop = CancellationToken::new();
        let worker = Worker::new(queue.jobs.clone(), processors, options);
        let worker = tokio::spawn(worker.run(stop.clone()));
        Working {
            queue,
            stop,
            worker,
        }
    }

    async fn ended(&self, id: &str) -> JobDetail {
        eventually("the job ends", || async {
            let detail = self.queue.jobs.get("default", id).await.unwrap();
            detail.job.status.is_final().then_some(detail)
        })
        .await
    }

    async fn stop(self) -> Queue {
        self.stop.cancel();
        self.worker.await.unwrap();
        self.queue.check().await;
        self.queue
    }
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// A processor whose jobs run until each is let through.
#[derive(Clone)]
struct Gate {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    open: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            running: Arc::default(),
            most: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }
}

struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    fn processors(&self) -> Processors {
        let gate = self.clone();
        let mut processors = Processors::new();
        processors.register("gate", move |_: JobContext| {
            let gate = gate.clone();
            async move {
                let now = gate.running.fetch_add(1, Ordering::SeqCst) + 1;
                gate.most.fetch_max(now, Ordering::SeqCst);
                let _inside = Inside(gate.running);
                gate.open.acquire().await?.forget();
                Ok(Output::none())
            }
        });
        processors
    }

    async fn are_running(&self, count: usize) {
        eventually("jobs run", || async {
            (self.running.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }
}

#[every_engine]
async fn built_in_processors_do_what_they_say(engine: Engine) {
    let working = Working::start(engine, Processors::built_in(), WorkerOptions::default()).await;
    let echo = working
        .queue
        .add(NewJob::new("echo").payload(json("{\"n\": 1.0}")))
        .await;
    let sleep = working
        .queue
        .add(NewJob::new("sleep").payload(json("{\"ms\": 1}")))
        .await;
    let bad = working
        .queue
        .add(NewJob::new("sleep").payload(json("{\"ms\": \"x\"}")))
        .await;
    let other = working.queue.add(NewJob::new("unknown")).await;
    let echoed = working.ended(&echo.id).await.job;
    assert_eq!(super::squeezed(echoed.output.unwrap().get()), "{\"n\":1.0}");
    assert_eq!(working.ended(&sleep.id).await.job.status, Status::Done);
    let bad = working.ended(&bad.id).await.job;
    assert_eq!(
        (bad.status, bad.attempts),
        (Status::Failed, 1),
        "it would fit no better again"
    );
    assert!(bad.last_error.unwrap().contains("the payload does not fit"));
    let queue = working.stop().await;
    assert_eq!(
        queue.status(&other.id).await,
        Status::Pending,
        "left to workers that know it"
    );
}

#[every_engine]
async fn what_fails_is_tried_again_until_it_succeeds(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    queue
        .settings
        .send_modify(|settings| settings.backoff.base = Duration::from_millis(20));
    let working = Working::on(queue, Processors::built_in(), WorkerOptions::default());
    let job = working
        .queue
        .add(NewJob::new("fail").payload(json("{\"times\": 2}")))
        .await;
    let detail = working.ended(&job.id).await;
    let outcomes: Vec<_> = detail
        .attempts_log
        .iter()
        .map(|entry| entry.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Failed, Outcome::Done]);
    working.stop().await;
}

#[every_engine]
async fn a_panic_is_a_failure_with_its_text_and_harms_nobody_else(engine: Engine) {
    let mut processors = Processors::built_in();
    processors.register("panics", |job: JobContext| async move {
        assert!(job.attempt() == 0, "no luck with {}", job.job().kind);
        Ok(Output::none())
    });
    processors.register("panics.early", early);
    fn early(_: JobContext) -> std::future::Ready<Result<Output, Failure>> {
        panic!("before the first await")
    }
    let working = Working::start(engine, processors, WorkerOptions::default()).await;
    for (kind, text) in [
        ("panics", "no luck with panics"),
        ("panics.early", "before the first await"),
    ] {
        let job = working.queue.add(NewJob::new(kind).max_attempts(1)).await;
        let job = working.ended(&job.id).await.job;
        assert_eq!(job.status, Status::Failed);
        assert_eq!(
            job.last_error.unwrap(),
            format!("the processor panicked: {text}")
        );
    }
    let fine = working.queue.add(NewJob::new("echo")).await;
    assert_eq!(working.ended(&fine.id).await.job.status, Status::Done);
    working.stop().await;
}

#[every_engine]
async fn an_attempt_ends_at_its_timeout(engine: Engine) {
    let gate = Gate::default();
    let working = Working::start(engine, gate.processors(), WorkerOptions::default()).await;
    let job = NewJob::new("gate")
        .max_attempts(1)
        .timeout(Duration::from_secs(1));
    let job = working.queue.add(job).await;
    let job = working.ended(&job.id).await.job;
    assert_eq!(
        job.last_error.unwrap(),
        "timed out: the attempt ran longer than its 1s"
    );
    assert_eq!(
        gate.running.load(Ordering::SeqCst),
        0,
        "its future was dropped"
    );
    working.stop().await;
}

#[every_engine]
async fn an_output_that_cannot_be_kept_fails_the_job_for_good(engine: Engine) {
    let mut processors = Processors::new();
    processors.register("large", |_: JobContext| async {
        Output::json(&"x".repeat(300_000))
    });
    processors.register("null", |_: JobContext| async { Output::json(&()) });
    let working = Working::start(engine, processors, WorkerOptions::default()).await;
    let large = working.queue.add(NewJob::new("large")).await;
    let large = working.ended(&large.id).await.job;
    assert_eq!((large.status, large.attempts), (Status::Failed, 1));
    assert!(large.last_error.unwrap().contains("300002 bytes"));
    let null = working.queue.add(NewJob::new("null")).await;
    let null = working.ended(&null.id).await.job;
    assert_eq!((null.status, null.output.is_none()), (Status::Done, true));
    working.stop().await;
}

#[every_engine]
async fn no_more_run_at_once_than_asked_for(engine: Engine) {
    let gate = Gate::default();
    let options = WorkerOptions {
        concurrency: 3,
        ..WorkerOptions::default()
    };
    let working = Working::start(engine, gate.processors(), options).await;
    let jobs = working.queue.add_many(10, &NewJob::new("gate")).await;
    for _ in &jobs {
        eventually("one runs", || async {
            (gate.running.load(Ordering::SeqCst) > 0).then_some(())
        })
        .await;
        gate.open.add_permits(1);
    }
    for job in &jobs {
        assert_eq!(working.ended(&job.id).await.job.status, Status::Done);
    }
    assert!(gate.most.load(Ordering::SeqCst) <= 3);
    assert_eq!(working.queue.counts().await, (10, 0));
    working.stop().await;
}

#[every_engine]
async fn at_a_stop_what_runs_ends_and_the_rest_goes_back_without_an_attempt(engine: Engine) {
    let gate = Gate::default();
    let options = WorkerOptions {
        concurrency: 2,
        drain: Duration::from_secs(20),
        ..WorkerOptions::default()
    };
    let working = Working::start(engine, gate.processors(), options).await;
    let jobs = working.queue.add_many(4, &NewJob::new("gate")).await;
    gate.are_running(2).await;
    working.stop.cancel();
    eventually("what was not begun is back", || async {
        let (mut back, mut running) = (0, 0);
        for job in &jobs {
            let job = working
                .queue
                .jobs
                .get("default", &job.id)
                .await
                .unwrap()
                .job;
            back += usize::from(job.status == Status::Pending && job.attempts == 0);
            running += usize::from(job.status == Status::Running);
        }
        ((back, running) == (2, 2)).then_some(())
    })
    .await;
    gate.open.add_permits(10);
    let queue = working.stop().await;
    assert_eq!(queue.counts().await, (2, 0));
}

#[every_engine]
async fn what_does_not_end_within_the_drain_goes_back_at_once(engine: Engine) {
    let gate = Gate::default();
    let options = WorkerOptions {
        drain: Duration::from_millis(50),
        ..WorkerOptions::default()
    };
    let working = Working::start(engine, gate.processors(), options).await;
    let job = working.queue.add(NewJob::new("gate")).await;
    gate.are_running(1).await;
    let queue = working.stop().await;
    assert_eq!(gate.running.load(Ordering::SeqCst), 0);
    let job = queue.jobs.get("default", &job.id).await.unwrap().job;
    assert_eq!((job.status, job.attempts), (Status::Pending, 0));
}

#[every_engine]
async fn a_cancelled_job_is_told_so_at_once(engine: Engine) {
    let told = Arc::new(AtomicUsize::new(0));
    let (telling, started) = (told.clone(), Arc::new(Notify::new()));
    let starting = started.clone();
    let mut processors = Processors::new();
    processors.register("patient", move |job: JobContext| {
        let (told, started) = (telling.clone(), starting.clone());
        async move {
            started.notify_one();
            job.lost().cancelled().await;
            told.fetch_add(1, Ordering::SeqCst);
            Ok(Output::none())
        }
    });
    let working = Working::start(engine, processors, WorkerOptions::default()).await;
    let job = working.queue.add(NewJob::new("patient")).await;
    started.notified().await;
    working
        .queue
        .jobs
        .cancel(&working.queue.tenant, &job.id)
        .await
        .unwrap();
    eventually("it is told", || async {
        (told.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    let queue = working.stop().await;
    assert_eq!(queue.status(&job.id).await, Status::Cancelled);
    assert_eq!(queue.counts().await, (0, 0));
}

#[every_engine]
async fn heartbeats_hold_a_job_longer_than_its_lease_and_without_them_it_is_lost(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    queue.settings.send_modify(|settings| {
        settings.lease = Duration::from_millis(300);
        settings.poll_interval = Duration::from_millis(50);
    });
    let _upkeep = queue.keep();
    let working = Working::on(queue, Processors::built_in(), WorkerOptions::default());
    let job = working
        .queue
        .add(NewJob::new("sleep").payload(json("{\"ms\": 1200}")))
        .await;
    let detail = working.ended(&job.id).await;
    let outcomes: Vec<_> = detail
        .attempts_log
        .iter()
        .map(|entry| entry.outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Done], "one attempt, four leases long");

    // Somebody claims and is never heard of again: the worker takes over.
    let lost = working.queue.add(NewJob::new("later")).await;
    assert_eq!(
        working
            .queue
            .claim_as("gone", super::types(["later"]), 1)
            .await
            .len(),
        1
    );
    eventually("it is pending again", || async {
        (working.queue.status(&lost.id).await == Status::Pending).then_some(())
    })
    .await;
    working.stop().await;
}

#[every_engine]
async fn a_job_says_how_far_it_is_and_what_it_said_stays_to_its_end(engine: Engine) {
    let (go_on, said) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut processors = Processors::new();
    processors.register("long", {
        let (go_on, said) = (Arc::clone(&go_on), Arc::clone(&said));
        move |job: JobContext| {
            let (go_on, said) = (Arc::clone(&go_on), Arc::clone(&said));
            async move {
                job.progress(&json("{\"done\": 1, \"of\": 2}")).await;
                // Too soon to be worth a write.
                job.progress(&json("{\"done\": 2, \"of\": 2}")).await;
                said.notify_one();
                go_on.notified().await;
                Ok(Output::none())
            }
        }
    });
    let working = Working::start(engine, processors, WorkerOptions::default()).await;
    let job = working.queue.add(NewJob::new("long")).await;
    let untouched = working.queue.add(NewJob::new("of-nobody")).await;
    said.notified().await;
    let detail = working.queue.jobs.get("default", &job.id).await.unwrap();
    assert_eq!(detail.job.status, Status::Running);
    let progress = |detail: &JobDetail| -> Option<serde_json::Value> {
        let progress = detail.progress.as_ref()?;
        Some(serde_json::from_str(progress.get()).unwrap())
    };
    let first = Some(serde_json::json!({"done": 1, "of": 2}));
    assert_eq!(progress(&detail), first);
    go_on.notify_one();
    assert_eq!(progress(&working.ended(&job.id).await), first);
    let untouched = working.queue.jobs.get("default", &untouched.id).await;
    assert_eq!(progress(&untouched.unwrap()), None);
    working.stop().await;
}

#[every_engine(multi_thread)]
async fn two_workers_do_every_job_once_while_jobs_keep_coming(engine: Engine) {
    let done = Arc::new(AtomicUsize::new(0));
    let count = |done: &Arc<AtomicUsize>| {
        let done = done.clone();
        let mut processors = Processors::new();
        processors.register("count", move |_: JobContext| {
            done.fetch_add(1, Ordering::SeqCst);
            async { Ok(Output::none()) }
        });
        processors
    };
    let working = Working::start(engine, count(&done), WorkerOptions::default()).await;
    let stop = CancellationToken::new();
    let options = WorkerOptions {
        name: "second".to_owned(),
        ..WorkerOptions::default()
    };
    let second = Worker::new(working.queue.jobs.clone(), count(&done), options);
    let second = tokio::spawn(second.run(stop.clone()));
    for _ in 0..10 {
        working.queue.add_many(200, &NewJob::new("count")).await;
    }
    eventually("all are counted", || async {
        (working.queue.counts().await.0 == 2000).then_some(())
    })
    .await;
    stop.cancel();
    second.await.unwrap();
    working.stop().await;
    assert_eq!(done.load(Ordering::SeqCst), 2000);
}
