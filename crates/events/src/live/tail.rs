//! Following a line: history from what is stored, then live from the feed, joined at a known
//! position.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::{Feeds, Follower, Frames, Line, Next};

/// What a follower reads at once from what is stored, for itself.
const PAGE: u32 = 500;
/// What a follower reads at once for all: it may be large, and is kept.
const SHARED_PAGE: u32 = 200;
/// A follower that had caught up and is no further behind than this reads for all.
const NEAR: u64 = 2000;
/// A follower whose store cannot be read tries again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Where a follower starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Behind this position; 0 is the start.
    After(u64),
    Now,
}

/// A follower would start behind the end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondEnd {
    pub pos: u64,
    pub end: u64,
}

/// A follower with its place on the line.
pub struct Tail<L: Line> {
    line: Arc<L>,
    filter: L::Filter,
    follower: Follower<L>,
    pos: u64,
    /// It has reached the end of the line before: it is not in its history any more.
    live: bool,
    ended: bool,
}

impl<L: Line> Tail<L> {
    pub async fn start(
        line: Arc<L>,
        feeds: &Arc<Feeds<L>>,
        key: &L::Key,
        filter: L::Filter,
        from: From,
    ) -> tidewire_db::Result<Result<Self, BeyondEnd>> {
        // The feed first, what is stored after it: what commits in between is known to the feed.
        let follower = feeds.follow(key);
        let heads = line.heads(std::slice::from_ref(key)).await?;
        if let Some((_, head)) = heads.first() {
            follower.committed(*head);
        }
        let end = follower.head();
        let pos = match from {
            From::After(pos) if pos > end => return Ok(Err(BeyondEnd { pos, end })),
            From::After(pos) => pos,
            From::Now => end,
        };
        Ok(Ok(Tail {
            line,
            filter,
            follower,
            pos,
            live: false,
            ended: false,
        }))
    }

    /// Frames, in the order of the line, without a gap or a repeat; behind the last one that the
    /// filter wants comes `farewell`, else they go on for ever.
    pub fn frames(self, farewell: Bytes) -> impl Stream<Item = Bytes> + Send + 'static {
        stream::unfold((self, farewell), |(mut tail, farewell)| async move {
            if tail.ended {
                return None;
            }
            let Frames { bytes, is_end } = tail.next().await;
            tail.ended = is_end;
            let bytes = if is_end {
                Bytes::from([bytes, farewell.clone()].concat())
            } else {
                bytes
            };
            Some((bytes, (tail, farewell)))
        })
    }

    async fn next(&mut self) -> Frames {
        loop {
            match self.follower.feed.next(self.pos, &self.filter) {
                Next::Frames(frames, pos) => {
                    self.pos = pos;
                    if !frames.bytes.is_empty() {
                        return frames;
                    }
                }
                Next::Behind(until) => match self.read(until).await {
                    Ok(frames) if frames.bytes.is_empty() => {}
                    Ok(frames) => return frames,
                    Err(error) => {
                        tracing::warn!(%error, of = ?self.follower.key, "a follower cannot read what is stored");
                        tokio::time::sleep(RETRY).await;
                    }
                },
                Next::Wait => {
                    self.live = true;
                    self.follower.beyond(self.pos).await;
                }
            }
        }
    }

    async fn read(&mut self, until: u64) -> tidewire_db::Result<Frames> {
        if self.live && until - self.pos <= NEAR {
            return self.read_for_all().await;
        }
        let span = (self.pos, until);
        let filter = Some(&self.filter);
        let key = &self.follower.key;
        let chunk = self.line.read(key, filter, span, PAGE).await?;
        let frames = chunk.after::<L>(self.pos, &self.filter);
        self.pos = chunk.last();
        Ok(frames)
    }

    /// What another process committed is read by one of the followers and kept for the others, who
    /// all miss it at the same moment.
    async fn read_for_all(&mut self) -> tidewire_db::Result<Frames> {
        let feed = Arc::clone(&self.follower.feed);
        let _turn = feed.reading.lock().await;
        // Whoever had the turn before may have read it.
        let Next::Behind(until) = feed.next(self.pos, &self.filter) else {
            return Ok(Frames::default());
        };
        let span = (self.pos, until.min(self.pos + u64::from(SHARED_PAGE)));
        let key = &self.follower.key;
        let chunk = Arc::new(self.line.read(key, None, span, SHARED_PAGE).await?);
        feed.keep(Arc::clone(&chunk));
        let frames = chunk.after::<L>(self.pos, &self.filter);
        self.pos = chunk.last();
        Ok(frames)
    }
}
