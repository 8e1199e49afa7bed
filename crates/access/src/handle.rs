//! Sessions of people, who show their key once. What a session keeps of it is its handle: the key's
//! holder is found by it again, as long as the key is good, and it opens nothing by itself. Whoever
//! keeps sessions signs them.

use std::{fmt, str::FromStr, time::Instant};

use tidewire_core::Principal;

use crate::{
    Result, Service,
    authenticator::{Known, Shown},
    secret::Hash256,
};

/// What stands for a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHandle(pub(crate) Form);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A key of the store, by its hash.
    Minted(Hash256),
    /// A key of the configuration, by a mark that only this installation can make of it: people think
    /// such keys up, and a plain hash would let them be guessed at leisure.
    Configured(Hash256),
    /// The open mode, in which nobody shows a key.
    Open,
}

impl KeyHandle {
    /// Of the open mode.
    pub const OPEN: KeyHandle = KeyHandle(Form::Open);
}

impl Service {
    /// Whether a request that shows no key is the operator's.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.authenticator().is_open()
    }

    /// Whose key this is, and what stands for it from now on. `secret` is the installation's own.
    pub async fn sign_in(&self, key: &str, secret: &[u8]) -> Result<(Principal, KeyHandle)> {
        let shown = Shown {
            key: Some(key),
            tenant: None,
        };
        let principal = self.answered(self.know(shown)?).await?;
        Ok((principal, self.authenticator().handle(key, secret)))
    }

    /// Whose session it is; refused once the key is revoked, or is not in the configuration any more.
    /// The operator may name a tenant to act for.
    pub async fn resume(
        &self,
        handle: &KeyHandle,
        secret: &[u8],
        tenant: Option<&str>,
    ) -> Result<Principal> {
        let now = Instant::now();
        let known = self
            .authenticator()
            .know_again(handle, secret, tenant, now)?;
        self.answered(known).await
    }

    async fn answered(&self, known: Known) -> Result<Principal> {
        match known {
            Known::Caller(principal) => Ok(principal),
            Known::Ask(question) => self.ask(question).await,
        }
    }
}

impl fmt::Display for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, hash) = match &self.0 {
            Form::Minted(hash) => ('m', hash),
            Form::Configured(mark) => ('c', mark),
            Form::Open => return f.write_str("o"),
        };
        write!(f, "{form}")?;
        f.write_str(&hex::encode(hash.to_vec()))
    }
}

impl FromStr for KeyHandle {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        if text == "o" {
            return Ok(KeyHandle::OPEN);
        }
        let (form, digits) = text.split_at_checked(1).ok_or(())?;
        let hash = hex::decode(digits).ok();
        let hash = hash.and_then(|bytes| Hash256::from_bytes(&bytes));
        match (form, hash) {
            ("m", Some(hash)) => Ok(KeyHandle(Form::Minted(hash))),
            ("c", Some(mark)) => Ok(KeyHandle(Form::Configured(mark))),
            _ => Err(()),
        }
    }
}

// A hash is no key, and still nothing for a log.
impl fmt::Debug for KeyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHandle(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back_from_its_text() {
        let hash = Hash256::of("a key");
        for handle in [
            KeyHandle(Form::Minted(hash)),
            KeyHandle(Form::Configured(hash.marked(b"secret"))),
            KeyHandle::OPEN,
        ] {
            assert_eq!(handle.to_string().parse(), Ok(handle));
        }
        for wrong in ["", "m", "mxyz", "x00", "é", &format!("m{}", "0".repeat(63))] {
            assert_eq!(wrong.parse::<KeyHandle>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_configured_keys_mark_needs_the_secret() {
        let hash = Hash256::of("hunter2");
        assert!(hash.marked(b"one") != hash.marked(b"other"));
        assert!(hash.marked(b"one") != hash);
    }
}
