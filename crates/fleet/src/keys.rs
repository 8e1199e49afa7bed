//! The keys that a worker takes: one, or while it is replaced two.

use std::fmt;

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidewire_core::{Kind, Problem};

/// How many are good at once: the one that goes, and the one that comes.
const MOST: usize = 2;

/// Kept by their hashes; none means that everybody may.
#[derive(Clone, Default)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Reads `KEY` or `KEY,KEY`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys: Vec<_> = text
            .split(',')
            .map(str::trim)
            .filter(|key| !key.is_empty())
            .collect();
        if keys.len() > MOST {
            return Err(format!(
                "names {} keys: one, or while it is replaced two, with a comma between them",
                keys.len()
            ));
        }
        let fits = |key: &&str| key.len() <= 256 && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !keys.iter().all(fits) {
            return Err(
                "has a character that no header can carry, or more than 256: use visible ASCII characters"
                    .to_owned(),
            );
        }
        Ok(Keys(keys.into_iter().map(hash).collect()))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether whoever sends these headers may.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.is_empty() {
            return Ok(());
        }
        let refused = |why: &str| Err(Problem::new(Kind::Unauthorized, why));
        let Some(shown) = shown(headers) else {
            return refused(
                "no key was sent: send `Authorization: Bearer KEY` or `X-API-Key: KEY`",
            );
        };
        let shown = hash(shown);
        // All of them are looked at, however early one fits.
        let good = self.0.iter().fold(subtle::Choice::from(0), |good, key| {
            good | key.as_slice().ct_eq(&shown)
        });
        match bool::from(good) {
            true => Ok(()),
            false => refused("the key is not valid: it may have been replaced"),
        }
    }
}

fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let plain = || headers.get("x-api-key")?.to_str().ok().map(str::trim);
    bearer.or_else(plain)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Whether there are any, and never which.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "set" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(keys: &str, name: &'static str, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        Keys::parse(keys).unwrap().check(&headers).is_ok()
    }

    #[test]
    fn both_keys_are_good_while_one_is_replaced() {
        for keys in ["old", "old,new", " new , old "] {
            assert!(good(keys, "authorization", "Bearer old"));
            assert!(good(keys, "authorization", "bearer old"));
            assert!(good(keys, "x-api-key", "old"));
        }
        for (keys, shown) in [("new", "old"), ("old,new", "ol"), ("old,new", "old,new")] {
            assert!(!good(keys, "x-api-key", shown), "{shown}");
        }
        assert!(!good("old", "authorization", "old"));
        assert!(good("", "x-nothing", "x"), "without a key everybody may");
        assert!(Keys::parse("a,b,c").is_err());
        assert!(Keys::parse("ü").is_err());
        assert!(!format!("{:?}", Keys::parse("hunter2").unwrap()).contains("hunter2"));
    }
}
