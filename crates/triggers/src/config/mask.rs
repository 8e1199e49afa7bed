//! What answers show instead of secrets, and how a secret that was only shown comes back unchanged.
//!
//! A mask is `…` with the last four characters of a long secret, behind `whsec_` where the secret has it. No secret
//! contains `…`, so a mask is never taken for one. A client that reads a trigger, changes a field and puts the config
//! back sends the masks along: each stands for the stored secret that has this mask.

use std::borrow::Cow;

use serde_json::value::RawValue;
use tidewire_core::{Problem, json::escape};

use super::read::Faults;
use crate::raw::{self, Value};

/// The character that every mask has and no secret.
pub(super) const MASK: char = '…';

/// Headers that carry credentials.
const CREDENTIALS: [&str; 8] = [
    "authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "x-access-token",
    "x-access-key",
];

/// The config as answers show it.
#[must_use]
pub fn mask(config: &RawValue) -> Box<RawValue> {
    rewrite(config, &mut |_, text| Some(masked(text)))
}

/// The config that a client sent, with the stored secrets where it sent their masks. A mask that no stored secret has
/// is a fault.
pub fn unmask(config: &RawValue, stored: Option<&RawValue>) -> Result<Box<RawValue>, Problem> {
    let mut known = Vec::new();
    if let Some(stored) = stored {
        rewrite(stored, &mut |pointer, secret| {
            known.push((pointer.to_owned(), secret.to_owned()));
            None
        });
    }
    let mut faults = Faults::default();
    let whole = rewrite(config, &mut |pointer, text| {
        if !text.contains(MASK) {
            return None;
        }
        // A signing secret may move in its list; a header's belongs to the header.
        let signing = |pointer: &str| pointer.starts_with("/secret");
        let same_place = |at: &str| at.eq_ignore_ascii_case(pointer);
        let fits = |(at, secret): &&(String, String)| {
            (same_place(at) || (signing(at) && signing(pointer))) && masked(secret) == text
        };
        let mut found: Vec<_> = known.iter().filter(fits).collect();
        found.sort_by_key(|(at, _)| !same_place(at));
        if found.is_empty() {
            faults.add(
                pointer,
                "is what answers show instead of a secret, and no stored one looks so: send the secret",
            );
        }
        found.first().map(|(_, secret)| secret.clone())
    });
    Problem::all(faults.0)?;
    Ok(whole)
}

/// A header of a delivery as people may see it.
pub(crate) fn shown_header(name: &str, value: &str) -> String {
    match is_credential(name) {
        true => masked(value),
        false => value.to_owned(),
    }
}

fn is_credential(name: &str) -> bool {
    CREDENTIALS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn masked(secret: &str) -> String {
    let (prefix, rest) = match secret.strip_prefix("whsec_") {
        Some(rest) => ("whsec_", rest),
        None => ("", secret),
    };
    // Four characters of a short one would be too much of it.
    let tail = match rest.char_indices().nth_back(3) {
        Some((at, _)) if rest.chars().count() >= 16 => &rest[at..],
        _ => "",
    };
    format!("{prefix}{MASK}{tail}")
}

/// The config with other texts where `change` gives one for a secret; all else keeps its bytes.
fn rewrite(
    config: &RawValue,
    change: &mut dyn FnMut(&str, &str) -> Option<String>,
) -> Box<RawValue> {
    members(config, &mut |name, value| match name {
        "secret" => match Value::of(value) {
            Value::Array(list) => {
                let list = raw::array(list).unwrap_or_default();
                let parts: Vec<_> = list
                    .iter()
                    .enumerate()
                    .map(|(n, value)| text(&format!("/secret/{n}"), value, change))
                    .collect();
                let texts: Vec<_> = parts.iter().map(|part| part.get()).collect();
                raw_value(format!("[{}]", texts.join(",")))
            }
            _ => text("/secret", value, change),
        },
        "headers" => members(value, &mut |name, value| {
            if is_credential(name) {
                text(&format!("/headers/{}", escape(name)), value, change)
            } else {
                value.to_owned()
            }
        }),
        _ => value.to_owned(),
    })
}

fn members(
    object: &RawValue,
    change: &mut dyn FnMut(&str, &RawValue) -> Box<RawValue>,
) -> Box<RawValue> {
    let Some(members) = raw::object(object) else {
        return object.to_owned();
    };
    let changed: Vec<(Cow<'_, str>, Box<RawValue>)> = members
        .into_iter()
        .map(|(name, value)| {
            let value = change(&name, value);
            (name, value)
        })
        .collect();
    let borrowed: Vec<(Cow<'_, str>, &RawValue)> = changed
        .iter()
        .map(|(name, value)| (Cow::Borrowed(name.as_ref()), value.as_ref()))
        .collect();
    raw::write(&borrowed)
}

fn text(
    pointer: &str,
    value: &RawValue,
    change: &mut dyn FnMut(&str, &str) -> Option<String>,
) -> Box<RawValue> {
    match Value::of(value) {
        Value::Text(text) => match change(pointer, &text) {
            Some(text) => {
                serde_json::value::to_raw_value(&text).expect("a string can be written as JSON")
            }
            None => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}

fn raw_value(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("JSON texts between brackets are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = r#"{"endpoint":"http://a","n": 1.10,"secret":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","old"],"headers":{"Authorization":"Bearer 0123456789abcdef","X-Plain":"plain"}}"#;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn shown() -> Box<RawValue> {
        mask(&raw(STORED))
    }

    #[test]
    fn secrets_are_masked_and_all_else_is_kept() {
        assert_eq!(
            shown().get(),
            r#"{"endpoint":"http://a","n":1.10,"secret":["whsec_…LaSw","…"],"headers":{"Authorization":"…cdef","X-Plain":"plain"}}"#
        );
        assert_eq!(
            mask(&raw(
                r#"{"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}"#
            ))
            .get(),
            r#"{"secret":"whsec_…LaSw"}"#
        );
        // What is no config is shown as it is: it was never stored.
        assert_eq!(
            mask(&raw(r#"{"secret":5,"headers":[1]}"#)).get(),
            r#"{"secret":5,"headers":[1]}"#
        );
        assert_eq!(mask(&raw("3")).get(), "3");
    }

    #[test]
    fn what_was_shown_comes_back_unchanged() {
        let stored = raw(STORED);
        let back = unmask(&shown(), Some(&stored)).unwrap();
        let value = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get()).unwrap();
        assert_eq!(value(&back), value(&stored));
    }

    #[test]
    fn a_secret_may_move_in_its_list_and_a_new_one_joins_it() {
        let stored = raw(STORED);
        let sent = raw(r#"{"secret":["brand new","whsec_…LaSw"]}"#);
        let back = unmask(&sent, Some(&stored)).unwrap();
        assert_eq!(
            back.get(),
            r#"{"secret":["brand new","whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}"#
        );
        // Two of one look: each finds the one at its own place.
        let stored = raw(r#"{"secret":["first","second"]}"#);
        let back = unmask(&raw(r#"{"secret":["…","…"]}"#), Some(&stored)).unwrap();
        assert_eq!(back.get(), stored.get());
    }

    #[test]
    fn a_mask_of_nothing_that_is_stored_is_refused() {
        let sent = raw(r#"{"secret":"whsec_…XXXX","headers":{"authorization":"…zzzz"}}"#);
        for stored in [None, Some(raw(STORED))] {
            let problem = unmask(&sent, stored.as_deref()).unwrap_err();
            let pointers: Vec<_> = problem.errors.iter().map(|e| e.pointer.as_str()).collect();
            assert_eq!(pointers, ["/secret", "/headers/authorization"]);
        }
        // A header's secret is not a signing secret, nor another header's.
        let sent = raw(r#"{"secret":"…cdef","headers":{"Cookie":"…cdef"}}"#);
        assert_eq!(
            unmask(&sent, Some(&raw(STORED))).unwrap_err().errors.len(),
            2
        );
        // In another case it is the same header.
        let sent = raw(r#"{"headers":{"AUTHORIZATION":"…cdef"}}"#);
        assert!(
            unmask(&sent, Some(&raw(STORED)))
                .unwrap()
                .get()
                .contains("0123456789abcdef")
        );
    }
}
