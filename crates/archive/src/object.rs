//! The object format: events as JSON Lines in a gzip file that is read from any place. Pure: nothing here
//! does I/O.
//!
//! To any gzip tool an object is one file of several members (RFC 1952), which together are the lines. Data
//! members have about 64 KiB of whole lines each and stand for themselves. Behind them come empty members
//! whose header carries the index, and last a trailer of fixed size that says where the index is. A reader
//! fetches the end of the object ([`TAIL`] bytes), has the index, and then fetches the members that it
//! wants. `docs/archives.md` has the layout byte by byte.
//!
//! What is authoritative: the lines. The index repeats what is in them, and [`Check`] holds it to that; a
//! checksum over everything before the trailer covers what gzip's own checksums leave out.

mod check;
mod gzip;
mod index;
mod kinds;
mod trailer;
mod varint;
mod writer;

#[cfg(test)]
mod tests;

use tidewire_core::Time;

pub use check::Check;
pub use index::{Index, Member, Stretch, TAIL, Tail, lines, unpack};
pub use kinds::Wanted;
pub use writer::Writer;

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// The lines of a data member, in bytes. A longer line has a member for itself.
const MEMBER: usize = 64 * 1024;
/// No line is longer; what claims to be is damaged.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

/// What the format has to know of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark<'a> {
    /// Both grow from line to line.
    pub seq: u64,
    pub pos: u64,
    pub created_at: Time,
    pub kind: &'a str,
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub events: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    pub first_pos: u64,
    pub last_pos: u64,
    /// The smallest and the largest, to the millisecond below.
    pub first_at: Time,
    pub last_at: Time,
    /// The lines as they are before compression, with their line breaks.
    pub line_bytes: u64,
    /// The object itself.
    pub bytes: u64,
}

/// What is wrong with an object, or with what one is to be made of. The sentence goes on from the object's
/// name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("would hold no events: there must be one at least")]
    Empty,
    #[error(
        "cannot take the event {seq} at position {pos}, which does not come behind the event {last_seq} at position {last_pos}"
    )]
    OutOfOrder {
        seq: u64,
        pos: u64,
        last_seq: u64,
        last_pos: u64,
    },
    #[error("cannot take the event {seq} as a line: {why}")]
    NoLine { seq: u64, why: String },
    #[error(
        "has {bytes} bytes and does not end as an archive does: it was cut short on its way or since, or is something else"
    )]
    Cut { bytes: u64 },
    #[error(
        "is written in version {0} of the archive format, and this build reads version {VERSION}: use one that is as new as the archive"
    )]
    Version(u8),
    #[error("is damaged at byte {at}: {what}")]
    Damaged { at: u64, what: String },
}

impl Error {
    fn damaged(at: u64, what: impl Into<String>) -> Self {
        let what = what.into();
        Error::Damaged { at, what }
    }
}
