//! Whole numbers in as few bytes as they need: seven bits a byte, the lowest first, the highest bit says
//! that more come (LEB128).

pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number that may be below zero: 0, -1, 1, -2 … as 0, 1, 2, 3 ….
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(
        out,
        (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned(),
    );
}

/// Takes numbers off the front. `None` is the end, or a number that is none.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(values: Vec<(u64, i64)>) {
            let mut out = Vec::new();
            for &(value, signed) in &values {
                put(&mut out, value);
                put_signed(&mut out, signed);
            }
            let mut reader = Reader(&out);
            for (value, signed) in values {
                prop_assert_eq!(reader.number(), Some(value));
                prop_assert_eq!(reader.signed(), Some(signed));
            }
            prop_assert_eq!(reader.number(), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.signed().is_some() {}
        }
    }

    #[test]
    fn small_numbers_take_one_byte_and_the_largest_ten() {
        let length = |value| {
            let mut out = Vec::new();
            put(&mut out, value);
            out.len()
        };
        assert_eq!([0, 127, 128, u64::MAX].map(length), [1, 1, 2, 10]);
        assert_eq!(Reader(&[0xff; 11]).number(), None);
        assert_eq!(Reader(&[0x80]).number(), None);
    }
}
