//! What a hot log that is apart needs of the store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::value::RawValue;
use tidewire_core::Clock;
use tidewire_db::{Batch, Db, Keep, Lane, Result as DbResult, Tx};
use tidewire_events::{Append, StreamEnd, Stretch};
use tokio::sync::Notify;

use super::{Entry, Page};
use crate::{
    Error, TurnStatus,
    append::ThreadAppend,
    event::{NewThreadEvent, ThreadEvent},
    line,
    model::ThreadKey,
    service::Core,
};

/// The topic of the hint that the server has something to say.
const TOPIC: &str = "thread_outbox";

/// The store, as a hot log sees it. Cheap to clone.
#[derive(Clone)]
pub struct Kept {
    core: Arc<Core>,
    db: Db,
    reserves: Lane<Reserves>,
}

/// Places of a thread that a hot log may give out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Up to here.
    pub until: u64,
    /// Up to here they may have been given out by a log that has forgotten it.
    pub floor: u64,
    /// How often the log may have forgotten something before the block was taken.
    pub generation: u64,
}

/// What a log that is taken up still has of what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    Nothing,
    /// Something, and nobody can say whether it is all.
    Some,
    All,
}

/// A thread as the store knows it.
#[derive(Clone, Debug, Default)]
pub struct Cold {
    pub end: u64,
    /// Its open turns in their order, each with its state and its first `seq`.
    pub open: Vec<(String, TurnStatus, u64)>,
}

/// What the store knows of an operation.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Where each of its events stands, if it was there before.
    pub events: Vec<Option<u64>>,
    /// Its turns, each with its state, its first `seq` and the one that ended it.
    pub turns: HashMap<String, (TurnStatus, u64, Option<u64>)>,
}

/// What the server itself has to say on a thread.
#[derive(Clone, Debug)]
pub struct Unsaid {
    pub id: String,
    pub key: ThreadKey,
    pub turn_id: String,
    pub kind: String,
    pub payload: Box<RawValue>,
}

impl Unsaid {
    /// As an event, the same whenever it is said. It is no word of the turn's agent: a turn that has
    /// ended takes none of it.
    #[must_use]
    pub fn event(&self) -> NewThreadEvent {
        let mut event = NewThreadEvent::of_turn(&self.kind, &self.turn_id, &self.payload);
        event.event_id = Some(format!("said-{}", self.id));
        event
    }
}

impl Kept {
    pub(crate) fn new(core: &Arc<Core>, db: &Db) -> Self {
        Kept {
            reserves: db.lane(Reserves(Arc::downgrade(core))),
            core: Arc::clone(core),
            db: db.clone(),
        }
    }

    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.core.clock
    }

    #[must_use]
    pub fn new_id(&self) -> String {
        self.core.new_id()
    }

    /// The generation of a log that is in this life. It is a new one if the log was in another life
    /// before, unless it is certain that it has kept everything since; and if it knows nothing.
    pub async fn generation(&self, run: &str, memory: Memory) -> DbResult<u64> {
        let core = Arc::clone(&self.core);
        let run = run.to_owned();
        self.db
            .transact("threads.hot_log", move |tx| {
                let (core, run) = (Arc::clone(&core), run.clone());
                Box::pin(async move {
                    let (was, generation) = core.store.hot.lock_log(tx).await?;
                    let is_same = match memory {
                        Memory::Nothing => false,
                        Memory::Some => was == run,
                        Memory::All => !was.is_empty(),
                    };
                    if is_same && was == run {
                        return Ok::<_, tidewire_db::Error>(generation);
                    }
                    let generation = generation + u64::from(!is_same);
                    core.store.hot.set_log(tx, &run, generation).await?;
                    Ok(generation)
                })
            })
            .await
    }

    /// Reserves places of a thread up to `upto` and `more` behind it.
    pub async fn reserve(
        &self,
        key: &ThreadKey,
        upto: u64,
        more: u64,
        generation: u64,
    ) -> DbResult<Block> {
        let wanted = Reserve {
            key: key.clone(),
            upto,
            more,
            generation,
        };
        self.reserves.submit(wanted).await
    }

    /// What was reserved of these threads, each in its place.
    pub async fn blocks(&self, keys: &[ThreadKey]) -> DbResult<Vec<Option<Block>>> {
        let asked: Vec<_> = keys.iter().collect();
        let mut read = self.db.read();
        let found = self.core.store.hot.blocks(&mut read, &asked).await?;
        Ok(keys.iter().map(|key| found.get(key).copied()).collect())
    }

    pub async fn cold(&self, key: &ThreadKey) -> DbResult<Cold> {
        let mut read = self.db.read();
        // Turns first: what ends in between is read as open and seen to have ended by its events.
        let open = self.core.store.open(&mut read, &[key]).await?;
        let open = open.into_values().flatten();
        let open: Vec<_> = open.map(|turn| turn.turn_id).collect();
        let named: Vec<_> = open.iter().map(|turn| (key, turn.as_str())).collect();
        let turns = self.core.store.turns(&mut read, &named).await?;
        let mut turns: Vec<_> = turns.into_iter().map(|(_, turn)| turn).collect();
        turns.retain(|turn| !turn.status.is_terminal());
        turns.sort_by_key(|turn| turn.seq);
        let ends = self.ends(std::slice::from_ref(key)).await?;
        Ok(Cold {
            end: ends.first().map_or(0, |end| end.seq),
            open: turns
                .into_iter()
                .map(|turn| (turn.turn_id, turn.status, turn.seq))
                .collect(),
        })
    }

    pub async fn known(&self, key: &ThreadKey, events: &[NewThreadEvent]) -> DbResult<Known> {
        let log = events.iter().map(|event| event.to_log(key)).collect();
        let log = Append::new(Arc::clone(&key.tenant), log);
        let op = ThreadAppend::new(key.clone(), events.to_vec());
        let named: Vec<_> = op.turns().into_iter().map(|turn| (key, turn)).collect();
        let mut read = self.db.read();
        let turns = self.core.store.turns(&mut read, &named).await?;
        Ok(Known {
            events: self.core.events.known_seqs(&log).await?,
            turns: turns
                .into_iter()
                .map(|(_, turn)| (turn.turn_id, (turn.status, turn.seq, turn.ended_seq)))
                .collect(),
        })
    }

    /// Where threads end in the store.
    pub async fn ends(&self, keys: &[ThreadKey]) -> DbResult<Vec<StreamEnd>> {
        let streams: Vec<_> = keys.iter().map(ThreadKey::stream).collect();
        let pairs: Vec<_> = keys
            .iter()
            .zip(&streams)
            .map(|(key, stream)| (&*key.tenant, stream.as_str()))
            .collect();
        self.core.events.stream_ends(&pairs).await
    }

    /// What the store has of a thread.
    pub async fn read(
        &self,
        key: &ThreadKey,
        turn: Option<&str>,
        span: (u64, u64),
        most: Stretch,
    ) -> DbResult<Page> {
        let stream = key.stream();
        let id = (&*key.tenant, stream.as_str());
        let run = self.core.events.of_stream(id, turn, span, most).await?;
        let events = run.events.into_iter();
        let events: DbResult<_> = events
            .map(|event| ThreadEvent::of_log(&key.thread, event))
            .collect();
        Ok(Page {
            events: events?,
            is_all: run.is_all,
        })
    }

    /// Moves entries to the store, in their order and all or none. Those that are there already are
    /// left out.
    pub async fn persist(&self, entries: &[Entry]) -> Result<(), Error> {
        let (core, entries) = (Arc::clone(&self.core), entries.to_vec());
        self.db
            .transact("threads.persist", move |tx| {
                let (core, entries) = (Arc::clone(&core), entries.clone());
                Box::pin(async move { core.persist_in(tx, &entries).await })
            })
            .await
    }

    /// The oldest of what the server has to say.
    pub async fn unsaid(&self, limit: u32) -> DbResult<Vec<Unsaid>> {
        let mut read = self.db.read();
        self.core.store.hot.unsaid(&mut read, limit).await
    }

    /// The log has it.
    pub async fn said(&self, ids: Vec<String>) -> DbResult<()> {
        let core = Arc::clone(&self.core);
        self.db
            .transact("threads.said", move |tx| {
                let (core, ids) = (Arc::clone(&core), ids.clone());
                Box::pin(async move { core.store.hot.delete_unsaid(tx, &ids).await })
            })
            .await
    }

    /// Whether this process has written something to say that it does not know to be moved.
    #[must_use]
    pub fn has_unsaid(&self) -> bool {
        let outbox = &self.core.outbox;
        outbox.written.load(Ordering::SeqCst) > outbox.moved.load(Ordering::SeqCst)
    }

    /// How often this process has written something to say.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.core.outbox.written.load(Ordering::SeqCst)
    }

    /// All that was written before that is moved.
    pub fn moved(&self, written: u64) {
        self.core.outbox.moved.fetch_max(written, Ordering::SeqCst);
    }

    /// Waits until the server may have something to say. A hint: to be asked with a deadline.
    pub async fn has_something_to_say(&self) {
        let mut hints = self.db.hints().subscribe();
        let others = async {
            loop {
                match hints.recv().await {
                    Ok(hint) => match &*hint {
                        tidewire_db::Hint::One { topic, .. } if topic != TOPIC => {}
                        _ => return,
                    },
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => {
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        tokio::select! {
            () = self.core.outbox.wake.notified() => {}
            () = others => {}
        }
    }

    /// Hands to this process's followers what stands on a thread from one `seq` to another.
    pub fn tell(&self, key: &ThreadKey, span: (u64, u64), events: &[ThreadEvent]) {
        if let Some(feed) = self.core.feeds.get(key) {
            feed.publish(line::chunk(span, events));
        }
        self.core.feeds.committed(key, span.1);
    }

    /// Whether anybody of this process follows the thread.
    #[must_use]
    pub fn is_followed(&self, key: &ThreadKey) -> bool {
        self.core.feeds.get(key).is_some()
    }

    /// The threads that somebody of this process follows.
    #[must_use]
    pub fn followed(&self) -> Vec<ThreadKey> {
        self.core.feeds.followed()
    }

    /// How far a thread reaches.
    pub fn tell_end(&self, key: &ThreadKey, seq: u64) {
        self.core.feeds.committed(key, seq);
    }
}

impl Core {
    /// Keeps what the server has to say until the hot log has it.
    pub(crate) async fn say(self: &Arc<Self>, tx: &mut Tx, unsaid: &[Unsaid]) -> DbResult<()> {
        if unsaid.is_empty() {
            return Ok(());
        }
        self.store.hot.insert_unsaid(tx, unsaid).await?;
        let core = Arc::clone(self);
        tx.on_commit(move || {
            core.outbox.written.fetch_add(1, Ordering::SeqCst);
            core.outbox.wake.notify_one();
            core.hints.send(TOPIC, "", 1, Keep::Greatest);
        });
        Ok(())
    }
}

/// How often this process has put something there, how much of that is moved, and who wants to know.
#[derive(Default)]
pub(crate) struct Outbox {
    written: AtomicU64,
    moved: AtomicU64,
    wake: Notify,
}

#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    key: ThreadKey,
    upto: u64,
    more: u64,
    generation: u64,
}

/// The lane of blocks.
#[derive(Clone)]
pub(crate) struct Reserves(pub Weak<Core>);

impl Batch for Reserves {
    type In = Reserve;
    type Out = Block;

    const NAME: &'static str = "thread_blocks";
    const RANK: u8 = 55;
    const ROUND: usize = 500;
    const WRITER: &'static str = "thread_blocks";

    fn weight(&self, _: &Reserve) -> usize {
        1
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, ops: &'a [Reserve]) -> DbResult<Vec<Block>> {
        let core = Core::of(&self.0)?;
        let mut keys: BTreeMap<&ThreadKey, u64> = BTreeMap::new();
        for op in ops {
            keys.insert(&op.key, op.generation);
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let mut blocks = core.store.hot.lock_blocks(tx, &keys).await?;
        let mut answers = Vec::with_capacity(ops.len());
        for op in ops {
            let block = blocks.entry(op.key.clone()).or_default();
            *block = reserved(*block, op);
            answers.push(*block);
        }
        let blocks: Vec<_> = blocks.iter().map(|(key, block)| (key, *block)).collect();
        core.store.hot.set_blocks(tx, &blocks).await?;
        Ok(answers)
    }
}

/// What a block becomes. In a new generation everything below it may have been given out.
fn reserved(block: Block, op: &Reserve) -> Block {
    let floor = match block.generation < op.generation {
        true => block.until,
        false => block.floor,
    };
    // Whoever asks in an old generation has to learn of the new one.
    let wanted = op.upto.max(floor) + op.more;
    Block {
        until: match block.generation > op.generation {
            true => block.until,
            false => block.until.max(wanted),
        },
        floor,
        generation: block.generation.max(op.generation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_reserved_twice_across_generations() {
        let key = ThreadKey::new(&"t".into(), "x");
        let op = |upto, generation| Reserve {
            key: key.clone(),
            upto,
            more: 100,
            generation,
        };
        let first = reserved(Block::default(), &op(1, 1));
        assert_eq!((first.until, first.generation), (101, 1));
        let again = reserved(first, &op(150, 1));
        assert_eq!((again.until, again.floor), (250, 0));
        // The log has forgotten, and thinks that the thread ends where the store says.
        let next = reserved(again, &op(3, 2));
        assert_eq!((next.until, next.floor, next.generation), (350, 250, 2));
        // A process that has not noticed moves nothing.
        assert_eq!(reserved(next, &op(200, 1)), next);
    }
}
