//! All SQL of threads. What each table is for:
//!
//! - `threads`: that a thread is there, and how long it may be silent. Its row is the lock under
//!   which its turns take their order; it never changes. Where the thread ends is the log's to say.
//! - `turns`: what is asked and what became of it.
//! - `turns_open`: one slim entry for each turn that has not ended, in the order in which they came.
//!   `waits` is 1 for one that waits for those before it.
//! - `agent_leases`: which instance of an agent has which thread, and until when; see [`crate::leases`].

mod hot;
mod leases;
mod turns;

use std::{collections::HashMap, sync::Arc};

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Hints, Query, Result, Row, Sql, Tx};

pub(crate) use self::{
    hot::HotStore,
    leases::{Keeper, LeaseRow},
    turns::{NewTurnRow, OpenTurn, Started, TurnStep},
};
use crate::{demand::Bell, model::ThreadKey};

pub(crate) struct Store {
    dialect: &'static Dialect,
    threads: Sql,
    lock_threads: Sql,
    insert_threads: Sql,
    list_threads: Sql,
    turns: turns::Statements,
    leases: leases::Statements,
    pub(crate) hot: HotStore,
    /// Rung by whatever writes turns or leases.
    pub(crate) demand: Bell,
}

/// That a thread is there.
#[derive(Clone, Debug)]
pub(crate) struct ThreadRow {
    pub thread_id: String,
    pub id: String,
    pub idle_timeout_seconds: u64,
    pub created_at: Time,
    /// Whether a turn of it is open.
    pub is_open: bool,
}

impl Store {
    pub(crate) fn new(dialect: &'static Dialect, hints: Hints) -> Arc<Self> {
        let is_open = "(SELECT o.id FROM turns_open o
            WHERE o.tenant = t.tenant AND o.thread_id = t.thread_id ORDER BY o.id LIMIT 1)";
        let thread = format!("t.thread_id, t.id, t.idle_timeout_seconds, t.created_at, {is_open}");
        let (insert_new, unless_known) = dialect.insert_new();
        let new_threads = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("thread_id"),
                Column::Id("id"),
                Column::Int("idle_timeout_seconds"),
                Column::Time("created_at"),
            ],
        );
        let insert_threads = format!(
            "{insert_new} threads (tenant, thread_id, id, idle_timeout_seconds, created_at)
             SELECT {} FROM {} WHERE {} >= 0{unless_known}",
            new_threads.columns,
            new_threads.from,
            // SQLite would take ON for a join's.
            new_threads.col("idle_timeout_seconds")
        );
        Arc::new(Store {
            dialect,
            threads: dialect.sql(&format!("SELECT t.tenant, {thread} {}", of_threads(dialect, "threads"))),
            lock_threads: dialect.sql(&format!(
                "SELECT t.thread_id {} ORDER BY t.tenant, t.thread_id{}",
                of_threads(dialect, "threads"),
                dialect.lock()
            )),
            insert_threads: dialect.sql(&insert_threads),
            list_threads: dialect.sql(&format!(
                "SELECT t.tenant, {thread} FROM threads t WHERE t.tenant = ? AND t.id < ? ORDER BY t.id DESC LIMIT ?"
            )),
            turns: turns::Statements::new(dialect),
            leases: leases::Statements::new(dialect),
            hot: HotStore::new(dialect),
            demand: Bell::new(hints),
        })
    }

    /// Those of these threads that are there.
    pub(crate) async fn threads(
        &self,
        query: &mut impl Query,
        keys: &[&ThreadKey],
    ) -> Result<HashMap<ThreadKey, ThreadRow>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = query.rows(&self.threads, vec![pairs(keys)?]).await?;
        rows.iter()
            .map(|row| {
                let key = ThreadKey {
                    tenant: row.text(0)?.into(),
                    thread: row.text(1)?.into(),
                };
                Ok((key, thread(row)?))
            })
            .collect()
    }

    /// Makes those of these threads that are not there.
    pub(crate) async fn insert_threads(
        &self,
        tx: &mut Tx,
        new: &[(&ThreadKey, String)],
        idle_timeout_seconds: u64,
        now: Time,
    ) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let now = self.dialect.json_time(now);
        let mut rows: Vec<_> = new
            .iter()
            .map(|(key, id)| (&*key.tenant, &*key.thread, id, idle_timeout_seconds, &now))
            .collect();
        rows.sort_unstable();
        tx.push(&self.insert_threads, vec![Arg::json(&rows)?]).await
    }

    /// From here to the commit nobody else changes which turns these threads have.
    pub(crate) async fn lock_threads(&self, tx: &mut Tx, keys: &[&ThreadKey]) -> Result<()> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        tx.rows(&self.lock_threads, vec![pairs(&keys)?]).await?;
        Ok(())
    }

    /// Threads that were made before this one (its `id`), newest first.
    pub(crate) async fn list_threads(
        &self,
        query: &mut impl Query,
        tenant: &str,
        before: &str,
        limit: u32,
    ) -> Result<Vec<ThreadRow>> {
        let args = vec![tenant.into(), before.into(), limit.into()];
        let rows = query.rows(&self.list_threads, args).await?;
        rows.iter().map(thread).collect()
    }
}

/// Inserts rows that travel as one argument.
fn insert(dialect: &Dialect, table: &str, columns: &[Column]) -> Sql {
    let rows = dialect.json_rows("r", columns);
    let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
    let (names, columns, from) = (names.join(", "), &rows.columns, &rows.from);
    dialect.sql(&format!(
        "INSERT INTO {table} ({names}) SELECT {columns} FROM {from}"
    ))
}

/// Those rows of a table that belong to threads which travel as one argument.
fn of_threads(dialect: &Dialect, table: &str) -> String {
    let threads = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("thread_id")]);
    format!(
        "FROM {} {} WHERE t.tenant = {} AND t.thread_id = {}",
        threads.from,
        dialect.then(&format!("{table} t")),
        threads.col("tenant"),
        threads.col("thread_id")
    )
}

fn pairs(keys: &[&ThreadKey]) -> Result<Arg> {
    let pairs: Vec<_> = keys
        .iter()
        .map(|key| (&*key.tenant, &*key.thread))
        .collect();
    Arg::json(&pairs)
}

/// Behind the tenant.
fn thread(row: &Row) -> Result<ThreadRow> {
    Ok(ThreadRow {
        thread_id: row.text(1)?,
        id: row.text(2)?,
        idle_timeout_seconds: row.count(3)?,
        created_at: row.time(4)?,
        is_open: row.opt_text(5)?.is_some(),
    })
}
