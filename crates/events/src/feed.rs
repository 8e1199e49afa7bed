//! Live delivery inside this process: for each tenant that somebody follows, the newest events as
//! ready-made frames, shared by all followers.
//!
//! A feed is filled after each commit, in log order. It is only a hint: it may forget anything, and
//! a follower whose position it no longer holds reads the table. So followers cost the writer
//! nothing, however slow they are, and memory is bounded by the ring, not by them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tidewire_core::Time;
use tidewire_http::sse;
use tokio::sync::watch;

use crate::{Event, Filter, number::Numbered};

/// A ring holds at most this much; whoever is further behind reads the table.
const RING_BYTES: usize = 8 << 20;
const RING_EVENTS: usize = 65_536;

/// All feeds of this process.
#[derive(Default)]
pub(crate) struct Feeds {
    by_tenant: RwLock<HashMap<Arc<str>, Arc<Feed>>>,
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
    followers: AtomicUsize,
    /// When the head was last compared with the table, in microseconds.
    checked: AtomicU64,
}

/// Contiguous chunks of the log, the newest last.
#[derive(Default)]
struct Ring {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    events: usize,
}

/// What one commit added for one tenant.
pub(crate) struct Chunk {
    first: u64,
    last: u64,
    bytes: Bytes,
    frames: Vec<Frame>,
}

/// The part of a chunk that is one event.
struct Frame {
    pos: u64,
    end: usize,
    kind: Box<str>,
    stream: Box<str>,
}

/// What a feed has for a follower.
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
            followers: AtomicUsize::new(0),
            checked: AtomicU64::new(0),
        }
    }

    /// Takes what a commit added.
    pub(crate) fn publish(&self, chunk: Chunk) {
        let last = chunk.last;
        {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            if ring
                .chunks
                .back()
                .is_some_and(|newest| newest.last + 1 != chunk.first)
            {
                *ring = Ring::default();
            }
            ring.bytes += chunk.bytes.len();
            ring.events += chunk.frames.len();
            ring.chunks.push_back(Arc::new(chunk));
            while ring.chunks.len() > 1 && (ring.bytes > RING_BYTES || ring.events > RING_EVENTS) {
                if let Some(oldest) = ring.chunks.pop_front() {
                    ring.bytes -= oldest.bytes.len();
                    ring.events -= oldest.frames.len();
                }
            }
        }
        self.committed(last);
    }

    /// Tells followers that the log reaches `pos`, without having the events.
    pub(crate) fn committed(&self, pos: u64) {
        self.head.send_if_modified(|head| {
            let newer = pos > *head;
            *head = pos.max(*head);
            newer
        });
    }

    pub(crate) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// Whether it is this caller's turn to compare the head with the table: one of all followers
    /// does so in each `interval`, in case a wake-up was lost.
    pub(crate) fn claim_check(&self, now: Time, interval: std::time::Duration) -> bool {
        let now = u64::try_from(now.micros()).unwrap_or(0);
        let last = self.checked.load(Ordering::Relaxed);
        let interval = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        now.saturating_sub(last) >= interval
            && self
                .checked
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// What comes after `pos`.
    pub(crate) fn next(&self, pos: u64, filter: &Filter) -> Next {
        let head = self.head();
        if pos >= head {
            return Next::Wait;
        }
        let chunk = {
            let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            // Followers are nearly always at the newest chunk.
            ring.chunks
                .iter()
                .rev()
                .find(|chunk| chunk.first <= pos + 1)
                .map(Arc::clone)
        };
        match chunk {
            Some(chunk) if chunk.last > pos => Next::Frames(chunk.after(pos, filter), chunk.last),
            _ => Next::Behind(head),
        }
    }
}

impl Chunk {
    /// The events of one tenant out of a plan, if there are any.
    pub(crate) fn of<'a>(events: impl Iterator<Item = &'a Numbered<'a>>) -> Option<Chunk> {
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        let mut ends = None;
        for numbered in events {
            let event = numbered.event;
            let view = View {
                id: &numbered.id,
                stream: &event.stream,
                seq: numbered.seq,
                kind: &event.kind,
                subject: event.subject.as_deref(),
                payload: &event.payload,
                dedupe_key: event.dedupe_key.as_deref(),
                source: event.source.as_deref(),
                occurred_at: event.occurred_at.unwrap_or(numbered.created_at),
                created_at: numbered.created_at,
            };
            view.frame(&mut buffer, numbered.pos);
            frames.push(Frame {
                pos: numbered.pos,
                end: buffer.len(),
                kind: event.kind.as_str().into(),
                stream: event.stream.as_str().into(),
            });
            let (first, _) = ends.unwrap_or((numbered.pos, numbered.pos));
            ends = Some((first, numbered.pos));
        }
        let (first, last) = ends?;
        Some(Chunk {
            first,
            last,
            bytes: buffer.freeze(),
            frames,
        })
    }

    /// The frames behind `pos` that the filter wants; shared, not copied, where that is possible.
    fn after(&self, pos: u64, filter: &Filter) -> Bytes {
        let skipped = self.frames.partition_point(|frame| frame.pos <= pos);
        let start = if skipped == 0 {
            0
        } else {
            self.frames[skipped - 1].end
        };
        if filter.kind.is_none() && filter.stream.is_none() {
            return self.bytes.slice(start..);
        }
        let wants = |frame: &Frame| {
            filter
                .kind
                .as_deref()
                .is_none_or(|kind| *frame.kind == *kind)
                && filter
                    .stream
                    .as_deref()
                    .is_none_or(|stream| *frame.stream == *stream)
        };
        let wanted: Vec<_> = self.frames[skipped..]
            .iter()
            .scan(start, |start, frame| {
                let range = *start..frame.end;
                *start = frame.end;
                Some((frame, range))
            })
            .filter(|(frame, _)| wants(frame))
            .map(|(_, range)| range)
            .collect();
        match wanted.as_slice() {
            [] => Bytes::new(),
            [one] => self.bytes.slice(one.clone()),
            many => {
                let mut out = BytesMut::with_capacity(many.iter().map(std::ops::Range::len).sum());
                many.iter()
                    .for_each(|range| out.extend_from_slice(&self.bytes[range.clone()]));
                out.freeze()
            }
        }
    }
}

/// Frames for events that were read from the table.
pub(crate) fn frames(events: &[Event]) -> Bytes {
    let mut buffer = BytesMut::new();
    for event in events {
        let view = View {
            id: &event.id,
            stream: &event.stream,
            seq: event.seq,
            kind: &event.kind,
            subject: event.subject.as_deref(),
            payload: &event.payload,
            dedupe_key: event.dedupe_key.as_deref(),
            source: event.source.as_deref(),
            occurred_at: event.occurred_at,
            created_at: event.created_at,
        };
        view.frame(&mut buffer, event.pos);
    }
    buffer.freeze()
}

/// An [`Event`] that borrows: the same fields in the same order.
#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    stream: &'a str,
    seq: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: Option<&'a str>,
    payload: &'a serde_json::value::RawValue,
    dedupe_key: Option<&'a str>,
    source: Option<&'a str>,
    occurred_at: Time,
    created_at: Time,
}

impl View<'_> {
    fn frame(&self, buffer: &mut BytesMut, pos: u64) {
        match serde_json::to_vec(self) {
            Ok(data) => sse::frame(buffer, Some(&pos.to_string()), Some(self.kind), &data),
            // Every part was JSON when it was stored.
            Err(error) => {
                tracing::error!(%error, id = self.id, "an event cannot be written as JSON")
            }
        }
    }
}
