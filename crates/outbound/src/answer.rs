//! What came back.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tidewire_core::Time;

/// An answer, whatever its status: a redirect is an answer like any other, and nobody follows it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The first bytes of the body, as many as the request's cap allows.
    pub body: Bytes,
    /// The body was longer.
    pub truncated: bool,
    pub timings: Timings,
}

impl Answer {
    /// How long it asks to be left alone.
    #[must_use]
    pub fn retry_after(&self, now: Time) -> Option<Duration> {
        let text = self.headers.get(header::RETRY_AFTER)?;
        retry_after(text.to_str().ok()?, now)
    }
}

/// How long a `Retry-After` asks to wait: a number of seconds or an HTTP date. What is neither, or past, or no time at
/// all, asks for nothing.
#[must_use]
pub fn retry_after(text: &str, now: Time) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than an u64 has: longer than every cap.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        Time::EPOCH.plus(since_epoch).since(now)
    };
    (!wait.is_zero()).then_some(wait)
}

/// Where the time went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Looking up the name; none on a kept connection, and none for an address.
    pub resolve: Option<Duration>,
    /// TCP alone; none on a kept connection.
    pub connect: Option<Duration>,
    /// The TLS handshake; none on a kept connection, and none without TLS.
    pub tls: Option<Duration>,
    /// From the call until the answer's head was there.
    pub first_byte: Duration,
    /// From the call until the answer was read.
    pub total: Duration,
}

impl Timings {
    /// Whether the request went over a connection of an earlier one.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.connect.is_none()
    }
}

/// Headers and bodies may hold secrets.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("truncated", &self.truncated)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}
