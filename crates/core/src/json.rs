//! What a JSON document must keep to so that it comes back equal from every engine: depth, digits,
//! exponents, no lone surrogates, no NUL. (`1e131000` is 22 bytes on the way in and 131,001
//! characters out of PostgreSQL's JSONB; MySQL and SQLite would return something else again.)
//!
//! The text is taken as serde_json's `RawValue` has already checked its syntax (RFC 8259), so this
//! pass only looks for the limits, once, without building a tree.

/// Arrays and objects inside each other.
pub const MAX_DEPTH: usize = 64;
/// Digits of one number, not counting sign, point and exponent.
pub const MAX_DIGITS: usize = 40;
/// Where the first digit of a number may stand: beyond it a double is infinite or zero.
pub const MAX_EXPONENT: i64 = 308;

/// A limit that a document breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// RFC 6901, relative to the document.
    pub pointer: String,
    pub detail: String,
}

/// Checks a syntactically valid JSON text against the limits.
pub fn check(text: &str) -> Result<(), Fault> {
    Scan {
        bytes: text.as_bytes(),
        at: 0,
        path: Vec::new(),
    }
    .run()
    .map_err(|(path, detail)| Fault {
        pointer: pointer(text, &path),
        detail,
    })
}

/// One step down into a container: the key's span in the text (quotes included), or the index.
#[derive(Clone, Copy, Debug)]
enum Step {
    Key(usize, usize),
    Index(usize),
}

type Found = (Vec<Step>, String);

struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
    path: Vec<Step>,
}

impl Scan<'_> {
    fn run(mut self) -> Result<(), Found> {
        // In an object a string in key position names the step; everywhere else it is a value.
        let mut expect_key = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'{' | b'[' => {
                    if self.path.len() == MAX_DEPTH {
                        return Err(self.fault(format!("is nested deeper than {MAX_DEPTH} levels")));
                    }
                    expect_key = byte == b'{';
                    self.path.push(if expect_key {
                        Step::Key(0, 0)
                    } else {
                        Step::Index(0)
                    });
                    self.at += 1;
                }
                b'}' | b']' => {
                    self.path.pop();
                    expect_key = false;
                    self.at += 1;
                }
                b',' => {
                    match self.path.last_mut() {
                        Some(Step::Index(n)) => *n += 1,
                        Some(Step::Key(..)) => expect_key = true,
                        None => {}
                    }
                    self.at += 1;
                }
                b'"' => {
                    let start = self.at;
                    let fault = self.string();
                    if expect_key {
                        expect_key = false;
                        if let Some(last) = self.path.last_mut() {
                            *last = Step::Key(start, self.at);
                        }
                    }
                    if let Some(detail) = fault {
                        return Err(self.fault(detail));
                    }
                }
                b'-' | b'0'..=b'9' => {
                    if let Some(detail) = self.number() {
                        return Err(self.fault(detail));
                    }
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    fn fault(&mut self, detail: String) -> Found {
        (std::mem::take(&mut self.path), detail)
    }

    /// Moves behind the string that starts here; the fault it holds, if any.
    fn string(&mut self) -> Option<String> {
        let mut fault = None;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return fault;
                }
                b'\\' if self.bytes.get(self.at + 1) == Some(&b'u') => {
                    let unit = self.unit(self.at);
                    self.at += 6;
                    match unit {
                        0 => fault = Some("contains the character NUL (\\u0000)".to_owned()),
                        0xD800..=0xDBFF => {
                            let escaped = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                            if escaped && (0xDC00..=0xDFFF).contains(&self.unit(self.at)) {
                                self.at += 6;
                            } else {
                                fault = Some(lone(unit));
                            }
                        }
                        0xDC00..=0xDFFF => fault = Some(lone(unit)),
                        _ => {}
                    }
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        fault
    }

    /// The code unit of the `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> u32 {
        self.bytes
            .get(at + 2..at + 6)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .unwrap_or(0xFFFD)
    }

    /// Moves behind the number that starts here; the fault it holds, if any.
    fn number(&mut self) -> Option<String> {
        let start = self.at;
        let (mut digits, mut point, mut exponent) = (0usize, None, 0i64);
        // Where the first digit other than zero stands, counted in digits.
        let mut first_significant = None;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'0'..=b'9' => {
                    if byte != b'0' && first_significant.is_none() {
                        first_significant = Some(digits);
                    }
                    digits += 1;
                }
                b'.' => point = Some(digits),
                b'e' | b'E' => {
                    let from = self.at + 1;
                    self.at = from;
                    while matches!(self.bytes.get(self.at), Some(b'+' | b'-' | b'0'..=b'9')) {
                        self.at += 1;
                    }
                    let text = std::str::from_utf8(&self.bytes[from..self.at]).unwrap_or_default();
                    // An exponent too long for an i64 is beyond every limit.
                    exponent = text.trim_start_matches('+').parse().unwrap_or(i64::MAX);
                    break;
                }
                b'-' => {}
                _ => break,
            }
            self.at += 1;
        }
        if digits > MAX_DIGITS {
            return Some(format!(
                "is a number of {digits} digits, and at most {MAX_DIGITS} are kept"
            ));
        }
        // The power of ten of the first significant digit; zero has none, and its exponent counts.
        let integer_digits = i64::try_from(point.unwrap_or(digits)).unwrap_or(i64::MAX);
        let leading =
            first_significant.map_or(0, |at| integer_digits - 1 - i64::try_from(at).unwrap_or(0));
        let power = exponent.saturating_add(leading);
        if power.saturating_abs() > MAX_EXPONENT || exponent.saturating_abs() > MAX_EXPONENT + 40 {
            let text = String::from_utf8_lossy(&self.bytes[start..self.at]);
            return Some(format!(
                "is the number {}, and an exponent must be within ±{MAX_EXPONENT}",
                crate::problem::clip(&text)
            ));
        }
        None
    }
}

fn lone(unit: u32) -> String {
    format!("contains the lone surrogate \\u{unit:04x}, which is no character")
}

fn pointer(text: &str, path: &[Step]) -> String {
    let mut pointer = String::new();
    for step in path {
        match step {
            Step::Index(n) => pointer.push_str(&format!("/{n}")),
            Step::Key(start, end) => {
                let raw = text.get(*start..*end).unwrap_or_default();
                let key: String =
                    serde_json::from_str(raw).unwrap_or_else(|_| raw.trim_matches('"').to_owned());
                pointer.push('/');
                pointer.push_str(&escape(&key));
            }
        }
    }
    pointer
}

/// One reference token of a JSON pointer.
#[must_use]
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> String {
        let fault = check(text).expect_err(text);
        format!("{} {}", fault.pointer, fault.detail)
    }

    #[test]
    fn ordinary_documents_pass() {
        for text in [
            "{}",
            "null",
            r#"{"a":[1,2.5,-3e10,{"b":"x\u00e9\ud83d\ude00\n"}],"c":true}"#,
            "1e308",
            "-1.5e-308",
            "0.0001e-300",
            "1234567890123456789012345678901234567890",
            r#""escaped \" quote and \\ slash""#,
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        assert!(
            fault(r#"{"a":[1,{"b/c":"\u0000"}]}"#)
                .starts_with("/a/1/b~1c contains the character NUL")
        );
        assert!(fault(r#"{"x":"\ud800"}"#).starts_with("/x contains the lone surrogate \\ud800"));
        assert!(fault(r#"["ok","\udc00"]"#).starts_with("/1 contains the lone surrogate"));
        assert!(fault(r#"{"\ud800":1}"#).contains("lone surrogate"));
        assert!(fault("[0,1e309]").starts_with("/1 is the number 1e309"));
        assert!(fault("1e131000").contains("exponent"));
        assert!(fault("0e99999999999999999999").contains("exponent"));
        assert!(fault("10e308").contains("exponent"));
        assert!(fault(&"1".repeat(41)).contains("41 digits"));
        assert!(fault(&format!("{}{}", "[".repeat(65), "]".repeat(65))).contains("nested deeper"));
    }

    #[test]
    fn a_pair_of_surrogates_needs_both_halves_in_order() {
        assert!(check(r#""\ud83d\ude00""#).is_ok());
        assert!(check(r#""\ud83dx\ude00""#).is_err());
        assert!(check(r#""\ud83d\ud83d\ude00""#).is_err());
    }

    fn documents() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::{Value, json};
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300f64..1e300).prop_map(|n| json!(n)),
            "[^\0]*".prop_map(Value::from),
        ];
        leaf.prop_recursive(8, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[^\0]*", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_within_the_limits_passes(document in documents()) {
            prop_assert_eq!(check(&document.to_string()), Ok(()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = check(&text);
        }
    }
}
