//! The writing connection's side of one SQLite transaction.
//!
//! The driver runs statements on a thread of its own, and each call costs two switches of threads,
//! which under load is more than most statements. So statements whose outcome nobody waits for are
//! held back and sent in one call with the next that somebody does wait for; `BEGIN` goes with the
//! first and `COMMIT` with the last. A round that only inserts is a single call.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Either, Executor as _, SqliteConnection};

use crate::{Arg, Result, Sql, bind, session::Outcome};

pub(crate) struct Session {
    connection: SqliteConnection,
    /// Statements that were not sent yet, `; ` between them, and their arguments in order.
    text: String,
    args: Vec<Arg>,
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
    pub(crate) fn push(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<()> {
        self.add(&sql.text);
        self.args.extend(bind::in_order(sql, args)?);
        Ok(())
    }

    /// Sends what is held back and this statement.
    pub(crate) async fn call(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Outcome> {
        self.push(sql, args)?;
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
        let mut outcome = Outcome::default();
        if self.text.is_empty() {
            return Ok(outcome);
        }
        let text = std::mem::take(&mut self.text);
        let arguments = bind::sqlite(std::mem::take(&mut self.args))?;
        let mut steps = self
            .connection
            .fetch_many(sqlx::query_with(AssertSqlSafe(text), arguments));
        while let Some(step) = steps.try_next().await? {
            match step {
                Either::Left(done) => outcome.touched = done.rows_affected(),
                Either::Right(row) => outcome.rows.push(row.into()),
            }
        }
        Ok(outcome)
    }
}
