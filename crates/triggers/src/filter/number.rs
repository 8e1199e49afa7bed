//! JSON numbers compared as the decimals that they are: no double is made, so no digit is lost.

use std::cmp::Ordering;

/// A number's text taken apart: `±d.ddd · 10^power`, the first digit not zero.
struct Decimal<'t> {
    negative: bool,
    power: i64,
    /// From the first digit other than zero; a point may stand between them. Empty for zero.
    digits: &'t [u8],
}

impl<'t> Decimal<'t> {
    fn of(text: &'t str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            // An exponent too long for an i64 is beyond every limit that JSON has here.
            Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(i64::MAX)),
            None => (text, 0i64),
        };
        let point = mantissa.find('.').unwrap_or(mantissa.len());
        let Some(first) = mantissa.find(|c: char| c.is_ascii_digit() && c != '0') else {
            return Decimal {
                negative: false,
                power: 0,
                digits: &[],
            };
        };
        // 123.4: power 2 for the digit at 0; 0.05: power −2 for the digit at 3.
        let place = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
        let power = if first < point {
            place(point - first) - 1
        } else {
            -place(first - point)
        };
        Decimal {
            negative,
            power: power.saturating_add(exponent),
            digits: &mantissa.as_bytes()[first..],
        }
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        let digits = |number: &Self| {
            let digits = number.digits.iter().copied();
            digits.filter(u8::is_ascii_digit).collect::<Vec<_>>()
        };
        self.power.cmp(&other.power).then_with(|| {
            let (mut left, mut right) = (digits(self), digits(other));
            let length = left.len().max(right.len());
            left.resize(length, b'0');
            right.resize(length, b'0');
            left.cmp(&right)
        })
    }
}

/// How two numbers, each as JSON writes it, stand to each other.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (Decimal::of(left), Decimal::of(right));
    left.sign()
        .cmp(&right.sign())
        .then_with(|| match left.sign() {
            0 => Ordering::Equal,
            1 => left.magnitude(&right),
            _ => right.magnitude(&left),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_digit_counts() {
        for (left, right, order) in [
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            (
                "10000000000000000000000000000000000000001",
                "10000000000000000000000000000000000000000",
                Ordering::Greater,
            ),
            (
                "0.1",
                "0.10000000000000000000000000000000001",
                Ordering::Less,
            ),
            ("1", "1.000", Ordering::Equal),
            ("100", "1e2", Ordering::Equal),
            ("100", "1E+2", Ordering::Equal),
            ("0.05", "5e-2", Ordering::Equal),
            ("1200e-1", "120", Ordering::Equal),
            ("0", "-0", Ordering::Equal),
            ("0", "-0.000e5", Ordering::Equal),
            ("0", "-1e-300", Ordering::Greater),
            ("-2", "-10", Ordering::Greater),
            ("-2.5", "2", Ordering::Less),
            ("9.99", "10", Ordering::Less),
            ("1e308", "9e307", Ordering::Greater),
            ("99e1", "1e3", Ordering::Less),
        ] {
            assert_eq!(compare(left, right), order, "{left} {right}");
            assert_eq!(compare(right, left), order.reverse(), "{right} {left}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_ordered_as_integers(a: i128, b: i128) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), a.cmp(&b));
        }

        #[test]
        fn moving_the_point_changes_nothing(digits in "[1-9][0-9]{0,15}", zeros in 0usize..6, places in 0usize..6) {
            let moved = format!("{digits}{}e-{places}", "0".repeat(places));
            prop_assert_eq!(compare(&digits, &moved), Ordering::Equal);
            let padded = format!("{digits}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(compare(&digits, &padded), Ordering::Equal);
        }

        #[test]
        fn doubles_are_ordered_as_doubles(a in -1e30f64..1e30, b in -1e30f64..1e30) {
            let text = |n: f64| serde_json::to_string(&n).unwrap();
            prop_assert_eq!(compare(&text(a), &text(b)), a.partial_cmp(&b).unwrap());
        }
    }
}
