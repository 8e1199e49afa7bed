//! What can go wrong in a store, told apart by codes and never by text.

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};
use tidewire_core::{Kind, Problem};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot take this now and may later: disk full, read-only, busy, unreachable.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The engine gave up on this transaction so that another could go on; run it again.
    #[error("the transaction must be run again: {0}")]
    Retry(String),
    /// A unique key stands already. Callers that expect one look before they write.
    #[error("a unique key stands already: {0}")]
    Conflict(String),
    /// Everything else is a defect, here or in the schema.
    #[error("the store failed: {0}")]
    Broken(String),
    /// The store cannot be opened or migrated as it is configured; the text says what to do.
    #[error("{0}")]
    Setup(String),
}

impl Error {
    /// Whether the same transaction may succeed if it is simply run again at once.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Retry(_))
    }

    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unavailable(_))
    }
}

/// The driver's words stay in the log; a client learns what it can do.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) | Error::Retry(_) => {
                tracing::warn!(%error, "the store cannot serve a request");
                Problem::new(
                    Kind::Unavailable,
                    "the store cannot take this right now: nothing was stored, try again",
                )
            }
            Error::Conflict(_) | Error::Broken(_) | Error::Setup(_) => {
                tracing::error!(%error, "the store failed a request");
                Problem::new(
                    Kind::Internal,
                    "an internal error: the log has it under this request id",
                )
            }
        }
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(
                ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed,
            ) => Error::Unavailable(error.to_string()),
            DbErr::Conn(RuntimeErr::SqlxError(inner))
            | DbErr::Exec(RuntimeErr::SqlxError(inner))
            | DbErr::Query(RuntimeErr::SqlxError(inner)) => Error::from(&**inner),
            _ => Error::Broken(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::from(&error)
    }
}

impl From<&sqlx::Error> for Error {
    fn from(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(inner) => {
                let code = inner.code().unwrap_or_default();
                by_sqlite_code(code.parse().unwrap_or(0), error.to_string())
            }
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Error::Unavailable(error.to_string()),
            _ => Error::Broken(error.to_string()),
        }
    }
}

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>); the low byte is the primary one.
fn by_sqlite_code(code: i32, text: String) -> Error {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NOMEM: i32 = 7;
    const READONLY: i32 = 8;
    const INTERRUPT: i32 = 9;
    const IOERR: i32 = 10;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const CONSTRAINT: i32 = 19;
    const CONSTRAINT_PRIMARYKEY: i32 = 1555;
    const CONSTRAINT_UNIQUE: i32 = 2067;
    match code {
        CONSTRAINT_PRIMARYKEY | CONSTRAINT_UNIQUE => Error::Conflict(text),
        _ => match code & 0xff {
            BUSY | LOCKED | NOMEM | READONLY | INTERRUPT | IOERR | FULL | CANTOPEN => {
                Error::Unavailable(text)
            }
            CONSTRAINT => Error::Broken(text),
            _ => Error::Broken(text),
        },
    }
}
