//! What a fleet's controller refuses.

use tidewire_core::{Kind, Problem};

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no agent `{0}`")]
    NoSuchAgent(String),
    #[error("there is no version {0}")]
    NoSuchVersion(u64),
    #[error("the version {version} has {percent} % already, and a share is only raised")]
    NotRaised { version: u64, percent: u32 },
    #[error("the gate `{gate}` of the version {version} holds: {why}")]
    Gated {
        version: u64,
        gate: String,
        why: String,
    },
    /// The store does not know of the revision that the asker was told of.
    #[error("revision {told} is told of, and the store is at {stored}")]
    Behind { told: u64, stored: u64 },
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchAgent(id) => Problem::new(
                Kind::NotFound,
                format!(
                    "there is no agent `{}`: register first",
                    tidewire_core::problem::clip(&id)
                ),
            ),
            Error::NoSuchVersion(version) => Problem::not_found("version", &version.to_string()),
            Error::NotRaised { .. } => Problem::conflict(format!(
                "{error}: to take a version back, roll back to the one before it"
            )),
            Error::Gated { .. } => Problem::conflict(error.to_string()),
            // Whoever tells of a revision has read it in the store: a backup may have been put back since.
            Error::Behind { .. } => {
                Problem::conflict(format!("{error}: ask without a revision, or watch again"))
            }
            Error::Invalid(problem) => problem,
            Error::Store(error) => error.into(),
        }
    }
}
