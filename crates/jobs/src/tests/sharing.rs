//! Two processes on one store.

mod at_once;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tidewire_core::Clock;
use tidewire_testkit::{Engine, Proxy, eventually, every_engine};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{MINUTE, Queue};
use crate::{
    ClaimRequest, Error, Filter, JobContext, JobFilter, NewJob, Output, Processors, Status, Worker,
    WorkerOptions, board::LaneKey, hints::Heard,
};

/// So long that nothing in a test happens by it.
const NEVER: Duration = Duration::from_hours(1);

async fn two(engine: Engine, clock: Clock) -> (Queue, Queue) {
    let first = Queue::with_clock(engine, clock).await;
    let second = first.second().await;
    (first, second)
}

async fn two_at_rest(engine: Engine) -> (Queue, Queue) {
    let first = Queue::open(engine).await;
    let second = first.second().await;
    (first, second)
}

fn waiting(limit: u32) -> ClaimRequest {
    ClaimRequest {
        filter: Filter::default(),
        worker: "waits".to_owned(),
        limit,
        wait: MINUTE,
        lease: None,
    }
}

#[every_engine(servers, multi_thread)]
async fn every_job_is_done_once_by_one_of_them(engine: Engine) {
    let (first, second) = two(engine, Clock::system()).await;
    let _upkeep = (first.keep(), second.keep());
    let done: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let stop = CancellationToken::new();
    let workers: Vec<_> = [&first, &second]
        .into_iter()
        .map(|queue| {
            let done = Arc::clone(&done);
            let mut processors = Processors::new();
            processors.register("count", move |job: JobContext| {
                *done
                    .lock()
                    .unwrap()
                    .entry(job.job().id.clone())
                    .or_default() += 1;
                async { Ok(Output::none()) }
            });
            let worker = Worker::new(queue.jobs.clone(), processors, WorkerOptions::default());
            tokio::spawn(worker.run(stop.clone()))
        })
        .collect();
    let job = NewJob::new("count");
    for _ in 0..5 {
        tokio::join!(first.add_many(100, &job), second.add_many(100, &job));
    }
    eventually("all are counted", || async {
        (first.counts().await.0 == 1000).then_some(())
    })
    .await;
    stop.cancel();
    join_all(workers).await;
    let done = std::mem::take(&mut *done.lock().unwrap());
    assert_eq!(done.len(), 1000);
    assert!(done.values().all(|times| *times == 1), "{done:?}");
    first.check().await;
}

#[every_engine(servers)]
async fn who_waits_here_gets_what_is_enqueued_there_without_waiting_for_the_poll(engine: Engine) {
    let (here, there) = two(engine, Clock::system()).await;
    here.settings
        .send_modify(|settings| settings.poll_interval = NEVER);
    let _upkeep = here.keep();
    for _ in 0..5 {
        let jobs = here.jobs.clone();
        let claim = tokio::spawn(async move { jobs.claim(waiting(1)).await });
        eventually("the claim waits", || async {
            (here.jobs.board().waiting() == 1).then_some(())
        })
        .await;
        let job = there.add(NewJob::new("t")).await;
        let claimed = claim.await.unwrap().unwrap();
        assert_eq!(claimed[0].job.id, job.id);
        here.complete(&claimed[0]).await.unwrap();
    }
    // Nor does it wait longer for one that becomes due by itself.
    let jobs = here.jobs.clone();
    let claim = tokio::spawn(async move { jobs.claim(waiting(1)).await });
    let soon = here.clock.now().plus(Duration::from_millis(300));
    let job = there.add(NewJob::new("t").run_at(soon)).await;
    assert_eq!(claim.await.unwrap().unwrap()[0].job.id, job.id);
}

#[every_engine(servers)]
async fn what_a_dead_process_held_is_taken_over_and_one_result_counts(engine: Engine) {
    let (dead, alive) = two_at_rest(engine).await;
    let job = dead.add(NewJob::new("t")).await;
    let lost = dead.claim_one().await;
    alive.jobs.rebuild().await.unwrap();
    assert!(alive.claim(10).await.is_empty());
    alive.clock.advance(MINUTE);
    let (a, b) = tokio::join!(alive.jobs.expire(), dead.jobs.expire());
    assert_eq!(a.unwrap() + b.unwrap(), 1, "one of them hands it on");
    alive.jobs.rebuild().await.unwrap();
    let taken = alive.claim_one().await;
    assert_eq!((&taken.job.id, taken.job.attempts), (&job.id, 2));
    // Both report at the same time, again and again.
    let (late, current) = ((&dead, &lost), (&alive, &taken));
    let reports = [late, current].into_iter().cycle().take(8);
    let reports = reports.map(|(queue, claimed)| async move {
        let result = queue.complete(claimed).await;
        result.map(|_| claimed.lease_token.clone())
    });
    let answers = join_all(reports).await;
    let accepted: Vec<_> = answers.into_iter().filter_map(Result::ok).collect();
    let holder = vec![taken.lease_token; 4];
    assert_eq!(
        accepted, holder,
        "the first counts, the others are answered"
    );
    assert_eq!(alive.counts().await, (1, 0));
    alive.check().await;
}

#[every_engine(servers, multi_thread)]
async fn they_do_not_exceed_a_limit_together(engine: Engine) {
    const LIMIT: usize = 3;
    let (first, second) = two_at_rest(engine).await;
    first.settings.send_modify(|settings| {
        settings.queue_limits.insert("narrow".to_owned(), 3);
    });
    first.add_many(60, &NewJob::new("t").queue("narrow")).await;
    let [running, most, done] = [const { AtomicUsize::new(0) }; 3];
    let work = async |queue: &Queue| {
        let mut hand = VecDeque::new();
        while done.load(Ordering::SeqCst) < 60 {
            queue.jobs.rebuild().await.unwrap();
            // What others hold at this moment is looked at again a little later.
            queue.clock.advance(Duration::from_millis(200));
            let claimed = queue.claim(2).await;
            let now = running.fetch_add(claimed.len(), Ordering::SeqCst) + claimed.len();
            most.fetch_max(now, Ordering::SeqCst);
            hand.extend(claimed);
            if let Some(job) = hand.pop_front() {
                running.fetch_sub(1, Ordering::SeqCst);
                queue.complete(&job).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    tokio::join!(
        work(&first),
        work(&second),
        work(&first),
        work(&second),
        work(&second)
    );
    let most = most.into_inner();
    assert!(most <= LIMIT, "{most} ran at once");
    assert_eq!(first.counts().await, (60, 0));
    first.check().await;
}

#[every_engine(servers)]
async fn a_place_that_is_freed_there_is_taken_here(engine: Engine) {
    let (here, there) = two(engine, Clock::system()).await;
    here.settings.send_modify(|settings| {
        settings.poll_interval = NEVER;
        settings.queue_limits.insert("narrow".to_owned(), 1);
    });
    let _upkeep = here.keep();
    here.add_many(2, &NewJob::new("t").queue("narrow")).await;
    there.jobs.rebuild().await.unwrap();
    let first = there.claim_one().await;
    let jobs = here.jobs.clone();
    let claim = tokio::spawn(async move { jobs.claim(waiting(1)).await });
    eventually("the claim waits", || async {
        (here.jobs.board().waiting() == 1).then_some(())
    })
    .await;
    there.complete(&first).await.unwrap();
    let second = claim.await.unwrap().unwrap();
    assert_ne!(second[0].job.id, first.job.id);
}

#[every_engine(servers)]
async fn a_job_that_is_cancelled_there_is_stopped_here(engine: Engine) {
    let (here, there) = two(engine, Clock::system()).await;
    // Where nobody tells, the next heartbeat does.
    here.settings
        .send_modify(|settings| settings.lease = Duration::from_secs(1));
    let _upkeep = here.keep();
    let (started, told) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut processors = Processors::new();
    let (starting, telling) = (Arc::clone(&started), Arc::clone(&told));
    processors.register("patient", move |job: JobContext| {
        let (started, told) = (Arc::clone(&starting), Arc::clone(&telling));
        async move {
            started.notify_one();
            job.lost().cancelled().await;
            told.notify_one();
            Ok(Output::none())
        }
    });
    let stop = CancellationToken::new();
    let worker = Worker::new(here.jobs.clone(), processors, WorkerOptions::default());
    let worker = tokio::spawn(worker.run(stop.clone()));
    let job = here.add(NewJob::new("patient")).await;
    started.notified().await;
    there.jobs.cancel(&there.tenant, &job.id).await.unwrap();
    tokio::time::timeout(MINUTE, told.notified()).await.unwrap();
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(here.status(&job.id).await, Status::Cancelled);
    here.check().await;
}

#[every_engine(servers, multi_thread)]
async fn counts_are_folded_once_whoever_folds(engine: Engine) {
    let (first, second) = two_at_rest(engine).await;
    for round in 1..=4 {
        first.add_many(40, &NewJob::new("t")).await;
        let claimed = first.claim(100).await;
        // One by one, so that there are many counts to fold.
        for job in &claimed {
            first.complete(job).await.unwrap();
        }
        let folds = tokio::join!(
            first.jobs.fold(),
            second.jobs.fold(),
            first.jobs.fold(),
            second.jobs.fold()
        );
        for fold in [folds.0, folds.1, folds.2, folds.3] {
            fold.unwrap();
        }
        assert_eq!(second.counts().await, (40 * round, 0));
    }
}

#[every_engine(servers)]
async fn they_sweep_and_retry_side_by_side(engine: Engine) {
    let (first, second) = two_at_rest(engine).await;
    first.add_many(30, &NewJob::new("t").max_attempts(1)).await;
    for job in first.claim(100).await {
        first.fail(&job).await.unwrap();
    }
    first.clock.advance(Duration::from_hours(24 * 8));
    let all = JobFilter::default();
    let (swept, also_swept, retried) = tokio::join!(
        first.jobs.sweep(),
        second.jobs.sweep(),
        second.jobs.retry_all(&second.tenant, &all)
    );
    let (swept, retried) = (swept.unwrap() + also_swept.unwrap(), retried.unwrap());
    assert_eq!(swept as u64 + retried, 30, "each is either gone or pending");
    first.jobs.rebuild().await.unwrap();
    assert_eq!(first.claim(100).await.len() as u64, retried);
    first.check().await;
}

fn lane() -> LaneKey {
    LaneKey::new("default", "default", "t", 0)
}

/// Nobody tells anybody anything unless the test does.
#[every_engine(servers)]
async fn what_comes_before_the_place_where_one_looks_is_found(engine: Engine) {
    let (here, there) = two_at_rest(engine).await;
    let now = here.clock.now();
    let earlier = now.minus(Duration::from_secs(60));
    for told in [false, true] {
        // It has taken everything up to now.
        here.add_many(3, &NewJob::new("t").run_at(now)).await;
        assert_eq!(here.claim(2).await.len(), 2);
        // The other's ids of the same microsecond are as often lesser ones as not.
        let mut missing: HashSet<_> = there
            .add_many(5, &NewJob::new("t").run_at(now))
            .await
            .into_iter()
            .map(|job| job.id)
            .collect();
        let old = there.add(NewJob::new("t").run_at(earlier)).await;
        missing.insert(old.id.clone());
        if told {
            here.jobs.hear(Heard::Due(lane(), now));
            here.jobs.hear(Heard::Due(lane(), earlier));
        } else {
            here.jobs.rebuild().await.unwrap();
        }
        let claimed = here.claim(100).await;
        assert_eq!(claimed[0].job.id, old.id, "the oldest first");
        for job in &claimed {
            missing.remove(&job.job.id);
        }
        assert!(missing.is_empty(), "told: {told}, missing: {missing:?}");
        assert_eq!(claimed.len(), 7);
        // One that goes back to its old place is found at once.
        let back = &claimed[0];
        let token = back.lease_token.clone();
        here.jobs
            .release(&here.tenant, &back.job.id, token)
            .await
            .unwrap();
        assert_eq!(here.claim_one().await.job.id, back.job.id);
    }
    here.check().await;
}

#[every_engine(servers)]
async fn a_job_whose_transaction_commits_late_is_found(engine: Engine) {
    let (here, there) = two_at_rest(engine).await;
    let now = here.clock.now();
    let (written, commit) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let late = {
        let (jobs, tenant) = (there.jobs.clone(), there.tenant.clone());
        let (written, commit) = (Arc::clone(&written), Arc::clone(&commit));
        there.db.transact("test.late", move |tx| {
            let (jobs, tenant) = (jobs.clone(), tenant.clone());
            let (written, commit) = (Arc::clone(&written), Arc::clone(&commit));
            Box::pin(async move {
                let new = [NewJob::new("t").run_at(now)];
                let added = jobs.enqueue_in(tx, &tenant, &new).await?;
                written.notify_one();
                commit.notified().await;
                Ok::<_, Error>(added[0].job.id.clone())
            })
        })
    };
    let others = async {
        written.notified().await;
        here.clock.advance(Duration::from_millis(5));
        here.add_many(3, &NewJob::new("t")).await;
        here.jobs.rebuild().await.unwrap();
        assert_eq!(here.claim(100).await.len(), 3);
        commit.notify_one();
    };
    let (late, ()) = tokio::join!(late, others);
    here.jobs.rebuild().await.unwrap();
    assert_eq!(here.claim_one().await.job.id, late.unwrap());
}

#[every_engine(servers)]
async fn a_job_that_somebody_holds_for_a_moment_is_not_given_up(engine: Engine) {
    let (here, there) = two_at_rest(engine).await;
    let jobs = here.add_many(3, &NewJob::new("t")).await;
    let (held, until) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let hold = there
        .jobs
        .hold(&jobs[1], Arc::clone(&held), Arc::clone(&until));
    let others = async {
        held.notified().await;
        let claimed = here.claim(100).await;
        let ids: HashSet<_> = claimed.iter().map(|job| job.job.id.as_str()).collect();
        assert_eq!(ids, HashSet::from([&*jobs[0].id, &*jobs[2].id]));
        assert!(here.claim(100).await.is_empty(), "it is held still");
        until.notify_one();
    };
    tokio::join!(hold, others);
    // By no hint and no rebuild: the lane was only given a rest.
    here.clock.advance(Duration::from_secs(1));
    assert_eq!(here.claim_one().await.job.id, jobs[1].id);
    here.check().await;
}

#[every_engine(servers)]
async fn what_was_claimed_for_nobody_goes_back_when_the_store_is_back(engine: Engine) {
    let here = Queue::with_clock(engine, Clock::system()).await;
    let mut proxy = Proxy::start(here.store.address()).await;
    let db = here.store.through(proxy.address()).await;
    let there = Queue::over(db, Arc::clone(&here.store), here.settings.clone());
    let job = there.add(NewJob::new("t")).await;
    let (filter, worker) = (Arc::new(Filter::default()), "w".into());
    let claimed = there.jobs.claim_now(&filter, &worker, 1, NEVER).await;
    let claimed = claimed.unwrap();
    assert_eq!(here.status(&job.id).await, Status::Running);
    proxy.refuse().await;
    proxy.cut();
    drop(claimed);
    let refused = there.jobs.enqueue(&there.tenant, NewJob::new("t")).await;
    assert!(refused.is_err(), "the store is away");
    proxy.accept().await;
    eventually("it is given back", || async {
        let job = here.jobs.get("default", &job.id).await.unwrap().job;
        (job.status == Status::Pending && job.attempts == 0).then_some(())
    })
    .await;
    here.check().await;
}
