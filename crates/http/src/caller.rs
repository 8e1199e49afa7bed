//! Who asks, and under which idempotency key.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidewire_core::{Kind, Principal, Problem, Scope};

use crate::ApiError;

/// The caller that the authentication layer found.
#[derive(Clone, Debug)]
pub struct Caller(pub Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<Principal>() {
            Some(principal) => Ok(Caller(principal.clone())),
            None => Err(ApiError(Problem::new(
                Kind::Unauthorized,
                "no key was sent: send `Authorization: Bearer KEY` or `X-API-Key: KEY`",
            ))),
        }
    }
}

/// The caller, who has the scope `admin`. Comes before a body, so that a stranger learns nothing about
/// bodies.
pub struct Operator(pub Principal);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Caller(caller) = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::Admin)?;
        Ok(Operator(caller))
    }
}

/// The header `Idempotency-Key`, if it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        const NAME: &str = "idempotency-key";
        let mut values = parts.headers.get_all(NAME).iter();
        let Some(value) = values.next() else {
            return Ok(IdempotencyKey(None));
        };
        let wrong = |why: &str| ApiError(Problem::invalid("Idempotency-Key", why));
        if values.next().is_some() {
            return Err(wrong("was sent more than once"));
        }
        let visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
        match value.to_str() {
            Ok(key) if visible && (1..=255).contains(&key.len()) => {
                Ok(IdempotencyKey(Some(key.to_owned())))
            }
            _ => Err(wrong("must be 1 to 255 visible ASCII characters")),
        }
    }
}
