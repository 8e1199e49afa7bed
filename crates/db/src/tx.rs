//! Transactions and reads, as capabilities see them.

use std::{collections::BTreeSet, future::Future, sync::Arc};

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor as _, SqlitePool};

use crate::{
    Arg, Dialect, Error, Result, Row, Sql, bind,
    server::{Locks, Patience, Server},
    session::Session,
};

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
    failure: Option<Error>,
    /// Where others write too.
    locks: Option<Arc<Locks>>,
}

/// What is left of a transaction when its work is done.
pub(crate) struct Parts {
    pub session: Session,
    pub hooks: Vec<Hook>,
    /// What its first failing statement said, whatever the work made of it.
    pub failure: Option<Error>,
}

impl Tx {
    pub(crate) fn new(session: Session, dialect: &'static Dialect) -> Self {
        Tx {
            session,
            dialect,
            hooks: Vec::new(),
            failure: None,
            locks: None,
        }
    }

    pub(crate) fn locking(mut self, locks: Arc<Locks>) -> Self {
        self.locks = Some(locks);
        self
    }

    /// Takes the locks of these names, which lanes take too ([`crate::Batch::lock`]), and holds
    /// them to the end of the transaction. Where only one can write, the writer is the lock.
    pub async fn lock(&mut self, names: &BTreeSet<&str>) -> Result<()> {
        let Some(locks) = self.locks.clone() else {
            return Ok(());
        };
        let names = names.iter().map(|name| Box::from(*name)).collect();
        let unknown = locks.unknown(&names);
        if !unknown.is_empty() {
            // Whoever wants one of them meanwhile waits for this transaction in any case.
            locks.make(self, &unknown).await?;
            let made = Arc::clone(&locks);
            self.on_commit(move || made.made(unknown));
        }
        locks.take(self, &names, Patience::Wait).await.map(drop)
    }

    /// Runs a writing statement; the number of rows that it touched. Engines count updates
    /// differently: only how many rows a DELETE has taken may decide anything.
    pub async fn execute(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<u64> {
        let called = self.session.call(sql, args).await;
        Ok(self.noted(called)?.touched)
    }

    /// Runs a writing statement at the commit at the latest, and before any later statement of this
    /// transaction; if it fails, the transaction does. On SQLite it costs no call of its own.
    pub async fn push(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<()> {
        let pushed = self.session.push(sql, args).await;
        self.noted(pushed)
    }

    /// Runs statements without arguments, as migrations do. With `again`, what they define may be
    /// there already.
    pub(crate) async fn batch(&mut self, sql: &str, again: bool) -> Result<()> {
        let ran = self.session.batch(sql, again).await;
        self.noted(ran)
    }

    /// Runs `hook` once this transaction is durable, before its callers are answered, in commit
    /// order where they depend on each other. A rollback drops it. For wake-ups and caches: it must
    /// not block.
    pub fn on_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// Gives the transaction up so that another one can go on: what it returns is to be handed on. It
    /// is run again from its start, a little later, whatever its closure makes of the error.
    pub fn yield_to_others(&mut self, why: impl Into<String>) -> Error {
        let error = Error::Retry(why.into());
        self.failure.get_or_insert_with(|| error.clone());
        error
    }

    fn noted<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && self.failure.is_none()
        {
            self.failure = Some(error.clone());
        }
        result
    }

    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            session: self.session,
            hooks: self.hooks,
            failure: self.failure,
        }
    }
}

impl Query for Tx {
    fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    async fn rows(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Vec<Row>> {
        let called = self.session.call(sql, args).await;
        Ok(self.noted(called)?.rows)
    }
}

/// Reads outside any transaction: each statement sees what was committed when it began.
#[derive(Clone)]
pub struct Reader {
    source: Source,
    dialect: &'static Dialect,
}

#[derive(Clone)]
pub(crate) enum Source {
    Sqlite(SqlitePool),
    Server(Arc<Server>),
}

impl Reader {
    pub(crate) fn new(source: Source, dialect: &'static Dialect) -> Self {
        Reader { source, dialect }
    }
}

impl Query for Reader {
    fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    async fn rows(&mut self, sql: &Sql, args: Vec<Arg>) -> Result<Vec<Row>> {
        match &self.source {
            Source::Server(server) => server.read(sql, args).await,
            Source::Sqlite(pool) => {
                let arguments = bind::sqlite(bind::in_order(sql, args)?)?;
                let query = sqlx::query_with(AssertSqlSafe(sql.text.to_string()), arguments);
                let rows = pool.fetch(query).map_ok(Row::from);
                Ok(rows.try_collect().await?)
            }
        }
    }
}
