//! Reading as much as is wanted, not knowing how large it is.

use crate::{Event, tiers::Seen};

/// How much is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub events: u32,
    /// Of payloads. The first event is read whatever its size.
    pub bytes: usize,
}

/// What a stretch holds.
#[derive(Debug)]
pub struct Run {
    pub events: Vec<Event>,
    /// There was no more to read.
    pub is_all: bool,
}

/// Events that are read before it is known how large they are.
const FIRST_READ: u32 = 32;

/// A run that is being read, a page at a time.
pub(crate) struct Gather {
    most: Stretch,
    run: Run,
    bytes: usize,
    limit: u32,
    /// How far it was looked.
    edge: Option<u64>,
}

impl Gather {
    pub(crate) fn new(most: Stretch) -> Self {
        Gather {
            limit: most.events.min(FIRST_READ),
            most,
            run: Run {
                events: Vec::new(),
                is_all: false,
            },
            bytes: 0,
            edge: None,
        }
    }

    /// The place behind which to read on, if it is not the start, and how many; none when it is
    /// enough.
    pub(crate) fn next(&self) -> Option<(Option<u64>, u32)> {
        (self.limit > 0).then_some((self.edge, self.limit))
    }

    pub(crate) fn take(&mut self, seen: Seen) {
        self.run.is_all = seen.edge.is_none();
        self.edge = seen.edge;
        self.limit = 0;
        for event in seen.events {
            self.bytes += event.payload.get().len();
            if self.bytes > self.most.bytes && !self.run.events.is_empty() {
                self.run.is_all = false;
                return;
            }
            self.run.events.push(event);
        }
        if self.run.is_all {
            return;
        }
        // As many as fit if they are like those before.
        let count = self.run.events.len().max(1);
        let fit = (self.most.bytes - self.bytes.min(self.most.bytes)) / (self.bytes / count).max(1);
        let fit = u32::try_from(fit).unwrap_or(u32::MAX);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.limit = self.most.events.saturating_sub(count).min(fit);
    }

    pub(crate) fn done(self) -> Run {
        self.run
    }
}
