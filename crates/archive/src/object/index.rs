//! What is where in an object, and the way from its end to the members that are wanted.

use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use tidewire_core::Time;

use super::{
    Error, LONGEST_LINE, MEMBER, Summary,
    gzip::{self, Carries, EXTRA_HEAD, FOOT, PLAIN},
    kinds::{self, Kinds, Wanted},
    trailer::{self, Trailer},
    varint::{self, Reader},
};

/// What a reader fetches first from the end of an object: trailer and index of some 3,000 members, which
/// are about 200 MB of lines.
pub const TAIL: u64 = 64 * 1024;

/// A data member: some events behind one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is in the object.
    pub offset: u64,
    pub length: u64,
    /// Its lines, in bytes.
    pub content: u64,
    pub lines: u64,
    pub first_seq: u64,
    pub first_pos: u64,
    /// The smallest and the largest time of an event, in milliseconds.
    pub first_at: i64,
    pub last_at: i64,
    pub(super) kinds: u64,
}

impl Member {
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        self.offset..self.offset + self.length
    }

    /// Whether it may hold an event from this time on, up to that one.
    #[must_use]
    pub fn may_hold_times(&self, from: Option<Time>, to: Option<Time>) -> bool {
        from.is_none_or(|from| self.last_at >= from.millis())
            && to.is_none_or(|to| self.first_at <= to.millis())
    }

    /// Whether it may hold an event of one of these types.
    #[must_use]
    pub fn may_hold_kinds(&self, wanted: Wanted) -> bool {
        wanted.may_be_in(self.kinds)
    }

    /// Appends the member as the index has it, as far as it differs from the one before.
    pub(super) fn put(&self, out: &mut Vec<u8>, before: Option<&Member>) {
        let (seq, pos, at) = before.map_or((0, 0, 0), Member::start);
        varint::put(out, self.length);
        varint::put(out, self.content);
        varint::put(out, self.lines);
        varint::put(out, self.first_seq - seq);
        varint::put(out, self.first_pos - pos);
        varint::put_signed(out, self.first_at.wrapping_sub(at));
        varint::put(
            out,
            self.last_at.wrapping_sub(self.first_at).cast_unsigned(),
        );
        varint::put(out, self.kinds);
    }

    fn start(&self) -> (u64, u64, i64) {
        (self.first_seq, self.first_pos, self.first_at)
    }

    /// Reads the next member of an index. `None`: it cannot be one.
    fn take(from: &mut Reader<'_>, before: Option<&Member>) -> Option<Member> {
        let (seq, pos, at) = before.map_or((0, 0, 0), Member::start);
        let (length, content, lines) = (from.number()?, from.number()?, from.number()?);
        let (seqs, positions) = (from.number()?, from.number()?);
        let first_at = at.wrapping_add(from.signed()?);
        let member = Member {
            offset: before.map_or(0, |before| before.offset + before.length),
            length,
            content,
            lines,
            first_seq: seq.checked_add(seqs)?,
            first_pos: pos.checked_add(positions)?,
            first_at,
            last_at: first_at.wrapping_add(from.number()?.cast_signed()),
            kinds: from.number()?,
        };
        member.offset.checked_add(length)?;
        let behind = before.map_or(0, |before| before.lines);
        let is_sound = lines >= 1
            && content >= lines
            && content <= (MEMBER as u64).max(LONGEST_LINE as u64 + 1)
            && member.first_at <= member.last_at
            && seqs >= behind
            && positions >= behind;
        is_sound.then_some(member)
    }
}

/// What the end of an object tells.
#[derive(Debug)]
pub enum Tail {
    Whole(Index),
    /// The index is longer than what was given: this much of the object's end is needed.
    Needs(Range<u64>),
}

/// What is where in an object.
#[derive(Clone, Debug)]
pub struct Index {
    members: Vec<Member>,
    kinds: Kinds,
    summary: Summary,
}

/// Neighbouring members, which are fetched at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub members: Range<usize>,
    pub bytes: Range<u64>,
}

impl Index {
    /// Reads the last bytes of an object of this size.
    pub fn parse(tail: &[u8], size: u64) -> Result<Tail, Error> {
        let given = tail.len() as u64;
        if given < size && given < trailer::LENGTH as u64 {
            let needed = size.min(trailer::LENGTH as u64);
            return Ok(Tail::Needs(size - needed..size));
        }
        let trailer = Trailer::read(tail, size)?;
        let behind = size - trailer.index_at;
        let Some(start) = given.checked_sub(behind) else {
            return Ok(Tail::Needs(trailer.index_at..size));
        };
        let start = usize::try_from(start).expect("it is within what was given");
        let mut pieces = &tail[start..tail.len() - trailer::LENGTH];
        let mut body = Vec::with_capacity(pieces.len());
        let mut at = trailer.index_at;
        while !pieces.is_empty() {
            let length = pieces.get(..EXTRA_HEAD).and_then(gzip::carrier_length);
            let piece = length.and_then(|length| pieces.split_at_checked(length));
            let carried = piece.and_then(|(member, rest)| Some((gzip::carried(member)?, rest)));
            let Some(((Carries::Index, carried), rest)) = carried else {
                return Err(Error::damaged(at, "no piece of the index is there"));
            };
            body.extend(carried);
            at += (pieces.len() - rest.len()) as u64;
            pieces = rest;
        }
        Index::read(&body, &trailer).map(Tail::Whole)
    }

    /// Reads what the index members carry together.
    pub(super) fn read(body: &[u8], trailer: &Trailer) -> Result<Index, Error> {
        let damaged = |what: &str| Error::damaged(trailer.index_at, what);
        let (body, crc) = body
            .split_last_chunk()
            .ok_or_else(|| damaged("its index is not there"))?;
        if *crc != gzip::crc(body).to_le_bytes() {
            return Err(damaged("its index is not what was written"));
        }
        let mut from = Reader(body);
        let index = Index::take(&mut from, trailer).filter(|_| from.0.is_empty());
        index.ok_or_else(|| damaged("its index contradicts itself"))
    }

    fn take(from: &mut Reader<'_>, trailer: &Trailer) -> Option<Index> {
        let mut members: Vec<Member> = Vec::new();
        for _ in 0..from.number()? {
            let member = Member::take(from, members.last())?;
            members.push(member);
        }
        let mut kinds = Kinds::default();
        let known = from.number()?;
        for _ in 0..known {
            let length = from.number()?;
            kinds.push(str::from_utf8(from.bytes(length)?).ok()?);
        }
        let (first, last) = (members.first()?, members.last()?);
        let lines = members.iter().map(|member| member.lines).sum::<u64>();
        let is_sound = known <= kinds::MOST as u64
            && last.bytes().end == trailer.index_at
            && lines == trailer.events
            && first.first_seq == trailer.first_seq
            && first.first_pos == trailer.first_pos
            && trailer.last_seq.checked_sub(last.first_seq)? >= last.lines - 1
            && trailer.last_pos.checked_sub(last.first_pos)? >= last.lines - 1;
        let summary = Summary {
            events: trailer.events,
            first_seq: trailer.first_seq,
            last_seq: trailer.last_seq,
            first_pos: trailer.first_pos,
            last_pos: trailer.last_pos,
            first_at: Time::from_millis(members.iter().map(|member| member.first_at).min()?),
            last_at: Time::from_millis(members.iter().map(|member| member.last_at).max()?),
            line_bytes: members.iter().map(|member| member.content).sum(),
            bytes: trailer.index_at + trailer.index_length + trailer::LENGTH as u64,
        };
        is_sound.then_some(Index {
            members,
            kinds,
            summary,
        })
    }

    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// What it takes in memory, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Index>()
            + self.members.len() * size_of::<Member>()
            + 64 * self.kinds.names().len()
    }

    /// The types that `wanted` says yes to, for [`Member::may_hold_kinds`].
    #[must_use]
    pub fn wanted(&self, wanted: impl Fn(&str) -> bool) -> Wanted {
        self.kinds.wanted(wanted)
    }

    /// The members that may hold events behind `after`, up to and including `until`.
    #[must_use]
    pub fn of_seqs(&self, after: u64, until: u64) -> Range<usize> {
        if after >= self.summary.last_seq {
            return 0..0;
        }
        let (members, first) = (&self.members, after + 1);
        let from = members.partition_point(|member| member.first_seq <= first);
        let to = members.partition_point(|member| member.first_seq <= until);
        from.saturating_sub(1)..to
    }

    /// The members that may hold events between two positions, exclusive both.
    #[must_use]
    pub fn of_positions(&self, after: u64, before: u64) -> Range<usize> {
        if after >= self.summary.last_pos {
            return 0..0;
        }
        let (members, first) = (&self.members, after + 1);
        let from = members.partition_point(|member| member.first_pos <= first);
        let to = members.partition_point(|member| member.first_pos < before);
        from.saturating_sub(1)..to
    }

    /// These members, which ascend, as stretches to fetch. A stretch has no more than `most` bytes, unless
    /// that is one member.
    pub fn stretches(&self, wanted: impl IntoIterator<Item = usize>, most: u64) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for at in wanted {
            let bytes = self.members[at].bytes();
            match stretches.last_mut() {
                Some(last) if last.members.end == at && bytes.end - last.bytes.start <= most => {
                    last.members.end = at + 1;
                    last.bytes.end = bytes.end;
                }
                _ => stretches.push(Stretch {
                    members: at..at + 1,
                    bytes,
                }),
            }
        }
        stretches
    }
}

/// The lines of a member, from its bytes, with their line breaks.
pub fn unpack(member: &Member, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let damaged = |what: &str| Error::damaged(member.offset, what);
    let parts = bytes.strip_prefix(&PLAIN).and_then(|rest| {
        let at = rest.len().checked_sub(FOOT)?;
        (bytes.len() as u64 == member.length).then(|| rest.split_at(at))
    });
    let (packed, foot) = parts.ok_or_else(|| damaged("no member of that length begins there"))?;
    let expected = usize::try_from(member.content).map_err(|_| damaged("it is too large"))?;
    // The end of the compressed data is only seen where there is room for more.
    let mut content = Vec::with_capacity(expected + 1);
    let mut inflate = Decompress::new(false);
    let status = inflate.decompress_vec(packed, &mut content, FlushDecompress::Finish);
    let is_whole = matches!(status, Ok(Status::StreamEnd))
        && inflate.total_in() == packed.len() as u64
        && content.len() == expected;
    if !is_whole {
        return Err(damaged("its compressed lines are not what was written"));
    }
    if foot != gzip::foot(&content) {
        return Err(damaged("its lines do not agree with their checksum"));
    }
    let breaks = memchr::memchr_iter(b'\n', &content).count() as u64;
    if breaks != member.lines || !content.ends_with(b"\n") {
        return Err(damaged("its index has another number of lines"));
    }
    Ok(content)
}

/// What was unpacked, line by line, without the line breaks.
pub fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', content).map(move |end| {
        let line = &content[start..end];
        start = end + 1;
        line
    })
}
