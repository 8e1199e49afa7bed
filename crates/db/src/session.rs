//! The writing connection's side of one SQLite transaction.
//!
//! The driver runs statements on a thread of its own, and each call costs two switches of threads,
//! which under load is more than most statements. So statements whose outcome nobody waits for are
//! held back and sent in one call with the next that somebody does wait for; `BEGIN` goes with the
//! first and `COMMIT` with the last. A round that only inserts is a single call.

use futures_util::TryStreamExt as _;
use sqlx::{
    Arguments as _, AssertSqlSafe, Either, Executor as _, SqliteConnection,
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::{Arg, Error, Result, Sql};

pub(crate) struct Session {
    connection: SqliteConnection,
    /// Statements that were not sent yet, `; ` between them, and their arguments in order.
    text: String,
    args: Vec<Arg>,
}

/// What one call brought: the rows of its queries, and how many rows its last statement touched.
pub(crate) struct Outcome {
    pub rows: Vec<SqliteRow>,
    pub touched: u64,
}

impl Session {
    /// Begins an IMMEDIATE transaction: a deferred one that reads first can fail to upgrade
    /// whatever the time-out.
    pub(crate) fn begin(connection: SqliteConnection) -> Self {
        Session {
            connection,
            text: "BEGIN IMMEDIATE".to_owned(),
            args: Vec::new(),
        }
    }

    /// Holds a statement back until the next call.
    pub(crate) fn push(&mut self, sql: &Sql, args: Vec<Arg>) {
        self.add(&sql.0);
        self.args.extend(args);
    }

    /// Sends what is held back and this statement.
    pub(crate) async fn call(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Outcome> {
        self.push(sql, args);
        self.send().await
    }

    /// Sends what is held back, then statements that take no arguments.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        self.send().await?;
        // Not kept prepared: a migration runs once.
        self.connection
            .execute(AssertSqlSafe(sql.to_owned()))
            .await?;
        Ok(())
    }

    /// Commits; the connection, for the next transaction.
    pub(crate) async fn commit(mut self) -> (Result<()>, SqliteConnection) {
        self.add("COMMIT");
        let sent = self.send().await.map(drop);
        (sent, self.connection)
    }

    pub(crate) async fn rollback(mut self) -> (Result<()>, SqliteConnection) {
        let begun = !self.text.starts_with("BEGIN");
        self.text.clear();
        self.args.clear();
        if !begun {
            return (Ok(()), self.connection);
        }
        self.add("ROLLBACK");
        let sent = self.send().await.map(drop);
        (sent, self.connection)
    }

    fn add(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        self.text.push_str(text);
    }

    async fn send(&mut self) -> Result<Outcome> {
        let mut outcome = Outcome {
            rows: Vec::new(),
            touched: 0,
        };
        if self.text.is_empty() {
            return Ok(outcome);
        }
        let text = std::mem::take(&mut self.text);
        let arguments = arguments(std::mem::take(&mut self.args))?;
        let mut steps = self
            .connection
            .fetch_many(sqlx::query_with(AssertSqlSafe(text), arguments));
        while let Some(step) = steps.try_next().await? {
            match step {
                Either::Left(done) => outcome.touched = done.rows_affected(),
                Either::Right(row) => outcome.rows.push(row),
            }
        }
        Ok(outcome)
    }
}

fn arguments(args: Vec<Arg>) -> Result<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Null => arguments.add(None::<i64>),
            Arg::Int(n) => arguments.add(n),
            Arg::Text(text) => arguments.add(text),
            // Text of one width, whose order is the order of time.
            Arg::Time(time) => arguments.add(time.to_string()),
            Arg::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(|error| Error::Broken(format!("an argument cannot be bound: {error}")))?;
    }
    Ok(arguments)
}
