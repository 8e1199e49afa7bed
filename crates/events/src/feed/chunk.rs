//! A stretch of a tenant's log as ready-made frames, written once and shared by all followers.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tidewire_core::Time;
use tidewire_http::sse;

use crate::{Event, Filter, number::Numbered};

/// All of a tenant's events from one position to another, both inclusive.
pub(crate) struct Chunk {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) bytes: Bytes,
    pub(super) frames: Vec<Frame>,
}

/// The part of a chunk that is one event.
pub(super) struct Frame {
    pos: u64,
    end: usize,
    kind: Box<str>,
    stream: Box<str>,
}

impl Chunk {
    /// The events of one tenant out of a plan, if there are any.
    pub(crate) fn planned<'a>(events: impl Iterator<Item = &'a Numbered<'a>>) -> Option<Self> {
        let (bytes, frames) = write(events.map(|numbered| {
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
            (numbered.pos, view)
        }));
        let (first, last) = (frames.first()?.pos, frames.last()?.pos);
        Some(Chunk {
            first,
            last,
            bytes,
            frames,
        })
    }

    /// What the table holds from `first` to `last`: all of it, unfiltered.
    pub(crate) fn read(first: u64, last: u64, events: &[Event]) -> Self {
        let (bytes, frames) = write(events.iter().map(view));
        Chunk {
            first,
            last,
            bytes,
            frames,
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The frames behind `pos` that the filter wants; shared, not copied, where that is possible.
    pub(crate) fn after(&self, pos: u64, filter: &Filter) -> Bytes {
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

/// Frames for events that one follower read for itself.
pub(crate) fn frames(events: &[Event]) -> Bytes {
    let mut buffer = BytesMut::new();
    for (pos, view) in events.iter().map(view) {
        view.frame(&mut buffer, pos);
    }
    buffer.freeze()
}

fn write<'a>(events: impl Iterator<Item = (u64, View<'a>)>) -> (Bytes, Vec<Frame>) {
    let mut buffer = BytesMut::new();
    let frames = events
        .map(|(pos, view)| {
            view.frame(&mut buffer, pos);
            Frame {
                pos,
                end: buffer.len(),
                kind: view.kind.into(),
                stream: view.stream.into(),
            }
        })
        .collect();
    (buffer.freeze(), frames)
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

fn view(event: &Event) -> (u64, View<'_>) {
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
    (event.pos, view)
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
