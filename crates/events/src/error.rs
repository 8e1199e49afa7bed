//! What the log refuses.

use tidewire_core::Problem;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("the stream `{stream}` ends at seq {actual}, and {expected} was expected")]
    ExpectedSeq {
        stream: String,
        expected: u64,
        actual: u64,
    },
    /// It was numbered elsewhere, and another event stands there or nothing before it.
    #[error("an event says that it is {seq} in the stream `{stream}`, and {actual} is its place")]
    Misplaced {
        stream: String,
        seq: u64,
        actual: u64,
    },
    #[error("there is no event `{0}`")]
    NoSuchEvent(String),
    /// Whoever waited there would be sent nothing and then miss what comes before it.
    #[error(
        "is position {pos}, and the log ends at {end}: it is another log's, or this one was restored from an older \
         copy; start again with an event's id from this log, or with 0"
    )]
    BeyondEnd { pos: u64, end: u64 },
    #[error(transparent)]
    Invalid(#[from] Problem),
    #[error(transparent)]
    Store(#[from] tidewire_db::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::ExpectedSeq { .. } => {
                Problem::conflict(format!("{error}: read the stream again and decide anew"))
            }
            Error::Misplaced { .. } => Problem::conflict(error.to_string()),
            Error::NoSuchEvent(id) => Problem::not_found("event", &id),
            Error::BeyondEnd { .. } => Problem::invalid("after", error.to_string()),
            Error::Invalid(problem) => problem,
            Error::Store(error) => error.into(),
        }
    }
}
