//! Live delivery inside this process: for each tenant that somebody follows, the newest events as
//! ready-made frames, shared by all followers.
//!
//! A feed is filled after each commit of this process, and by whichever follower first reads what
//! another process committed. It is only a hint: it may forget anything, and a follower whose
//! position it does not hold reads the table. So followers cost the writer nothing, however slow
//! they are, and memory is bounded by the ring, not by them.

mod chunk;
mod ring;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

pub(crate) use self::chunk::{Chunk, frames};
use self::ring::{Found, Ring};
use crate::{Filter, growth::Growths};

/// All feeds of this process.
#[derive(Default)]
pub(crate) struct Feeds {
    by_tenant: RwLock<HashMap<Arc<str>, Arc<Feed>>>,
    joined: Notify,
    /// Those who want to know that a log has grown, and no more.
    pub(crate) growths: Growths,
}

impl Feeds {
    /// The tenant's feed, if anybody follows it.
    pub(crate) fn get(&self, tenant: &str) -> Option<Arc<Feed>> {
        let feeds = self
            .by_tenant
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        feeds.get(tenant).map(Arc::clone)
    }

    /// Tells everybody who wants to know that a log reaches `pos`; whether that was news to anybody.
    pub(crate) fn committed(&self, tenant: &str, pos: u64) -> bool {
        let followed = self.get(tenant).is_some_and(|feed| feed.committed(pos));
        self.growths.committed(tenant, pos) || followed
    }

    /// The tenants that are followed, in whatever way.
    pub(crate) fn followed(&self) -> Vec<Arc<str>> {
        let mut tenants: Vec<_> = {
            let feeds = self
                .by_tenant
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            feeds.keys().map(Arc::clone).collect()
        };
        self.growths.watched(&mut tenants);
        tenants.sort_unstable();
        tenants.dedup();
        tenants
    }

    pub(crate) fn somebody_joined(&self) {
        self.joined.notify_one();
    }

    /// Waits until somebody begins to follow.
    pub(crate) async fn joined(&self) {
        self.joined.notified().await;
    }

    /// Follows a tenant until the handle is dropped.
    pub(crate) fn follow(self: &Arc<Self>, tenant: &Arc<str>) -> Follower {
        let mut feeds = self
            .by_tenant
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let feed = feeds
            .entry(Arc::clone(tenant))
            .or_insert_with(|| Arc::new(Feed::new()));
        feed.followers.fetch_add(1, Ordering::Relaxed);
        let feed = Arc::clone(feed);
        drop(feeds);
        self.somebody_joined();
        metrics::gauge!("tidewire_event_tail_subscribers").increment(1.0);
        Follower {
            changed: feed.head.subscribe(),
            feed,
            feeds: Arc::clone(self),
            tenant: Arc::clone(tenant),
        }
    }
}

/// One follower's hold on a feed.
pub(crate) struct Follower {
    pub(crate) feed: Arc<Feed>,
    pub(crate) changed: watch::Receiver<u64>,
    feeds: Arc<Feeds>,
    tenant: Arc<str>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut feeds = self
            .feeds
            .by_tenant
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if self.feed.followers.fetch_sub(1, Ordering::Relaxed) == 1 {
            feeds.remove(&self.tenant);
        }
        metrics::gauge!("tidewire_event_tail_subscribers").decrement(1.0);
    }
}

/// One tenant's live events.
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    /// The last position known to be committed.
    head: watch::Sender<u64>,
    /// Held by the one follower that reads, for all, what this process did not commit.
    pub(crate) reading: tokio::sync::Mutex<()>,
    followers: AtomicUsize,
}

/// What a feed has for a follower.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Frames (perhaps none that the filter wants) and the position after them.
    Frames(Bytes, u64),
    /// The position is not in the ring: read the table up to here.
    Behind(u64),
    /// Nothing is newer.
    Wait,
}

impl Feed {
    fn new() -> Self {
        Feed {
            ring: Mutex::default(),
            head: watch::Sender::new(0),
            reading: tokio::sync::Mutex::default(),
            followers: AtomicUsize::new(0),
        }
    }

    /// Takes what a commit of this process added.
    pub(crate) fn publish(&self, chunk: Chunk) {
        let last = chunk.last();
        self.keep(Arc::new(chunk));
        self.committed(last);
    }

    /// Takes what is committed, if it has a place for it.
    pub(crate) fn keep(&self, chunk: Arc<Chunk>) {
        self.ring().keep(chunk);
    }

    /// Tells followers that the log reaches `pos`, without having the events; whether that is news.
    pub(crate) fn committed(&self, pos: u64) -> bool {
        self.head.send_if_modified(|head| {
            let newer = pos > *head;
            *head = pos.max(*head);
            newer
        })
    }

    pub(crate) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// What comes after `pos`.
    pub(crate) fn next(&self, pos: u64, filter: &Filter) -> Next {
        let head = self.head();
        if pos >= head {
            return Next::Wait;
        }
        let found = self.ring().find(pos);
        match found {
            Found::In(chunk) => Next::Frames(chunk.after(pos, filter), chunk.last()),
            Found::Before(first) => Next::Behind(head.min(first - 1)),
            Found::Beyond => Next::Behind(head),
        }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
