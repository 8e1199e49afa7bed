//! Gzip members as far as the format uses them (RFC 1952). Headers are always the same bytes, so that one
//! that differs is a damaged one.

use flate2::Crc;

/// The header of a data member: deflate, no flags, no time, no hint, no system.
pub const PLAIN: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The header of a member with an extra field.
pub const WITH_EXTRA: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
/// Behind the compressed data: its CRC-32 and its length before compression.
pub const FOOT: usize = 8;
/// The subfield's identifier, then one byte that says what it holds.
const ID: [u8; 2] = *b"TW";
/// Nothing, compressed, with its foot.
const NOTHING: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Header, length of the extra field, the subfield's identifier and length.
pub const EXTRA_HEAD: usize = 16;
/// What an empty member takes beside what it carries.
pub const AROUND: usize = EXTRA_HEAD + 1 + NOTHING.len();
/// What one member carries at most; the field itself could have 65,535 bytes.
pub const MOST_CARRIED: usize = 65_000;

/// What an empty member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    Index,
    Trailer,
}

impl Carries {
    fn letter(self) -> u8 {
        match self {
            Carries::Index => b'I',
            Carries::Trailer => b'E',
        }
    }
}

/// Appends an empty member that carries this.
pub fn put_carrier(out: &mut Vec<u8>, carries: Carries, carried: &[u8]) {
    debug_assert!(carried.len() <= MOST_CARRIED);
    let subfield = carried.len() as u16 + 1;
    out.extend(WITH_EXTRA);
    out.extend((subfield + 4).to_le_bytes());
    out.extend(ID);
    out.extend(subfield.to_le_bytes());
    out.push(carries.letter());
    out.extend(carried);
    out.extend(NOTHING);
}

/// How long the carrier is that begins with these [`EXTRA_HEAD`] bytes. `None`: it is none of ours.
pub fn carrier_length(head: &[u8]) -> Option<usize> {
    let head: &[u8; EXTRA_HEAD] = head.try_into().ok()?;
    let extra = u16::from_le_bytes([head[10], head[11]]);
    let subfield = u16::from_le_bytes([head[14], head[15]]);
    let is_ours = head[..10] == WITH_EXTRA && head[12..14] == ID;
    let fits = subfield >= 1 && extra.checked_sub(4) == Some(subfield);
    (is_ours && fits).then_some(EXTRA_HEAD + usize::from(subfield) + NOTHING.len())
}

/// What a whole carrier carries. `None`: it is none of ours.
pub fn carried(member: &[u8]) -> Option<(Carries, &[u8])> {
    let (head, _) = member.split_at_checked(EXTRA_HEAD)?;
    if carrier_length(head)? != member.len() || !member.ends_with(&NOTHING) {
        return None;
    }
    let inside = &member[EXTRA_HEAD..member.len() - NOTHING.len()];
    let (&letter, carried) = inside.split_first()?;
    let carries = [Carries::Index, Carries::Trailer]
        .into_iter()
        .find(|carries| carries.letter() == letter)?;
    Some((carries, carried))
}

pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The foot of a member with this content.
pub fn foot(content: &[u8]) -> [u8; FOOT] {
    let mut foot = [0; FOOT];
    foot[..4].copy_from_slice(&crc(content).to_le_bytes());
    // Modulo 2^32, as the RFC has it.
    foot[4..].copy_from_slice(&(content.len() as u32).to_le_bytes());
    foot
}
