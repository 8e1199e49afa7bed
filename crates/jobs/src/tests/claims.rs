//! Who gets which job, and when.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidewire_core::Clock;
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{MINUTE, Queue, types};
use crate::{ClaimRequest, Filter, JobFilter, NewJob, Status};

#[every_engine]
async fn a_delayed_job_is_taken_when_it_is_due_and_not_before(engine: Engine) {
    let queue = Queue::open(engine).await;
    let due = queue.clock.now().plus(MINUTE);
    queue.add(NewJob::new("t").run_at(due)).await;
    assert!(queue.claim(10).await.is_empty());
    queue.clock.advance(MINUTE - Duration::from_millis(1));
    assert!(queue.claim(10).await.is_empty());
    queue.clock.advance(Duration::from_millis(1));
    assert_eq!(queue.claim_one().await.job.run_at, due);
    queue.check().await;
}

#[every_engine]
async fn the_lower_priority_runs_first_and_within_it_the_older(engine: Engine) {
    let queue = Queue::open(engine).await;
    for (kind, priority) in [("late", 10), ("first", -10), ("middle", 0)] {
        queue.add(NewJob::new(kind).priority(priority)).await;
        queue.clock.advance(Duration::from_millis(1));
    }
    queue.add(NewJob::new("first").priority(-10)).await;
    let mut order = Vec::new();
    while let [job] = queue.claim(1).await.as_slice() {
        order.push(job.job.kind.clone());
    }
    assert_eq!(order, ["first", "first", "middle", "late"]);
}

#[every_engine]
async fn a_worker_gets_only_its_types_and_queues(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue.add(NewJob::new("mail")).await;
    queue.add(NewJob::new("image").queue("slow")).await;
    assert!(queue.claim_as("w", types(["other"]), 10).await.is_empty());
    let slow = Filter {
        queues: Some(["slow".into()].into()),
        ..types(["mail", "image"])
    };
    let claimed = queue.claim_as("w", slow, 10).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].job.kind, "image");
    assert_eq!(queue.claim_one().await.job.kind, "mail");
}

#[every_engine]
async fn a_tenants_backlog_does_not_hold_up_the_others(engine: Engine) {
    let queue = Queue::open(engine).await;
    let (loud, quiet): (Arc<str>, Arc<str>) = ("loud".into(), "quiet".into());
    for _ in 0..50 {
        let job = NewJob::new("t").priority(-1000);
        queue.jobs.enqueue(&loud, job).await.unwrap();
    }
    queue
        .jobs
        .enqueue(&quiet, NewJob::new("t").priority(1000))
        .await
        .unwrap();
    let claimed = queue.claim(10).await;
    assert!(
        claimed.iter().any(|job| job.job.tenant == quiet),
        "{claimed:?}"
    );
    // A claim in one tenant's name never sees another's.
    let only = Filter {
        tenant: Some(quiet),
        ..Filter::default()
    };
    assert!(queue.claim_as("w", only, 10).await.is_empty());
    queue.check().await;
}

#[every_engine]
async fn a_queue_runs_no_more_at_once_than_its_limit(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue.settings.send_modify(|settings| {
        settings.queue_limits.insert("narrow".to_owned(), 2);
    });
    queue.add_many(5, &NewJob::new("t").queue("narrow")).await;
    queue
        .add(NewJob::new("t").queue("narrow").priority(5))
        .await;
    queue.add_many(3, &NewJob::new("t")).await;
    let first = queue.claim(100).await;
    let narrow: Vec<_> = first
        .iter()
        .filter(|job| job.job.queue == "narrow")
        .collect();
    assert_eq!((narrow.len(), first.len()), (2, 5));
    assert!(queue.claim(100).await.is_empty(), "the queue is full");
    queue.complete(narrow[0]).await.unwrap();
    assert_eq!(queue.claim(100).await.len(), 1, "one ended, one may start");
    // Each tenant has its own limit.
    queue
        .jobs
        .enqueue(&"other".into(), NewJob::new("t").queue("narrow"))
        .await
        .unwrap();
    assert_eq!(queue.claim(100).await.len(), 1);
    queue.check().await;
}

#[every_engine]
async fn a_raised_limit_is_noticed(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue.settings.send_modify(|settings| {
        settings.queue_limits.insert("paused".to_owned(), 0);
    });
    queue.add(NewJob::new("t").queue("paused")).await;
    assert!(queue.claim(1).await.is_empty());
    queue
        .settings
        .send_modify(|settings| settings.queue_limits.clear());
    queue.jobs.rebuild().await.unwrap();
    assert_eq!(queue.claim(1).await.len(), 1);
}

#[every_engine(multi_thread)]
async fn many_claimers_at_once_get_each_job_once(engine: Engine) {
    let queue = Arc::new(Queue::open(engine).await);
    let added = queue.add_many(300, &NewJob::new("t")).await;
    let claimers = (0..16).map(|n| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                // Different filters, so that they meet in different groups of one batch.
                let filter = if n % 2 == 0 {
                    Filter::default()
                } else {
                    types(["t"])
                };
                let claimed = queue.claim_as(&format!("w{n}"), filter, 7).await;
                if claimed.is_empty() {
                    break got;
                }
                got.extend(claimed);
            }
        })
    });
    let mut got = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        got.extend(claimer.await.unwrap());
    }
    let ids: HashSet<_> = got.iter().map(|job| job.job.id.clone()).collect();
    let tokens: HashSet<_> = got.iter().map(|job| job.lease_token.clone()).collect();
    assert_eq!((got.len(), ids.len(), tokens.len()), (300, 300, 300));
    assert!(added.iter().all(|job| ids.contains(&job.id)));
    queue.check().await;
}

#[every_engine]
async fn claims_of_one_batch_share_what_there_is(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue.add_many(10, &NewJob::new("t")).await;
    let (a, b) = tokio::join!(queue.claim(10), queue.claim(10));
    assert_eq!(a.len() + b.len(), 10);
    queue.check().await;
}

#[every_engine]
async fn a_waiting_claim_is_answered_as_soon_as_a_job_comes(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    let wait = |wait: Duration| ClaimRequest {
        filter: types(["t"]),
        worker: "w".to_owned(),
        limit: 1,
        wait,
        lease: None,
    };
    assert!(
        queue
            .jobs
            .claim(wait(Duration::from_millis(20)))
            .await
            .unwrap()
            .is_empty()
    );
    let jobs = queue.jobs.clone();
    let waiting = tokio::spawn(async move { jobs.claim(wait(MINUTE)).await });
    eventually("the claim waits", || async {
        (queue.jobs.board().waiting() == 1).then_some(())
    })
    .await;
    let soon = queue.clock.now().plus(Duration::from_millis(30));
    let job = queue.add(NewJob::new("t").run_at(soon)).await;
    let claimed = waiting.await.unwrap().unwrap();
    assert_eq!(claimed[0].job.id, job.id);
    assert_eq!(queue.jobs.board().waiting(), 0);
}

#[every_engine]
async fn who_hangs_up_leaves_nothing_behind(engine: Engine) {
    let queue = Queue::open(engine).await;
    let request = ClaimRequest {
        filter: Filter::default(),
        worker: "w".to_owned(),
        limit: 1,
        wait: MINUTE,
        lease: None,
    };
    let waiting = tokio::spawn({
        let (jobs, request) = (queue.jobs.clone(), request.clone());
        async move { jobs.claim(request).await }
    });
    eventually("the claim waits", || async {
        (queue.jobs.board().waiting() == 1).then_some(())
    })
    .await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(queue.jobs.board().waiting(), 0);

    // It hangs up while its claim is being written: the job goes back, and the attempt with it.
    let job = queue.add(NewJob::new("t")).await;
    for _ in 0..20 {
        let mut claim = Box::pin(queue.jobs.claim(request.clone()));
        assert!(futures_util::poll!(claim.as_mut()).is_pending());
        drop(claim);
        // Behind the dropped one in its lane: when it is answered, that one has been written.
        let (other, worker) = (Arc::new(types(["other"])), "w".into());
        let barrier = queue.jobs.claim_now(&other, &worker, 1, MINUTE).await;
        assert!(barrier.unwrap().take().is_empty());
        eventually("the job is back", || async {
            let job = queue.jobs.get("default", &job.id).await.unwrap().job;
            (job.status == Status::Pending && job.attempts == 0).then_some(())
        })
        .await;
    }
    queue.check().await;
    assert_eq!(queue.claim_one().await.job.attempts, 1);
}

#[every_engine]
async fn without_any_wake_up_everything_runs_within_the_poll_interval(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    queue
        .settings
        .send_modify(|settings| settings.poll_interval = Duration::from_millis(50));
    let _upkeep = queue.keep();
    queue.add_many(20, &NewJob::new("t")).await;
    let soon = queue.clock.now().plus(Duration::from_millis(80));
    queue.add_many(5, &NewJob::new("t").run_at(soon)).await;
    queue.jobs.board().clear();
    let mut got = 0;
    while got < 25 {
        let request = ClaimRequest {
            filter: Filter::default(),
            worker: "w".to_owned(),
            limit: 100,
            wait: Duration::from_secs(30),
            lease: None,
        };
        let claimed = queue.jobs.claim(request).await.unwrap();
        assert!(!claimed.is_empty(), "{got} came, and then no more");
        got += claimed.len();
        queue.jobs.board().clear();
    }
    queue.check().await;
}

#[every_engine]
async fn after_a_restart_what_was_pending_is_found(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t").priority(3).queue("q")).await;
    let Queue {
        store,
        settings,
        jobs,
        db,
        ..
    } = queue;
    drop((jobs, db));
    let store = Arc::into_inner(store).unwrap();
    let store = store.reopen(crate::MIGRATIONS).await;
    let queue = Queue::over(store.db.clone(), Arc::new(store), settings);
    queue.jobs.rebuild().await.unwrap();
    assert_eq!(queue.claim_one().await.job.id, job.id);
}

#[every_engine]
async fn lists_find_what_they_are_asked_for_page_by_page(engine: Engine) {
    let queue = Queue::open(engine).await;
    for n in 0..30 {
        let kind = if n % 3 == 0 { "a" } else { "b" };
        queue
            .add(NewJob::new(kind).queue(if n % 2 == 0 { "even" } else { "odd" }))
            .await;
        queue.clock.advance(Duration::from_millis(1));
    }
    for (n, job) in queue.claim(12).await.into_iter().enumerate() {
        match n % 4 {
            0 => drop(queue.complete(&job).await.unwrap()),
            1 => drop(queue.jobs.cancel(&queue.tenant, &job.job.id).await.unwrap()),
            2 => {
                let token = job.lease_token.clone();
                let failed = queue
                    .jobs
                    .fail(&queue.tenant, &job.job.id, token, "x", None, true);
                failed.await.unwrap();
            }
            _ => {}
        }
    }
    let all = pages(&queue, &JobFilter::default(), 7).await;
    assert_eq!(all.len(), 30);
    assert!(all.is_sorted_by(|a, b| a.id > b.id), "newest first");
    for status in Status::ALL {
        for kind in [None, Some("a")] {
            for queue_name in [None, Some("odd")] {
                let filter = JobFilter {
                    status: Some(status),
                    kind: kind.map(str::to_owned),
                    queue: queue_name.map(str::to_owned),
                };
                let found = pages(&queue, &filter, 2).await;
                let wanted = |job: &&crate::Job| {
                    job.status == status
                        && kind.is_none_or(|kind| kind == job.kind)
                        && queue_name.is_none_or(|name| name == job.queue)
                };
                let wanted: Vec<_> = all.iter().filter(wanted).map(|job| &job.id).collect();
                assert_eq!(
                    found.iter().map(|job| &job.id).collect::<Vec<_>>(),
                    wanted,
                    "{filter:?}"
                );
            }
        }
    }
}

async fn pages(queue: &Queue, filter: &JobFilter, limit: u32) -> Vec<crate::Job> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = queue
            .jobs
            .list("default", filter, before.as_deref(), limit)
            .await
            .unwrap();
        assert!(page.jobs.len() <= limit as usize);
        all.extend(page.jobs);
        match page.next {
            Some(next) => before = Some(next),
            None => return all,
        }
    }
}
