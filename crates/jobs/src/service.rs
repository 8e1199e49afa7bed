//! The rules of jobs, and what other rooms call.

mod by_hand;
mod kept;
mod upkeep;
mod workers;

use std::{collections::BTreeMap, sync::Arc};

use chrono::NaiveDate;
use tidewire_core::{Clock, Problem, ids};
use tidewire_db::{Db, Hints, Lane, Reader, Tx};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

pub use self::{kept::KeptFor, workers::ClaimRequest};
use crate::{
    Error,
    board::Board,
    follow::Followers,
    lanes::{self, Claims, Enqueues, New, PickUps, Reports, Room},
    model::{DayCounts, Enqueued, Job, JobDetail, JobFilter, JobPage, NewJob, QueueDepth, Status},
    settings::JobSettings,
    store::{END, Store},
};

/// Jobs that one transaction of a bulk retry, an expiry or a sweep touches.
const AT_ONCE: u32 = 500;
/// Jobs that a list looks through at once for those that its filter wants …
const WINDOW: u32 = 5_000;
/// … and how many times before it answers with what it has.
const WINDOWS: u32 = 10;
/// Cancellations that a worker may fall behind; past that its next heartbeat tells it.
const CANCELLATIONS: usize = 1024;

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    room: Room,
    reports: Lane<Reports>,
    claims: Lane<Claims>,
    pick_ups: Lane<PickUps>,
    enqueues: Lane<Enqueues>,
    /// Running jobs that were cancelled, here or in another process, for the workers of this one.
    cancelled: broadcast::Sender<Arc<str>>,
    /// Something was missed, and the store should be looked at now.
    look: Notify,
    /// Ends waiting claims when the server stops.
    shutdown: CancellationToken,
}

/// A job that was put off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOff {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    /// The attempts that it had before the one that did not count.
    pub attempts: u32,
}

/// What came of hastening jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hastened {
    /// So many are due now that were not.
    pub count: usize,
    /// These are in a worker's hands: that they were put off may not have been written yet.
    pub in_hand: Vec<PutOff>,
}

impl Jobs {
    /// `settings` may change at any time; `followers` are those of all capabilities, also of those
    /// that have no role in this process; `shutdown` ends waiting claims.
    #[must_use]
    pub fn new(
        db: Db,
        clock: Clock,
        settings: watch::Receiver<JobSettings>,
        followers: Followers,
        shutdown: CancellationToken,
    ) -> Self {
        let room = Room {
            store: Arc::new(Store::new(db.dialect(), clock.clone())),
            board: Arc::new(Board::default()),
            hints: db.hints().clone(),
            clock,
            settings,
            followers,
        };
        let reports = db.lane(Reports(room.clone()));
        let claims = db.lane(Claims::new(room.clone(), reports.clone()));
        let pick_ups = db.lane(PickUps::new(room.clone(), reports.clone()));
        let enqueues = db.lane(Enqueues(room.clone()));
        let inner = Inner {
            db,
            room,
            reports,
            claims,
            pick_ups,
            enqueues,
            cancelled: broadcast::channel(CANCELLATIONS).0,
            look: Notify::new(),
            shutdown,
        };
        Jobs {
            inner: Arc::new(inner),
        }
    }

    // --- putting in ---

    /// Enqueues a job, or answers the one that has its idempotency key.
    pub async fn enqueue(&self, tenant: &Arc<str>, job: NewJob) -> Result<Enqueued, Error> {
        job.check()?;
        let tenant = Arc::clone(tenant);
        Ok(self.inner.enqueues.submit(New { tenant, job }).await?)
    }

    /// Refuses a type of job that is the server's own: nobody else makes such jobs, or runs them.
    pub fn check_open(&self, pointer: &str, kind: &str) -> Result<(), Problem> {
        if self.inner.room.followers.own().contains(kind) {
            let detail = format!("`{kind}` names jobs that the server makes and runs by itself");
            return Err(Problem::invalid(pointer, detail));
        }
        Ok(())
    }

    /// Enqueues jobs inside the caller's transaction: they are there exactly if it commits.
    pub async fn enqueue_in(
        &self,
        tx: &mut Tx,
        tenant: &Arc<str>,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, Error> {
        let jobs: Vec<_> = jobs.iter().map(|job| (tenant, job)).collect();
        self.enqueue_for_in(tx, &jobs).await
    }

    /// The same for several tenants at once.
    pub async fn enqueue_for_in(
        &self,
        tx: &mut Tx,
        jobs: &[(&Arc<str>, &NewJob)],
    ) -> Result<Vec<Enqueued>, Error> {
        for (place, (_, job)) in jobs.iter().enumerate() {
            job.check()
                .map_err(|problem| problem.under(&format!("/{place}")))?;
        }
        Ok(lanes::enqueue(&self.inner.room, tx, jobs).await?)
    }

    // --- looking ---

    /// A job with the log of its attempts.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<JobDetail, Error> {
        let found = self.store().detail(&mut self.read(), tenant, id).await?;
        found.ok_or_else(|| Error::NoSuchJob(id.to_owned()))
    }

    /// Jobs by their ids, each in its place; `None` for one that is unknown.
    pub async fn find(&self, tenant: &str, ids: &[&str]) -> Result<Vec<Option<Job>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| (tenant, *id)).collect();
        Ok(self.store().jobs(&mut self.read(), &keys).await?)
    }

    /// Jobs with ids below `before`, newest first.
    pub async fn list(
        &self,
        tenant: &str,
        filter: &JobFilter,
        before: Option<&str>,
        limit: u32,
    ) -> Result<JobPage, Error> {
        let (store, mut read) = (self.store(), self.read());
        let before = before.unwrap_or(END);
        // One more than asked for tells whether there is a next page.
        let ids = match filter.status {
            Some(status @ (Status::Failed | Status::Cancelled)) => {
                store
                    .given_up_below(&mut read, tenant, status, filter, before, limit + 1)
                    .await?
            }
            Some(Status::Running) => {
                store
                    .running_below(&mut read, tenant, filter, before, limit + 1)
                    .await?
            }
            _ => return self.scan(tenant, filter, before, limit).await,
        };
        let more = ids.len() > limit as usize;
        let ids = &ids[..ids.len().min(limit as usize)];
        let mut jobs = store.by_ids(&mut read, tenant, ids).await?;
        // One may have moved on between the two reads.
        jobs.retain(|job| Some(job.status) == filter.status);
        Ok(JobPage {
            jobs,
            next: ids.last().filter(|_| more).cloned(),
        })
    }

    /// Looks through the jobs from the newest on, a window at a time.
    async fn scan(
        &self,
        tenant: &str,
        filter: &JobFilter,
        before: &str,
        limit: u32,
    ) -> Result<JobPage, Error> {
        let (store, mut read) = (self.store(), self.read());
        let all = filter.status.is_none() && filter.kind.is_none() && filter.queue.is_none();
        let mut jobs: Vec<Job> = Vec::new();
        let mut before = before.to_owned();
        for _ in 0..WINDOWS {
            let floor = match all {
                true => None,
                false => store.window(&mut read, tenant, &before, WINDOW).await?,
            };
            let range = (floor.as_deref().unwrap_or_default(), before.as_str());
            let missing = limit + 1 - u32::try_from(jobs.len()).unwrap_or(limit);
            jobs.extend(
                store
                    .page(&mut read, tenant, filter, range, missing)
                    .await?,
            );
            if jobs.len() > limit as usize {
                jobs.truncate(limit as usize);
                let next = jobs.last().map(|job| job.id.clone());
                return Ok(JobPage { jobs, next });
            }
            match floor {
                Some(floor) => before = floor,
                None => return Ok(JobPage { jobs, next: None }),
            }
        }
        Ok(JobPage {
            jobs,
            next: Some(before),
        })
    }

    /// Done and failed jobs of the days that have any, both ends inclusive.
    pub async fn daily_counts(
        &self,
        tenant: &str,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<BTreeMap<NaiveDate, DayCounts>, Error> {
        Ok(self
            .store()
            .by_day(&mut self.read(), tenant, from, to)
            .await?)
    }

    /// How much waits and runs in each of the tenant's queues that are not empty. Walks what waits.
    pub async fn depths(&self, tenant: &str) -> Result<Vec<QueueDepth>, Error> {
        let now = self.clock().now();
        Ok(self.store().queues(&mut self.read(), tenant, now).await?)
    }

    /// Jobs that are cancelled while they run, by their ids.
    pub(crate) fn cancellations(&self) -> broadcast::Receiver<Arc<str>> {
        self.inner.cancelled.subscribe()
    }

    pub(crate) fn changing_settings(&self) -> watch::Receiver<JobSettings> {
        self.inner.room.settings.clone()
    }

    pub(crate) fn settings(&self) -> JobSettings {
        self.inner.room.settings.borrow().clone()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.room.clock
    }

    /// To and from the other processes that share the store.
    pub(crate) fn hints(&self) -> &Hints {
        &self.inner.room.hints
    }

    /// Until something was missed, and the store should be looked at.
    pub(crate) async fn look_wanted(&self) {
        self.inner.look.notified().await;
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.inner.room.board
    }

    /// The rules between the tables that do not hold.
    #[cfg(test)]
    pub(crate) async fn broken(&self) -> Result<Vec<String>, Error> {
        Ok(self.store().broken(&mut self.read()).await?)
    }

    /// Has a pending job in hand, as a claim has that is undone in the end: from the first signal to
    /// the second.
    #[cfg(test)]
    pub(crate) async fn hold(&self, job: &Job, held: Arc<Notify>, until: Arc<Notify>) {
        let (room, job) = (self.inner.room.clone(), job.clone());
        let hold = self.inner.db.transact("test.hold", move |tx| {
            let (room, job) = (room.clone(), job.clone());
            let (held, until) = (Arc::clone(&held), Arc::clone(&until));
            Box::pin(async move {
                let lane =
                    crate::board::LaneKey::new(job.tenant, job.queue, job.kind, job.priority);
                let from = crate::board::Mark::at(job.run_at, job.id);
                room.store.take(tx, &lane, &from, job.run_at, 1).await?;
                held.notify_one();
                until.notified().await;
                Err::<(), _>(Error::NoSuchJob(String::new()))
            })
        });
        assert!(matches!(hold.await, Err(Error::NoSuchJob(_))));
    }

    fn store(&self) -> &Store {
        &self.inner.room.store
    }

    fn read(&self) -> Reader {
        self.inner.db.read()
    }
}

/// The id inside a list's cursor.
pub(crate) fn cursor_id(id: String) -> Result<String, Problem> {
    if ids::is_id(&id) {
        return Ok(id);
    }
    Err(Problem::invalid(
        "cursor",
        "is not a `next_cursor` of this list",
    ))
}
