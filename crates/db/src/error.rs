//! What can go wrong in a store, told apart by codes and never by text.

use sqlx::{mysql::MySqlDatabaseError, postgres::PgDatabaseError};
use tidewire_core::{Kind, Problem};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot take this now and may later: disk full, read-only, busy, unreachable.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The connection was lost while the store committed: it has it, or it has not.
    #[error("it is not known whether the store took it: {0}")]
    Unknown(String),
    /// Others hold what this needs, a lock or a connection, and did not let go in time. The store
    /// itself is well.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// The engine gave up on this transaction so that another could go on; run it again.
    #[error("the transaction must be run again: {0}")]
    Retry(String),
    /// A unique key stands already. Where nobody else writes it is a defect of a caller that did
    /// not look first; where others do, they came in between, and the transaction is run again.
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
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Error::Unavailable(_) | Error::Unknown(_) | Error::Busy(_)
        )
    }

    /// Whether the engine gave up on the transaction so that another could go on.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Retry(_))
    }

    /// Whether the same transaction may succeed if it is simply run again at once, where others
    /// write too.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Error::Retry(_) | Error::Conflict(_))
    }
}

/// The driver's words stay in the log; a client learns what it can do.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) | Error::Busy(_) | Error::Retry(_) => {
                tracing::warn!(%error, "the store cannot serve a request");
                Problem::new(
                    Kind::Unavailable,
                    "the store cannot take this right now: nothing was stored, try again",
                )
            }
            Error::Unknown(_) => {
                tracing::warn!(%error, "the store cannot serve a request");
                Problem::new(
                    Kind::Unavailable,
                    "the store did not say whether it took this: try again, with the same key if it had one",
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

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(inner) => {
                if let Some(inner) = inner.try_downcast_ref::<PgDatabaseError>() {
                    by_sqlstate(inner.code(), text)
                } else if let Some(inner) = inner.try_downcast_ref::<MySqlDatabaseError>() {
                    by_mysql_number(inner.number(), text)
                } else {
                    let code = inner.code().unwrap_or_default();
                    by_sqlite_code(code.parse().unwrap_or(0), text)
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Error::Unavailable(text),
            _ => Error::Broken(text),
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
    const CONSTRAINT_PRIMARYKEY: i32 = 1555;
    const CONSTRAINT_UNIQUE: i32 = 2067;
    match code {
        CONSTRAINT_PRIMARYKEY | CONSTRAINT_UNIQUE => Error::Conflict(text),
        _ => match code & 0xff {
            BUSY | LOCKED | NOMEM | READONLY | INTERRUPT | IOERR | FULL | CANTOPEN => {
                Error::Unavailable(text)
            }
            _ => Error::Broken(text),
        },
    }
}

/// PostgreSQL's codes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn by_sqlstate(code: &str, text: String) -> Error {
    match code {
        // unique_violation
        "23505" => Error::Conflict(text),
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Error::Retry(text),
        // lock_not_available, query_canceled (by a time-out)
        "55P03" | "57014" => Error::Busy(text),
        // read_only_sql_transaction (a standby that is being promoted),
        // idle_in_transaction_session_timeout
        "25006" | "25P03" => Error::Unavailable(text),
        // Connection exceptions, insufficient resources (connections, disk), and shut-downs; of
        // operator intervention, 57P04 (the database was dropped) does not pass.
        _ if code.starts_with("08")
            || code.starts_with("53")
            || matches!(
                code,
                "57P01" | "57P02" | "57P03" | "57P05" | "58000" | "58030"
            ) =>
        {
            Error::Unavailable(text)
        }
        _ => Error::Broken(text),
    }
}

/// The codes of MySQL (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>)
/// and MariaDB (<https://mariadb.com/kb/en/mariadb-error-code-reference/>).
fn by_mysql_number(number: u16, text: String) -> Error {
    match number {
        // ER_DUP_ENTRY
        1062 | 1586 => Error::Conflict(text),
        // ER_LOCK_DEADLOCK, ER_CHECKREAD
        1213 | 1020 => Error::Retry(text),
        // ER_LOCK_WAIT_TIMEOUT, ER_QUERY_TIMEOUT, ER_STATEMENT_TIMEOUT
        1205 | 3024 | 1969 => Error::Busy(text),
        // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_SERVER_SHUTDOWN, ER_DISK_FULL,
        // ER_RECORD_FILE_FULL, ER_OPTION_PREVENTS_STATEMENT and the other read-only ones,
        // ER_QUERY_INTERRUPTED, ER_CONNECTION_KILLED
        1040 | 1203 | 1053 | 1021 | 1114 | 1290 | 1792 | 1836 | 1317 | 1927 => {
            Error::Unavailable(text)
        }
        _ => Error::Broken(text),
    }
}
