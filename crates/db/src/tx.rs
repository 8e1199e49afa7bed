//! Transactions and reads, as capabilities see them.

use std::future::Future;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, Statement};

use crate::{Arg, Dialect, Result, Row, Sql};

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
    inner: DatabaseTransaction,
    dialect: &'static Dialect,
    hooks: Vec<Hook>,
}

impl Tx {
    pub(crate) fn new(inner: DatabaseTransaction, dialect: &'static Dialect) -> Self {
        Tx {
            inner,
            dialect,
            hooks: Vec::new(),
        }
    }

    /// Runs a writing statement; the number of rows that it touched.
    pub async fn execute(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<u64> {
        let statement = statement(self.dialect, sql, args);
        Ok(self.inner.execute_raw(statement).await?.rows_affected())
    }

    /// Runs statements without arguments, as migrations do.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        self.inner.execute_unprepared(sql).await?;
        Ok(())
    }

    /// Runs `hook` once this transaction is durable, before its callers are answered, in commit
    /// order. A rollback drops it. For wake-ups and caches: it must not block.
    pub fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    pub(crate) async fn commit(self) -> Result<Vec<Hook>> {
        self.inner.commit().await?;
        Ok(self.hooks)
    }

    pub(crate) async fn rollback(self) -> Result<()> {
        Ok(self.inner.rollback().await?)
    }
}

impl Query for Tx {
    fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    async fn rows(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Vec<Row>> {
        let rows = self
            .inner
            .query_all_raw(statement(self.dialect, sql, args))
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| Row::new(row, self.dialect))
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
