//! What came back.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

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
