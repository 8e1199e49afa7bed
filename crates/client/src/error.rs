//! What can go wrong between a client and a server: the server said no ([`Problem`]), no answer
//! came ([`TransportError`]), an answer made no sense, or the request could not be made at all.

use std::{fmt, io, time::Duration};

use serde::Deserialize;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered, and the answer is an error.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// No whole answer came.
    #[error("{0}")]
    Transport(Box<TransportError>),
    /// An answer came that is not what a Tidewire server says.
    #[error(
        "the answer of {url} (status {status}) is not one of a tidewire server: {detail}; check that the URL points at one"
    )]
    Answer {
        url: String,
        status: u16,
        detail: String,
    },
    /// The request cannot be made: a bad server URL, key or id.
    #[error("{0}")]
    Request(String),
}

impl Error {
    /// The HTTP status, if the server answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Problem(problem) => Some(problem.status),
            Error::Answer { status, .. } => Some(*status),
            Error::Transport(_) | Error::Request(_) => None,
        }
    }

    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Error::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// How long the server asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.problem().and_then(|problem| problem.retry_after)
    }

    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the request certainly had no effect and may succeed later: nobody listened, or the
    /// server said that it did not take it.
    #[must_use]
    pub fn is_refused_for_now(&self) -> bool {
        match self {
            Error::Problem(problem) => matches!(problem.status, 429 | 503),
            Error::Transport(transport) => transport.kind == TransportKind::Connect,
            Error::Answer { .. } | Error::Request(_) => false,
        }
    }

    /// Whether the same request may succeed later. It may have had its effect already: the answer
    /// could be what got lost.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.is_refused_for_now()
            || matches!(self, Error::Transport(_))
            || matches!(self.status(), Some(408 | 425 | 502 | 504))
    }
}

/// The server's problem details (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    #[serde(rename = "type", default)]
    pub problem_type: String,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub detail: String,
    /// Each place in the request that was wrong.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// What to look for in the server's log.
    #[serde(default)]
    pub request_id: Option<String>,
    /// From the `Retry-After` header.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// One place in the request (a JSON pointer, or a parameter's name) and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FieldError {
    #[serde(default)]
    pub pointer: String,
    #[serde(default)]
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {})", self.title, self.status)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        // The first place is what `detail` already says.
        for error in self.errors.iter().skip(1).take(MOST_ERRORS_SHOWN) {
            write!(f, "; {}: {}", error.pointer, error.detail)?;
        }
        if let Some(more) = self
            .errors
            .len()
            .checked_sub(MOST_ERRORS_SHOWN + 1)
            .filter(|n| *n > 0)
        {
            write!(f, "; and {more} more")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

const MOST_ERRORS_SHOWN: usize = 9;

impl std::error::Error for Problem {}

/// Why no whole answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportKind {
    /// No connection: the request was never sent.
    Connect,
    /// The deadline passed. The request may have been carried out.
    Timeout,
    /// The connection broke. The request may have been carried out.
    Broken,
}

#[derive(Debug)]
pub struct TransportError {
    pub kind: TransportKind,
    /// Where the request went, without user, password and query.
    pub url: String,
    detail: String,
    refused: bool,
}

impl TransportError {
    pub(crate) fn new(url: &reqwest::Url, error: reqwest::Error) -> Self {
        // The URL is told apart, without its query; reqwest's own text would repeat it whole.
        let error = error.without_url();
        let kind = if error.is_connect() {
            TransportKind::Connect
        } else if error.is_timeout() {
            TransportKind::Timeout
        } else {
            TransportKind::Broken
        };
        let refused = sources(&error)
            .filter_map(|source| source.downcast_ref::<io::Error>())
            .any(|source| source.kind() == io::ErrorKind::ConnectionRefused);
        // The innermost source is the one that says something.
        let detail = sources(&error)
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        TransportError {
            kind,
            url: shown(url),
            detail,
            refused,
        }
    }

    pub(crate) fn timeout(url: &reqwest::Url, after: Duration) -> Self {
        let detail = format!(
            "nothing came for {}",
            tidewire_core::duration::format(after)
        );
        TransportError {
            kind: TransportKind::Timeout,
            url: shown(url),
            detail,
            refused: false,
        }
    }

    pub(crate) fn ended(url: &reqwest::Url) -> Self {
        let detail = "the server ended the stream".to_owned();
        TransportError {
            kind: TransportKind::Broken,
            url: shown(url),
            detail,
            refused: false,
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransportError { url, detail, .. } = self;
        match self.kind {
            TransportKind::Connect if self.refused => {
                write!(
                    f,
                    "connection refused at {url}: is `tidewire serve` running there?"
                )
            }
            TransportKind::Connect => {
                write!(
                    f,
                    "cannot connect to {url}: {detail}; check the server's URL and the network"
                )
            }
            TransportKind::Timeout => {
                write!(
                    f,
                    "no answer from {url} in time: {detail}; the server may be overloaded"
                )
            }
            TransportKind::Broken => write!(f, "the connection to {url} broke: {detail}"),
        }
    }
}

impl std::error::Error for TransportError {}

fn sources<'e>(
    error: &'e reqwest::Error,
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |error| error.source())
}

/// A URL fit for messages.
pub(crate) fn shown(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    // A URL that cannot have a user has none to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}
