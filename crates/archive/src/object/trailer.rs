//! The last member of an object: where its index is, and what the whole comes to.

use super::{
    Error, VERSION,
    gzip::{self, AROUND, Carries},
};

/// What the trailer carries: version, seven numbers of eight bytes, two checksums.
const CARRIED: usize = 1 + 7 * 8 + 2 * 4;
/// How long the trailer is.
pub const LENGTH: usize = AROUND + CARRIED;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the first index member begins.
    pub index_at: u64,
    /// How long the index members are together.
    pub index_length: u64,
    pub events: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    pub first_pos: u64,
    pub last_pos: u64,
    /// CRC-32 of everything before the trailer.
    pub crc: u32,
}

impl Trailer {
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut carried = Vec::with_capacity(CARRIED);
        carried.push(VERSION);
        for number in self.numbers() {
            carried.extend(number.to_le_bytes());
        }
        carried.extend(self.crc.to_le_bytes());
        carried.extend(gzip::crc(&carried).to_le_bytes());
        gzip::put_carrier(out, Carries::Trailer, &carried);
    }

    fn numbers(&self) -> [u64; 7] {
        [
            self.index_at,
            self.index_length,
            self.events,
            self.first_seq,
            self.last_seq,
            self.first_pos,
            self.last_pos,
        ]
    }

    /// Reads the last bytes of an object of this size.
    pub fn read(tail: &[u8], size: u64) -> Result<Trailer, Error> {
        let cut = Error::Cut { bytes: size };
        let member = tail.len().checked_sub(LENGTH).map(|at| &tail[at..]);
        match member.and_then(gzip::carried) {
            Some((Carries::Trailer, carried)) => {
                Trailer::take(carried, size.saturating_sub(LENGTH as u64))
            }
            _ => Err(cut),
        }
    }

    /// Reads what the trailer at this place carries.
    pub fn take(carried: &[u8], at: u64) -> Result<Trailer, Error> {
        // The version comes first: all behind it may look otherwise in another.
        match carried.first() {
            Some(&VERSION) | None => {}
            Some(&other) => return Err(Error::Version(other)),
        }
        let damaged = || Error::damaged(at, "its trailer is not what was written");
        let carried: &[u8; CARRIED] = carried.try_into().map_err(|_| damaged())?;
        let (checked, crc) = carried.split_at(CARRIED - 4);
        if crc != gzip::crc(checked).to_le_bytes() {
            return Err(damaged());
        }
        let number = |n: usize| {
            let bytes = checked[1 + 8 * n..9 + 8 * n].try_into();
            u64::from_le_bytes(bytes.expect("eight bytes"))
        };
        let crc = checked[CARRIED - 8..].try_into().expect("four bytes");
        let trailer = Trailer {
            index_at: number(0),
            index_length: number(1),
            events: number(2),
            first_seq: number(3),
            last_seq: number(4),
            first_pos: number(5),
            last_pos: number(6),
            crc: u32::from_le_bytes(crc),
        };
        if trailer.index_at.checked_add(trailer.index_length) != Some(at) {
            return Err(Error::damaged(
                at,
                format!(
                    "its trailer is for an object of {} bytes: some were lost or came in between",
                    trailer.index_at.saturating_add(trailer.index_length) + LENGTH as u64
                ),
            ));
        }
        Ok(trailer)
    }
}
