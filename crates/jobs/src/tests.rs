//! Jobs on a real store. Time stands still unless a test moves it.

mod claims;
mod follow;
mod http;
mod in_transactions;
mod kept;
mod life;
mod model;
mod pick_ups;
mod put_off;
mod reservations;
mod retention;
mod sharing;
mod worker;

use std::{sync::Arc, time::Duration};

use proptest::{
    prelude::{ProptestConfig, Strategy},
    test_runner::TestRunner,
};
use tidewire_core::{Clock, Time};
use tidewire_db::Db;
use tidewire_testkit::{Engine, TestStore};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    ClaimRequest, ClaimedJob, Filter, Job, JobSettings, Jobs, MIGRATIONS, NewJob, Settled, Status,
};

pub(crate) struct Queue {
    pub jobs: Jobs,
    pub clock: Clock,
    pub settings: watch::Sender<JobSettings>,
    pub tenant: Arc<str>,
    pub db: Db,
    pub store: Arc<TestStore>,
}

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

impl Queue {
    pub(crate) async fn open(engine: Engine) -> Self {
        Self::with_clock(engine, Clock::fake(Time::from_millis(1_700_000_000_000))).await
    }

    pub(crate) async fn with_clock(engine: Engine, clock: Clock) -> Self {
        let store = TestStore::on_with_clock(engine, MIGRATIONS, clock).await;
        let (settings, _) = watch::channel(JobSettings::default());
        Self::over(store.db.clone(), Arc::new(store), settings)
    }

    fn over(db: Db, store: Arc<TestStore>, settings: watch::Sender<JobSettings>) -> Self {
        Self::followed(db, store, settings, crate::Followers::default())
    }

    fn followed(
        db: Db,
        store: Arc<TestStore>,
        settings: watch::Sender<JobSettings>,
        followers: crate::Followers,
    ) -> Self {
        let clock = store.clock.clone();
        let live = settings.subscribe();
        Queue {
            jobs: Jobs::new(
                db.clone(),
                clock.clone(),
                live,
                followers,
                CancellationToken::new(),
            ),
            clock,
            settings,
            tenant: "default".into(),
            db,
            store,
        }
    }

    /// The same queue as another process has it.
    pub(crate) async fn second(&self) -> Self {
        let db = self.store.second().await;
        Self::over(db, Arc::clone(&self.store), self.settings.clone())
    }

    pub(crate) async fn add(&self, job: NewJob) -> Job {
        self.jobs.enqueue(&self.tenant, job).await.unwrap().job
    }

    pub(crate) async fn add_many(&self, count: usize, job: &NewJob) -> Vec<Job> {
        let all = (0..count).map(|_| self.add(job.clone()));
        futures_util::future::join_all(all).await
    }

    pub(crate) async fn claim(&self, limit: u32) -> Vec<ClaimedJob> {
        self.claim_as("w", Filter::default(), limit).await
    }

    pub(crate) async fn claim_as(
        &self,
        worker: &str,
        filter: Filter,
        limit: u32,
    ) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            filter,
            worker: worker.to_owned(),
            limit,
            wait: Duration::ZERO,
            lease: None,
        };
        self.jobs.claim(request).await.unwrap()
    }

    /// The one job that is due.
    pub(crate) async fn claim_one(&self) -> ClaimedJob {
        let mut claimed = self.claim(10).await;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        claimed.remove(0)
    }

    pub(crate) async fn complete(&self, job: &ClaimedJob) -> Result<Job, crate::Error> {
        self.jobs
            .complete(&self.tenant, &job.job.id, job.lease_token.clone(), None)
            .await
    }

    pub(crate) async fn fail(&self, job: &ClaimedJob) -> Result<Job, crate::Error> {
        let token = job.lease_token.clone();
        self.jobs
            .fail(&self.tenant, &job.job.id, token, "boom", None, false)
            .await
    }

    /// Ends a job as its follower does.
    pub(crate) async fn settle(&self, id: &str, end: Settled) -> Option<Job> {
        let (jobs, tenant, id) = (self.jobs.clone(), Arc::clone(&self.tenant), id.to_owned());
        self.db
            .transact("test.settle", move |tx| {
                let (jobs, tenant) = (jobs.clone(), Arc::clone(&tenant));
                let (id, end) = (id.clone(), end.clone());
                Box::pin(async move { jobs.settle_in(tx, &tenant, &id, end).await })
            })
            .await
            .unwrap()
    }

    pub(crate) async fn status(&self, id: &str) -> Status {
        self.jobs.get(&self.tenant, id).await.unwrap().job.status
    }

    /// Done and failed jobs of today.
    pub(crate) async fn counts(&self) -> (u64, u64) {
        let today = self.clock.now().day();
        let days = self
            .jobs
            .daily_counts(&self.tenant, today, today)
            .await
            .unwrap();
        days.get(&today)
            .map_or((0, 0), |day| (day.done, day.failed))
    }

    /// Every rule between the tables holds.
    pub(crate) async fn check(&self) {
        let broken = self.jobs.broken().await.unwrap();
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// The upkeep, until the guard is dropped.
    pub(crate) fn keep(&self) -> tokio_util::sync::DropGuard {
        let stop = CancellationToken::new();
        let (jobs, stopped) = (self.jobs.clone(), stop.clone());
        tokio::spawn(async move { jobs.keep(stopped).await });
        stop.drop_guard()
    }
}

pub(crate) fn types<const N: usize>(types: [&str; N]) -> Filter {
    Filter {
        types: Some(types.into_iter().map(Arc::from).collect()),
        ..Filter::default()
    }
}

/// JSON as text without its spaces: engines set them as they like.
pub(crate) fn squeezed(json: &str) -> String {
    json.split_whitespace().collect()
}

/// A property of what a strategy makes, in a scenario of several threads.
pub(crate) fn for_any<S: Strategy, F: Future<Output = ()>>(
    file: &'static str,
    strategy: &S,
    property: impl Fn(S::Value) -> F,
) {
    // Each case has a store of its own, which takes a while to make.
    let config = ProptestConfig {
        cases: 12,
        max_shrink_iters: 200,
        ..ProptestConfig::with_source_file(file)
    };
    let runtime = tokio::runtime::Handle::current();
    let result = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(strategy, |value| {
            runtime.block_on(property(value));
            Ok(())
        })
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
