//! Jobs that are kept for a worker for as long as somebody says so.

use std::{sync::Arc, time::Duration};

use tidewire_core::{Clock, Time};
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{MINUTE, Queue, follow::Followed};
use crate::{ClaimRequest, Filter, KeptFor, NewJob, Outcome, Status};

fn own() -> Filter {
    Filter {
        own: true,
        ..Filter::default()
    }
}

impl Queue {
    fn kept(&self, id: &str, worker: &str) -> KeptFor {
        KeptFor {
            tenant: Arc::clone(&self.tenant),
            id: id.to_owned(),
            worker: worker.into(),
        }
    }

    async fn keep_for(&self, worker: &str, ids: &[&str], until: Time) {
        let kept = ids.iter().map(|id| (self.kept(id, worker), until));
        let (jobs, kept) = (self.jobs.clone(), kept.collect::<Vec<_>>());
        self.db
            .transact("test.reserve", move |tx| {
                let (jobs, kept) = (jobs.clone(), kept.clone());
                Box::pin(async move { jobs.reserve_in(tx, &kept).await })
            })
            .await
            .unwrap();
        self.check().await;
    }

    async fn lose(&self, worker: &str, ids: &[&str]) {
        let kept: Vec<_> = ids.iter().map(|id| self.kept(id, worker)).collect();
        let jobs = self.jobs.clone();
        self.db
            .transact("test.lose", move |tx| {
                let (jobs, kept) = (jobs.clone(), kept.clone());
                Box::pin(async move { jobs.lose_in(tx, &kept).await })
            })
            .await
            .unwrap();
        self.check().await;
    }

    async fn ids_for(&self, worker: &str, filter: Filter) -> Vec<String> {
        let claimed = self.claim_as(worker, filter, 10).await;
        claimed.into_iter().map(|claimed| claimed.job.id).collect()
    }
}

const NOTHING: [String; 0] = [];

#[every_engine]
async fn who_wants_its_own_alone_gets_nothing_else(engine: Engine) {
    let queue = Queue::open(engine).await;
    let plain = queue.add(NewJob::new("t")).await;
    let kept = queue.add(NewJob::new("t")).await;
    queue
        .add(NewJob::new("t").reserved_for("bob", MINUTE))
        .await;
    let until = queue.clock.now().plus(MINUTE);
    queue.keep_for("ann", &[&kept.id], until).await;
    assert_eq!(queue.ids_for("ann", own()).await, [kept.id]);
    assert_eq!(queue.ids_for("ann", own()).await, NOTHING);
    assert_eq!(queue.ids_for("carl", Filter::default()).await, [plain.id]);
}

#[every_engine]
async fn a_job_that_waits_is_kept_for_another_or_for_longer(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue
        .add(NewJob::new("t").reserved_for("ann", MINUTE))
        .await;
    let now = queue.clock.now();
    queue
        .keep_for("bob", &[&job.id], now.plus(2 * MINUTE))
        .await;
    assert_eq!(queue.ids_for("ann", Filter::default()).await, NOTHING);
    queue
        .keep_for("bob", &[&job.id], now.plus(4 * MINUTE))
        .await;
    // Said again it changes nothing.
    queue
        .keep_for("bob", &[&job.id], now.plus(4 * MINUTE))
        .await;
    queue.clock.advance(3 * MINUTE);
    assert_eq!(queue.ids_for("ann", Filter::default()).await, NOTHING);
    let first = queue.claim_as("bob", own(), 1).await.remove(0);
    // A later attempt too; what runs has its worker.
    queue
        .keep_for("ann", &[&job.id], now.plus(9 * MINUTE))
        .await;
    queue.fail(&first).await.unwrap();
    queue
        .keep_for("ann", &[&job.id], now.plus(9 * MINUTE))
        .await;
    queue.clock.advance(MINUTE);
    assert_eq!(queue.ids_for("bob", Filter::default()).await, NOTHING);
    assert_eq!(
        queue.ids_for("ann", own()).await,
        std::slice::from_ref(&job.id)
    );
    queue.lose("ann", &[&job.id]).await;
    queue
        .keep_for("ann", &[&job.id], now.plus(9 * MINUTE))
        .await;
    queue.clock.advance(6 * MINUTE);
    assert_eq!(queue.ids_for("bob", Filter::default()).await, [job.id]);
}

#[every_engine]
async fn what_a_lost_worker_had_is_everybodys_at_once(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    let job = || NewJob::new("t").followed("diary", "x").max_attempts(2);
    let running = queue.add(job().reserved_for("ann", MINUTE)).await;
    let claimed = queue.claim_as("ann", Filter::default(), 1).await.remove(0);
    let waiting = queue.add(job().reserved_for("ann", MINUTE)).await;
    let others = queue.add(job().reserved_for("bob", MINUTE)).await;
    let ids = [&running.id, &waiting.id, &others.id].map(String::as_str);
    queue.lose("ann", &ids).await;
    let told = this.told(&running.id).await;
    let step = "x: running to pending, attempt 1 over, the worker ann was lost, attempt 1 of 2";
    assert_eq!(told.last().unwrap(), step);
    let mut free = queue.claim_as("carl", Filter::default(), 10).await;
    free.sort_by(|a, b| a.job.id.cmp(&b.job.id));
    let had: Vec<_> = free.iter().map(|c| (&c.job.id, c.job.attempts)).collect();
    assert_eq!(had, [(&running.id, 2), (&waiting.id, 1)]);
    let late = queue.complete(&claimed).await.unwrap_err();
    assert!(late.to_string().contains("another worker has it"), "{late}");
    let log = queue.jobs.get(&queue.tenant, &running.id).await.unwrap();
    let first = &log.attempts_log[0];
    assert_eq!(first.outcome, Outcome::Expired);
    let error = first.error.as_deref().unwrap();
    assert_eq!(error, "the worker ann was lost, attempt 1 of 2");
    // It was the last.
    queue.lose("carl", &ids).await;
    assert_eq!(queue.status(&running.id).await, Status::Failed);
    assert_eq!(queue.status(&others.id).await, Status::Pending);
}

#[every_engine]
async fn a_lost_worker_is_not_believed_when_it_comes_late(engine: Engine) {
    let queue = Queue::open(engine).await;
    let job = queue.add(NewJob::new("t")).await;
    let claimed = queue.claim_as("ann", Filter::default(), 1).await.remove(0);
    queue.clock.advance(Duration::from_hours(1));
    queue.jobs.expire().await.unwrap();
    queue.lose("ann", &[&job.id]).await;
    queue.complete(&claimed).await.unwrap_err();
    assert_eq!(queue.ids_for("bob", Filter::default()).await, [job.id]);
}

#[every_engine(servers)]
async fn who_waits_elsewhere_for_its_own_gets_it_when_it_is_kept(engine: Engine) {
    let here = Queue::with_clock(engine, Clock::system()).await;
    let there = here.second().await;
    let never = Duration::from_hours(1);
    here.settings
        .send_modify(|settings| settings.poll_interval = never);
    let _upkeep = (here.keep(), there.keep());
    let job = here.add(NewJob::new("t")).await;
    let request = ClaimRequest {
        filter: own(),
        worker: "ann".to_owned(),
        limit: 1,
        wait: MINUTE,
        lease: None,
    };
    let jobs = there.jobs.clone();
    let ann = tokio::spawn(async move { jobs.claim(request).await.unwrap() });
    eventually("the claim waits", || async {
        (there.jobs.board().waiting() > 0).then_some(())
    })
    .await;
    here.keep_for("ann", &[&job.id], here.clock.now().plus(never))
        .await;
    assert_eq!(ann.await.unwrap()[0].job.id, job.id);
}
