//! Which lines have grown: for whoever follows many of them by reading the table, and wants to sleep
//! while nothing comes.
//!
//! It costs an append a look at a list that is nearly always empty or has one entry. What is told
//! here is a hint, like everything live: a position that the line reached, never an event.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use tokio::sync::Notify;

use super::{Feeds, Line};

/// Tells which of a set of lines have grown, by whatever process.
pub struct Growth<L: Line> {
    watched: Arc<Watched<L::Key>>,
    feeds: Arc<Feeds<L>>,
}

struct Watched<K> {
    lines: Mutex<Lines<K>>,
    wake: Notify,
}

struct Lines<K> {
    /// How far each is known to reach.
    heads: HashMap<K, u64>,
    /// Those that grew since somebody asked.
    grown: HashMap<K, u64>,
}

impl<L: Line> Growth<L> {
    /// Nothing is watched at first.
    #[must_use]
    pub fn new(feeds: &Arc<Feeds<L>>) -> Self {
        let lines = Lines {
            heads: HashMap::new(),
            grown: HashMap::new(),
        };
        let growth = Growth {
            watched: Arc::new(Watched {
                lines: Mutex::new(lines),
                wake: Notify::new(),
            }),
            feeds: Arc::clone(feeds),
        };
        feeds.growths.add(&growth.watched);
        growth
    }

    /// From here on these lines are told about, and no others. To be called before their heads are
    /// read: what is appended in between is told then.
    pub fn watch(&self, keys: impl IntoIterator<Item = L::Key>) {
        let mut added = false;
        {
            let mut lines = self.watched.lock();
            let mut old = std::mem::take(&mut lines.heads);
            for key in keys {
                let known = old.remove(&key);
                added |= known.is_none();
                lines.heads.insert(key, known.unwrap_or(0));
            }
            let Lines { heads, grown } = &mut *lines;
            grown.retain(|key, _| heads.contains_key(key));
        }
        if added {
            self.feeds.somebody_joined();
        }
    }

    /// The lines that have grown since this was last asked, and where they were last seen to end.
    #[must_use]
    pub fn take(&self) -> HashMap<L::Key, u64> {
        std::mem::take(&mut self.watched.lock().grown)
    }

    /// Waits until a line has grown. Loses nothing if it is dropped.
    pub async fn changed(&self) {
        loop {
            let woken = self.watched.wake.notified();
            if !self.watched.lock().grown.is_empty() {
                return;
            }
            woken.await;
        }
    }
}

impl<K: Clone + Eq + Hash> Watched<K> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines<K>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self, key: &K, pos: u64) -> bool {
        let mut lines = self.lock();
        match lines.heads.get_mut(key) {
            Some(head) if pos > *head => *head = pos,
            _ => return false,
        }
        lines.grown.insert(key.clone(), pos);
        drop(lines);
        self.wake.notify_one();
        true
    }
}

/// All of them in this process.
pub(super) struct Growths<K>(RwLock<Vec<Weak<Watched<K>>>>);

impl<K> Default for Growths<K> {
    fn default() -> Self {
        Growths(RwLock::default())
    }
}

impl<K: Clone + Eq + Hash> Growths<K> {
    fn add(&self, watched: &Arc<Watched<K>>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(watched));
    }

    /// Tells that a line reaches `pos`; whether that was news to anybody.
    pub(super) fn committed(&self, key: &K, pos: u64) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut is_news = false;
        for watched in all.iter().filter_map(Weak::upgrade) {
            is_news |= watched.committed(key, pos);
        }
        is_news
    }

    /// Adds the lines that anybody watches.
    pub(super) fn watched(&self, keys: &mut Vec<K>) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for watched in all.iter().filter_map(Weak::upgrade) {
            keys.extend(watched.lock().heads.keys().cloned());
        }
    }
}
