//! How many more jobs of limited queues may begin.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use tidewire_db::{Result, Tx};

use crate::{
    board::LaneKey,
    settings::JobSettings,
    store::{Pair, Store},
};

/// Queues that are remembered to have a row to lock; past it, memory starts anew.
const REMEMBERED: usize = 100_000;

/// The queues whose rows stand, as far as this process knows.
#[derive(Clone, Default)]
pub(super) struct Made(Arc<Mutex<HashSet<Pair>>>);

impl Made {
    fn has(&self, pair: &Pair) -> bool {
        self.lock().contains(pair)
    }

    fn add(&self, pairs: Vec<Pair>) {
        let mut made = self.lock();
        if made.len() > REMEMBERED {
            made.clear();
        }
        made.extend(pairs);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Pair>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may begin in one transaction.
pub(super) struct Limits {
    limits: HashMap<Arc<str>, u32>,
    room: HashMap<Pair, Room>,
    made: Made,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// So many more.
    Left(u32),
    /// Another process begins jobs of it at this moment.
    Busy,
}

fn pair(lane: &LaneKey) -> Pair {
    (Arc::clone(&lane.tenant), Arc::clone(&lane.queue))
}

impl Limits {
    pub(super) fn new(settings: &JobSettings, made: &Made) -> Self {
        let limits = settings.queue_limits.iter();
        Limits {
            limits: limits
                .map(|(queue, limit)| (queue.as_str().into(), *limit))
                .collect(),
            room: HashMap::new(),
            made: made.clone(),
        }
    }

    /// Finds out about the queues of these lanes, which nobody else begins jobs of until the end of
    /// the transaction.
    pub(super) async fn open<'l>(
        &mut self,
        store: &Store,
        tx: &mut Tx,
        lanes: impl Iterator<Item = &'l LaneKey>,
    ) -> Result<()> {
        if self.limits.is_empty() {
            return Ok(());
        }
        let asked: BTreeSet<_> = lanes
            .filter(|lane| self.limits.contains_key(&lane.queue))
            .map(pair)
            .filter(|pair| !self.room.contains_key(pair))
            .collect();
        let mut asked: Vec<_> = asked.into_iter().collect();
        if asked.is_empty() {
            return Ok(());
        }
        if store.is_shared() {
            asked = self.lock(store, tx, asked).await?;
        }
        let running = store.running(tx, &asked).await?;
        for (pair, running) in asked.into_iter().zip(running) {
            let limit = self.limits.get(&pair.1).copied().unwrap_or(u32::MAX);
            let running = u32::try_from(running).unwrap_or(u32::MAX);
            self.room
                .insert(pair, Room::Left(limit.saturating_sub(running)));
        }
        Ok(())
    }

    /// Those that could be locked.
    async fn lock(&mut self, store: &Store, tx: &mut Tx, asked: Vec<Pair>) -> Result<Vec<Pair>> {
        let new: Vec<_> = asked
            .iter()
            .filter(|pair| !self.made.has(pair))
            .cloned()
            .collect();
        if !new.is_empty() {
            store.make_limits(tx, &new).await?;
            let made = self.made.clone();
            tx.on_commit(move || made.add(new));
        }
        let locked = store.lock_limits(tx, &asked).await?;
        let (mine, busy): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .zip(locked)
            .partition(|(_, locked)| *locked);
        let busy = busy.into_iter().map(|(pair, _)| (pair, Room::Busy));
        self.room.extend(busy);
        Ok(mine.into_iter().map(|(pair, _)| pair).collect())
    }

    pub(super) fn room(&self, lane: &LaneKey) -> Room {
        if self.limits.is_empty() {
            return Room::Left(u32::MAX);
        }
        let known = self.room.get(&pair(lane));
        known.copied().unwrap_or(Room::Left(u32::MAX))
    }

    /// So many of the lane begin.
    pub(super) fn take(&mut self, lane: &LaneKey, count: u32) {
        if self.limits.is_empty() {
            return;
        }
        if let Some(Room::Left(left)) = self.room.get_mut(&pair(lane)) {
            *left = left.saturating_sub(count);
        }
    }
}
