//! What was read of archives lately: their indexes, and lines of their members.
//!
//! Objects never change, so nothing here grows old; what was not used for longest makes room. Readers who
//! want the same at the same time wait for one fetch: whoever comes first makes it, and if they fail or
//! leave, the next one does.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    hash::Hash,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    metrics,
    object::{self, Index, TAIL, Tail},
    objects::{self, Objects},
};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// Bytes of indexes.
    pub indexes: usize,
    /// Bytes of lines.
    pub lines: usize,
    /// What one request fetches at most, unless that is one member.
    pub request: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings {
            indexes: 16 * 1024 * 1024,
            lines: 32 * 1024 * 1024,
            request: 4 * 1024 * 1024,
        }
    }
}

/// Why an archive could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Objects(#[from] objects::Error),
    #[error("the object `{key}` in {place} {what}")]
    Broken {
        key: String,
        place: String,
        what: object::Error,
    },
}

/// Reads archives, and remembers. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    objects: Objects,
    settings: CacheSettings,
    indexes: Shelf<Arc<str>, Arc<Index>>,
    /// By object and number of the member.
    members: Shelf<(Arc<str>, usize), Bytes>,
    fetched: AtomicU64,
}

impl Cache {
    #[must_use]
    pub fn new(objects: Objects, settings: CacheSettings) -> Self {
        Cache {
            inner: Arc::new(Inner {
                indexes: Shelf::new(settings.indexes),
                members: Shelf::new(settings.lines),
                objects,
                settings,
                fetched: AtomicU64::new(0),
            }),
        }
    }

    /// The index of an object of this length.
    pub async fn index(&self, key: &str, size: u64) -> Result<Arc<Index>, Error> {
        let (inner, name) = (&self.inner, Arc::<str>::from(key));
        if let Some(index) = inner.indexes.get(&name) {
            return Ok(index);
        }
        let turn = inner.indexes.turn(&name);
        let _turn = turn.lock().await;
        if let Some(index) = inner.indexes.get(&name) {
            return Ok(index);
        }
        let index = Arc::new(self.fetch_index(key, size).await?);
        inner.indexes.put(name, Arc::clone(&index), index.weight());
        Ok(index)
    }

    async fn fetch_index(&self, key: &str, size: u64) -> Result<Index, Error> {
        let mut range = size.saturating_sub(TAIL)..size;
        loop {
            let tail = self.inner.objects.range(key, range.clone()).await?;
            self.count(tail.len());
            let parsed = Index::parse(&tail, size).map_err(|what| self.broken(key, what))?;
            match parsed {
                Tail::Whole(index) => return Ok(index),
                Tail::Needs(more) => range = more,
            }
        }
    }

    fn broken(&self, key: &str, what: object::Error) -> Error {
        Error::Broken {
            key: key.to_owned(),
            place: self.inner.objects.place().to_owned(),
            what,
        }
    }

    /// The lines of these members, which ascend, each with their line breaks.
    pub async fn members(
        &self,
        key: &str,
        index: &Arc<Index>,
        wanted: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<Bytes>, Error> {
        let (members, name) = (&self.inner.members, Arc::<str>::from(key));
        let wanted: Vec<usize> = wanted.into_iter().collect();
        let mut found: Vec<Option<Bytes>> = self.known(&name, &wanted);
        let unknown = |found: &[Option<Bytes>]| -> Vec<usize> {
            let both = wanted.iter().zip(found);
            both.filter(|(_, lines)| lines.is_none())
                .map(|(&member, _)| member)
                .collect()
        };
        let missing = unknown(&found);
        metrics::looked_up(wanted.len() - missing.len(), missing.len());
        if missing.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        // All take their turns in ascending order, so nobody waits for somebody who waits for them.
        let mut turns = Vec::with_capacity(missing.len());
        for &member in &missing {
            turns.push(
                members
                    .turn(&(Arc::clone(&name), member))
                    .lock_owned()
                    .await,
            );
        }
        for (lines, &member) in found.iter_mut().zip(&wanted) {
            if lines.is_none() {
                *lines = members.get(&(Arc::clone(&name), member));
            }
        }
        let mut fetched = self.fetch(&name, index, unknown(&found)).await?.into_iter();
        let all = found
            .into_iter()
            .map(|lines| lines.or_else(|| fetched.next()));
        Ok(all.flatten().collect())
    }

    fn known(&self, name: &Arc<str>, wanted: &[usize]) -> Vec<Option<Bytes>> {
        let key = |&member: &usize| (Arc::clone(name), member);
        let found = wanted
            .iter()
            .map(key)
            .map(|key| self.inner.members.get(&key));
        found.collect()
    }

    async fn fetch(
        &self,
        name: &Arc<str>,
        index: &Arc<Index>,
        wanted: Vec<usize>,
    ) -> Result<Vec<Bytes>, Error> {
        let stretches = index.stretches(wanted, self.inner.settings.request);
        let ranges: Vec<Range<u64>> = stretches.iter().map(|one| one.bytes.clone()).collect();
        let packed = self.inner.objects.ranges(name, &ranges).await?;
        self.count(packed.iter().map(Bytes::len).sum());
        let of_index = Arc::clone(index);
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for (stretch, bytes) in stretches.into_iter().zip(packed) {
                for number in stretch.members {
                    let member = &of_index.members()[number];
                    let start = usize::try_from(member.offset - stretch.bytes.start)
                        .expect("within what was fetched");
                    let length = usize::try_from(member.length).expect("within what was fetched");
                    let lines = object::unpack(member, &bytes[start..start + length])?;
                    all.push((number, Bytes::from(lines)));
                }
            }
            Ok(all)
        });
        let unpacked = unpacked.await.expect("it does not panic");
        let unpacked = unpacked.map_err(|what| self.broken(name, what))?;
        let shelved = unpacked.into_iter().map(|(number, lines)| {
            let key = (Arc::clone(name), number);
            self.inner.members.put(key, lines.clone(), lines.len());
            lines
        });
        Ok(shelved.collect())
    }

    fn count(&self, bytes: usize) {
        self.inner
            .fetched
            .fetch_add(bytes as u64, Ordering::Relaxed);
        metrics::fetched(bytes as u64);
    }

    /// How many bytes of objects were fetched since this was made.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.inner.fetched.load(Ordering::Relaxed)
    }

    /// What is kept, in bytes: of indexes, and of lines.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.inner.indexes.kept(), self.inner.members.kept())
    }
}

/// Values by key, up to a weight; and whose turn it is to fetch one that is missing.
struct Shelf<K, V> {
    most: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    values: HashMap<K, Kept<V>>,
    weight: usize,
    /// Counts what is asked for, so that the least number was asked for longest ago.
    asked: u64,
    turns: HashMap<K, Weak<tokio::sync::Mutex<()>>>,
}

struct Kept<V> {
    value: V,
    weight: usize,
    asked: u64,
}

/// Beside the value itself: its key, and its places in the map.
const AROUND: usize = 200;

impl<K: Clone + Eq + Hash, V: Clone> Shelf<K, V> {
    fn new(most: usize) -> Self {
        Shelf {
            most,
            state: Mutex::new(State {
                values: HashMap::new(),
                weight: 0,
                asked: 0,
                turns: HashMap::new(),
            }),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &K) -> Option<V> {
        let mut state = self.state();
        state.asked += 1;
        let asked = state.asked;
        let kept = state.values.get_mut(key)?;
        kept.asked = asked;
        Some(kept.value.clone())
    }

    /// What whoever fetches this holds meanwhile.
    fn turn(&self, key: &K) -> Arc<tokio::sync::Mutex<()>> {
        const MANY: usize = 1000;
        let mut state = self.state();
        if let Some(turn) = state.turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        if state.turns.len() >= MANY {
            state.turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        state.turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }

    /// Keeps a value, and lets go of those that were not asked for for longest. One that is heavier than
    /// half of what is kept would push out too many, and is not kept.
    fn put(&self, key: K, value: V, weight: usize) {
        let weight = weight + AROUND;
        if weight > self.most / 2 {
            return;
        }
        let mut state = self.state();
        state.turns.remove(&key);
        state.asked += 1;
        let asked = state.asked;
        let kept = Kept {
            value,
            weight,
            asked,
        };
        state.weight += weight;
        if let Some(before) = state.values.insert(key, kept) {
            state.weight -= before.weight;
        }
        while state.weight > self.most {
            let oldest = state.values.iter().min_by_key(|(_, kept)| kept.asked);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some(gone) = state.values.remove(&oldest) {
                state.weight -= gone.weight;
            }
        }
    }

    fn kept(&self) -> usize {
        self.state().weight
    }
}
