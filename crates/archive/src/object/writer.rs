//! Makes an object, member by member, in constant memory: the lines of one member, and some twenty bytes of
//! index for each.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use tidewire_core::Time;

use super::{
    Error, LONGEST_LINE, MEMBER, Mark, Summary,
    gzip::{self, Carries, MOST_CARRIED, PLAIN},
    index::Member,
    kinds::{Filling, Kinds},
    trailer::Trailer,
    varint,
};

/// Takes lines and gives the bytes of an object.
pub struct Writer {
    /// How many bytes of lines make a member.
    pub(super) member: usize,
    deflate: Compress,
    /// The lines of the member that is being filled.
    lines: Vec<u8>,
    filling: Option<(Member, Filling)>,
    before: Option<Member>,
    members: u64,
    /// The members as the index has them.
    index: Vec<u8>,
    kinds: Kinds,
    /// What is finished and not taken, and the checksum of all that ever was.
    out: Vec<u8>,
    crc: Crc,
    summary: Summary,
}

impl Writer {
    /// One that compresses by a level of deflate, 1 to 9; 6 is gzip's own.
    #[must_use]
    pub fn new(level: u32) -> Self {
        Writer {
            member: MEMBER,
            deflate: Compress::new(Compression::new(level.clamp(1, 9)), false),
            lines: Vec::with_capacity(MEMBER),
            filling: None,
            before: None,
            members: 0,
            index: Vec::new(),
            kinds: Kinds::default(),
            out: Vec::new(),
            crc: Crc::new(),
            summary: Summary {
                events: 0,
                first_seq: 0,
                last_seq: 0,
                first_pos: 0,
                last_pos: 0,
                first_at: Time::EPOCH,
                last_at: Time::EPOCH,
                line_bytes: 0,
                bytes: 0,
            },
        }
    }

    /// Takes an event's line, which comes without its line break. After an error the writer is as it was.
    pub fn push(&mut self, mark: Mark<'_>, line: &[u8]) -> Result<(), Error> {
        self.check(&mark, line)?;
        let length = line.len() + 1;
        if !self.lines.is_empty() && self.lines.len() + length > self.member {
            self.finish_member();
        }
        self.lines.extend_from_slice(line);
        self.lines.push(b'\n');
        self.count(&mark, length as u64);
        if self.lines.len() >= self.member {
            self.finish_member();
        }
        Ok(())
    }

    fn check(&self, mark: &Mark<'_>, line: &[u8]) -> Result<(), Error> {
        let (seq, pos, summary) = (mark.seq, mark.pos, &self.summary);
        if summary.events > 0 && (seq <= summary.last_seq || pos <= summary.last_pos) {
            return Err(Error::OutOfOrder {
                seq,
                pos,
                last_seq: summary.last_seq,
                last_pos: summary.last_pos,
            });
        }
        let why = if line.len() > LONGEST_LINE {
            format!(
                "it has {} bytes, at most {LONGEST_LINE} are taken",
                line.len()
            )
        } else if let Some(at) = memchr::memchr(b'\n', line) {
            format!("there is a line break in it, at byte {at}")
        } else {
            return Ok(());
        };
        Err(Error::NoLine { seq, why })
    }

    fn count(&mut self, mark: &Mark<'_>, length: u64) {
        let at = mark.created_at.millis();
        let (member, kinds) = self.filling.get_or_insert_with(|| {
            let member = Member {
                offset: self.summary.bytes,
                length: 0,
                content: 0,
                lines: 0,
                first_seq: mark.seq,
                first_pos: mark.pos,
                first_at: at,
                last_at: at,
                kinds: 0,
            };
            (member, Filling::default())
        });
        member.content += length;
        member.lines += 1;
        member.first_at = member.first_at.min(at);
        member.last_at = member.last_at.max(at);
        kinds.add(self.kinds.bit(mark.kind));

        let (summary, at) = (&mut self.summary, Time::from_millis(at));
        if summary.events == 0 {
            (summary.first_seq, summary.first_pos) = (mark.seq, mark.pos);
            (summary.first_at, summary.last_at) = (at, at);
        }
        summary.events += 1;
        (summary.last_seq, summary.last_pos) = (mark.seq, mark.pos);
        summary.first_at = summary.first_at.min(at);
        summary.last_at = summary.last_at.max(at);
        summary.line_bytes += length;
    }

    fn finish_member(&mut self) {
        let Some((mut member, kinds)) = self.filling.take() else {
            return;
        };
        let start = self.out.len();
        self.out.extend(PLAIN);
        self.deflate.reset();
        loop {
            let taken = usize::try_from(self.deflate.total_in()).expect("no more than the lines");
            let rest = &self.lines[taken..];
            // Lines shrink to a fifth or so; what does not shrink needs another round.
            self.out.reserve(rest.len() / 2 + 1024);
            let status = self
                .deflate
                .compress_vec(rest, &mut self.out, FlushCompress::Finish)
                .expect("only wrong use is refused");
            if status == Status::StreamEnd {
                break;
            }
        }
        self.out.extend(gzip::foot(&self.lines));
        member.length = (self.out.len() - start) as u64;
        member.kinds = kinds.set();
        member.put(&mut self.index, self.before.as_ref());
        self.before = Some(member);
        self.members += 1;
        self.lines.clear();
        // A line that was far longer than most must not be paid for to the end.
        self.lines.shrink_to(2 * MEMBER);
        self.written(start);
    }

    /// Counts what was put out from there on.
    fn written(&mut self, start: usize) {
        self.crc.update(&self.out[start..]);
        self.summary.bytes += (self.out.len() - start) as u64;
    }

    /// What is finished since it was last asked; often nothing.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    /// What was put in so far, in bytes of lines, and what came out.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.summary.line_bytes, self.summary.bytes)
    }

    /// Ends the object: its last bytes, and what it holds.
    pub fn finish(mut self) -> Result<(Bytes, Summary), Error> {
        if self.summary.events == 0 {
            return Err(Error::Empty);
        }
        self.finish_member();
        let (index_at, start) = (self.summary.bytes, self.out.len());
        for piece in self.index_body().chunks(MOST_CARRIED) {
            gzip::put_carrier(&mut self.out, Carries::Index, piece);
        }
        self.written(start);
        let summary = &mut self.summary;
        let trailer = Trailer {
            index_at,
            index_length: summary.bytes - index_at,
            events: summary.events,
            first_seq: summary.first_seq,
            last_seq: summary.last_seq,
            first_pos: summary.first_pos,
            last_pos: summary.last_pos,
            crc: self.crc.sum(),
        };
        let start = self.out.len();
        trailer.put(&mut self.out);
        summary.bytes += (self.out.len() - start) as u64;
        Ok((self.out.into(), self.summary))
    }

    fn index_body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.index.len() + 1024);
        varint::put(&mut body, self.members);
        body.extend_from_slice(&self.index);
        varint::put(&mut body, self.kinds.names().len() as u64);
        for name in self.kinds.names() {
            varint::put(&mut body, name.len() as u64);
            body.extend_from_slice(name.as_bytes());
        }
        body.extend(gzip::crc(&body).to_le_bytes());
        body
    }
}
