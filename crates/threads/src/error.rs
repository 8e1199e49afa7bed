//! What threads refuse.

use tidewire_core::{Problem, problem::Kind};

use crate::TurnStatus;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no thread `{0}`")]
    NoSuchThread(String),
    #[error("there is no turn `{turn}` in the thread `{thread}`")]
    NoSuchTurn { thread: String, turn: String },
    #[error("the thread `{thread}` is busy with the turn `{turn}`")]
    Busy { thread: String, turn: String },
    #[error("the turn `{turn}` has ended: it is {status}")]
    Over { turn: String, status: TurnStatus },
    /// Whoever waited there would be sent nothing and then miss what comes before it.
    #[error(
        "is {seq}, and the thread ends at {end}: it is another thread's, or the store was restored from an older \
         copy; start again with 0"
    )]
    BeyondEnd { seq: u64, end: u64 },
    /// The hot log is away, or counts anew after it was.
    #[error("the hot log cannot take this: {0}")]
    HotLog(String),
    #[error("the hot log did not say whether it took this: {0}")]
    HotLogUnknown(String),
    /// A request key came with another body before.
    #[error("the request key was used for another request")]
    KeyReused,
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
            Error::NoSuchThread(id) => Problem::not_found("thread", &id),
            Error::NoSuchTurn { turn, .. } => Problem::not_found("turn", &turn),
            Error::Busy { .. } => Problem::conflict(format!(
                "{error}: wait for it, or say with `on_busy` what is to be done: enqueue or interrupt"
            )),
            Error::Over { .. } => Problem::conflict(format!("{error}, and nothing changes that")),
            Error::BeyondEnd { .. } => Problem::invalid("after_seq", error.to_string()),
            Error::HotLog(_) => {
                tracing::warn!(%error, "the hot log cannot serve a request");
                Problem::new(
                    Kind::Unavailable,
                    "the hot log cannot take this right now: nothing was stored, try again",
                )
            }
            Error::HotLogUnknown(_) => {
                tracing::warn!(%error, "the hot log cannot serve a request");
                Problem::new(
                    Kind::Unavailable,
                    "the hot log did not say whether it took this: try again, with the same ids if it had any",
                )
            }
            Error::KeyReused => tidewire_access::Error::RequestKeyReused.into(),
            Error::Invalid(problem) => problem,
            Error::RequestKey(error) => error.into(),
            Error::Jobs(error) => error.into(),
            Error::Events(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}
