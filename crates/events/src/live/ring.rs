//! The newest stretch of one line: chunks without a gap between them.
//!
//! Chunks come from this process's commits and from followers who read what others committed. They
//! may come late or twice: two commits of this process may tell of themselves in either order, and
//! a commit of another process may be read before an older one of this process is told. What does
//! not join on is left out or starts the ring anew, and whoever misses it reads what is stored.

use std::{collections::VecDeque, sync::Arc};

use super::chunk::Chunk;

/// A ring holds at most this much; whoever is further behind reads what is stored.
const RING_BYTES: usize = 8 << 20;
const RING_EVENTS: usize = 65_536;

pub(super) struct Ring<M> {
    chunks: VecDeque<Arc<Chunk<M>>>,
    bytes: usize,
    events: usize,
}

impl<M> Default for Ring<M> {
    fn default() -> Self {
        Ring {
            chunks: VecDeque::new(),
            bytes: 0,
            events: 0,
        }
    }
}

/// Where a position stands to a ring.
pub(super) enum Found<M> {
    /// What comes behind it is in this chunk.
    In(Arc<Chunk<M>>),
    /// The ring begins further on, with this position.
    Before(u64),
    /// The ring does not reach beyond it.
    Beyond,
}

impl<M> Ring<M> {
    pub(super) fn keep(&mut self, chunk: Arc<Chunk<M>>) {
        let ends = self.chunks.front().zip(self.chunks.back());
        match ends.map(|(oldest, newest)| (oldest.first, newest.last)) {
            Some((_, last)) if chunk.first == last + 1 => self.push_back(chunk),
            // Somebody else's events lie in between.
            Some((_, last)) if chunk.first > last => {
                *self = Ring::default();
                self.push_back(chunk);
            }
            // It was overtaken by the one that follows it.
            Some((first, _)) if chunk.last + 1 == first => self.push_front(chunk),
            // It is here already, at least in part.
            Some(_) => return,
            None => self.push_back(chunk),
        }
        while self.chunks.len() > 1 && (self.bytes > RING_BYTES || self.events > RING_EVENTS) {
            if let Some(oldest) = self.chunks.pop_front() {
                self.bytes -= oldest.bytes.len();
                self.events -= oldest.frames.len();
            }
        }
    }

    pub(super) fn find(&self, pos: u64) -> Found<M> {
        // Followers are nearly always at the newest chunk.
        let mut newest_first = self.chunks.iter().rev();
        match newest_first.find(|chunk| chunk.first <= pos + 1) {
            Some(chunk) if chunk.last > pos => Found::In(Arc::clone(chunk)),
            Some(_) => Found::Beyond,
            None => match self.chunks.front() {
                Some(oldest) => Found::Before(oldest.first),
                None => Found::Beyond,
            },
        }
    }

    fn push_back(&mut self, chunk: Arc<Chunk<M>>) {
        self.count(&chunk);
        self.chunks.push_back(chunk);
    }

    fn push_front(&mut self, chunk: Arc<Chunk<M>>) {
        self.count(&chunk);
        self.chunks.push_front(chunk);
    }

    fn count(&mut self, chunk: &Chunk<M>) {
        self.bytes += chunk.bytes.len();
        self.events += chunk.frames.len();
    }
}
