//! The rules of jobs, and what other rooms call.

mod upkeep;
mod workers;

use std::{collections::BTreeMap, sync::Arc};

use chrono::NaiveDate;
use tidewire_core::{Clock, Problem, Time, ids};
use tidewire_db::{Db, Hints, Lane, Reader, Tx};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

pub use self::workers::ClaimRequest;
use crate::{
    Error,
    board::Board,
    follow::Followers,
    hints,
    lanes::{self, Claims, Enqueues, New, PickUps, Reports, Room},
    model::{DayCounts, Enqueued, Job, JobDetail, JobFilter, JobPage, NewJob, Status},
    settings::JobSettings,
    state::{Change, State},
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

    // --- by hand ---

    /// Cancels a job that is pending or running; a running one's worker loses its lease. Cancelling
    /// what is cancelled changes nothing.
    pub async fn cancel(&self, tenant: &Arc<str>, id: &str) -> Result<Job, Error> {
        self.by_hand("jobs.cancel", tenant, id, "cancelled", State::cancel)
            .await
    }

    /// Puts a failed or cancelled job back into its queue, due at once, with as many attempts again
    /// as it had at first.
    pub async fn retry(&self, tenant: &Arc<str>, id: &str) -> Result<Job, Error> {
        let rule = |state: &State, now| state.retry(now).map(Some);
        self.by_hand("jobs.retry", tenant, id, "retried", rule)
            .await
    }

    /// The same inside the caller's transaction.
    pub async fn retry_in(&self, tx: &mut Tx, tenant: &str, id: &str) -> Result<Job, Error> {
        let rule = |state: &State, now| state.retry(now).map(Some);
        by_hand_in(
            &self.inner.room,
            &self.inner.cancelled,
            tx,
            (tenant, id),
            "retried",
            rule,
        )
        .await
    }

    /// Deletes those of these jobs that have ended, with all that is kept of them; answers those that
    /// are there still, as they have not ended or somebody else has them in hand. It waits for
    /// nobody. For the follower of jobs, as nothing else ends their being kept.
    pub async fn delete_in(
        &self,
        tx: &mut Tx,
        tenant: &str,
        ids: &[String],
    ) -> Result<Vec<String>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut old = self.store().lock_old(tx, tenant, ids).await?;
        old.retain(|old| old.status.is_final());
        self.store().prune(tx, tenant, &old).await?;
        if old.len() == ids.len() {
            return Ok(Vec::new());
        }
        Ok(self.store().present(tx, tenant, ids).await?)
    }

    /// Makes jobs due at once that were put off ([`Failure::not_now`](crate::Failure::not_now)), as
    /// what they waited for has come sooner. Jobs to which anything else has happened since are left as
    /// they are.
    pub async fn hasten(&self, jobs: Vec<PutOff>) -> Result<Hastened, Error> {
        let mut all = Hastened::default();
        for some in jobs.chunks(AT_ONCE as usize) {
            let hastened = self.hasten_these(some.to_vec()).await?;
            all.count += hastened.count;
            all.in_hand.extend(hastened.in_hand);
        }
        Ok(all)
    }

    async fn hasten_these(&self, mut jobs: Vec<PutOff>) -> Result<Hastened, Error> {
        // Rows are locked in this order, by everybody.
        jobs.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
        let (room, jobs) = (self.inner.room.clone(), Arc::new(jobs));
        self.inner
            .db
            .transact("jobs.hasten", move |tx| {
                let (room, jobs) = (room.clone(), Arc::clone(&jobs));
                Box::pin(async move {
                    let keys: Vec<_> = jobs.iter().map(|job| (&*job.tenant, &*job.id)).collect();
                    let states = room.store.states(tx, &keys).await?;
                    let now = room.clock.now();
                    let (mut changes, mut in_hand) = (Vec::new(), Vec::new());
                    for (state, job) in states.iter().zip(&*jobs) {
                        let Some(state) = state else { continue };
                        if let Some(change) = state.hasten(job.attempts, now) {
                            changes.push(change);
                        } else if state.is_in_attempt(job.attempts.saturating_add(1)) {
                            in_hand.push(job.clone());
                        }
                    }
                    let count = changes.len();
                    lanes::write(&room, tx, changes, now).await?;
                    Ok::<_, Error>(Hastened { count, in_hand })
                })
            })
            .await
    }

    async fn by_hand(
        &self,
        label: &'static str,
        tenant: &Arc<str>,
        id: &str,
        wanted: &'static str,
        rule: fn(&State, Time) -> Result<Option<Change>, Status>,
    ) -> Result<Job, Error> {
        let (room, cancelled) = (self.inner.room.clone(), self.inner.cancelled.clone());
        let (tenant, id) = (Arc::clone(tenant), id.to_owned());
        self.inner
            .db
            .transact(label, move |tx| {
                let (room, cancelled) = (room.clone(), cancelled.clone());
                let (tenant, id) = (Arc::clone(&tenant), id.clone());
                Box::pin(async move {
                    by_hand_in(&room, &cancelled, tx, (&tenant, &id), wanted, rule).await
                })
            })
            .await
    }

    /// Puts all failed jobs (of a type, of a queue) back into their queues; how many. Jobs that fail
    /// while it works are left as they are.
    pub async fn retry_all(&self, tenant: &Arc<str>, filter: &JobFilter) -> Result<u64, Error> {
        let (store, failed) = (self.store(), Status::Failed);
        let started = self.clock().now();
        let newest = store
            .given_up_below(&mut self.read(), tenant, failed, filter, END, 1)
            .await?;
        let Some(newest) = newest.into_iter().next() else {
            return Ok(0);
        };
        let mut after = String::new();
        let mut retried = 0;
        loop {
            let mut ids = store
                .given_up_above(&mut self.read(), tenant, failed, filter, &after, AT_ONCE)
                .await?;
            ids.retain(|id| *id <= newest);
            let Some(last) = ids.last() else {
                return Ok(retried);
            };
            after.clone_from(last);
            retried += self.retry_these(tenant, ids, started).await?;
        }
    }

    async fn retry_these(
        &self,
        tenant: &Arc<str>,
        ids: Vec<String>,
        started: Time,
    ) -> Result<u64, Error> {
        let room = self.inner.room.clone();
        let (tenant, ids) = (Arc::clone(tenant), Arc::new(ids));
        self.inner
            .db
            .transact("jobs.retry_all", move |tx| {
                let (room, tenant, ids) = (room.clone(), Arc::clone(&tenant), Arc::clone(&ids));
                Box::pin(async move {
                    let keys: Vec<_> = ids.iter().map(|id| (&*tenant, id.as_str())).collect();
                    let states = room.store.states(tx, &keys).await?;
                    let now = room.clock.now();
                    let changes: Vec<_> = states
                        .iter()
                        .flatten()
                        .filter(|state| {
                            state.status == Status::Failed
                                && state.finished_at.is_none_or(|at| at <= started)
                        })
                        .filter_map(|state| state.retry(now).ok())
                        .collect();
                    let retried = changes.len() as u64;
                    lanes::write(&room, tx, changes, now).await?;
                    Ok::<_, Error>(retried)
                })
            })
            .await
    }

    /// Jobs that are cancelled while they run, by their ids.
    pub(crate) fn cancellations(&self) -> broadcast::Receiver<Arc<str>> {
        self.inner.cancelled.subscribe()
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

/// A step that somebody takes by hand; the job as it is then.
async fn by_hand_in(
    room: &Room,
    cancelled: &broadcast::Sender<Arc<str>>,
    tx: &mut Tx,
    key: (&str, &str),
    wanted: &'static str,
    rule: fn(&State, Time) -> Result<Option<Change>, Status>,
) -> Result<Job, Error> {
    let id = key.1;
    let unknown = || Error::NoSuchJob(id.to_owned());
    let found = room.store.states(tx, &[key]).await?.pop().flatten();
    let state = found.ok_or_else(unknown)?;
    let now = room.clock.now();
    let change = rule(&state, now).map_err(|status| Error::WrongState {
        id: id.to_owned(),
        status: status.as_str(),
        wanted,
    })?;
    if let Some(change) = change {
        if change.was == Status::Running {
            let (id, hints) = (Arc::clone(&state.id), room.hints.clone());
            let cancelled = cancelled.clone();
            tx.on_commit(move || {
                hints::cancelled(&hints, &id);
                // Nobody listens where no worker runs.
                let _ = cancelled.send(id);
            });
        }
        lanes::write(room, tx, vec![change], now).await?;
    }
    let job = room.store.jobs(tx, &[key]).await?.pop().flatten();
    job.ok_or_else(unknown)
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
