//! Jobs that a bus has named: claimed before their time, by every rule of claims.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tidewire_core::Clock;
use tidewire_db::BoxFuture;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{MINUTE, Queue};
use crate::{
    ClaimedJob, Filter, Job, JobContext, NewJob, Output, Processors, Status, Worker, WorkerOptions,
    bus::{BusError, Feed, JobBus, Message, Sent, Wanted},
    lanes::Grant,
};

fn wanted(job: &Job) -> Wanted {
    Wanted {
        tenant: Arc::clone(&job.tenant),
        id: job.id.as_str().into(),
        due: job.run_at,
    }
}

impl Queue {
    async fn later(&self, kind: &str) -> Job {
        let due = self.clock.now().plus(MINUTE);
        self.add(NewJob::new(kind).run_at(due)).await
    }

    async fn pick_up(&self, filter: Filter, wanted: Vec<Wanted>) -> Vec<ClaimedJob> {
        let picked = self
            .jobs
            .pick_up(&Arc::new(filter), &"w".into(), wanted, MINUTE)
            .await
            .unwrap();
        picked.take().into_iter().map(Grant::into_claimed).collect()
    }
}

#[every_engine]
async fn a_job_is_picked_up_before_it_is_due_and_by_one_alone(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.later("a").await;
    assert!(queue.claim(1).await.is_empty(), "it is not due");
    let twice = vec![wanted(&job), wanted(&job)];
    let (one, other) = tokio::join!(
        queue.pick_up(Filter::default(), twice),
        queue.pick_up(Filter::default(), vec![wanted(&job)])
    );
    let mut picked = [one, other].concat();
    assert_eq!(picked.len(), 1);
    let claimed = picked.remove(0);
    assert_eq!(
        (claimed.job.status, claimed.job.attempts),
        (Status::Running, 1)
    );
    assert_eq!(claimed.job.locked_by.as_deref(), Some("w"));
    let done = queue.complete(&claimed).await.unwrap();
    assert_eq!(done.status, Status::Done);
    assert!(
        queue
            .pick_up(Filter::default(), vec![wanted(&job)])
            .await
            .is_empty(),
        "it is done"
    );
    queue.check().await;
}

#[every_engine]
async fn what_lived_on_since_it_was_spoken_of_is_left_alone(engine: Engine) {
    let queue = Queue::open(engine).await;
    // Unknown, cancelled, running, put off, tried once, of another tenant.
    let unknown = Wanted {
        tenant: "default".into(),
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
        due: queue.clock.now(),
    };
    let cancelled = queue.later("a").await;
    queue
        .jobs
        .cancel(&queue.tenant, &cancelled.id)
        .await
        .unwrap();
    let running = queue.add(NewJob::new("a")).await;
    let claimed = queue.claim_one().await;
    assert_eq!(claimed.job.id, running.id);
    let tried = queue.add(NewJob::new("a")).await;
    let first = queue.claim_one().await;
    let failed = queue
        .jobs
        .fail(
            &queue.tenant,
            &tried.id,
            first.lease_token,
            "no",
            Some(Duration::ZERO),
            false,
        )
        .await
        .unwrap();
    assert_eq!(failed.status, Status::Pending);
    let pending = queue.later("a").await;
    let moved = Wanted {
        due: pending.run_at.plus(MINUTE),
        ..wanted(&pending)
    };
    let foreign = Wanted {
        tenant: "other".into(),
        ..wanted(&pending)
    };
    let all = vec![
        unknown,
        wanted(&cancelled),
        wanted(&running),
        wanted(&tried),
        wanted(&failed),
        moved,
        foreign,
    ];
    assert!(queue.pick_up(Filter::default(), all).await.is_empty());
    assert_eq!(
        queue
            .pick_up(Filter::default(), vec![wanted(&pending)])
            .await
            .len(),
        1
    );
    queue.check().await;
}

#[every_engine]
async fn a_queues_limit_and_the_workers_filter_hold(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue.settings.send_modify(|settings| {
        settings.queue_limits.insert("few".to_owned(), 2);
    });
    let due = queue.clock.now().plus(MINUTE);
    let mut few = Vec::new();
    for _ in 0..3 {
        few.push(wanted(
            &queue.add(NewJob::new("a").queue("few").run_at(due)).await,
        ));
    }
    let other = queue.later("b").await;
    few.push(wanted(&other));
    let only_a = Filter {
        types: Some(BTreeSet::from(["a".into()])),
        ..Filter::default()
    };
    let picked = queue.pick_up(only_a.clone(), few.clone()).await;
    assert_eq!(picked.len(), 2, "the limit, and nothing of another type");
    assert!(picked.iter().all(|claimed| claimed.job.queue == "few"));
    assert!(queue.pick_up(only_a.clone(), few.clone()).await.is_empty());
    queue.complete(&picked[0]).await.unwrap();
    assert_eq!(queue.pick_up(only_a, few.clone()).await.len(), 1);
    let elsewhere = Filter {
        queues: Some(BTreeSet::from(["few".into()])),
        ..Filter::default()
    };
    assert!(
        queue
            .pick_up(elsewhere, vec![wanted(&other)])
            .await
            .is_empty()
    );
    queue.check().await;
}

#[every_engine(servers)]
async fn processes_that_hear_the_same_share_it_out(engine: Engine) {
    let queue = Queue::open(engine).await;
    let second = queue.second().await;
    let due = queue.clock.now().plus(MINUTE);
    let jobs = queue.add_many(60, &NewJob::new("a").run_at(due)).await;
    let all: Vec<_> = jobs.iter().map(wanted).collect();
    let (one, other, again) = tokio::join!(
        queue.pick_up(Filter::default(), all.clone()),
        second.pick_up(Filter::default(), all.clone()),
        second.pick_up(Filter::default(), all.clone())
    );
    let mut ids: Vec<_> = [one, other, again]
        .concat()
        .into_iter()
        .map(|claimed| claimed.job.id)
        .collect();
    // One that another had in hand at that moment was left, and is there the next time.
    let rest = queue.pick_up(Filter::default(), all).await;
    ids.extend(rest.into_iter().map(|claimed| claimed.job.id));
    ids.sort_unstable();
    let mut expected: Vec<_> = jobs.into_iter().map(|job| job.id).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    queue.check().await;
}

/// Says what a test says.
struct Told {
    words: Mutex<Option<mpsc::UnboundedReceiver<Vec<Wanted>>>>,
    done: Arc<Notify>,
}

struct Telling {
    words: mpsc::UnboundedReceiver<Vec<Wanted>>,
    done: Arc<Notify>,
}

impl JobBus for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    fn is_apart(&self) -> bool {
        true
    }

    fn publish<'a>(&'a self, _: &'a [Message]) -> BoxFuture<'a, Result<Vec<Sent>, BusError>> {
        unreachable!("nobody publishes here")
    }

    fn subscribe(&self) -> Result<Box<dyn Feed>, BusError> {
        let words = self.words.lock().unwrap().take().unwrap();
        Ok(Box::new(Telling {
            words,
            done: Arc::clone(&self.done),
        }))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Feed for Telling {
    fn next(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Wanted>, BusError>> {
        Box::pin(async {
            match self.words.recv().await {
                Some(words) => Ok(words),
                None => std::future::pending().await,
            }
        })
    }

    fn done(&mut self) -> Result<(), BusError> {
        self.done.notify_one();
        Ok(())
    }
}

#[every_engine]
async fn a_worker_takes_what_it_is_told_within_its_concurrency(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    let (tell, words) = mpsc::unbounded_channel();
    let done = Arc::new(Notify::new());
    let bus = Told {
        words: Mutex::new(Some(words)),
        done: Arc::clone(&done),
    };
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let mut processors = Processors::new();
    let opened = Arc::clone(&gate);
    processors.register("a", move |_: JobContext| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await?.forget();
            Ok(Output::none())
        }
    });
    let options = WorkerOptions {
        concurrency: 2,
        ..WorkerOptions::default()
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.jobs.clone(), processors, options).fed_by(Arc::new(bus));
    let worker = tokio::spawn(worker.run(stop.clone()));
    let due = queue.clock.now().plus(60 * MINUTE);
    let jobs = queue.add_many(20, &NewJob::new("a").run_at(due)).await;
    tell.send(jobs.iter().map(wanted).collect()).unwrap();
    done.notified().await;
    let running = async || {
        let mut running = 0;
        for job in &jobs {
            let job = queue.jobs.get("default", &job.id).await.unwrap().job;
            running += usize::from(job.status == Status::Running);
        }
        running
    };
    let held = running().await;
    assert!(
        (2..=4).contains(&held),
        "slots, and what is held ahead: {held}"
    );
    // What it had no room for was not kept from anybody: it is there for whoever is told next.
    gate.add_permits(20);
    eventually("those end", || async {
        (running().await == 0).then_some(())
    })
    .await;
    tell.send(jobs.iter().map(wanted).collect()).unwrap();
    eventually("all are done", || async {
        let mut left = 20;
        for job in &jobs {
            let job = queue.jobs.get("default", &job.id).await.unwrap().job;
            left -= i32::from(job.status == Status::Done);
        }
        (left == 0).then_some(())
    })
    .await;
    stop.cancel();
    worker.await.unwrap();
    queue.check().await;
}
