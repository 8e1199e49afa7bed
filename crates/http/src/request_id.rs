//! The id under which one request is found in every log line.

use axum::extract::{FromRequestParts, Request};
use bytes::Bytes;
use http::{HeaderValue, request::Parts};
use tidewire_core::{Clock, Kind, Problem, ids};

use crate::ApiError;

/// The longest id that is taken from a client.
const LONGEST: usize = 128;

/// Kept as a header's value, so that the client's own id is never copied and a new one is
/// allocated once; clones share it. An extractor, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's `X-Request-Id` if it is 1 to 128 visible ASCII characters, else a new id.
    pub(crate) fn of(request: &Request, clock: &Clock) -> Self {
        match request.headers().get("x-request-id") {
            Some(value) if is_sane(value.as_bytes()) => RequestId(value.clone()),
            _ => {
                let id = Bytes::from(ids::new_id(clock));
                let value = HeaderValue::from_maybe_shared(id);
                RequestId(value.unwrap_or(HeaderValue::from_static("none")))
            }
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<RequestId>().cloned().ok_or_else(|| {
            ApiError(Problem::new(
                Kind::Internal,
                "the route is served without the layer that makes request ids",
            ))
        })
    }
}
