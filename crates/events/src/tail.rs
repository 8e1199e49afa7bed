//! Following the log: history from the table, then live from the feed, joined at a known position.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::{
    Error, Filter,
    feed::{Follower, Next, frames},
    service::Inner,
};

/// Events read from the table at once.
const PAGE: u32 = 500;
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
                Next::Behind(head) => match self.page(head).await {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return bytes,
                    Err(error) => {
                        tracing::warn!(%error, tenant = &*self.tenant, "a follower cannot read the log");
                        tokio::time::sleep(RETRY).await;
                    }
                },
                Next::Wait => self.wait().await,
            }
        }
    }

    async fn page(&mut self, head: u64) -> tidewire_db::Result<Bytes> {
        let mut reader = self.log.db.read();
        let span = (self.pos, head);
        let events = self
            .log
            .store
            .following(&mut reader, &self.tenant, &self.filter, span, PAGE)
            .await?;
        self.pos = match events.last() {
            Some(last) if events.len() == PAGE as usize => last.pos,
            // Less than a page: there is nothing else up to the head.
            _ => head,
        };
        Ok(frames(&events))
    }

    async fn wait(&mut self) {
        let interval = self.log.settings.poll_interval;
        let woken = tokio::time::timeout(interval, self.follower.changed.changed()).await;
        if woken.is_err()
            && self
                .follower
                .feed
                .claim_check(self.log.clock.now(), interval)
        {
            match self
                .log
                .store
                .head(&mut self.log.db.read(), &self.tenant)
                .await
            {
                Ok(head) => self.follower.feed.committed(head),
                Err(error) => tracing::warn!(%error, "a follower cannot read the head of the log"),
            }
        }
    }
}
