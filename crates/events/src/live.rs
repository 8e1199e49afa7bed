//! Following live what is numbered without a gap: the logs of tenants, and threads.
//!
//! For each line that somebody follows, its newest stretch is kept as ready-made frames, shared by
//! all followers. A feed is filled after each commit of this process, and by whichever follower
//! first reads what another process committed. It is only a hint: it may forget anything, and a
//! follower whose position it does not hold reads what is stored. So followers cost the writer
//! nothing, however slow they are, and memory is bounded by the ring, not by them.

mod chunk;
mod growth;
mod ring;
mod tail;
mod watch;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tidewire_db::Result;
use tokio::sync::{Notify, watch as head};

use self::{
    growth::Growths,
    ring::{Found, Ring},
};

pub use self::{
    chunk::{Chunk, Frames},
    growth::Growth,
    tail::{BeyondEnd, From, Tail},
    watch::Watch,
};

/// A kind of line that is followed, and where its lines are stored.
pub trait Line: Send + Sync + 'static {
    /// Which line.
    type Key: Clone + Eq + Ord + Hash + fmt::Debug + Send + Sync + 'static;
    /// What a filter looks at.
    type Mark: Send + Sync + 'static;
    type Filter: Send + Sync + 'static;

    /// The topic of the hints that processes send each other; their value is a line's last position.
    const TOPIC: &'static str;
    /// The gauge of open followers.
    const FOLLOWERS: &'static str;

    /// The key as hints have it.
    fn hint(key: &Self::Key) -> String;
    fn heard(hint: &str) -> Option<Self::Key>;

    /// Whether a filter wants everything, so that nothing needs to be looked at.
    fn wants_all(filter: &Self::Filter) -> bool;
    fn wants(filter: &Self::Filter, mark: &Self::Mark) -> bool;
    /// Whether this is the last that a filter wants of a line, ever.
    fn ends(filter: &Self::Filter, mark: &Self::Mark) -> bool {
        let _ = (filter, mark);
        false
    }

    /// How far lines reach; those that are not there may be left out.
    fn heads(
        &self,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Vec<(Self::Key, u64)>>> + Send;

    /// What is stored behind the first position up to and including the second, up to so many
    /// frames; only what the filter wants, if there is one. What it answers says how far it looked.
    fn read(
        &self,
        key: &Self::Key,
        filter: Option<&Self::Filter>,
        span: (u64, u64),
        limit: u32,
    ) -> impl Future<Output = Result<Chunk<Self::Mark>>> + Send;
}

/// All feeds of one kind in this process.
pub struct Feeds<L: Line> {
    by_key: RwLock<HashMap<L::Key, Arc<Feed<L>>>>,
    joined: Notify,
    /// Those who want to know that a line has grown, and no more.
    growths: Growths<L::Key>,
}

impl<L: Line> Default for Feeds<L> {
    fn default() -> Self {
        Feeds {
            by_key: RwLock::default(),
            joined: Notify::new(),
            growths: Growths::default(),
        }
    }
}

impl<L: Line> Feeds<L> {
    /// The line's feed, if anybody follows it.
    pub fn get(&self, key: &L::Key) -> Option<Arc<Feed<L>>> {
        let feeds = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        feeds.get(key).map(Arc::clone)
    }

    /// Tells everybody who wants to know that a line reaches `pos`; whether that was news to anybody.
    pub fn committed(&self, key: &L::Key, pos: u64) -> bool {
        let followed = self.get(key).is_some_and(|feed| feed.committed(pos));
        self.growths.committed(key, pos) || followed
    }

    /// The lines that are followed, in whatever way.
    pub fn followed(&self) -> Vec<L::Key> {
        let mut keys: Vec<_> = {
            let feeds = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
            feeds.keys().cloned().collect()
        };
        self.growths.watched(&mut keys);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn somebody_joined(&self) {
        self.joined.notify_one();
    }

    /// Waits until somebody begins to follow.
    async fn joined(&self) {
        self.joined.notified().await;
    }

    /// Follows a line until the handle is dropped.
    pub fn follow(self: &Arc<Self>, key: &L::Key) -> Follower<L> {
        let mut feeds = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        let feed = feeds
            .entry(key.clone())
            .or_insert_with(|| Arc::new(Feed::new()));
        feed.followers.fetch_add(1, Ordering::Relaxed);
        let feed = Arc::clone(feed);
        drop(feeds);
        self.somebody_joined();
        metrics::gauge!(L::FOLLOWERS).increment(1.0);
        Follower {
            changed: feed.head.subscribe(),
            feed,
            feeds: Arc::clone(self),
            key: key.clone(),
        }
    }
}

/// One follower's hold on a feed.
pub struct Follower<L: Line> {
    feed: Arc<Feed<L>>,
    changed: head::Receiver<u64>,
    feeds: Arc<Feeds<L>>,
    key: L::Key,
}

impl<L: Line> Follower<L> {
    /// How far the line is known to reach.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.feed.head()
    }

    /// Tells what was read: where the line ends.
    pub fn committed(&self, pos: u64) {
        self.feed.committed(pos);
    }

    /// Waits until the line is known to reach beyond `pos`.
    pub async fn beyond(&mut self, pos: u64) {
        // The feed outlives this hold on it, so there is always a sender.
        let _ = self.changed.wait_for(|head| *head > pos).await;
    }
}

impl<L: Line> Drop for Follower<L> {
    fn drop(&mut self) {
        let mut feeds = self
            .feeds
            .by_key
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if self.feed.followers.fetch_sub(1, Ordering::Relaxed) == 1 {
            feeds.remove(&self.key);
        }
        metrics::gauge!(L::FOLLOWERS).decrement(1.0);
    }
}

/// One line, live.
pub struct Feed<L: Line> {
    ring: Mutex<Ring<L::Mark>>,
    /// The last position known to be committed.
    head: head::Sender<u64>,
    /// Held by the one follower that reads, for all, what this process did not commit.
    reading: tokio::sync::Mutex<()>,
    followers: AtomicUsize,
}

/// What a feed has for a follower.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Frames (perhaps none that the filter wants) and the position after them.
    Frames(Frames, u64),
    /// The position is not in the ring: read what is stored up to here.
    Behind(u64),
    /// Nothing is newer.
    Wait,
}

impl<L: Line> Feed<L> {
    fn new() -> Self {
        Feed {
            ring: Mutex::default(),
            head: head::Sender::new(0),
            reading: tokio::sync::Mutex::default(),
            followers: AtomicUsize::new(0),
        }
    }

    /// Takes what a commit of this process added.
    pub fn publish(&self, chunk: Chunk<L::Mark>) {
        let last = chunk.last();
        self.keep(Arc::new(chunk));
        self.committed(last);
    }

    /// Takes what is committed, if it has a place for it.
    fn keep(&self, chunk: Arc<Chunk<L::Mark>>) {
        self.ring().keep(chunk);
    }

    /// Tells followers that the line reaches `pos`, without having what is there; whether that is news.
    fn committed(&self, pos: u64) -> bool {
        self.head.send_if_modified(|head| {
            let newer = pos > *head;
            *head = pos.max(*head);
            newer
        })
    }

    fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// What comes after `pos`.
    fn next(&self, pos: u64, filter: &L::Filter) -> Next {
        let head = self.head();
        if pos >= head {
            return Next::Wait;
        }
        let found = self.ring().find(pos);
        match found {
            Found::In(chunk) => Next::Frames(chunk.after::<L>(pos, filter), chunk.last()),
            Found::Before(first) => Next::Behind(head.min(first - 1)),
            Found::Beyond => Next::Behind(head),
        }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring<L::Mark>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing.
const EMPTY: Bytes = Bytes::new();

#[cfg(test)]
mod tests;
