//! The secrets that deliveries are signed with.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::{mask::MASK, read::Faults};
use crate::raw::{self, Value};

/// What Standard Webhooks puts before the base64 of a key.
const PREFIX: &str = "whsec_";
/// Bytes of a key that is written so, at least and at most.
const SHORTEST: usize = 24;
const LONGEST: usize = 64;
/// Characters of a secret that is written otherwise.
const MAX_TEXT: usize = 256;
/// Secrets at once: the old one, the new one, and one that somebody forgot.
const MAX_SECRETS: usize = 4;

/// A key that signs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// `whsec_` and the base64 of 24 to 64 bytes, as Standard Webhooks writes keys; any other text is the key itself,
    /// byte for byte (its libraries call that format `raw`). A text that looks like base64 without the prefix is not
    /// guessed at.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(MASK) {
            return Err("is what an answer shows instead of a secret: send the secret".to_owned());
        }
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            let length = text.chars().count();
            if length == 0 || length > MAX_TEXT {
                return Err(format!(
                    "must have 1 to {MAX_TEXT} characters, it has {length}"
                ));
            }
            return Ok(Secret(text.as_bytes().to_vec()));
        };
        let form = format!(
            "must be `{PREFIX}` and the base64 (with padding) of {SHORTEST} to {LONGEST} bytes"
        );
        let key = STANDARD.decode(encoded).map_err(|_| form.clone())?;
        if key.len() < SHORTEST || key.len() > LONGEST {
            return Err(format!("{form}, it is of {}", key.len()));
        }
        Ok(Secret(key))
    }

    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0
    }
}

// The key stays out of logs, also by accident.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One secret, or a list of them while they are rotated.
pub(super) fn read(raw: &RawValue, at: &str, faults: &mut Faults) -> Vec<Secret> {
    let one = |raw: &RawValue, at: &str, faults: &mut Faults| match Value::of(raw) {
        Value::Text(text) => faults.note(at, Secret::parse(&text)),
        other => {
            faults.add(at, format!("must be a string, it is {}", other.kind()));
            None
        }
    };
    let Value::Array(list) = Value::of(raw) else {
        return one(raw, at, faults).into_iter().collect();
    };
    let list = raw::array(list).unwrap_or_default();
    if list.is_empty() || list.len() > MAX_SECRETS {
        let count = list.len();
        faults.add(
            at,
            format!("must have 1 to {MAX_SECRETS} secrets, it has {count}"),
        );
        return Vec::new();
    }
    let secrets = list.iter().enumerate();
    secrets
        .filter_map(|(n, raw)| one(raw, &format!("{at}/{n}"), faults))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_standard_webhooks_has_it_or_is_the_text_itself() {
        let key = |text: &str| Secret::parse(text).map(|secret| secret.0);
        let encoded = STANDARD.encode([7; 24]);
        assert_eq!(key(&format!("whsec_{encoded}")), Ok(vec![7; 24]));
        assert_eq!(key(&encoded), Ok(encoded.clone().into_bytes()));
        assert_eq!(key("s3cret"), Ok(b"s3cret".to_vec()));
        for bad in [
            String::new(),
            "x".repeat(257),
            "whsec_".to_owned(),
            "whsec_%%%".to_owned(),
            format!("whsec_{}", STANDARD.encode([7; 23])),
            format!("whsec_{}", STANDARD.encode([7; 65])),
            format!("whsec_{}", encoded.trim_end_matches(['='])) + "=",
            "whsec_…CAkK".to_owned(),
        ] {
            assert!(Secret::parse(&bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", Secret::parse("s3cret")).contains("s3cret"));
    }
}
