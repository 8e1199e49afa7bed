//! Transactions and reads, as capabilities see them.

use std::future::Future;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::{Arg, Dialect, Result, Row, Sql, session::Session};

/// What can be asked: a transaction, or a pool of readers.
pub trait Query: Send {
    fn dialect(&self) -> &'static Dialect;

    fn rows(&mut self, sql: &Sql, args: Vec<Arg>) -> impl Future<Output = Result<Vec<Row>>> + Send;

    fn row(
        &mut self,
        sql: &Sql,
        args: Vec<Arg>,
    ) -> impl Future<Output = Result<Option<Row>>> + Send {
        async move { Ok(self.rows(sql, args).await?.into_iter().next()) }
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// One transaction. It commits when the closure or batch that it was lent to succeeds.
pub struct Tx {
    session: Session,
    dialect: &'static Dialect,
    hooks: Vec<Hook>,
}

impl Tx {
    pub(crate) fn new(session: Session, dialect: &'static Dialect) -> Self {
        Tx {
            session,
            dialect,
            hooks: Vec::new(),
        }
    }

    /// Runs a writing statement; the number of rows that it touched.
    pub async fn execute(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<u64> {
        Ok(self.session.call(sql, args).await?.touched)
    }

    /// Runs a writing statement at the commit at the latest, and before any later statement of this
    /// transaction; if it fails, the transaction does. On SQLite it costs no call of its own.
    #[expect(
        clippy::unused_async,
        reason = "an engine without held-back statements runs it here"
    )]
    pub async fn push(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<()> {
        self.session.push(sql, args);
        Ok(())
    }

    /// Runs statements without arguments, as migrations do.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        self.session.batch(sql).await
    }

    /// Runs `hook` once this transaction is durable, before its callers are answered, in commit
    /// order. A rollback drops it. For wake-ups and caches: it must not block.
    pub fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    pub(crate) fn into_parts(self) -> (Session, Vec<Hook>) {
        (self.session, self.hooks)
    }
}

impl Query for Tx {
    fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    async fn rows(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Vec<Row>> {
        let rows = self.session.call(sql, args).await?.rows;
        Ok(rows
            .into_iter()
            .map(|row| Row::new(row.into(), self.dialect))
            .collect())
    }
}

/// Reads outside any transaction: each statement sees what was committed when it began.
#[derive(Clone)]
pub struct Reader {
    pool: DatabaseConnection,
    dialect: &'static Dialect,
}

impl Reader {
    pub(crate) fn new(pool: DatabaseConnection, dialect: &'static Dialect) -> Self {
        Reader { pool, dialect }
    }
}

impl Query for Reader {
    fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    async fn rows(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Vec<Row>> {
        let rows = self
            .pool
            .query_all_raw(statement(self.dialect, sql, args))
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| Row::new(row, self.dialect))
            .collect())
    }
}

fn statement(dialect: &'static Dialect, sql: &Sql, args: Vec<Arg>) -> Statement {
    Statement::from_sql_and_values(
        dialect.backend,
        &*sql.0,
        args.into_iter().map(|arg| arg.value(dialect)),
    )
}
