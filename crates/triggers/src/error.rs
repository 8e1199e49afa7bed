//! What triggers refuse.

use tidewire_core::{Kind, Problem};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no trigger `{0}`")]
    NoSuchTrigger(String),
    #[error("there is no execution `{0}`")]
    NoSuchExecution(String),
    #[error("the trigger `{0}` is called with a key: send one of its tenant that may write")]
    KeyRequired(String),
    #[error("the execution `{id}` cannot be retried: {why}")]
    NotRetriable { id: String, why: String },
    #[error(
        "{depth} triggers deep, and {most} are the most: does a trigger's endpoint set it off again?"
    )]
    TooDeep { depth: u32, most: u32 },
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error(transparent)]
    RequestKey(#[from] tidewire_access::Error),
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
            Error::NoSuchTrigger(id) => Problem::not_found("trigger", &id),
            Error::NoSuchExecution(id) => Problem::not_found("execution", &id),
            Error::KeyRequired(_) => Problem::new(Kind::Unauthorized, error.to_string()),
            Error::NotRetriable { .. } => Problem::conflict(error.to_string()),
            Error::TooDeep { .. } => Problem::invalid("x-tidewire-depth", error.to_string()),
            Error::Invalid(problem) => problem,
            Error::RequestKey(error) => error.into(),
            Error::Jobs(error) => error.into(),
            Error::Events(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
