//! Jobs that one worker may have before the others.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidewire_core::Clock;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio::task::JoinHandle;

use super::{MINUTE, Queue, follow::Followed, types};
use crate::{ClaimRequest, ClaimedJob, Filter, NewJob, Settled, Status, bus::Wanted};

const HOLD: Duration = Duration::from_secs(2);
/// So long that nothing in a test happens by it.
const NEVER: Duration = Duration::from_hours(1);

fn for_ann() -> NewJob {
    NewJob::new("t").reserved_for("ann", HOLD)
}

impl Queue {
    async fn claim_by(&self, worker: &str, limit: u32) -> Vec<String> {
        let claimed = self.claim_as(worker, Filter::default(), limit).await;
        claimed.into_iter().map(|claimed| claimed.job.id).collect()
    }

    /// A claim that waits.
    async fn wait_as(&self, worker: &str) -> JoinHandle<Vec<ClaimedJob>> {
        let before = self.jobs.board().waiting();
        let jobs = self.jobs.clone();
        let request = ClaimRequest {
            filter: Filter::default(),
            worker: worker.to_owned(),
            limit: 1,
            wait: MINUTE,
            lease: None,
        };
        let claim = tokio::spawn(async move { jobs.claim(request).await.unwrap() });
        eventually("the claim waits", || async {
            (self.jobs.board().waiting() > before).then_some(())
        })
        .await;
        claim
    }

    /// Nothing is left of any reservation.
    async fn check_unreserved(&self) {
        self.check().await;
        self.clock.advance(2 * NEVER);
        assert_eq!(self.jobs.end_holds().await.unwrap(), 0, "one was left");
    }
}

#[every_engine]
async fn the_worker_gets_it_before_others_and_before_other_jobs(engine: Engine) {
    let queue = Queue::open(engine).await;
    let urgent = queue.add(NewJob::new("t").priority(-5)).await;
    let now = queue.clock.now();
    let reserved = queue.add(for_ann()).await;
    assert_eq!(reserved.run_at, now, "as everybody sees it");
    assert_eq!(queue.claim_by("bob", 10).await, [urgent.id]);
    let urgent = queue.add(NewJob::new("t").priority(-5)).await;
    let claimed = queue.claim_as("ann", Filter::default(), 1).await.remove(0);
    assert_eq!(
        (claimed.job.id.as_str(), claimed.job.run_at),
        (reserved.id.as_str(), now)
    );
    assert_eq!(claimed.job.locked_by.as_deref(), Some("ann"));
    queue.complete(&claimed).await.unwrap();
    // The rest of what is asked for is what there is.
    let reserved = queue.add(for_ann()).await;
    let both = queue.claim_by("ann", 10).await;
    assert_eq!(both, [reserved.id, urgent.id]);
    queue.check_unreserved().await;
}

#[every_engine]
async fn after_the_hold_it_is_anybody_s_also_of_a_worker_that_never_comes(engine: Engine) {
    let queue = Queue::open(engine).await;
    let due = queue.clock.now().plus(MINUTE);
    let reserved = queue.add(for_ann().run_at(due)).await;
    let plain = queue.add(NewJob::new("t").run_at(due.plus(HOLD))).await;
    let nobody: [String; 0] = [];
    assert_eq!(queue.claim_by("ann", 1).await, nobody, "it is not due");
    queue
        .clock
        .advance(MINUTE + HOLD - Duration::from_millis(1));
    assert_eq!(queue.claim_by("bob", 10).await, nobody);
    queue.clock.advance(Duration::from_millis(1));
    let mut both = queue.claim_by("bob", 10).await;
    both.sort();
    assert_eq!(both, [reserved.id, plain.id]);
    queue.check_unreserved().await;

    // Late, the worker has no right before others any more.
    let reserved = queue.add(for_ann()).await;
    queue.clock.advance(HOLD);
    let urgent = queue.add(NewJob::new("t").priority(-5)).await;
    assert_eq!(queue.claim_by("ann", 1).await, [urgent.id]);
    assert_eq!(queue.claim_by("ann", 1).await, [reserved.id]);
    queue.check_unreserved().await;
}

#[every_engine]
async fn its_claim_takes_what_it_asks_for_and_nothing_else(engine: Engine) {
    let queue = Queue::open(engine).await;
    let reserved = queue.add(for_ann()).await;
    let foreign = queue
        .jobs
        .enqueue(&"other".into(), for_ann())
        .await
        .unwrap()
        .job;
    assert!(queue.claim_as("ann", types(["x"]), 10).await.is_empty());
    let elsewhere = Filter {
        queues: Some(["elsewhere".into()].into()),
        ..Filter::default()
    };
    assert!(queue.claim_as("ann", elsewhere, 10).await.is_empty());
    let of_tenant = Filter {
        tenant: Some(Arc::clone(&queue.tenant)),
        ..Filter::default()
    };
    let claimed = queue.claim_as("ann", of_tenant, 10).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].job.id, reserved.id);
    assert_eq!(queue.claim_by("ann", 10).await, [foreign.id]);
    queue.check_unreserved().await;
}

#[every_engine]
async fn many_claims_at_once_get_their_own(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = |worker: &str| NewJob::new("t").reserved_for(worker, HOLD);
    let (mut a, mut b) = (HashSet::new(), HashSet::new());
    for _ in 0..7 {
        a.insert(queue.add(job("a")).await.id);
        b.insert(queue.add(job("b")).await.id);
    }
    let plain = queue.add(NewJob::new("t")).await.id;
    let (one, other, two, none) = tokio::join!(
        queue.claim_by("a", 5),
        queue.claim_by("a", 5),
        queue.claim_by("b", 7),
        queue.claim_by("c", 7)
    );
    let mut all: Vec<_> = [one, other, none].concat();
    assert_eq!(two.into_iter().collect::<HashSet<_>>(), b);
    let place = all.iter().position(|id| *id == plain).unwrap();
    all.remove(place);
    assert_eq!((all.len(), all.into_iter().collect::<HashSet<_>>()), (7, a));
    queue.check_unreserved().await;
}

#[every_engine]
async fn no_attempt_but_the_first_is_reserved(engine: Engine) {
    let queue = Queue::open(engine).await;
    let failing = queue.add(for_ann().max_attempts(2)).await;
    let first = queue.claim_as("ann", Filter::default(), 1).await.remove(0);
    queue.fail(&first).await.unwrap();
    queue.clock.advance(Duration::from_secs(3));
    assert_eq!(queue.claim_by("bob", 1).await, [failing.id]);

    let given_back = queue.add(for_ann()).await;
    let first = queue.claim_as("ann", Filter::default(), 1).await.remove(0);
    let token = first.lease_token.clone();
    let back = queue.jobs.release(&queue.tenant, &given_back.id, token);
    back.await.unwrap();
    assert_eq!(queue.claim_by("bob", 1).await, [given_back.id]);
    queue.check_unreserved().await;
}

#[every_engine]
async fn a_limit_of_its_queue_holds_for_it_too(engine: Engine) {
    let queue = Queue::open(engine).await;
    queue.settings.send_modify(|settings| {
        settings.queue_limits.insert("narrow".to_owned(), 1);
    });
    for _ in 0..2 {
        queue.add(for_ann().queue("narrow")).await;
    }
    let first = queue.claim_as("ann", Filter::default(), 10).await;
    assert_eq!(first.len(), 1);
    assert!(queue.claim_by("ann", 10).await.is_empty(), "it is full");
    queue.complete(&first[0]).await.unwrap();
    assert_eq!(queue.claim_by("ann", 10).await.len(), 1);
    queue.check_unreserved().await;
}

#[every_engine]
async fn a_bus_leaves_it_to_its_worker(engine: Engine) {
    let queue = Queue::open(engine).await;
    let reserved = queue.add(for_ann()).await;
    let wanted = Wanted {
        tenant: Arc::clone(&reserved.tenant),
        id: reserved.id.as_str().into(),
        due: reserved.run_at,
    };
    let (all, bus) = (Arc::new(Filter::default()), "bus".into());
    let picked = queue.jobs.pick_up(&all, &bus, vec![wanted], MINUTE).await;
    assert!(picked.unwrap().take().is_empty());
    assert_eq!(queue.claim_by("ann", 1).await, [reserved.id]);
}

#[every_engine]
async fn who_waits_for_its_own_is_woken_at_once_and_others_at_the_end_of_the_hold(engine: Engine) {
    let queue = Queue::with_clock(engine, Clock::system()).await;
    queue
        .settings
        .send_modify(|settings| settings.poll_interval = NEVER);
    let bob = queue.wait_as("bob").await;
    let ann = queue.wait_as("ann").await;
    let job = NewJob::new("t").reserved_for("ann", NEVER);
    let reserved = queue.add(job).await;
    assert_eq!(ann.await.unwrap()[0].job.id, reserved.id);
    assert!(!bob.is_finished());
    // Its worker is dead: it takes the hold, and no longer.
    let hold = Duration::from_millis(200);
    let left = queue.add(NewJob::new("t").reserved_for("ann", hold)).await;
    let claimed = bob.await.unwrap();
    assert_eq!(claimed[0].job.id, left.id);
    assert!(claimed[0].job.started_at.unwrap() >= left.run_at.plus(hold));
    queue.check().await;
}

#[every_engine]
async fn whatever_ends_a_reserved_job_leaves_nothing_of_its_reservation(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    let hold = NEVER;
    let job = || {
        let job = NewJob::new("t").reserved_for("ann", hold);
        job.followed("diary", "x")
    };
    let (cancelled, settled) = (queue.add(job()).await, queue.add(job()).await);
    queue
        .jobs
        .cancel(&queue.tenant, &cancelled.id)
        .await
        .unwrap();
    queue.settle(&settled.id, Settled::Done(None)).await;
    let done = queue.add(job()).await;
    let claimed = queue.claim_as("ann", Filter::default(), 10).await;
    assert_eq!(claimed.len(), 1, "the others have ended");
    queue.complete(&claimed[0]).await.unwrap();
    queue.check().await;
    // A retry by hand is anybody's.
    queue
        .jobs
        .retry(&queue.tenant, &cancelled.id)
        .await
        .unwrap();
    assert_eq!(queue.claim_by("bob", 10).await, [cancelled.id]);
    queue.check().await;

    let (jobs, tenant) = (queue.jobs.clone(), Arc::clone(&queue.tenant));
    let pending = queue.add(job()).await;
    let ids = [settled.id, done.id, pending.id.clone()];
    let left = queue.db.transact("test.delete", move |tx| {
        let (jobs, tenant, ids) = (jobs.clone(), Arc::clone(&tenant), ids.clone());
        Box::pin(async move { jobs.delete_in(tx, &tenant, &ids).await })
    });
    assert_eq!(left.await.unwrap(), std::slice::from_ref(&pending.id));
    queue.jobs.cancel(&queue.tenant, &pending.id).await.unwrap();
    queue.check_unreserved().await;

    let swept = queue.add(for_ann()).await;
    queue.jobs.cancel(&queue.tenant, &swept.id).await.unwrap();
    queue.clock.advance(Duration::from_hours(24 * 30));
    assert_eq!(queue.jobs.sweep().await.unwrap(), 1);
    queue.check_unreserved().await;
}

#[every_engine]
async fn a_reservation_whose_job_nobody_takes_is_forgotten_after_its_hold(engine: Engine) {
    let queue = Queue::open(engine).await;
    let jobs = queue.add_many(3, &for_ann()).await;
    assert_eq!(queue.jobs.end_holds().await.unwrap(), 0);
    queue.clock.advance(HOLD);
    assert_eq!(queue.jobs.end_holds().await.unwrap(), 3);
    assert_eq!(queue.jobs.end_holds().await.unwrap(), 0);
    queue.check().await;
    // What is left of it on the jobs themselves keeps nobody away.
    queue.jobs.cancel(&queue.tenant, &jobs[0].id).await.unwrap();
    assert_eq!(queue.claim_by("bob", 1).await.len(), 1);
    assert_eq!(queue.claim_by("ann", 10).await.len(), 1);
    queue.check_unreserved().await;
}

#[every_engine]
async fn a_process_that_starts_anew_knows_what_is_reserved(engine: Engine) {
    let queue = Queue::open(engine).await;
    let reserved = queue.add(for_ann()).await;
    queue.jobs.board().clear();
    queue.jobs.rebuild().await.unwrap();
    assert!(queue.claim_by("bob", 10).await.is_empty());
    assert_eq!(queue.claim_by("ann", 10).await, [reserved.id]);
    // And forgets what is not any more.
    queue.add(for_ann()).await;
    queue.clock.advance(HOLD);
    queue.jobs.rebuild().await.unwrap();
    assert!(!queue.jobs.board().has_reserved());
    assert_eq!(queue.claim_by("bob", 10).await.len(), 1);
    queue.check_unreserved().await;
}

#[every_engine(servers)]
async fn who_waits_there_gets_what_is_reserved_here(engine: Engine) {
    let here = Queue::with_clock(engine, Clock::system()).await;
    let there = here.second().await;
    here.settings
        .send_modify(|settings| settings.poll_interval = NEVER);
    let _upkeep = (here.keep(), there.keep());
    let bob = there.wait_as("bob").await;
    for _ in 0..5 {
        let ann = there.wait_as("ann").await;
        let reserved = here.add(NewJob::new("t").reserved_for("ann", NEVER)).await;
        let claimed = ann.await.unwrap();
        assert_eq!(claimed[0].job.id, reserved.id);
        there.complete(&claimed[0]).await.unwrap();
    }
    assert!(!bob.is_finished(), "nothing was for him");
    let hold = Duration::from_millis(200);
    let left = here.add(NewJob::new("t").reserved_for("ann", hold)).await;
    assert_eq!(bob.await.unwrap()[0].job.id, left.id);
    here.check().await;
}

#[every_engine(servers, multi_thread)]
async fn two_that_claim_by_one_name_get_each_job_once(engine: Engine) {
    let here = Queue::open(engine).await;
    let there = here.second().await;
    let added = here.add_many(100, &for_ann()).await;
    there.jobs.rebuild().await.unwrap();
    let claim = async |queue: &Queue| {
        let mut got = Vec::new();
        while got.len() < added.len() {
            let some = queue.claim_by("ann", 3).await;
            // What the other one has in hand is looked at again a little later.
            queue.clock.advance(Duration::from_millis(5));
            let ended = queue.clock.now() >= added[0].run_at.plus(HOLD);
            if some.is_empty() && ended {
                break;
            }
            got.extend(some);
        }
        got
    };
    let (a, b) = tokio::join!(claim(&here), claim(&there));
    let both: HashSet<_> = a.iter().chain(&b).collect();
    assert_eq!((a.len() + b.len(), both.len()), (100, 100));
    for queue in [&here, &there] {
        assert_eq!(queue.status(&added[0].id).await, Status::Running);
        queue.check().await;
    }
}
