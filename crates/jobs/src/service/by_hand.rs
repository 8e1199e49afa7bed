//! What people do to jobs, and what those who follow jobs do to theirs.

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::Tx;
use tokio::sync::broadcast;

use super::{AT_ONCE, Hastened, Jobs, PutOff};
use crate::{
    Error, hints,
    lanes::{self, Room},
    model::{Job, JobFilter, MAX_DOCUMENT, Settled, Status, error_text, size_within},
    state::{Change, State},
    store::END,
};

/// What the state of a job makes of a step; `None` if it changes nothing.
type Rule = fn(&State, Time) -> Result<Option<Change>, Status>;

/// What a step by hand needs inside a transaction.
#[derive(Clone)]
struct Hand {
    room: Room,
    cancelled: broadcast::Sender<Arc<str>>,
}

impl Jobs {
    /// Cancels a job that is pending or running; a running one's worker loses its lease. Cancelling
    /// what is cancelled changes nothing.
    pub async fn cancel(&self, tenant: &Arc<str>, id: &str) -> Result<Job, Error> {
        self.by_hand("jobs.cancel", tenant, id, "cancelled", State::cancel)
            .await
    }

    /// The same inside the caller's transaction, which begins again if somebody has the job in hand at
    /// this moment: they may wait for what the caller has.
    pub async fn cancel_in(&self, tx: &mut Tx, tenant: &str, id: &str) -> Result<Job, Error> {
        let hand = self.hand();
        let found = hand.room.store.state_at_once(tx, (tenant, id)).await?;
        hand.step(tx, (tenant, id), found, "cancelled", State::cancel)
            .await
    }

    /// Puts a failed or cancelled job back into its queue, due at once, with as many attempts again
    /// as it had at first.
    pub async fn retry(&self, tenant: &Arc<str>, id: &str) -> Result<Job, Error> {
        self.by_hand("jobs.retry", tenant, id, "retried", again)
            .await
    }

    /// The same inside the caller's transaction.
    pub async fn retry_in(&self, tx: &mut Tx, tenant: &str, id: &str) -> Result<Job, Error> {
        self.hand()
            .look_and_step(tx, (tenant, id), "retried", again)
            .await
    }

    /// Ends a job in the transaction of its follower, who is not told of it: whatever its state and
    /// whoever has it, as if a worker had ended it. `None` if it is unknown or had ended. What the
    /// worker that had it says of its end later is answered with the job as it is, and changes
    /// nothing; its heartbeats are refused. Like [`Jobs::cancel_in`] it waits for nobody.
    pub async fn settle_in(
        &self,
        tx: &mut Tx,
        tenant: &str,
        id: &str,
        end: Settled,
    ) -> Result<Option<Job>, Error> {
        let end = checked(end)?;
        let (hand, key) = (self.hand(), (tenant, id));
        let store = &hand.room.store;
        let Some(state) = store.state_at_once(tx, key).await? else {
            return Ok(None);
        };
        let now = hand.room.clock.now();
        let Some(change) = state.settle(end, now) else {
            return Ok(None);
        };
        if change.was == Status::Running && change.now.status == Status::Cancelled {
            hand.stop_worker(tx, &state.id);
        }
        lanes::settle(&hand.room, tx, change, now).await?;
        Ok(store.jobs(tx, &[key]).await?.pop().flatten())
    }

    fn hand(&self) -> Hand {
        Hand {
            room: self.inner.room.clone(),
            cancelled: self.inner.cancelled.clone(),
        }
    }

    async fn by_hand(
        &self,
        label: &'static str,
        tenant: &Arc<str>,
        id: &str,
        wanted: &'static str,
        rule: Rule,
    ) -> Result<Job, Error> {
        let hand = self.hand();
        let (tenant, id) = (Arc::clone(tenant), id.to_owned());
        self.inner
            .db
            .transact(label, move |tx| {
                let (hand, tenant, id) = (hand.clone(), Arc::clone(&tenant), id.clone());
                Box::pin(async move { hand.look_and_step(tx, (&tenant, &id), wanted, rule).await })
            })
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

    /// Deletes those of these jobs that wait for their first attempt, as if they had never been;
    /// answers their ids. No follower is told.
    pub async fn withdraw_in(
        &self,
        tx: &mut Tx,
        tenant: &str,
        ids: &[String],
    ) -> Result<Vec<String>, Error> {
        let keys: Vec<_> = ids.iter().map(|id| (tenant, id.as_str())).collect();
        let states = self.store().states(tx, &keys).await?;
        let waiting: Vec<_> = states
            .into_iter()
            .flatten()
            .filter(|state| state.status == Status::Pending && state.attempts == 0)
            .collect();
        self.store().withdraw(tx, tenant, &waiting).await?;
        Ok(waiting.iter().map(|state| state.id.to_string()).collect())
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
}

/// An end as it is kept. Of what is inside an output its follower knows; it may have wrapped
/// somebody's in words of its own, as in [`NewJob::check`](crate::NewJob::check).
fn checked(end: Settled) -> Result<Settled, Error> {
    Ok(match end {
        Settled::Done(output) => {
            if let Some(output) = &output {
                size_within("/output", output, 2 * MAX_DOCUMENT)?;
            }
            Settled::Done(output.filter(|output| output.get() != "null"))
        }
        Settled::Failed(error) => Settled::Failed(error_text(&error)),
        Settled::Cancelled => Settled::Cancelled,
    })
}

fn again(state: &State, now: Time) -> Result<Option<Change>, Status> {
    state.retry(now).map(Some)
}

impl Hand {
    async fn look_and_step(
        &self,
        tx: &mut Tx,
        key: (&str, &str),
        wanted: &'static str,
        rule: Rule,
    ) -> Result<Job, Error> {
        let found = self.room.store.states(tx, &[key]).await?.pop().flatten();
        self.step(tx, key, found, wanted, rule).await
    }

    /// Takes a step of a job that was found so; the job as it is then.
    async fn step(
        &self,
        tx: &mut Tx,
        key: (&str, &str),
        found: Option<State>,
        wanted: &'static str,
        rule: Rule,
    ) -> Result<Job, Error> {
        let id = key.1;
        let unknown = || Error::NoSuchJob(id.to_owned());
        let state = found.ok_or_else(unknown)?;
        let now = self.room.clock.now();
        let change = rule(&state, now).map_err(|status| Error::WrongState {
            id: id.to_owned(),
            status: status.as_str(),
            wanted,
        })?;
        if let Some(change) = change {
            if change.was == Status::Running {
                self.stop_worker(tx, &state.id);
            }
            lanes::write(&self.room, tx, vec![change], now).await?;
        }
        let job = self.room.store.jobs(tx, &[key]).await?.pop().flatten();
        job.ok_or_else(unknown)
    }

    /// Has the worker of a running job told, here or elsewhere, once the step is durable.
    fn stop_worker(&self, tx: &mut Tx, id: &Arc<str>) {
        let (id, hints) = (Arc::clone(id), self.room.hints.clone());
        let cancelled = self.cancelled.clone();
        tx.on_commit(move || {
            hints::cancelled(&hints, &id);
            // Nobody listens where no worker runs.
            let _ = cancelled.send(id);
        });
    }
}
