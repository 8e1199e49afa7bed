//! Those who follow jobs are told of every step, in its transaction.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidewire_core::{Clock, Time};
use tidewire_db::{BoxFuture, Dialect, Error, Query, Result, Sql, Tx};
use tidewire_testkit::{Engine, TestStore, eventually, every_engine};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{MINUTE, Queue};
use crate::store::probe;
use crate::{
    Failure, Filter, Follower, Followers, JobContext, JobSettings, MIGRATIONS, NewJob, Note,
    Output, Processors, Status, Step, Worker, WorkerOptions, bus::Wanted,
};

/// Writes down what it is told, or refuses it.
struct Diary {
    insert: Sql,
    refuses: Arc<AtomicBool>,
    /// Then it says who has a job, too.
    hears_claims: bool,
}

impl Follower for Diary {
    fn follow<'a>(&'a self, tx: &'a mut Tx, steps: &'a [Step<'a>]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.refuses.load(Ordering::SeqCst) {
                return Err(Error::Broken("as told".to_owned()));
            }
            for step in steps {
                let note = step.note.and_then(Note::get::<String>);
                let worker = step.worker.filter(|_| self.hears_claims);
                let told = format!(
                    "{}: {} to {}, attempt {}{}{}{}{}{}",
                    step.context,
                    step.was,
                    step.now,
                    step.attempt,
                    if step.ends_attempt { " over" } else { "" },
                    if step.is_late { " late" } else { "" },
                    worker
                        .map(|worker| format!(" by {worker}"))
                        .unwrap_or_default(),
                    step.error
                        .map(|error| format!(", {error}"))
                        .unwrap_or_default(),
                    note.map(|note| format!(", note {note}"))
                        .unwrap_or_default(),
                );
                let id = tidewire_core::ids::new_id(&Clock::system());
                let args = vec![id.into(), step.job_id.into(), told.into()];
                tx.push(&self.insert, args).await?;
            }
            Ok(())
        })
    }

    fn wants_claims(&self) -> bool {
        self.hears_claims
    }
}

pub(super) struct Followed {
    pub queue: Queue,
    refuses: Arc<AtomicBool>,
    select: Sql,
}

impl Followed {
    pub async fn open(engine: Engine) -> Self {
        Self::with_clock(engine, Clock::fake(Time::from_millis(1_700_000_000_000))).await
    }

    async fn with_clock(engine: Engine, clock: Clock) -> Self {
        Self::with(engine, clock, false).await
    }

    /// One that hears of claims as well.
    async fn of_claims(engine: Engine) -> Self {
        let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
        Self::with(engine, clock, true).await
    }

    async fn with(engine: Engine, clock: Clock, hears_claims: bool) -> Self {
        let migrations: Vec<_> = MIGRATIONS.iter().copied().chain([probe::STEPS]).collect();
        let store = TestStore::on_with_clock(engine, &migrations, clock).await;
        let refuses = Arc::new(AtomicBool::new(false));
        let dialect: &Dialect = store.db.dialect();
        let diary = Diary {
            insert: dialect.sql(probe::INSERT_STEP),
            refuses: Arc::clone(&refuses),
            hears_claims,
        };
        let select = dialect.sql(probe::STEPS_OF);
        let (settings, _) = watch::channel(JobSettings::default());
        let followers = Followers::default().with("diary", diary);
        let (db, store) = (store.db.clone(), Arc::new(store));
        Followed {
            queue: Queue::followed(db, store, settings, followers),
            refuses,
            select,
        }
    }

    pub async fn told(&self, job: &str) -> Vec<String> {
        let mut read = self.queue.db.read();
        let rows = read.rows(&self.select, vec![job.into()]).await.unwrap();
        rows.iter().map(|row| row.text(0).unwrap()).collect()
    }
}

fn job() -> NewJob {
    NewJob::new("t").followed("diary", "x")
}

#[every_engine]
async fn each_step_is_told_once(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    let done = queue.add(job()).await;
    queue.complete(&queue.claim_one().await).await.unwrap();
    assert_eq!(
        this.told(&done.id).await,
        ["x: running to done, attempt 1 over"]
    );

    let failing = queue.add(job().max_attempts(2)).await;
    queue.fail(&queue.claim_one().await).await.unwrap();
    queue.clock.advance(MINUTE);
    let second = queue.claim_one().await;
    queue.fail(&second).await.unwrap();
    // It has ended, and that is no step.
    let again = queue.complete(&second).await.unwrap();
    assert_eq!(again.status, Status::Failed);
    queue.jobs.retry(&queue.tenant, &failing.id).await.unwrap();
    queue.jobs.cancel(&queue.tenant, &failing.id).await.unwrap();
    assert_eq!(
        this.told(&failing.id).await,
        [
            "x: running to pending, attempt 1 over, boom",
            "x: running to failed, attempt 2 over, boom",
            "x: failed to pending, attempt 2, boom",
            "x: pending to cancelled, attempt 2, boom",
        ]
    );
    queue.check().await;
}

#[every_engine]
async fn a_lease_that_runs_out_is_a_step_and_so_is_an_end_that_comes_late(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    let added = queue.add(job()).await;
    let claimed = queue.claim_one().await;
    queue.clock.advance(MINUTE * 2);
    assert_eq!(queue.jobs.expire().await.unwrap(), 1);
    queue.complete(&claimed).await.unwrap();
    let told = this.told(&added.id).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("x: running to pending, attempt 1 over, the lease ran out"),
        "{told:?}"
    );
    assert_eq!(told[1], "x: pending to done, attempt 1 over late");

    // A worker that has it still says so late.
    let added = queue.add(job()).await;
    let claimed = queue.claim_one().await;
    queue.clock.advance(MINUTE * 2);
    assert_eq!(queue.jobs.expire().await.unwrap(), 1);
    let (tenant, id) = (&claimed.job.tenant, &claimed.job.id);
    let token = claimed.lease_token.clone();
    queue
        .jobs
        .heartbeat(tenant, id, token, None, None)
        .await
        .unwrap();
    queue.complete(&claimed).await.unwrap();
    assert_eq!(
        this.told(&added.id).await[1..],
        [
            "x: pending to running, attempt 1 late",
            "x: running to done, attempt 1 over"
        ]
    );
}

#[every_engine]
async fn a_follower_that_refuses_undoes_the_step(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    let added = queue.add(job()).await;
    let claimed = queue.claim_one().await;
    this.refuses.store(true, Ordering::SeqCst);
    assert!(queue.complete(&claimed).await.is_err());
    assert_eq!(queue.status(&added.id).await, Status::Running);
    queue.check().await;
    this.refuses.store(false, Ordering::SeqCst);
    queue.complete(&claimed).await.unwrap();
    assert_eq!(this.told(&added.id).await.len(), 1);
    // Others are not held up by it.
    let (plain, followed) = (queue.add(NewJob::new("t")).await, queue.add(job()).await);
    let claimed = queue.claim(2).await;
    this.refuses.store(true, Ordering::SeqCst);
    for claimed in &claimed {
        let ended = queue.complete(claimed).await;
        assert_eq!(ended.is_ok(), claimed.job.id == plain.id);
    }
    assert_eq!(queue.status(&followed.id).await, Status::Running);
}

#[every_engine]
async fn a_job_of_a_follower_that_is_not_there_stays_as_it_is(engine: Engine) {
    let queue = Queue::open(engine).await;
    let added = queue.add(job()).await;
    let error = queue.complete(&queue.claim_one().await).await.unwrap_err();
    assert!(error.to_string().contains("no follower `diary`"), "{error}");
    assert_eq!(queue.status(&added.id).await, Status::Running);
}

#[every_engine(multi_thread)]
async fn a_processor_s_note_reaches_the_follower_and_a_job_put_off_has_not_been_tried(
    engine: Engine,
) {
    let this = Followed::with_clock(engine, Clock::system()).await;
    let asked = Arc::new(AtomicBool::new(false));
    let mut processors = Processors::new();
    processors.register("t", move |job: JobContext| {
        let asked = Arc::clone(&asked);
        async move {
            assert_eq!(job.followed_as(), Some("x"));
            if !asked.swap(true, Ordering::SeqCst) {
                return Err(Failure::not_now("no room", Duration::from_millis(1)));
            }
            if job.attempt() == 1 {
                let failure = Failure::new("no luck").retry_in(Duration::from_millis(1));
                return Err(failure.note(Note::new("first".to_owned())));
            }
            Ok(Output::none().note(Note::new("second".to_owned())))
        }
    });
    let queue = &this.queue;
    let stop = CancellationToken::new();
    let worker = Worker::new(queue.jobs.clone(), processors, WorkerOptions::default());
    let worker = tokio::spawn(worker.run(stop.clone()));
    let added = queue.add(job()).await;
    eventually("the job is done", || async {
        (queue.status(&added.id).await == Status::Done).then_some(())
    })
    .await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(
        this.told(&added.id).await,
        [
            "x: running to pending, attempt 1, no room",
            "x: running to pending, attempt 1 over, no luck, note first",
            "x: running to done, attempt 2 over, no luck, note second",
        ]
    );
    let detail = queue.jobs.get(&queue.tenant, &added.id).await.unwrap();
    assert_eq!(detail.attempts_log.len(), 2);
    queue.check().await;
}

#[every_engine]
async fn followed_jobs_are_kept_until_their_follower_deletes_them(engine: Engine) {
    let this = Followed::open(engine).await;
    let queue = &this.queue;
    let (plain, followed) = (queue.add(NewJob::new("t")).await, queue.add(job()).await);
    let running = queue.add(job().queue("other")).await;
    for claimed in queue.claim(3).await {
        if claimed.job.id != running.id {
            queue.complete(&claimed).await.unwrap();
        }
    }
    queue.clock.advance(Duration::from_hours(24 * 30));
    queue.jobs.sweep().await.unwrap();
    assert!(queue.jobs.get(&queue.tenant, &plain.id).await.is_err());
    assert_eq!(queue.status(&followed.id).await, Status::Done);
    let (jobs, tenant) = (queue.jobs.clone(), Arc::clone(&queue.tenant));
    let ids = [followed.id.clone(), running.id.clone(), plain.id];
    let left = queue.db.transact("test.delete", move |tx| {
        let (jobs, tenant, ids) = (jobs.clone(), Arc::clone(&tenant), ids.clone());
        Box::pin(async move { jobs.delete_in(tx, &tenant, &ids).await })
    });
    assert_eq!(left.await.unwrap(), std::slice::from_ref(&running.id));
    assert!(queue.jobs.get(&queue.tenant, &followed.id).await.is_err());
    assert_eq!(queue.status(&running.id).await, Status::Running);
    queue.check().await;
}

#[every_engine]
async fn jobs_of_the_server_s_own_types_are_not_handed_out(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let (settings, _) = watch::channel(JobSettings::default());
    let (db, store) = (store.db.clone(), Arc::new(store));
    let queue = Queue::followed(db, store, settings, Followers::default().owning("own"));
    let (own, open) = (
        queue.add(NewJob::new("own")).await,
        queue.add(NewJob::new("t")).await,
    );
    let claimed = queue.claim(10).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].job.id, open.id);
    let request = crate::ClaimRequest {
        filter: super::types(["t", "own"]),
        worker: "w".to_owned(),
        limit: 1,
        wait: Duration::ZERO,
        lease: None,
    };
    let error = queue.jobs.claim(request).await.unwrap_err();
    assert!(error.to_string().contains("`own`"), "{error}");
    assert_eq!(queue.status(&own.id).await, Status::Pending);
}

#[every_engine]
async fn who_wants_claims_is_told_who_has_a_job_and_who_had_it(engine: Engine) {
    let this = Followed::of_claims(engine).await;
    let queue = &this.queue;
    let plain = queue.add(NewJob::new("t")).await;
    let added = queue.add(job().max_attempts(3)).await;
    let ours = |claimed: Vec<crate::ClaimedJob>| {
        let mut ours = claimed.into_iter().filter(|one| one.job.id == added.id);
        ours.next().unwrap()
    };
    let first = ours(queue.claim_as("ann", Filter::default(), 2).await);
    queue.fail(&first).await.unwrap();
    queue.clock.advance(MINUTE);
    let second = ours(queue.claim_as("bob", Filter::default(), 2).await);
    queue.clock.advance(2 * MINUTE);
    queue.jobs.expire().await.unwrap();
    let token = second.lease_token.clone();
    let beat = queue
        .jobs
        .heartbeat(&queue.tenant, &added.id, token.clone(), None, None);
    beat.await.unwrap();
    let beat = queue
        .jobs
        .heartbeat(&queue.tenant, &added.id, token, None, None);
    beat.await.unwrap();
    queue.complete(&second).await.unwrap();
    let told = this.told(&added.id).await;
    assert_eq!(told.len(), 6, "{told:?}");
    assert_eq!(told[0], "x: pending to running, attempt 1 by ann");
    assert_eq!(
        told[1],
        "x: running to pending, attempt 1 over by ann, boom"
    );
    assert_eq!(told[2], "x: pending to running, attempt 2 by bob, boom");
    for (told, begins) in [
        (
            &told[3],
            "x: running to pending, attempt 2 over by bob, the",
        ),
        // No claim: the worker is back, and the attempt goes on.
        (&told[4], "x: pending to running, attempt 2 late by bob"),
        (&told[5], "x: running to done, attempt 2 over by bob"),
    ] {
        assert!(told.starts_with(begins), "{told}");
    }
    assert!(this.told(&plain.id).await.is_empty());
    queue.check().await;
}

#[every_engine]
async fn claims_by_a_bus_and_many_at_once_are_told(engine: Engine) {
    let this = Followed::of_claims(engine).await;
    let queue = &this.queue;
    let later = queue.clock.now().plus(MINUTE);
    let named = queue.add(job().run_at(later)).await;
    let wanted = Wanted {
        tenant: Arc::clone(&named.tenant),
        id: named.id.as_str().into(),
        due: named.run_at,
    };
    let all = Arc::new(Filter::default());
    let bus = "bus".into();
    let picked = queue.jobs.pick_up(&all, &bus, vec![wanted], MINUTE).await;
    assert_eq!(picked.unwrap().take().len(), 1);
    assert_eq!(
        this.told(&named.id).await,
        ["x: pending to running, attempt 1 by bus"]
    );
    let many = queue.add_many(20, &job()).await;
    let (a, b) = tokio::join!(
        queue.claim_as("a", Filter::default(), 12),
        queue.claim_as("b", Filter::default(), 12)
    );
    assert_eq!(a.len() + b.len(), 20);
    for claimed in a.iter().chain(&b) {
        let worker = claimed.job.locked_by.as_deref().unwrap();
        let expected = format!("x: pending to running, attempt 1 by {worker}");
        assert_eq!(this.told(&claimed.job.id).await, [expected]);
    }
    assert_eq!(many.len(), 20);
}

#[every_engine]
async fn a_follower_that_refuses_a_claim_leaves_the_job_where_it_was(engine: Engine) {
    let this = Followed::of_claims(engine).await;
    let queue = &this.queue;
    let added = queue.add(job()).await;
    this.refuses.store(true, Ordering::SeqCst);
    let request = crate::ClaimRequest {
        filter: Filter::default(),
        worker: "w".to_owned(),
        limit: 1,
        wait: Duration::ZERO,
        lease: None,
    };
    assert!(queue.jobs.claim(request).await.is_err());
    assert_eq!(queue.status(&added.id).await, Status::Pending);
    queue.check().await;
    this.refuses.store(false, Ordering::SeqCst);
    let claimed = queue.claim_one().await;
    assert_eq!((claimed.job.id, claimed.job.attempts), (added.id, 1));
}
