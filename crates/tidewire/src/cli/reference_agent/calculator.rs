//! Sums: + - * / and parentheses.

use std::{iter::Peekable, str::Chars};

use serde_json::{Value, json};

/// Parentheses and signs within each other.
const DEEPEST: u32 = 64;

/// The first sum in a text.
pub(super) fn find(text: &str) -> Option<&str> {
    text.split(|c: char| !(c.is_ascii_digit() || " .+-*/()".contains(c)))
        .map(|part| part.trim_matches(|c: char| !(c.is_ascii_digit() || "-()".contains(c))))
        .find(|part| {
            let behind_sign = part.trim_start_matches('-');
            behind_sign.contains(['+', '-', '*', '/']) && evaluate(part).is_some()
        })
}

/// The value of a sum, a whole number as such, or why it has none; `None` of what is no sum.
pub(super) fn evaluate(text: &str) -> Option<Result<Value, &'static str>> {
    let mut sum = Sum {
        rest: text.chars().peekable(),
        depth: 0,
    };
    let value = sum.value(0)?;
    if sum.peek().is_some() {
        return None;
    }
    if value.is_nan() || value.is_infinite() {
        return Some(Err("it divides by zero or grows too large"));
    }
    // 0.1 + 0.2 is 0.3 to whoever asks.
    let value = (value * 1e10).round() / 1e10;
    let is_whole = value.fract() == 0.0 && value.abs() < 1e15;
    Some(Ok(if is_whole {
        json!(value as i64)
    } else {
        json!(value)
    }))
}

struct Sum<'a> {
    rest: Peekable<Chars<'a>>,
    depth: u32,
}

impl Sum<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if_eq(&' ').is_some() {}
        self.rest.peek().copied()
    }

    /// Up to the first operator that binds less: 0 is how + and - do, 1 how * and / do.
    fn value(&mut self, least: u8) -> Option<f64> {
        let mut value = self.atom()?;
        while let Some(operator) = self.peek() {
            let binds = match operator {
                '+' | '-' => 0,
                '*' | '/' => 1,
                _ => break,
            };
            if binds < least {
                break;
            }
            self.rest.next();
            let other = self.value(binds + 1)?;
            match operator {
                '+' => value += other,
                '-' => value -= other,
                '*' => value *= other,
                _ => value /= other,
            }
        }
        Some(value)
    }

    fn atom(&mut self) -> Option<f64> {
        let first = self.peek()?;
        if first != '(' && first != '-' {
            let mut digits = String::new();
            while let Some(c) = self.rest.next_if(|c| c.is_ascii_digit() || *c == '.') {
                digits.push(c);
            }
            return digits.parse().ok();
        }
        self.rest.next();
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = if first == '-' {
            -self.atom()?
        } else {
            let value = self.value(0)?;
            self.peek().filter(|c| *c == ')')?;
            self.rest.next();
            value
        };
        self.depth -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_their_value() {
        for (sum, value) in [
            ("1 + 2 * 3", json!(7)),
            ("(1 + 2) * -3", json!(-9)),
            ("10 - 4 - 3 * 2", json!(0)),
            ("10 / 4 / 5", json!(0.5)),
            ("0.1 + 0.2", json!(0.3)),
        ] {
            assert_eq!(evaluate(sum), Some(Ok(value)), "{sum}");
        }
        let deep = "(".repeat(100_000);
        for no_sum in ["", "1 +", "1 2", "(1", "1)", "1.2.3", "x", &deep] {
            assert_eq!(evaluate(no_sum), None, "{no_sum:.9}");
        }
    }

    #[test]
    fn sums_are_found_in_what_people_say() {
        assert_eq!(find("what is 12*(3+4)? Thanks."), Some("12*(3+4)"));
        assert_eq!(find("and 1 / 0, then?"), Some("1 / 0"));
        for none in [
            "call me at 5.",
            "-3 degrees",
            "well-known, (1) or (2)",
            "+ - *",
        ] {
            assert_eq!(find(none), None, "{none}");
        }
    }
}
