//! Ending turns, and what comes after them.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};

use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_core::{Time, ids};
use tidewire_db::{Result as DbResult, Tx};
use tidewire_jobs::{NewJob, Settled};

use crate::{
    AGENT_TURN, Error, FOLLOWER, Turn, TurnStatus,
    append::ThreadAppend,
    event::NewThreadEvent,
    follow::Context,
    metrics,
    model::ThreadKey,
    service::Core,
    state,
    store::{Keeper, OpenTurn, Started, TurnStep},
};

/// Threads that are remembered to be there; past it, memory starts anew.
const THREADS_REMEMBERED: usize = 100_000;

/// A turn, which is locked, has ended.
pub(crate) struct End {
    pub key: ThreadKey,
    pub turn: Turn,
    pub status: TurnStatus,
    pub error: Option<String>,
    /// Of the event that says so.
    pub seq: u64,
}

/// The payload of a turn's job.
#[derive(Serialize)]
struct Work<'w> {
    thread_id: &'w str,
    turn_id: &'w str,
    input: Option<&'w RawValue>,
    seq: u64,
}

/// A turn that may run now.
pub(crate) struct Ready<'r> {
    pub key: &'r ThreadKey,
    pub turn_id: &'r str,
    pub agent: Option<&'r str>,
    pub input: Option<&'r RawValue>,
    pub seq: u64,
    /// Who may want it.
    pub keeper: Option<&'r Keeper>,
}

impl Core {
    pub(crate) fn new_id(&self) -> String {
        ids::new_id(&self.clock)
    }

    /// Makes those of these threads that are not there, and locks all of them.
    pub(crate) async fn lock_threads(&self, tx: &mut Tx, keys: &[&ThreadKey]) -> DbResult<()> {
        let known = self.store.threads(tx, keys).await?;
        let mut new: Vec<_> = keys
            .iter()
            .filter(|key| !known.contains_key(**key))
            .collect();
        new.sort_unstable();
        new.dedup();
        let new: Vec<_> = new.into_iter().map(|key| (*key, self.new_id())).collect();
        let (timeout, now) = (self.settings.idle_timeout.as_secs(), self.clock.now());
        self.store.insert_threads(tx, &new, timeout, now).await?;
        self.store.lock_threads(tx, keys).await
    }

    /// Which of these threads are there. What is there stays there, and is remembered.
    pub(crate) async fn existing(
        self: &Arc<Self>,
        tx: &mut Tx,
        keys: &[&ThreadKey],
    ) -> DbResult<HashSet<ThreadKey>> {
        let (known, unknown): (Vec<_>, Vec<_>) = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            keys.iter().partition(|key| seen.contains(**key))
        };
        let mut there: HashSet<ThreadKey> = known.into_iter().cloned().collect();
        let found = self.store.threads(tx, &unknown).await?;
        let found: Vec<_> = found.into_keys().collect();
        there.extend(found.iter().cloned());
        let core = Arc::clone(self);
        tx.on_commit(move || {
            let mut seen = core.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() > THREADS_REMEMBERED {
                seen.clear();
            }
            seen.extend(found);
        });
        Ok(there)
    }

    /// Ends the job of a turn that ends, whoever has it.
    pub(crate) async fn settle_job(
        &self,
        tx: &mut Tx,
        tenant: &Arc<str>,
        job: &str,
        status: TurnStatus,
        error: Option<&str>,
    ) -> Result<(), Error> {
        let end = match status {
            TurnStatus::Completed => Settled::Done(None),
            TurnStatus::Failed => Settled::Failed(error.unwrap_or("the turn failed").to_owned()),
            TurnStatus::Accepted | TurnStatus::Running | TurnStatus::Cancelled => {
                Settled::Cancelled
            }
        };
        self.jobs.settle_in(tx, tenant, job, end).await?;
        Ok(())
    }

    /// Turns of a thread, which are locked, have had their first event.
    pub(crate) async fn begin(
        &self,
        tx: &mut Tx,
        key: &ThreadKey,
        turns: &[Turn],
        now: Time,
    ) -> DbResult<()> {
        if turns.is_empty() {
            return Ok(());
        }
        let started: Vec<_> = turns
            .iter()
            .map(|turn| Started {
                tenant: &key.tenant,
                thread: &key.thread,
                turn: &turn.turn_id,
                worker: turn.worker.as_deref(),
            })
            .collect();
        self.store.start_turns(tx, &started, now).await
    }

    /// Writes that turns have ended, and lets those go on that waited for them.
    pub(crate) async fn finish(&self, tx: &mut Tx, ends: &[End]) -> Result<(), Error> {
        if ends.is_empty() {
            return Ok(());
        }
        let open = self.write_ends(tx, ends).await?;
        for (key, open) in &open {
            if let Some(next) = open.first()
                && open.iter().all(|turn| turn.waits)
            {
                self.queue_next(tx, key, next).await?;
            }
        }
        Ok(())
    }

    /// Writes that turns have ended; the turns of their threads that are open still.
    pub(crate) async fn write_ends(
        &self,
        tx: &mut Tx,
        ends: &[End],
    ) -> DbResult<Vec<(ThreadKey, Vec<OpenTurn>)>> {
        let now = self.clock.now();
        let steps: Vec<_> = ends
            .iter()
            .map(|end| TurnStep {
                key: &end.key,
                turn: &end.turn,
                status: end.status,
                ended_seq: Some(end.seq),
                error: end.error.as_deref(),
            })
            .collect();
        self.store.step_turns(tx, &steps, now).await?;
        let mut keys: Vec<_> = ends.iter().map(|end| &end.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut open = self.store.open(tx, &keys).await?;
        let mut gone = Vec::new();
        for end in ends {
            let Some(open) = open.get_mut(&end.key) else {
                continue;
            };
            if let Some(at) = open.iter().position(|o| o.turn_id == end.turn.turn_id) {
                gone.push((&end.key, open.remove(at).id));
            }
        }
        let gone: Vec<_> = gone.iter().map(|(key, id)| (*key, id.as_str())).collect();
        self.store.close(tx, &gone).await?;
        let counted: Vec<_> = ends.iter().map(|end| end.status).collect();
        tx.on_commit(move || counted.into_iter().for_each(metrics::ended));
        Ok(open.into_iter().collect())
    }

    async fn queue_next(&self, tx: &mut Tx, key: &ThreadKey, next: &OpenTurn) -> Result<(), Error> {
        let found = self.store.turns(tx, &[(key, &next.turn_id)]).await?;
        let Some((_, turn)) = found.first() else {
            return Ok(());
        };
        let keepers = self.store.keepers(tx, &[key]).await?;
        let ready = Ready {
            key,
            turn_id: &turn.turn_id,
            agent: turn.agent.as_deref(),
            input: turn.input.as_deref(),
            seq: turn.seq,
            keeper: keepers.get(key),
        };
        let jobs = self.queue(tx, &[ready]).await?;
        match jobs.first() {
            Some(job) => Ok(self.store.give_job(tx, key, next, job).await?),
            None => Ok(()),
        }
    }

    /// Queues the jobs of turns; their ids.
    pub(crate) async fn queue(
        &self,
        tx: &mut Tx,
        ready: &[Ready<'_>],
    ) -> Result<Vec<String>, Error> {
        let new: Vec<_> = ready.iter().map(|ready| self.job(ready)).collect();
        let jobs: Vec<_> = ready
            .iter()
            .zip(&new)
            .map(|(ready, job)| (&ready.key.tenant, job))
            .collect();
        let enqueued = self.jobs.enqueue_for_in(tx, &jobs).await?;
        Ok(enqueued.into_iter().map(|one| one.job.id).collect())
    }

    fn job(&self, ready: &Ready<'_>) -> NewJob {
        let work = Work {
            thread_id: &ready.key.thread,
            turn_id: ready.turn_id,
            input: ready.input,
            seq: ready.seq,
        };
        // Ids and JSON texts.
        let work = serde_json::value::to_raw_value(&work).unwrap_or_default();
        let context = Context {
            thread: ready.key.thread.as_ref().into(),
            turn: ready.turn_id.into(),
        };
        let mut job = NewJob::new(AGENT_TURN)
            .payload(work)
            .followed(FOLLOWER, context.to_json());
        if let Some(agent) = ready.agent {
            job = job.queue(agent);
        }
        let lease = ready.keeper.and_then(|keeper| keeper.lease.as_ref());
        let now = self.clock.now();
        match lease {
            Some((worker, agent, until)) if agent.as_deref() == ready.agent && *until > now => {
                return job.reserved_for(worker, until.since(now));
            }
            _ => {}
        }
        match ready.keeper.and_then(|keeper| keeper.last.as_ref()) {
            Some(worker) if !self.settings.affinity.is_zero() => {
                job.reserved_for(worker, self.settings.affinity)
            }
            _ => job,
        }
    }

    /// Cancels those of these turns of a thread that are open. With `go_on` the next turn that waits gets its job.
    pub(crate) async fn cancel_in(
        self: &Arc<Self>,
        tx: &mut Tx,
        key: &ThreadKey,
        turns: &[&str],
        reason: Option<&str>,
        go_on: bool,
    ) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Reason<'r> {
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'r str>,
        }

        let named: Vec<_> = turns.iter().map(|turn| (key, *turn)).collect();
        let seen = self.store.turns(tx, &named).await?;
        for (_, turn) in &seen {
            if let Some(job) = turn
                .job_id
                .as_deref()
                .filter(|_| !turn.status.is_terminal())
            {
                self.settle_job(tx, &key.tenant, job, TurnStatus::Cancelled, None)
                    .await?;
            }
        }
        self.lock_threads(tx, &[key]).await?;
        let locked = self.store.lock_turns(tx, &named).await?;
        let is_as_seen = |(_, turn): &(ThreadKey, Turn)| {
            let was = seen
                .iter()
                .map(|(_, t)| t)
                .find(|t| t.turn_id == turn.turn_id);
            was.is_some_and(|was| was.job_id == turn.job_id)
        };
        if !locked.iter().all(is_as_seen) {
            return Err(tx.yield_to_others("a turn went on meanwhile").into());
        }
        let mut open: Vec<_> = locked
            .into_iter()
            .map(|(_, turn)| turn)
            .filter(|turn| !turn.status.is_terminal())
            .collect();
        open.sort_by_key(|turn| turn.seq);
        let says = Reason { reason };
        let events: Vec<_> = open
            .iter()
            .map(|turn| {
                let kind = state::ended_by(TurnStatus::Cancelled);
                NewThreadEvent::of_turn(kind, &turn.turn_id, &says)
            })
            .collect();
        if events.is_empty() {
            return Ok(());
        }
        let op = ThreadAppend::new(key.clone(), events);
        let stored = self.write(tx, &[&op]).await?;
        let stored = stored.into_iter().flatten();
        let ends: Vec<_> = open
            .into_iter()
            .zip(stored)
            .map(|(turn, stored)| End {
                key: key.clone(),
                turn,
                status: TurnStatus::Cancelled,
                error: reason.map(str::to_owned),
                seq: stored.seq,
            })
            .collect();
        if go_on {
            return self.finish(tx, &ends).await;
        }
        self.write_ends(tx, &ends).await?;
        Ok(())
    }
}
