//! The errors that a client sees, as RFC 9457 problem details. Every capability's error maps to
//! one of these kinds; nothing else decides a status.

use std::time::Duration;

use serde::Serialize;

/// One of the few kinds of problem; each has one status and one title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The bytes are not what they claim to be (malformed JSON, a bad query string).
    Malformed,
    /// Well formed, and against a rule; `errors` names each place.
    Invalid,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    /// An idempotency key that came with another body before.
    KeyReused,
    TooManyRequests,
    Internal,
    /// Another server, which was asked for this, gave no answer that is of use.
    BadGateway,
    Unavailable,
}

impl Kind {
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Kind::Malformed | Kind::Invalid => 400,
            Kind::Unauthorized => 401,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::MethodNotAllowed => 405,
            Kind::Conflict => 409,
            Kind::TooLarge => 413,
            Kind::UnsupportedMediaType => 415,
            Kind::KeyReused => 422,
            Kind::TooManyRequests => 429,
            Kind::Internal => 500,
            Kind::BadGateway => 502,
            Kind::Unavailable => 503,
        }
    }

    /// The last part of the problem's `type`.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Kind::Malformed => "malformed",
            Kind::Invalid => "invalid",
            Kind::Unauthorized => "unauthorized",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not-found",
            Kind::MethodNotAllowed => "method-not-allowed",
            Kind::Conflict => "conflict",
            Kind::TooLarge => "too-large",
            Kind::UnsupportedMediaType => "unsupported-media-type",
            Kind::KeyReused => "idempotency-key-reused",
            Kind::TooManyRequests => "too-many-requests",
            Kind::Internal => "internal",
            Kind::BadGateway => "bad-gateway",
            Kind::Unavailable => "unavailable",
        }
    }

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Kind::Malformed => "the request is malformed",
            Kind::Invalid => "the request breaks a rule",
            Kind::Unauthorized => "a valid key is needed",
            Kind::Forbidden => "the key may not do this",
            Kind::NotFound => "there is no such thing",
            Kind::MethodNotAllowed => "the path does not take this method",
            Kind::Conflict => "the state does not allow this",
            Kind::TooLarge => "the request is too large",
            Kind::UnsupportedMediaType => "the media type is not understood",
            Kind::KeyReused => "the idempotency key was used with another body",
            Kind::TooManyRequests => "too many requests",
            Kind::Internal => "an internal error",
            Kind::BadGateway => "another server did not answer as it should",
            Kind::Unavailable => "the service cannot do this right now",
        }
    }
}

/// One place in the request and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) into the body, or the name of a query parameter or header.
    pub pointer: String,
    pub detail: String,
}

#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// Sent as `Retry-After`, in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
}

impl Problem {
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = match kind {
            Kind::Unavailable | Kind::TooManyRequests => Some(Duration::from_secs(1)),
            _ => None,
        };
        Problem {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after,
        }
    }

    #[must_use]
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what} `{}`", clip(id)))
    }

    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    /// A validation failure at one place.
    #[must_use]
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        let text = if pointer.is_empty() {
            detail.clone()
        } else {
            format!("{pointer}: {detail}")
        };
        let mut problem = Self::new(Kind::Invalid, text);
        problem.errors.push(FieldError { pointer, detail });
        problem
    }

    /// All failures of one request, if there are any.
    pub fn all(errors: Vec<FieldError>) -> Result<(), Self> {
        let Some(first) = errors.first() else {
            return Ok(());
        };
        let mut problem = Self::invalid(first.pointer.clone(), first.detail.clone());
        problem.errors = errors;
        Err(problem)
    }

    /// The same problem seen from one level up: `/type` inside the element at `/3` is `/3/type`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        for error in &mut self.errors {
            error.pointer.insert_str(0, prefix);
        }
        if let [first, ..] = self.errors.as_slice() {
            self.detail = format!("{}: {}", first.pointer, first.detail);
        }
        self
    }

    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.detail)
    }
}

impl std::error::Error for Problem {}

/// What a client sent, short enough to be shown back to it.
#[must_use]
pub fn clip(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
