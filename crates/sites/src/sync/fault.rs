//! What a source does instead of giving a page.

use std::{fmt, time::Duration};

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It may go better the next time.
    Passing(String),
    /// It wants to be left alone, for so long if it says so.
    TooMany(String, Option<Duration>),
    /// The access key is not good.
    Refused(String),
    /// What was asked for is not there: perhaps not any more, where reading goes on in the middle.
    Misplaced(String),
    /// Asking again is of no use.
    Lasting(String),
    /// Its address is one that must not be called.
    Forbidden(String),
}

impl Why {
    /// The same, with what is to be waited.
    pub fn after(self, wait: Duration) -> Self {
        match self {
            Why::TooMany(said, _) => Why::TooMany(said, Some(wait)),
            other => other,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Why::Passing(said)
        | Why::TooMany(said, _)
        | Why::Refused(said)
        | Why::Misplaced(said)
        | Why::Lasting(said)
        | Why::Forbidden(said)) = self;
        f.write_str(said)
    }
}

/// Which page there is not, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct SourceFault {
    what: String,
    pub(crate) why: Why,
}

impl SourceFault {
    pub(crate) fn new(what: &str, why: Why) -> Self {
        SourceFault {
            what: what.to_owned(),
            why,
        }
    }

    /// How long the source wants to be left alone.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match &self.why {
            Why::TooMany(_, wait) => Some(wait.unwrap_or(Duration::from_secs(1))),
            _ => None,
        }
    }

    /// The access key is not good.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.why, Why::Refused(_))
    }
}
