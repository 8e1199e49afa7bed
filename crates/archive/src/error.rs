//! What archives refuse, and what keeps them from being made.

use tidewire_core::{Kind, Problem};

use crate::{cache, objects};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no archive `{0}`")]
    NoSuchArchive(String),
    #[error("the stream `{0}` has no event")]
    NoSuchStream(String),
    #[error(
        "from {from} on would leave a hole: the stream `{stream}` is archived up to {archived}, begin at {} or before",
        .archived + 1
    )]
    Hole {
        stream: String,
        from: u64,
        archived: u64,
    },
    #[error("the stream `{stream}` ends at {end}, before {to}")]
    BeyondEnd { stream: String, to: u64, end: u64 },
    /// An object is not what it was when it was sealed, or not there.
    #[error("the object `{key}` is not what was sealed: {why}")]
    Broken { key: String, why: String },
    /// The store of objects cannot take or give this now.
    #[error("the store of objects: {0}")]
    Objects(String),
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error(transparent)]
    Jobs(#[from] tidewire_jobs::Error),
    #[error(transparent)]
    Events(#[from] tidewire_events::Error),
    #[error(transparent)]
    Threads(#[from] tidewire_threads::Error),
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

impl Error {
    /// Whether the same would fail again, however often it is tried.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(
            self,
            Error::NoSuchArchive(_)
                | Error::NoSuchStream(_)
                | Error::Hole { .. }
                | Error::BeyondEnd { .. }
                | Error::Invalid(_)
        )
    }
}

impl From<objects::Error> for Error {
    fn from(error: objects::Error) -> Self {
        use objects::Error::{Checksum, Missing, Size};
        let why = error.to_string();
        match error {
            Missing { key, .. } | Size { key, .. } | Checksum { key, .. } => {
                Error::Broken { key, why }
            }
            _ => Error::Objects(why),
        }
    }
}

impl From<cache::Error> for Error {
    fn from(error: cache::Error) -> Self {
        match error {
            cache::Error::Objects(error) => error.into(),
            cache::Error::Broken { key, what, .. } => Error::Broken {
                key,
                why: what.to_string(),
            },
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchArchive(id) => Problem::not_found("archive", &id),
            Error::NoSuchStream(stream) => Problem::not_found("stream", &stream),
            Error::Hole { .. } | Error::BeyondEnd { .. } => Problem::conflict(error.to_string()),
            Error::Broken { .. } => {
                tracing::error!(%error, "an archive cannot be read");
                Problem::new(Kind::Internal, error.to_string())
            }
            Error::Objects(_) => {
                tracing::warn!(%error, "the store of objects cannot serve a request");
                Problem::new(
                    Kind::Unavailable,
                    "the store of objects cannot do this right now: try again",
                )
            }
            Error::Invalid(problem) => problem,
            Error::Jobs(error) => error.into(),
            Error::Events(error) => error.into(),
            Error::Threads(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
