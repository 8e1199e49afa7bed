//! Appending to threads.
//!
//! Most of what agents say changes nothing but the log: it goes by a lane, many operations in one
//! transaction. What makes a thread or a turn, starts a turn or ends it goes by a transaction of its
//! own, under the locks that this takes.

use std::sync::{Arc, Weak};

use serde::Serialize;
use tidewire_db::{Batch, Keep, Result as DbResult, Tx};
use tidewire_events::{Append, Appended, live::Line as _};

use crate::{
    Error, Turn, TurnStatus,
    ending::End,
    event::{NewThreadEvent, ThreadEvent},
    line::{self, Lines},
    metrics,
    model::ThreadKey,
    service::Core,
    state::{self, Over},
    store::NewTurnRow,
};

/// The answer to one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = StoredThreadEvent)]
pub struct Stored {
    pub event_id: String,
    pub seq: u64,
    /// Whether the `event_id` was seen before in the thread: `seq` is then the first one's.
    pub duplicated: bool,
    /// What the event's turn is now; null without a turn. An agent whose turn was ended by others
    /// learns it here.
    #[schema(required)]
    pub turn_status: Option<TurnStatus>,
}

/// One request's events for a thread: stored whole or not at all. They have been checked.
#[derive(Clone, Debug)]
pub struct ThreadAppend {
    pub key: ThreadKey,
    pub events: Vec<NewThreadEvent>,
    log: Append,
}

impl ThreadAppend {
    pub(crate) fn new(key: ThreadKey, events: Vec<NewThreadEvent>) -> Self {
        let log = events.iter().map(|event| event.to_log(&key)).collect();
        ThreadAppend {
            log: Append::new(Arc::clone(&key.tenant), log),
            key,
            events,
        }
    }

    /// Nothing in it ends a turn, so that it may change nothing but the log.
    pub(crate) fn is_plain(&self) -> bool {
        !self.events.iter().any(NewThreadEvent::is_ending)
    }

    /// The turns that its events name, each once.
    pub(crate) fn turns(&self) -> Vec<&str> {
        let named = self.events.iter().filter_map(|e| e.turn_id.as_deref());
        let mut turns: Vec<_> = named.collect();
        turns.sort_unstable();
        turns.dedup();
        turns
    }
}

/// The lane of what changes nothing but the log.
pub(crate) struct Appends(pub Weak<Core>);

/// Bytes that count as much as one event, so that a round of large payloads stays small.
const BYTES_A_ROW: usize = 8 << 10;

impl Batch for Appends {
    type In = ThreadAppend;
    /// `None` if it makes or starts a turn, and has to go the other way.
    type Out = Option<Vec<Stored>>;

    const NAME: &'static str = "thread_appends";
    // As late as the log's own.
    const RANK: u8 = 91;
    const ROUND: usize = 1000;
    const WRITER: &'static str = "events";

    fn weight(&self, op: &ThreadAppend) -> usize {
        let bytes: usize = op.events.iter().map(NewThreadEvent::bytes).sum();
        op.events.len().max(bytes / BYTES_A_ROW)
    }

    fn lock<'o>(&self, op: &'o ThreadAppend) -> Option<&'o str> {
        Some(op.log.lock())
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Tx,
        ops: &'a [ThreadAppend],
    ) -> DbResult<Vec<Option<Vec<Stored>>>> {
        let core = Core::of(&self.0)?;
        let turns_of = |op: &'a ThreadAppend| op.turns().into_iter().map(|turn| (&op.key, turn));
        let named: Vec<_> = ops.iter().flat_map(turns_of).collect();
        let statuses = core.store.statuses(tx, &named).await?;
        let status = |op: &ThreadAppend, turn: &str| {
            statuses.get(&(op.key.clone(), turn.to_owned())).copied()
        };
        let bare: Vec<_> = ops.iter().filter(|op| op.turns().is_empty()).collect();
        let bare: Vec<_> = bare.iter().map(|op| &op.key).collect();
        let there = core.existing(tx, &bare).await?;
        let changes_nothing = |op: &&ThreadAppend| {
            let turns = op.turns();
            let is_settled =
                |turn: &&str| status(op, turn).is_some_and(|status| status != TurnStatus::Accepted);
            turns.iter().all(is_settled) && (!turns.is_empty() || there.contains(&op.key))
        };
        let plain: Vec<_> = ops.iter().filter(changes_nothing).collect();
        let logs: Vec<_> = plain.iter().map(|op| op.log.clone()).collect();
        let stored = core.events.append_locked_in(tx, &logs).await?;
        let stored = core.announced(tx, &plain, stored)?;
        let mut stored = plain
            .iter()
            .zip(stored)
            .map(|(op, stored)| answer(op, stored, |turn| status(op, turn)));
        Ok(ops
            .iter()
            .map(|op| changes_nothing(&op).then(|| stored.next()).flatten())
            .collect())
    }
}

impl Core {
    /// Appends inside a transaction, at its end.
    pub(crate) async fn write(
        self: &Arc<Self>,
        tx: &mut Tx,
        ops: &[&ThreadAppend],
    ) -> Result<Vec<Vec<Appended>>, Error> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let logs: Vec<_> = ops.iter().map(|op| op.log.clone()).collect();
        let answers = self.events.append_in(tx, &logs).await?;
        Ok(self.announced(tx, ops, answers)?)
    }

    /// Hands what is appended to those who follow the threads, once it is committed.
    fn announced(
        self: &Arc<Self>,
        tx: &mut Tx,
        ops: &[&ThreadAppend],
        answers: Vec<Result<Vec<Appended>, tidewire_events::Error>>,
    ) -> DbResult<Vec<Vec<Appended>>> {
        let answers: Vec<_> = answers
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| {
                // Nothing was expected of the stream that it could refuse.
                tidewire_db::Error::Broken(format!("the log refused what is kept there: {error}"))
            })?;
        let mut told = Vec::with_capacity(ops.len());
        let mut count = 0;
        for (op, stored) in ops.iter().zip(&answers) {
            let new = || op.events.iter().zip(stored).filter(|(_, s)| !s.duplicated);
            let (Some((_, first)), Some((_, last))) = (new().next(), new().next_back()) else {
                continue;
            };
            let span = (first.seq, last.seq);
            count += new().count() as u64;
            let live = self.feeds.get(&op.key).map(|feed| {
                let events: Vec<_> = new()
                    .map(|(event, s)| {
                        ThreadEvent::stored(&op.key, event, (&s.id, s.seq, s.created_at))
                    })
                    .collect();
                (feed, line::chunk(span, &events))
            });
            told.push((op.key.clone(), last.seq, live));
        }
        let core = Arc::clone(self);
        tx.on_commit(move || {
            metrics::stored(count);
            for (key, last, live) in told {
                if let Some((feed, chunk)) = live {
                    feed.publish(chunk);
                }
                // Who began to follow between here and the commit has no chunk, but needs the
                // wake-up.
                core.feeds.committed(&key, last);
                let value = i64::try_from(last).unwrap_or(i64::MAX);
                core.hints
                    .send(Lines::TOPIC, &Lines::hint(&key), value, Keep::Greatest);
            }
        });
        Ok(answers)
    }

    /// Appends what may make a thread or a turn, start a turn or end it.
    pub(crate) async fn append_in(
        self: &Arc<Self>,
        tx: &mut Tx,
        op: &ThreadAppend,
    ) -> Result<Vec<Stored>, Error> {
        let key = &op.key;
        let named: Vec<_> = op.turns().into_iter().map(|turn| (key, turn)).collect();
        let seen = self.store.turns(tx, &named).await?;
        // What was stored before says nothing again.
        let known = self
            .events
            .known_in(tx, std::slice::from_ref(&op.log))
            .await?;
        let known = known.into_iter().next().unwrap_or_default();
        let steps = steps(op, &known, &seen)?;
        let ends = |step: &&Step<'_>| step.ends();
        for step in steps.iter().filter(ends) {
            if let Some(job) = step.was.and_then(|turn| turn.job_id.as_deref()) {
                self.settle_job(tx, &key.tenant, job, step.now, step.error.as_deref())
                    .await?;
            }
        }
        self.lock_threads(tx, &[key]).await?;
        // Rows as they are under the lock: what they were is what was decided by.
        let locked = self.store.lock_turns(tx, &named).await?;
        if !same(&seen, &locked) {
            return Err(tx.yield_to_others("a turn went on meanwhile").into());
        }
        let answers = self.write(tx, &[op]).await?;
        let stored = answers.into_iter().next().unwrap_or_default();
        self.write_steps(tx, op, &steps, &stored).await?;
        let status = |turn: &str| steps.iter().find(|step| step.turn == turn).map(|s| s.now);
        Ok(answer(op, stored, status))
    }

    async fn write_steps(
        self: &Arc<Self>,
        tx: &mut Tx,
        op: &ThreadAppend,
        steps: &[Step<'_>],
        stored: &[Appended],
    ) -> Result<(), Error> {
        let key = &op.key;
        let new: Vec<_> = steps.iter().filter(|step| step.was.is_none()).collect();
        let rows: Vec<_> = new
            .iter()
            .map(|step| NewTurnRow {
                key,
                turn_id: step.turn,
                id: self.new_id(),
                status: TurnStatus::Running,
                agent: None,
                job_id: None,
                seq: stored[step.first].seq,
                input: None,
                waits: false,
            })
            .collect();
        let now = self.clock.now();
        self.store.insert_turns(tx, &rows, now).await?;
        let (mut ends, mut begun) = (Vec::new(), Vec::new());
        for step in steps.iter().filter(|step| step.is_news()) {
            let turn = match step.was {
                Some(turn) => turn.clone(),
                None => Turn::begun(key, step.turn, stored[step.first].seq, now),
            };
            match step.end {
                Some(place) => ends.push(End {
                    key: key.clone(),
                    turn,
                    status: step.now,
                    error: step.error.clone(),
                    seq: stored[place].seq,
                }),
                None if step.was.is_some() => begun.push(turn),
                None => {}
            }
        }
        self.begin(tx, key, &begun, now).await?;
        self.finish(tx, &ends).await
    }
}

/// What one operation makes of one turn.
struct Step<'s> {
    turn: &'s str,
    was: Option<&'s Turn>,
    now: TurnStatus,
    /// Its first event among those of the operation.
    first: usize,
    /// The event that ends it.
    end: Option<usize>,
    error: Option<String>,
}

impl Step<'_> {
    fn ends(&self) -> bool {
        self.end.is_some()
    }

    fn is_news(&self) -> bool {
        self.was.is_none_or(|turn| turn.status != self.now)
    }
}

fn steps<'s>(
    op: &'s ThreadAppend,
    known: &[bool],
    seen: &'s [(ThreadKey, Turn)],
) -> Result<Vec<Step<'s>>, Error> {
    let mut steps: Vec<Step<'s>> = Vec::new();
    for (place, event) in op.events.iter().enumerate() {
        let Some(turn) = event.turn_id.as_deref() else {
            continue;
        };
        let at = match steps.iter().position(|step| step.turn == turn) {
            Some(at) => at,
            None => {
                let was = seen
                    .iter()
                    .map(|(_, turn)| turn)
                    .find(|t| t.turn_id == turn);
                steps.push(Step {
                    turn,
                    was,
                    now: was.map_or(TurnStatus::Accepted, |turn| turn.status),
                    first: place,
                    end: None,
                    error: None,
                });
                steps.len() - 1
            }
        };
        if known.get(place).copied().unwrap_or_default() {
            continue;
        }
        let step = &mut steps[at];
        step.now = match state::after(step.now, &event.kind) {
            Ok(now) => {
                if now.is_terminal() && !step.now.is_terminal() {
                    step.end = Some(place);
                    step.error = event.reason();
                }
                now
            }
            Err(Over(status)) => {
                let turn = turn.to_owned();
                return Err(Error::Over { turn, status });
            }
        };
    }
    Ok(steps)
}

pub(crate) fn same(seen: &[(ThreadKey, Turn)], locked: &[(ThreadKey, Turn)]) -> bool {
    let facts = |turns: &[(ThreadKey, Turn)]| {
        let mut facts: Vec<_> = turns
            .iter()
            .map(|(_, t)| (t.turn_id.clone(), t.status.as_str(), t.job_id.clone()))
            .collect();
        facts.sort_unstable();
        facts
    };
    facts(seen) == facts(locked)
}

/// The answers to an operation's events.
pub(crate) fn answer(
    op: &ThreadAppend,
    stored: Vec<Appended>,
    status: impl Fn(&str) -> Option<TurnStatus>,
) -> Vec<Stored> {
    let events = op.events.iter().zip(stored);
    events
        .map(|(event, stored)| Stored {
            event_id: event.event_id.clone().unwrap_or(stored.id),
            seq: stored.seq,
            duplicated: stored.duplicated,
            turn_status: event.turn_id.as_deref().and_then(&status),
        })
        .collect()
}
