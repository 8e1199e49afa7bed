//! Accepting turns.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{FieldError, Problem, ids, name};
use tidewire_db::{Batch, Result as DbResult, Tx};

use crate::{
    Error, TurnStatus,
    append::ThreadAppend,
    ending::Ready,
    event::{MAX_PAYLOAD, NewThreadEvent, check_json},
    metrics,
    model::ThreadKey,
    service::Core,
    store::NewTurnRow,
};

/// What is done about a turn whose thread has an open one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBusy {
    /// It waits for its turn.
    #[default]
    Enqueue,
    /// It is refused.
    Reject,
    /// The open turns are cancelled, those that wait too.
    Interrupt,
}

/// A turn as a client asks for it.
#[derive(Clone, Debug)]
pub struct NewTurn {
    pub thread_id: Option<String>,
    pub turn_id: Option<String>,
    pub input: Box<RawValue>,
    pub agent: Option<String>,
    pub on_busy: OnBusy,
}

/// The answer to a turn that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AcceptedTurn)]
pub struct Accepted {
    pub thread_id: String,
    pub turn_id: String,
    /// Always `accepted`: what has become of it since is with the turn.
    #[schema(value_type = String, example = "accepted")]
    pub status: TurnStatus,
    /// Of its `turn.started`.
    pub seq: u64,
    /// It was accepted by this request, and not by an earlier one.
    #[serde(skip)]
    pub created: bool,
}

impl Accepted {
    /// 200 for one that was accepted before.
    pub(crate) fn status_code(&self) -> u16 {
        if self.created { 202 } else { 200 }
    }
}

/// A turn with its ids. It has been checked.
#[derive(Clone, Debug)]
pub struct Accept {
    pub key: ThreadKey,
    pub turn_id: Arc<str>,
    pub input: Box<RawValue>,
    pub agent: Option<String>,
    pub on_busy: OnBusy,
}

impl NewTurn {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let mut errors = Vec::new();
        let mut note = |pointer: &str, result: Result<(), String>| {
            if let Err(detail) = result {
                errors.push(FieldError {
                    pointer: pointer.to_owned(),
                    detail,
                });
            }
        };
        for (pointer, id) in [
            ("/thread_id", &self.thread_id),
            ("/turn_id", &self.turn_id),
            ("/agent", &self.agent),
        ] {
            if let Some(id) = id {
                note(pointer, name::check(id, name::ID_MAX));
            }
        }
        check_json("/input", &self.input, MAX_PAYLOAD, &mut note);
        Problem::all(errors)
    }

    /// With the ids that are missing. A turn that is named without its thread makes one of its own
    /// name, so that the same request sent again finds it.
    pub(crate) fn with_ids(self, tenant: &Arc<str>, core: &Core) -> Accept {
        let thread = match (self.thread_id, &self.turn_id) {
            (Some(thread), _) => thread,
            (None, Some(turn)) => turn.clone(),
            (None, None) => ids::new_id(&core.clock),
        };
        let turn = self.turn_id.unwrap_or_else(|| ids::new_id(&core.clock));
        Accept {
            key: ThreadKey::new(tenant, thread),
            turn_id: turn.into(),
            input: self.input,
            agent: self.agent,
            on_busy: self.on_busy,
        }
    }
}

/// What came of asking for a turn.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Accepted(Accepted),
    /// The open turns have to be cancelled first.
    Interrupts,
}

/// The lane of turns that come.
pub(crate) struct Accepts(pub Weak<Core>);

impl Batch for Accepts {
    type In = Accept;
    type Out = Result<Asked, Error>;

    const NAME: &'static str = "turns";
    const RANK: u8 = 60;
    const ROUND: usize = 500;
    const WRITER: &'static str = "turns";

    fn weight(&self, turn: &Accept) -> usize {
        1 + turn.input.get().len() / 8192
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, ops: &'a [Accept]) -> DbResult<Vec<Self::Out>> {
        let core = Core::of(&self.0)?;
        let ops: Vec<_> = ops.iter().collect();
        match core.accept_in(tx, &ops).await {
            Ok(asked) => Ok(asked),
            Err(Error::Store(error)) => Err(error),
            Err(error) => Err(tidewire_db::Error::Broken(format!(
                "turns cannot be accepted: {error}"
            ))),
        }
    }
}

/// A turn on its way in.
struct Coming<'c> {
    op: &'c Accept,
    place: usize,
    id: String,
    /// Another is open before it.
    waits: bool,
}

/// What a turn's first event says.
#[derive(Serialize)]
struct Begun<'b> {
    input: &'b RawValue,
    agent: Option<&'b str>,
    attempt: u32,
}

impl Core {
    /// Accepts one turn, whatever has to be cancelled for it first.
    pub(crate) async fn accept_one_in(
        self: &Arc<Self>,
        tx: &mut Tx,
        op: &Accept,
    ) -> Result<Accepted, Error> {
        if op.on_busy == OnBusy::Interrupt {
            let known = self.store.turns(tx, &[(&op.key, &op.turn_id)]).await?;
            let open = self.store.open(tx, &[&op.key]).await?;
            let open = open.into_values().flatten();
            let open: Vec<_> = open.map(|turn| turn.turn_id).collect();
            if known.is_empty() && !open.is_empty() {
                let open: Vec<_> = open.iter().map(String::as_str).collect();
                let reason = format!("interrupted by the turn {}", op.turn_id);
                self.cancel_in(tx, &op.key, &open, Some(&reason), false)
                    .await?;
            }
        }
        let answers = self.accept_in(tx, &[op]).await?;
        match answers.into_iter().next() {
            Some(Ok(Asked::Accepted(accepted))) => Ok(accepted),
            Some(Err(error)) => Err(error),
            // It came between the look and the lock.
            Some(Ok(Asked::Interrupts)) | None => {
                Err(tx.yield_to_others("another turn has come").into())
            }
        }
    }

    /// Accepts turns inside a transaction, each taken or refused by itself.
    pub(crate) async fn accept_in(
        self: &Arc<Self>,
        tx: &mut Tx,
        ops: &[&Accept],
    ) -> Result<Vec<Result<Asked, Error>>, Error> {
        let mut keys: Vec<_> = ops.iter().map(|op| &op.key).collect();
        keys.sort_unstable();
        keys.dedup();
        self.lock_threads(tx, &keys).await?;
        let named: Vec<_> = ops.iter().map(|op| (&op.key, &*op.turn_id)).collect();
        let seen = self.store.turns(tx, &named).await?;
        let mut seen: HashMap<_, _> = seen
            .into_iter()
            .map(|(key, turn)| ((key, turn.turn_id), turn.seq))
            .collect();
        let open = self.store.open(tx, &keys).await?;
        let mut open: HashMap<_, Vec<_>> = open
            .into_iter()
            .map(|(key, open)| (key, open.into_iter().map(|o| o.turn_id).collect()))
            .collect();
        let mut coming: Vec<Coming<'_>> = Vec::new();
        let mut answers: Vec<Option<Result<Asked, Error>>> = Vec::with_capacity(ops.len());
        let mut again = Vec::new();
        for (place, op) in ops.iter().enumerate() {
            let id = (op.key.clone(), op.turn_id.to_string());
            if let Some(seq) = seen.get(&id) {
                answers.push(Some(Ok(Asked::Accepted(op.accepted(*seq, false)))));
                again.extend((*seq == 0).then_some(place));
                continue;
            }
            let open = open.entry(op.key.clone()).or_default();
            let refused = match (op.on_busy, open.first()) {
                (OnBusy::Reject, Some(turn)) => Some(Err(Error::Busy {
                    thread: op.key.thread.to_string(),
                    turn: turn.clone(),
                })),
                (OnBusy::Interrupt, Some(_)) => Some(Ok(Asked::Interrupts)),
                _ => None,
            };
            if refused.is_some() {
                answers.push(refused);
                continue;
            }
            let (waits, id) = (!open.is_empty(), self.new_id());
            open.push(op.turn_id.to_string());
            // Its place is not known yet.
            seen.insert((op.key.clone(), op.turn_id.to_string()), 0);
            answers.push(None);
            coming.push(Coming {
                op,
                place,
                id,
                waits,
            });
        }
        let seqs = self.take_in(tx, &coming).await?;
        for (coming, seq) in coming.iter().zip(&seqs) {
            answers[coming.place] = Some(Ok(Asked::Accepted(coming.op.accepted(*seq, true))));
        }
        // Those that came twice in one batch.
        for place in again {
            let same =
                |c: &&Coming<'_>| c.op.key == ops[place].key && c.op.turn_id == ops[place].turn_id;
            let first = coming.iter().zip(&seqs).find(|(c, _)| same(c));
            if let Some((_, seq)) = first {
                answers[place] = Some(Ok(Asked::Accepted(ops[place].accepted(*seq, false))));
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Records turns and queues those that need not wait; the places of their first events.
    async fn take_in(
        self: &Arc<Self>,
        tx: &mut Tx,
        coming: &[Coming<'_>],
    ) -> Result<Vec<u64>, Error> {
        if coming.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = coming.iter().map(|c| &c.op.key).collect();
        let keepers = self.store.keepers(tx, &keys).await?;
        let begun: Vec<_> = coming
            .iter()
            .map(|Coming { op, .. }| ThreadAppend::new(op.key.clone(), vec![op.begun()]))
            .collect();
        let begun: Vec<_> = begun.iter().collect();
        let stored = self.write(tx, &begun).await?;
        let seqs: Vec<_> = stored.iter().flatten().map(|one| one.seq).collect();
        let ready: Vec<_> = coming
            .iter()
            .zip(&seqs)
            .filter(|(coming, _)| !coming.waits)
            .map(|(Coming { op, .. }, seq)| Ready {
                key: &op.key,
                turn_id: &op.turn_id,
                agent: op.agent.as_deref(),
                input: Some(&op.input),
                seq: *seq,
                keeper: keepers.get(&op.key),
            })
            .collect();
        let jobs = self.queue(tx, &ready).await?;
        let mut jobs = jobs.iter().map(String::as_str);
        let rows: Vec<_> = coming
            .iter()
            .zip(&seqs)
            .map(|(coming, seq)| NewTurnRow {
                key: &coming.op.key,
                turn_id: &coming.op.turn_id,
                id: coming.id.clone(),
                status: TurnStatus::Accepted,
                agent: coming.op.agent.as_deref(),
                waits: coming.waits,
                job_id: if coming.waits { None } else { jobs.next() },
                seq: *seq,
                input: Some(&coming.op.input),
            })
            .collect();
        self.store.insert_turns(tx, &rows, self.clock.now()).await?;
        let count = coming.len() as u64;
        tx.on_commit(move || metrics::accepted(count));
        Ok(seqs)
    }
}

impl Accept {
    /// Its first event.
    #[must_use]
    pub fn begun(&self) -> NewThreadEvent {
        let says = Begun {
            input: &self.input,
            agent: self.agent.as_deref(),
            attempt: 1,
        };
        NewThreadEvent::of_turn("turn.started", &self.turn_id, &says)
    }

    /// Its answer.
    #[must_use]
    pub fn accepted(&self, seq: u64, created: bool) -> Accepted {
        Accepted {
            thread_id: self.key.thread.to_string(),
            turn_id: self.turn_id.to_string(),
            status: TurnStatus::Accepted,
            seq,
            created,
        }
    }
}
