//! Texts with places in them: `order:{site}:{id}`.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Pointer, text_of};

/// What may stand in braces where a key is shown …
pub(super) const IN_AUTH: &[&str] = &["key", "site"];
/// … in a path or a query …
pub(super) const IN_PATH: &[&str] = &["site"];
/// … and in what an event is made of.
pub(super) const IN_EVENT: &[&str] = &["site", "resource", "id", "hash", "record:/POINTER"];

/// A text with places for values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Named(&'static str),
    /// What stands there in the record.
    Record(Pointer),
}

/// What stands for the names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'v> {
    pub site: &'v str,
    pub key: &'v str,
    pub resource: &'v str,
    pub id: &'v str,
    pub record: Option<&'v RawValue>,
}

impl Template {
    pub(super) fn parse(text: &str, known: &[&'static str]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            if rest[open..].starts_with('}') {
                return Err(format!("`{text}` has a `}}` without a `{{` before it"));
            }
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            let inside = &rest[open + 1..];
            let Some(close) = inside.find('}') else {
                return Err(format!("`{text}` has a `{{` without a `}}` behind it"));
            };
            pieces.push(piece(&inside[..close], known)?);
            rest = &inside[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// The text, if there is no place in it.
    #[must_use]
    pub fn constant(&self) -> Option<String> {
        let texts = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Whether this name stands in it.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let is = |piece: &Piece| matches!(piece, Piece::Named(known) if *known == name);
        self.0.iter().any(is)
    }

    /// The text with these values. `write` says how a value is written into it.
    fn filled_by(
        &self,
        values: &Values<'_>,
        mut write: impl FnMut(&mut String, &str),
    ) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(constant) => text.push_str(constant),
                Piece::Named("site") => write(&mut text, values.site),
                Piece::Named("key") => write(&mut text, values.key),
                Piece::Named("resource") => write(&mut text, values.resource),
                Piece::Named("id") => write(&mut text, values.id),
                Piece::Named(_) => write(&mut text, &hash(values.record)),
                Piece::Record(pointer) => {
                    let found = values.record.and_then(|record| pointer.find(record));
                    let found = found.and_then(text_of);
                    let missing =
                        || format!("the record has neither text nor a number at `{pointer}`");
                    write(&mut text, &found.ok_or_else(missing)?);
                }
            }
        }
        Ok(text)
    }

    pub fn filled(&self, values: &Values<'_>) -> Result<String, String> {
        self.filled_by(values, |text, value| text.push_str(value))
    }

    /// The same for a path: a value cannot lead out of its place.
    pub fn filled_in_path(&self, values: &Values<'_>) -> Result<String, String> {
        self.filled_by(values, |text, value| {
            for byte in value.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b':' => {
                        text.push(char::from(byte));
                    }
                    // A value of one or two dots alone would be a step.
                    b'.' if value.bytes().any(|b| b != b'.') => text.push('.'),
                    _ => {
                        // Writing into a string cannot fail.
                        let _ = write!(text, "%{byte:02X}");
                    }
                }
            }
        })
    }
}

fn piece(inside: &str, known: &[&'static str]) -> Result<Piece, String> {
    if let Some(name) = known.iter().find(|name| **name == inside) {
        return Ok(Piece::Named(name));
    }
    let of_record = known.iter().any(|name| name.starts_with("record:"));
    if let Some(pointer) = inside.strip_prefix("record:")
        && of_record
    {
        return Ok(Piece::Record(Pointer::parse(pointer)?));
    }
    let known: Vec<_> = known.iter().map(|name| format!("{{{name}}}")).collect();
    Err(format!("`{{{inside}}}` is none of {}", known.join(", ")))
}

/// Of the record's content: the same however it is spaced.
fn hash(record: Option<&RawValue>) -> Cow<'static, str> {
    let Some(record) = record else {
        return Cow::Borrowed("");
    };
    let mut hash = Sha256::new();
    let mut in_string = false;
    let mut escaped = false;
    for byte in record.get().bytes() {
        if !in_string && byte.is_ascii_whitespace() {
            continue;
        }
        hash.update([byte]);
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
    }
    Cow::Owned(hex::encode(&hash.finalize()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn values_stand_in_their_places() {
        let record = raw(r#"{"type": "charge.refunded", "n": 7, "o": {}}"#);
        let values = Values {
            site: "shop",
            id: "o-1",
            resource: "orders",
            record: Some(&record),
            key: "",
        };
        let filled = |text: &str| Template::parse(text, IN_EVENT).unwrap().filled(&values);
        assert_eq!(filled("order:{site}:{id}").unwrap(), "order:shop:o-1");
        assert_eq!(
            filled("{resource}.{record:/type}.{record:/n}").unwrap(),
            "orders.charge.refunded.7"
        );
        assert!(filled("{record:/o}").unwrap_err().contains("/o"));
        assert!(filled("{record:/missing}").is_err());
        assert_eq!(
            Template::parse("plain", IN_EVENT).unwrap().constant(),
            Some("plain".to_owned())
        );
        assert_eq!(Template::parse("a{id}", IN_EVENT).unwrap().constant(), None);
    }

    #[test]
    fn a_place_that_there_is_not_is_named() {
        for (text, named) in [
            ("{user}", "`{user}`"),
            ("{key}", "`{key}`"),
            ("a{site", "without a `}`"),
            ("a}site", "without a `{`"),
            ("{record:type}", "`type`"),
        ] {
            let error = Template::parse(text, IN_EVENT).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(Template::parse("{record:/a}", IN_PATH).is_err());
    }

    #[test]
    fn a_value_cannot_lead_out_of_its_place_in_a_path() {
        let template = Template::parse("/sites/{site}/users", IN_PATH).unwrap();
        let at = |site: &str| {
            let values = Values {
                site,
                ..Values::default()
            };
            template.filled_in_path(&values).unwrap()
        };
        assert_eq!(at("shop:1.a_b-c"), "/sites/shop:1.a_b-c/users");
        assert_eq!(at(".."), "/sites/%2E%2E/users");
        assert_eq!(at("a/../b?c#d"), "/sites/a%2F..%2Fb%3Fc%23d/users");
    }

    #[test]
    fn a_hash_is_of_the_content() {
        let hash = |text: &str| hash(Some(&raw(text))).into_owned();
        assert_eq!(
            hash(r#"{"a": [1, "x \" y"]}"#),
            hash("{\"a\":[1,\n\"x \\\" y\"]}")
        );
        assert_ne!(hash(r#"{"a":"x y"}"#), hash(r#"{"a":"xy"}"#));
        assert_eq!(hash("{}").len(), 32);
    }
}
