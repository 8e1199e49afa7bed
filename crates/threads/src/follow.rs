//! How turns follow their jobs: what becomes of a job is said on its thread in the same transaction.

use std::sync::{Arc, OnceLock, Weak};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_db::{BoxFuture, Error, Result, Tx};
use tidewire_jobs::{Follower, KeptFor, Status, Step};

use crate::{
    Threads, TurnStatus,
    append::ThreadAppend,
    ending::End,
    event::NewThreadEvent,
    hot::Unsaid,
    model::ThreadKey,
    service::Core,
    state,
    store::{LeaseRow, Started},
};

/// The name by which turns follow their jobs.
pub const FOLLOWER: &str = "turns";

/// What a turn's job is known by.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Context {
    pub thread: Box<str>,
    pub turn: Box<str>,
}

impl Context {
    pub(crate) fn to_json(&self) -> String {
        // Two names.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Follows the jobs of turns. Every process that works with jobs has one. Jobs are made with it, and
/// threads with jobs, so it learns of the threads last.
#[derive(Clone, Default)]
pub struct Turns {
    core: Arc<OnceLock<Weak<Core>>>,
}

#[derive(Serialize)]
struct Again<'a> {
    attempt: u32,
    agent: Option<&'a str>,
}

#[derive(Serialize)]
struct Ended<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'e RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'e str>,
}

impl Turns {
    /// From here on it writes to these threads.
    pub fn write_to(&self, threads: &Threads) {
        // Whoever sets it twice sets it to the same.
        let _ = self.core.set(threads.weak());
    }

    async fn write(&self, tx: &mut Tx, steps: &[Step<'_>]) -> Result<()> {
        let core = Core::of(self.core.get().unwrap_or(&Weak::new()))?;
        let mut claimed = Vec::new();
        let (mut ended, mut again) = (Vec::new(), Vec::new());
        for step in steps {
            let context: Context = serde_json::from_str(step.context).map_err(|error| {
                Error::Broken(format!(
                    "the job `{}` does not say which turn it is for: {error}",
                    step.job_id
                ))
            })?;
            match (step.was, step.now) {
                // Its word came late, and it has the turn still.
                (Status::Pending, Status::Running) if step.is_late => {}
                (Status::Pending, Status::Running) => claimed.push((step, context)),
                (_, Status::Done | Status::Failed | Status::Cancelled) => {
                    ended.push((step, context));
                }
                // It is tried again; its turn goes on.
                (_, Status::Pending) => again.push((step, context)),
                _ => {}
            }
        }
        core.claimed(tx, &claimed).await?;
        core.tried_again(tx, &again).await?;
        core.jobs_ended(tx, &ended).await
    }
}

impl Follower for Turns {
    fn follow<'a>(&'a self, tx: &'a mut Tx, steps: &'a [Step<'a>]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write(tx, steps))
    }

    fn wants_claims(&self) -> bool {
        true
    }
}

impl Core {
    /// What is to be said by a hot log that is apart: an event of a turn.
    fn unsaid(&self, key: &ThreadKey, event: NewThreadEvent) -> Unsaid {
        Unsaid {
            id: self.new_id(),
            key: key.clone(),
            turn_id: event.turn_id.unwrap_or_default(),
            kind: event.kind,
            payload: event.payload.unwrap_or_default(),
        }
    }

    /// Agents have claimed turns.
    async fn claimed(
        self: &Arc<Self>,
        tx: &mut Tx,
        claimed: &[(&Step<'_>, Context)],
    ) -> Result<()> {
        let Some((first, _)) = claimed.first() else {
            return Ok(());
        };
        let keys: Vec<_> = claimed
            .iter()
            .map(|(step, context)| ThreadKey::new(step.tenant, &*context.thread))
            .collect();
        let named: Vec<_> = keys
            .iter()
            .zip(claimed)
            .map(|(key, (_, context))| (key, &*context.turn))
            .collect();
        let statuses = self.store.statuses(tx, &named).await?;
        let started: Vec<_> = claimed
            .iter()
            .map(|(step, context)| Started {
                tenant: step.tenant,
                thread: &context.thread,
                turn: &context.turn,
                worker: step.worker,
            })
            .collect();
        self.store.start_turns(tx, &started, first.at).await?;
        // Who reads along learns that what came so far was another's.
        let is_again = |key: &ThreadKey, context: &Context| {
            let id = (key.clone(), context.turn.to_string());
            statuses.get(&id) == Some(&TurnStatus::Running)
        };
        let again = claimed
            .iter()
            .zip(&keys)
            .filter(|((_, context), key)| is_again(key, context));
        let again = again.map(|((step, context), key)| {
            let says = Again {
                attempt: step.attempt,
                agent: step.worker,
            };
            (
                key,
                NewThreadEvent::of_turn("turn.started", &context.turn, &says),
            )
        });
        if self.apart {
            let unsaid: Vec<_> = again.map(|(key, event)| self.unsaid(key, event)).collect();
            return self.say(tx, &unsaid).await;
        }
        let again: Vec<_> = again
            .map(|(key, event)| ThreadAppend::new(key.clone(), vec![event]))
            .collect();
        let again: Vec<_> = again.iter().collect();
        self.write(tx, &again).await.map_err(store)?;
        Ok(())
    }

    /// Jobs of turns wait again: for the instances that have the threads, if any have.
    async fn tried_again(&self, tx: &mut Tx, again: &[(&Step<'_>, Context)]) -> Result<()> {
        let keys: Vec<_> = again
            .iter()
            .map(|(step, context)| ThreadKey::new(step.tenant, &*context.thread))
            .collect();
        let leases = self
            .store
            .leases_of(tx, &distinct(keys.iter().collect()))
            .await?;
        if leases.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = keys
            .iter()
            .zip(again)
            .map(|(key, (_, context))| (key, &*context.turn))
            .collect();
        let turns = self.store.turns(tx, &named).await?;
        let now = self.clock.now();
        let kept = again
            .iter()
            .zip(&keys)
            .filter_map(|((step, context), key)| {
                let of_thread = |lease: &&LeaseRow| lease.thread().as_ref() == Some(key);
                let lease = leases.iter().find(of_thread)?;
                let (_, turn) = turns
                    .iter()
                    .find(|(k, turn)| k == key && *turn.turn_id == *context.turn)?;
                let is_its = lease.expires_at > now && turn.agent == lease.agent;
                let kept = KeptFor {
                    tenant: Arc::clone(step.tenant),
                    id: step.job_id.to_string(),
                    worker: Arc::clone(&lease.worker),
                };
                is_its.then_some((kept, lease.expires_at))
            });
        let kept: Vec<_> = kept.collect();
        let reserved = self.jobs.reserve_in(tx, &kept).await;
        reserved.map_err(|error| store(error.into()))
    }

    /// Jobs of turns have ended; those turns that have not ended before end so too.
    async fn jobs_ended(
        self: &Arc<Self>,
        tx: &mut Tx,
        ended: &[(&Step<'_>, Context)],
    ) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = ended
            .iter()
            .map(|(step, context)| ThreadKey::new(step.tenant, &*context.thread))
            .collect();
        if self.apart {
            let unsaid: Vec<_> = keys
                .iter()
                .zip(ended)
                .map(|(key, (step, context))| {
                    let (status, says) = end_of(step);
                    let kind = state::ended_by(status);
                    self.unsaid(key, NewThreadEvent::of_turn(kind, &context.turn, &says))
                })
                .collect();
            return self.say(tx, &unsaid).await;
        }
        let mut locked: Vec<_> = keys.iter().collect();
        locked.sort_unstable();
        locked.dedup();
        self.store.lock_threads(tx, &locked).await?;
        let named: Vec<_> = keys
            .iter()
            .zip(ended)
            .map(|(key, (_, context))| (key, &*context.turn))
            .collect();
        let turns = self.store.lock_turns(tx, &named).await?;
        let mut ops = Vec::new();
        let mut ends = Vec::new();
        for (key, turn) in turns {
            let mine = keys.iter().zip(ended);
            let mut mine = mine.filter(|(k, (_, context))| {
                **k == key && *context.turn == turn.turn_id && !turn.status.is_terminal()
            });
            let Some((_, (step, _))) = mine.next() else {
                continue;
            };
            let (status, says) = end_of(step);
            let kind = state::ended_by(status);
            let event = NewThreadEvent::of_turn(kind, &turn.turn_id, &says);
            ops.push(ThreadAppend::new(key.clone(), vec![event]));
            ends.push(End {
                key,
                turn,
                status,
                error: says.error.map(str::to_owned),
                seq: 0,
            });
        }
        let ops: Vec<_> = ops.iter().collect();
        let stored = self.write(tx, &ops).await.map_err(store)?;
        for (end, stored) in ends.iter_mut().zip(stored.iter().flatten()) {
            end.seq = stored.seq;
        }
        self.finish(tx, &ends).await.map_err(store)
    }
}

fn distinct(mut keys: Vec<&ThreadKey>) -> Vec<&ThreadKey> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn end_of<'s>(step: &'s Step<'_>) -> (TurnStatus, Ended<'s>) {
    let (status, output, error) = match step.now {
        Status::Done => (TurnStatus::Completed, step.output, None),
        Status::Failed => (TurnStatus::Failed, None, step.error),
        Status::Cancelled | Status::Pending | Status::Running => {
            (TurnStatus::Cancelled, None, None)
        }
    };
    (status, Ended { output, error })
}

fn store(error: crate::Error) -> Error {
    match error {
        crate::Error::Store(error)
        | crate::Error::Events(tidewire_events::Error::Store(error))
        | crate::Error::Jobs(tidewire_jobs::Error::Store(error)) => error,
        error => Error::Broken(format!("a turn cannot follow its job: {error}")),
    }
}
