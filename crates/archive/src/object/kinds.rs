//! Which types of events occur where: a dictionary for the object, and a set of bits for each member.

/// As many types as a set has bits.
pub const MOST: usize = 64;
/// The set of a member with a type that is not in the dictionary: any may occur.
pub const ANY: u64 = 0;

/// The types of an object, in the order in which they first occur.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    names: Vec<Box<str>>,
    /// Neighbours are often alike.
    last: usize,
}

impl Kinds {
    /// The bit of this type, which is taken in if there is room.
    pub fn bit(&mut self, kind: &str) -> Option<u64> {
        if self.names.get(self.last).is_none_or(|last| **last != *kind) {
            let known = self.names.iter().position(|name| **name == *kind);
            self.last = match known {
                Some(known) => known,
                None if self.names.len() < MOST => {
                    self.names.push(kind.into());
                    self.names.len() - 1
                }
                None => return None,
            };
        }
        Some(1 << self.last)
    }

    /// As it was read.
    pub fn push(&mut self, name: &str) {
        self.names.push(name.into());
    }

    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub fn wanted(&self, wanted: impl Fn(&str) -> bool) -> Wanted {
        let bits = self.names().enumerate().filter(|(_, name)| wanted(name));
        Wanted(bits.fold(0, |set, (bit, _)| set | 1 << bit))
    }
}

/// Some of the types that occur in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted(u64);

impl Wanted {
    /// Whether a member with this set may have one of them.
    pub(super) fn may_be_in(self, set: u64) -> bool {
        set == ANY || set & self.0 != 0
    }
}

/// The set of a member that is being filled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filling {
    set: u64,
    any: bool,
}

impl Filling {
    pub fn add(&mut self, bit: Option<u64>) {
        match bit {
            Some(bit) => self.set |= bit,
            None => self.any = true,
        }
    }

    pub fn set(self) -> u64 {
        if self.any { ANY } else { self.set }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_after_the_last_that_fits_makes_a_member_hold_any() {
        let mut kinds = Kinds::default();
        let names: Vec<String> = (0..=MOST).map(|n| format!("kind.{n}")).collect();
        let bits: Vec<_> = names.iter().map(|name| kinds.bit(name)).collect();
        assert_eq!(
            (bits[0], bits[63], bits[64]),
            (Some(1), Some(1 << 63), None)
        );
        assert_eq!(kinds.bit("kind.1"), Some(2));

        let mut filling = Filling::default();
        filling.add(Some(2));
        let wanted = kinds.wanted(|name| name == "kind.2");
        assert!(!wanted.may_be_in(filling.set()));
        filling.add(None);
        assert!(wanted.may_be_in(filling.set()));
        assert!(kinds.wanted(|_| false).may_be_in(ANY));
    }
}
