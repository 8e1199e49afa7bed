//! What sites refuse, and what goes wrong with their sources.

use std::time::Duration;

use tidewire_core::{Kind, Problem};

use crate::{SealError, sync::SourceFault};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no site `{0}`")]
    NoSuchSite(String),
    #[error("the site `{site}` has no list `{resource}`: its kind has {known}")]
    NoSuchResource {
        site: String,
        resource: String,
        known: String,
    },
    #[error("the kind `{kind}` is not known to this process: it has {known}")]
    NoSuchKind { kind: String, known: String },
    /// At registration.
    #[error("the source refuses the access key: {0}")]
    KeyRefused(String),
    /// The source was asked and gave nothing that is of use.
    #[error("{0}")]
    Source(String),
    /// The source wants to be left alone for so long.
    #[error("{why}")]
    Later { why: String, after: Duration },
    #[error("the site `{site}` is {state}: {why}")]
    Stopped {
        site: String,
        state: &'static str,
        why: String,
    },
    #[error("the sync was cancelled")]
    Cancelled,
    #[error("the server is stopping, and the sync goes on in the background as the job {0}")]
    Stopping(String),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error(transparent)]
    Jobs(#[from] tidewire_jobs::Error),
    #[error(transparent)]
    Events(#[from] tidewire_events::Error),
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchSite(id) => Problem::not_found("site", &id),
            Error::NoSuchResource { .. } => Problem::new(Kind::NotFound, error.to_string()),
            Error::NoSuchKind { .. } => Problem::invalid("/kind", error.to_string()),
            Error::KeyRefused(_) => Problem::invalid("/access_key", error.to_string()),
            Error::Source(_) => Problem::new(Kind::BadGateway, error.to_string()),
            Error::Later { why, after } => Problem::new(Kind::Unavailable, why).retry_after(after),
            Error::Stopped { .. } => Problem::conflict(format!(
                "{error}: register it again with a key that is good"
            )),
            Error::Cancelled => Problem::conflict(error.to_string()),
            Error::Stopping(_) => Problem::new(Kind::Unavailable, error.to_string()),
            Error::Seal(SealError::OtherKey | SealError::Damaged) => {
                Problem::conflict(error.to_string())
            }
            Error::Seal(SealError::File { .. }) => Problem::new(Kind::Internal, error.to_string()),
            Error::Invalid(problem) => problem,
            Error::Jobs(error) => error.into(),
            Error::Events(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}

impl From<SourceFault> for Error {
    fn from(fault: SourceFault) -> Self {
        match fault.wait() {
            Some(after) => Error::Later {
                why: fault.to_string(),
                after,
            },
            None => Error::Source(fault.to_string()),
        }
    }
}
