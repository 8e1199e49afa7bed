//! One transaction's way to its connection, whatever the engine.

use crate::{Arg, Result, Row, Sql, server::Lease, sqlite};

pub(crate) enum Session {
    Sqlite(sqlite::Session),
    Server(Lease),
}

/// What one call brought: the rows of its queries, and how many rows its last statement touched.
#[derive(Default)]
pub(crate) struct Outcome {
    pub rows: Vec<Row>,
    pub touched: u64,
}

impl Session {
    pub(crate) async fn push(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<()> {
        match self {
            Session::Sqlite(session) => session.push(sql, args),
            Session::Server(lease) => lease.call(sql, args).await.map(drop),
        }
    }

    pub(crate) async fn call(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Outcome> {
        match self {
            Session::Sqlite(session) => session.call(sql, args).await,
            Session::Server(lease) => lease.call(sql, args).await,
        }
    }

    /// Statements that take no arguments. With `again`, what they define may be there already.
    pub(crate) async fn batch(&mut self, sql: &str, again: bool) -> Result<()> {
        match self {
            Session::Sqlite(session) => session.batch(sql).await,
            Session::Server(lease) if again => lease.define_again(sql).await,
            Session::Server(lease) => lease.batch(sql).await,
        }
    }
}
