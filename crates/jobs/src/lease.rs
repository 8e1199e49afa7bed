//! What proves a claim.
//!
//! Each claim draws one secret of 256 bits, which is stored with every job that it took; the token
//! that a worker shows for a job is a hash of that secret and the job's id. So each job has a token
//! of its own, and none can be made from another, while the statement that claims five hundred jobs
//! writes one value for all of them: a value for each doubled its cost.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidewire_core::ids;

/// The secret of one claim.
pub(crate) fn new_secret() -> Arc<str> {
    ids::new_secret("").into()
}

/// The token of one job under a claim's secret.
pub(crate) fn token(secret: &str, id: &str) -> String {
    let hash = Sha256::new()
        .chain_update(secret.as_bytes())
        .chain_update([0])
        .chain_update(id.as_bytes())
        .finalize();
    URL_SAFE_NO_PAD.encode(hash)
}

/// How a caller proves that it holds a job.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// The token that was handed out.
    Token(String),
    /// The secret itself: known inside this process only.
    Secret(Arc<str>),
}

impl Proof {
    pub(crate) fn holds(&self, secret: &str, id: &str) -> bool {
        match self {
            Proof::Token(shown) => token(secret, id).as_bytes().ct_eq(shown.as_bytes()).into(),
            Proof::Secret(known) => &**known == secret,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_job_under_one_claim() {
        let (first, second) = (new_secret(), new_secret());
        let shown = Proof::Token(token(&first, "1"));
        assert!(shown.holds(&first, "1"));
        assert!(!shown.holds(&first, "2"), "another job of the same claim");
        assert!(!shown.holds(&second, "1"), "another claim of the same job");
        assert!(!Proof::Token(first.to_string()).holds(&first, "1"));
        assert!(!Proof::Token(String::new()).holds(&first, "1"));
        assert!(Proof::Secret(Arc::clone(&first)).holds(&first, "1"));
    }
}
