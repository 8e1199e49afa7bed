//! How far a long job is, counted as it goes and told now and then.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// As a job shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub streams_done: u64,
    /// As far as they are known by now.
    pub streams: u64,
    pub events_done: u64,
    pub events: u64,
    /// Of lines before they are compressed, or of what was read.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub streams_done: Count,
    pub streams: Count,
    pub events_done: Count,
    pub events: Count,
    pub bytes: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Meter {
    pub(crate) fn shown(&self) -> Progress {
        Progress {
            streams_done: self.streams_done.get(),
            streams: self.streams.get(),
            events_done: self.events_done.get(),
            events: self.events.get(),
            bytes: self.bytes.get(),
        }
    }
}
