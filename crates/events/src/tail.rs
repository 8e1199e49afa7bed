//! Following the log: history from the table, then live from the feed, joined at a known position.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::{
    Error, Filter,
    feed::{Chunk, Follower, Next, frames},
    service::Inner,
};

/// Events that a follower reads from the table at once, for itself.
const PAGE: u32 = 500;
/// Events that a follower reads at once for all: they may be large, and are kept.
const SHARED_PAGE: u32 = 200;
/// A follower that had caught up and is no further behind than this reads for all.
const NEAR: u64 = 2000;
/// A follower whose store cannot be read tries again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Where a follower starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Behind this position; 0 is the start.
    After(u64),
    Now,
}

struct Tail {
    log: Arc<Inner>,
    tenant: Arc<str>,
    filter: Filter,
    follower: Follower,
    pos: u64,
    /// It has reached the end of the log before: it is not in its history any more.
    live: bool,
}

/// Frames, in the order of the log, without a gap or a repeat, for ever.
pub(crate) async fn follow(
    log: Arc<Inner>,
    tenant: Arc<str>,
    filter: Filter,
    from: From,
) -> Result<impl Stream<Item = Bytes> + Send + 'static, Error> {
    // The feed first, the table after it: what commits in between is known to the feed.
    let follower = log.feeds.follow(&tenant);
    let head = log.store.head(&mut log.db.read(), &tenant).await?;
    follower.feed.committed(head);
    let end = follower.feed.head();
    let pos = match from {
        From::After(pos) if pos > end => return Err(Error::BeyondEnd { pos, end }),
        From::After(pos) => pos,
        From::Now => end,
    };
    let tail = Tail {
        log,
        tenant,
        filter,
        follower,
        pos,
        live: false,
    };
    Ok(stream::unfold(tail, |mut tail| async move {
        let bytes = tail.next().await;
        Some((bytes, tail))
    }))
}

impl Tail {
    async fn next(&mut self) -> Bytes {
        loop {
            match self.follower.feed.next(self.pos, &self.filter) {
                Next::Frames(bytes, pos) => {
                    self.pos = pos;
                    if !bytes.is_empty() {
                        return bytes;
                    }
                }
                Next::Behind(until) => match self.read(until).await {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return bytes,
                    Err(error) => {
                        tracing::warn!(%error, tenant = &*self.tenant, "a follower cannot read the log");
                        tokio::time::sleep(RETRY).await;
                    }
                },
                Next::Wait => {
                    self.live = true;
                    // The feed outlives this follower's hold on it, so there is always a sender.
                    let _ = self.follower.changed.changed().await;
                }
            }
        }
    }

    async fn read(&mut self, until: u64) -> tidewire_db::Result<Bytes> {
        if self.live && until - self.pos <= NEAR {
            self.read_for_all().await
        } else {
            self.page(until).await
        }
    }

    /// What another process committed is read by one of the followers and kept for the others, who
    /// all miss it at the same moment.
    async fn read_for_all(&mut self) -> tidewire_db::Result<Bytes> {
        let feed = Arc::clone(&self.follower.feed);
        let _turn = feed.reading.lock().await;
        // Whoever had the turn before may have read it.
        let Next::Behind(until) = feed.next(self.pos, &self.filter) else {
            return Ok(Bytes::new());
        };
        let last = until.min(self.pos + u64::from(SHARED_PAGE));
        let events = self
            .log
            .store
            .following(
                &mut self.log.db.read(),
                &self.tenant,
                &Filter::default(),
                (self.pos, last),
                SHARED_PAGE,
            )
            .await?;
        let chunk = Arc::new(Chunk::read(self.pos + 1, last, &events));
        feed.keep(Arc::clone(&chunk));
        let bytes = chunk.after(self.pos, &self.filter);
        self.pos = last;
        Ok(bytes)
    }

    async fn page(&mut self, until: u64) -> tidewire_db::Result<Bytes> {
        let mut reader = self.log.db.read();
        let span = (self.pos, until);
        let events = self
            .log
            .store
            .following(&mut reader, &self.tenant, &self.filter, span, PAGE)
            .await?;
        self.pos = match events.last() {
            Some(last) if events.len() == PAGE as usize => last.pos,
            // Less than a page: there is nothing else up to there.
            _ => until,
        };
        Ok(frames(&events))
    }
}
