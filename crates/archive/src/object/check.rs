//! Reads a whole object as it comes, and holds it to everything that it says of itself.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{
    Error, LONGEST_LINE, Mark, Summary,
    gzip::{self, Carries, EXTRA_HEAD, FOOT, PLAIN, WITH_EXTRA},
    index::{Index, Member, lines},
    kinds::{Filling, Kinds},
    trailer::Trailer,
};

/// Takes the bytes of an object in pieces of any size: every member, every line in its place, every
/// checksum, and the index against what is really there. In memory it has one member, and the index.
///
/// `read` says what a line holds, or why it is none.
pub struct Check<F> {
    read: F,
    state: State,
    /// What has come of the part that is being gathered.
    gathered: Vec<u8>,
    /// How many bytes were taken, and where the member at hand begins.
    at: u64,
    member_at: u64,
    /// Of what was taken but for the trailer.
    crc: Crc,
    inflate: Decompress,
    content: Vec<u8>,
    members: Vec<Member>,
    kinds: Kinds,
    /// Of the last line.
    last: Option<(u64, u64)>,
    index: Vec<u8>,
    trailer: Option<Trailer>,
}

#[derive(Clone, Copy)]
enum State {
    Header,
    Packed,
    Foot,
    Carrier(usize),
    End,
}

impl<F> Check<F>
where
    F: for<'a> FnMut(&'a [u8]) -> Result<Mark<'a>, String>,
{
    pub fn new(read: F) -> Self {
        Check {
            read,
            state: State::Header,
            gathered: Vec::new(),
            at: 0,
            member_at: 0,
            crc: Crc::new(),
            inflate: Decompress::new(false),
            content: Vec::new(),
            members: Vec::new(),
            kinds: Kinds::default(),
            last: None,
            index: Vec::new(),
            trailer: None,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.state {
                State::Header => self.header(&mut bytes)?,
                State::Packed => self.packed(&mut bytes)?,
                State::Foot => self.foot(&mut bytes)?,
                State::Carrier(length) => self.carrier(&mut bytes, length)?,
                State::End => {
                    let what = "there is something behind its trailer";
                    return Err(Error::damaged(self.at, what));
                }
            }
        }
        Ok(())
    }

    /// Takes bytes until so many are gathered; whether they are.
    fn gather(&mut self, bytes: &mut &[u8], length: usize) -> bool {
        let missing = length - self.gathered.len();
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.gathered.extend_from_slice(taken);
        self.at += taken.len() as u64;
        *bytes = rest;
        self.gathered.len() == length
    }

    fn header(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        if self.gathered.is_empty() {
            self.member_at = self.at;
        }
        // A carrier says in its next bytes how long it is.
        let length = if self.gathered.len() < PLAIN.len() {
            PLAIN.len()
        } else {
            EXTRA_HEAD
        };
        if !self.gather(bytes, length) {
            return Ok(());
        }
        if self.gathered == PLAIN && self.index.is_empty() {
            self.crc.update(&self.gathered);
            self.gathered.clear();
            self.inflate.reset(false);
            self.state = State::Packed;
        } else if self.gathered.len() == EXTRA_HEAD {
            let length = gzip::carrier_length(&self.gathered);
            let length =
                length.ok_or_else(|| self.broken("no member of an archive begins here"))?;
            self.state = State::Carrier(length);
        } else if self.gathered != WITH_EXTRA {
            return Err(self.broken("no member of an archive begins here"));
        }
        Ok(())
    }

    fn packed(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        self.content.reserve(32 * 1024);
        let (taken, given) = (self.inflate.total_in(), self.content.len());
        let status = self
            .inflate
            .decompress_vec(bytes, &mut self.content, FlushDecompress::None)
            .map_err(|_| self.broken("its compressed lines cannot be read"))?;
        let taken = usize::try_from(self.inflate.total_in() - taken).expect("no more than given");
        let (taken, rest) = bytes.split_at(taken);
        self.crc.update(taken);
        self.at += taken.len() as u64;
        *bytes = rest;
        if self.content.len() > LONGEST_LINE + 1 {
            return Err(self.broken("its lines are longer than any archive's"));
        }
        let stands_still = taken.is_empty() && self.content.len() == given;
        match status {
            Status::StreamEnd => self.state = State::Foot,
            _ if stands_still => return Err(self.broken("its compressed lines cannot be read")),
            Status::Ok | Status::BufError => {}
        }
        Ok(())
    }

    fn foot(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        if !self.gather(bytes, FOOT) {
            return Ok(());
        }
        self.crc.update(&self.gathered);
        if self.gathered != gzip::foot(&self.content) {
            return Err(self.broken("its lines do not agree with their checksum"));
        }
        self.gathered.clear();
        self.state = State::Header;
        let content = std::mem::take(&mut self.content);
        let outcome = self.member(&content);
        self.content = content;
        self.content.clear();
        outcome
    }

    /// Goes through the lines of the member that has just ended.
    fn member(&mut self, content: &[u8]) -> Result<(), Error> {
        if !content.ends_with(b"\n") {
            return Err(self.broken("its last line has no end"));
        }
        let mut found: Option<(Member, Filling)> = None;
        for line in lines(content) {
            let number = found.as_ref().map_or(0, |(member, _)| member.lines) + 1;
            let why = |why: String| {
                Error::damaged(
                    self.member_at,
                    format!("line {number} of the member: {why}"),
                )
            };
            let mark = (self.read)(line).map_err(why)?;
            let (seq, pos, at) = (mark.seq, mark.pos, mark.created_at.millis());
            if let Some((last_seq, last_pos)) = self.last
                && (seq <= last_seq || pos <= last_pos)
            {
                return Err(why(format!(
                    "the event {seq} at position {pos} does not come behind the event {last_seq} at position {last_pos}"
                )));
            }
            self.last = Some((seq, pos));
            let (member, kinds) = found.get_or_insert_with(|| {
                let member = Member {
                    offset: self.member_at,
                    length: self.at - self.member_at,
                    content: content.len() as u64,
                    lines: 0,
                    first_seq: seq,
                    first_pos: pos,
                    first_at: at,
                    last_at: at,
                    kinds: 0,
                };
                (member, Filling::default())
            });
            member.lines += 1;
            member.first_at = member.first_at.min(at);
            member.last_at = member.last_at.max(at);
            kinds.add(self.kinds.bit(mark.kind));
        }
        self.members.extend(found.map(|(member, kinds)| Member {
            kinds: kinds.set(),
            ..member
        }));
        Ok(())
    }

    fn carrier(&mut self, bytes: &mut &[u8], length: usize) -> Result<(), Error> {
        if !self.gather(bytes, length) {
            return Ok(());
        }
        let member = std::mem::take(&mut self.gathered);
        match gzip::carried(&member) {
            Some((Carries::Index, carried)) => {
                self.index.extend_from_slice(carried);
                self.crc.update(&member);
                self.state = State::Header;
            }
            Some((Carries::Trailer, carried)) => {
                self.trailer = Some(Trailer::take(carried, self.member_at)?);
                self.state = State::End;
            }
            None => return Err(self.broken("no member of an archive begins here")),
        }
        Ok(())
    }

    fn broken(&self, what: &str) -> Error {
        Error::damaged(self.member_at, what)
    }

    /// Says what the object holds, after its last byte.
    pub fn finish(self) -> Result<Summary, Error> {
        let Some(trailer) = self.trailer else {
            return Err(Error::Cut { bytes: self.at });
        };
        let index = Index::read(&self.index, &trailer)?;
        let said = index.members();
        if let Some(at) =
            (0..said.len().max(self.members.len())).find(|&at| said.get(at) != self.members.get(at))
        {
            let member = self.members.get(at).or(said.get(at));
            let offset = member.map_or(trailer.index_at, |member| member.offset);
            return Err(Error::damaged(
                offset,
                format!(
                    "its index says of member {at}: {}, and there is: {}",
                    shown(said.get(at)),
                    shown(self.members.get(at))
                ),
            ));
        }
        let damaged = |what| Err(Error::damaged(trailer.index_at, what));
        if !index.kinds().names().eq(self.kinds.names()) {
            return damaged("its index names other types than its events have");
        }
        if self.last != Some((trailer.last_seq, trailer.last_pos)) {
            return damaged("its trailer names another last event");
        }
        if self.crc.sum() != trailer.crc {
            return Err(Error::damaged(
                0,
                "some byte before the trailer differs from what was written, where neither the lines nor the index do",
            ));
        }
        Ok(*index.summary())
    }
}

fn shown(member: Option<&Member>) -> String {
    let Some(member) = member else {
        return "nothing".to_owned();
    };
    format!(
        "{} bytes at {} with {} lines from event {} at position {}",
        member.length, member.offset, member.lines, member.first_seq, member.first_pos
    )
}
