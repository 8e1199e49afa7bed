//! A stretch of a line as ready-made frames, written once and shared by all followers.

use bytes::{Bytes, BytesMut};

use super::{EMPTY, Line};

/// Everything on a line from one position to another, both inclusive; or, read for one follower,
/// what it wants of that.
pub struct Chunk<M> {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) bytes: Bytes,
    pub(super) frames: Vec<Frame<M>>,
}

/// The part of a chunk that is one event.
pub(super) struct Frame<M> {
    pos: u64,
    end: usize,
    mark: M,
}

/// What a follower gets, and whether it is the last that it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    pub bytes: Bytes,
    pub is_end: bool,
}

impl<M> Chunk<M> {
    /// What stands from `first` to `last`; each item's frame is appended by `write`.
    pub fn new<T>(
        (first, last): (u64, u64),
        items: impl IntoIterator<Item = (u64, M, T)>,
        mut write: impl FnMut(&mut BytesMut, u64, T),
    ) -> Self {
        let mut buffer = BytesMut::new();
        let frames = items
            .into_iter()
            .map(|(pos, mark, item)| {
                write(&mut buffer, pos, item);
                Frame {
                    pos,
                    end: buffer.len(),
                    mark,
                }
            })
            .collect();
        Chunk {
            first,
            last,
            bytes: buffer.freeze(),
            frames,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The frames behind `pos` that the filter wants; shared, not copied, where that is possible.
    pub(super) fn after<L: Line<Mark = M>>(&self, pos: u64, filter: &L::Filter) -> Frames {
        let skipped = self.frames.partition_point(|frame| frame.pos <= pos);
        let start = if skipped == 0 {
            0
        } else {
            self.frames[skipped - 1].end
        };
        if L::wants_all(filter) {
            return Frames {
                bytes: self.bytes.slice(start..),
                is_end: false,
            };
        }
        let mut wanted = Vec::new();
        let (mut begin, mut is_end) = (start, false);
        for frame in &self.frames[skipped..] {
            if L::wants(filter, &frame.mark) {
                wanted.push(begin..frame.end);
                is_end = L::ends(filter, &frame.mark);
                if is_end {
                    break;
                }
            }
            begin = frame.end;
        }
        let bytes = match wanted.as_slice() {
            [] => EMPTY,
            [one] => self.bytes.slice(one.clone()),
            many => {
                let mut out = BytesMut::with_capacity(many.iter().map(std::ops::Range::len).sum());
                many.iter()
                    .for_each(|range| out.extend_from_slice(&self.bytes[range.clone()]));
                out.freeze()
            }
        };
        Frames { bytes, is_end }
    }
}
