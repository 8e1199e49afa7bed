//! What the queue refuses.

use tidewire_core::{Kind, Problem};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no job `{0}`")]
    NoSuchJob(String),
    /// The caller does not hold the job, or not any more; the text says why.
    #[error("the lease of the job `{id}` is lost: {why}")]
    LeaseLost { id: String, why: &'static str },
    #[error("the job `{id}` is {status} and cannot be {wanted}")]
    WrongState {
        id: String,
        status: &'static str,
        wanted: &'static str,
    },
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error(transparent)]
    RequestKey(#[from] tidewire_access::Error),
    #[error(transparent)]
    Events(#[from] tidewire_events::Error),
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchJob(id) => Problem::not_found("job", &id),
            Error::LeaseLost { .. } => {
                Problem::new(Kind::Conflict, format!("{error}: stop working on it"))
            }
            Error::WrongState { .. } => Problem::conflict(error.to_string()),
            Error::Invalid(problem) => problem,
            Error::RequestKey(error) => error.into(),
            Error::Events(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
