//! Keys as the store knows them: by their SHA-256. A key has 256 random bits, so a plain hash is
//! enough; a slow one would protect nothing and cost every request.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use tidewire_core::ids;

/// Tells a key from other secrets, to people and to scanners of public code.
const PREFIX: &str = "tw_";
/// The characters behind it: 256 bits in base 64.
const RANDOM: usize = 43;

/// A new key. It is shown once and kept nowhere.
pub(crate) fn new_key() -> String {
    ids::new_secret(PREFIX)
}

/// Whether a text could be a key that [`new_key`] made; what could not is refused without a look
/// into the store.
pub(crate) fn is_key(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|random| {
        random.len() == RANDOM
            && random
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

/// The SHA-256 of a key or a body. Equality takes the same time whatever the bytes.
#[derive(Clone, Copy)]
pub(crate) struct Hash256([u8; 32]);

impl Hash256 {
    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Self {
        Hash256(Sha256::digest(bytes).into())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Hash256)
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// Tells by whoever has `secret` that this is the hash, and tells nothing to others.
    pub(crate) fn marked(self, secret: &[u8]) -> Self {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
        mac.update(b"tidewire-key\0");
        mac.update(&self.0);
        Hash256(mac.finalize().into_bytes().into())
    }
}

impl PartialEq for Hash256 {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Hash256 {}

impl std::hash::Hash for Hash256 {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_looks_like_one_and_a_guess_does_not() {
        assert!(is_key(&new_key()));
        for wrong in [
            "",
            "tw_",
            "hunter2",
            &format!("tw_{}", "?".repeat(43)),
            &format!("xx_{}", "a".repeat(43)),
        ] {
            assert!(!is_key(wrong), "{wrong}");
        }
    }
}
