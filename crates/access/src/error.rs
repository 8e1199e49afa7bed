//! What can go wrong here, and the one map to what a client sees. None of it ever holds a key.

use std::time::Duration;

use tidewire_core::{Kind, Problem};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("no key was shown")]
    NoKey,
    #[error("the key is not valid")]
    WrongKey,
    #[error("the key's lease has ended")]
    Ended,
    /// What stands in the header is no key at all; the text names the header.
    #[error("{0}")]
    MalformedKey(&'static str),
    #[error("two different keys were shown")]
    TwoKeys,
    /// `X-Tenant` with a key that belongs to one tenant.
    #[error("the key may not choose its tenant")]
    TenantNotChosen,
    #[error("there is no tenant `{0}`")]
    UnknownTenant(String),
    #[error("there is no key `{0}`")]
    UnknownKey(String),
    #[error("{pointer}: {detail}")]
    Invalid {
        pointer: &'static str,
        detail: String,
    },
    /// A `limit` or `cursor` that no list takes.
    #[error(transparent)]
    Page(Problem),
    /// The request that brought this request key first is still being worked on.
    #[error("the first request with this idempotency key is not finished")]
    RequestUnfinished,
    #[error("the idempotency key was used with another body")]
    RequestKeyReused,
    /// An answer that cannot be written as JSON: a defect of the handler.
    #[error("an answer cannot be written as json: {0}")]
    Answer(String),
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

/// How long a second request should wait for the first one with the same key.
const UNFINISHED_RETRY: Duration = Duration::from_secs(1);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoKey => Problem::new(
                Kind::Unauthorized,
                "no key was shown: send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`",
            ),
            Error::WrongKey => Problem::new(
                Kind::Unauthorized,
                "the key is not valid: it is misspelt or was revoked; have another one minted",
            ),
            Error::Ended => Problem::new(
                Kind::Unauthorized,
                "the key was an instance's, and its lease has ended: whoever keeps its lease renews it, or starts another instance",
            ),
            Error::MalformedKey(detail) => Problem::new(Kind::Unauthorized, detail),
            Error::TwoKeys => Problem::invalid(
                "X-API-Key",
                "is another key than the one in `Authorization`: send one of the two, or the same in both",
            ),
            Error::TenantNotChosen => Problem::new(
                Kind::Forbidden,
                "the key belongs to one tenant and cannot act for another: leave `X-Tenant` out, or use the operator's key",
            ),
            Error::UnknownTenant(id) => Problem::not_found("tenant", &id),
            Error::UnknownKey(id) => Problem::not_found("key", &id),
            Error::Invalid { pointer, detail } => Problem::invalid(pointer, detail),
            Error::Page(problem) => problem,
            Error::RequestUnfinished => Problem::conflict(
                "the first request with this `Idempotency-Key` is not finished: send this one again in a moment to get its answer",
            )
            .retry_after(UNFINISHED_RETRY),
            Error::RequestKeyReused => Problem::new(
                Kind::KeyReused,
                "this `Idempotency-Key` came with another body before: use a new key for a new request",
            ),
            Error::Answer(_) => Problem::new(Kind::Internal, error.to_string()),
            Error::Store(error) => error.into(),
        }
    }
}
