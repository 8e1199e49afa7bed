//! Leases of instances on threads, and which threads want an instance.

use std::{collections::HashMap, sync::Arc};

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Error, JsonRows, Query, Result, Row, Sql, Tx};

use super::{Store, insert, of_threads, pairs};
use crate::{Lease, TurnStatus, demand::ThreadDemand, model::ThreadKey};

pub(super) struct Statements {
    find: Sql,
    lock: Sql,
    of_threads: Sql,
    insert: Sql,
    update: Sql,
    delete: Sql,
    list: Sql,
    outlived: Sql,
    keepers: Sql,
    demand: Sql,
}

const LEASE: &str =
    "l.tenant, l.worker, l.agent, l.thread_id, l.key_id, l.expires_at, l.created_at";
const KEY: [&str; 2] = ["tenant", "worker"];

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let workers = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("worker")]);
        let find = by_worker(dialect, &workers);
        let renewed = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("worker"),
                Column::Id("new_thread_id"),
                Column::Time("new_expires_at"),
            ],
        );
        Statements {
            lock: dialect.sql(&format!(
                "{find} ORDER BY l.tenant, l.worker{}",
                dialect.lock()
            )),
            find: dialect.sql(&find),
            of_threads: dialect.sql(&of_leases(dialect)),
            insert: insert(
                dialect,
                "agent_leases",
                &[
                    Column::Id("tenant"),
                    Column::Id("worker"),
                    Column::Id("agent"),
                    Column::Id("thread_id"),
                    Column::Id("key_id"),
                    Column::Time("expires_at"),
                    Column::Time("created_at"),
                ],
            ),
            update: dialect.update_rows(
                "agent_leases",
                &renewed,
                &KEY,
                &[
                    ("thread_id", renewed.col("new_thread_id")),
                    ("expires_at", renewed.col("new_expires_at")),
                ],
            ),
            delete: dialect.delete_rows("agent_leases", &workers, &KEY),
            list: dialect.sql(&format!(
                "SELECT {LEASE}, (SELECT coalesce(t.finished_at, t.created_at) FROM turns t
                    WHERE t.tenant = l.tenant AND t.thread_id = l.thread_id ORDER BY t.id DESC LIMIT 1)
                 FROM agent_leases l WHERE l.key_id < ? ORDER BY l.key_id DESC LIMIT ?"
            )),
            outlived: dialect.sql(&format!(
                "SELECT {LEASE} FROM agent_leases l WHERE l.expires_at < ? ORDER BY l.expires_at LIMIT ?"
            )),
            keepers: dialect.sql(&keepers(dialect)),
            demand: dialect.sql(&demand(dialect)),
        }
    }
}

fn by_worker(dialect: &Dialect, workers: &JsonRows) -> String {
    format!(
        "SELECT {LEASE} FROM {} {} WHERE l.tenant = {} AND l.worker = {}",
        workers.from,
        dialect.then("agent_leases l"),
        workers.col("tenant"),
        workers.col("worker")
    )
}

fn of_leases(dialect: &Dialect) -> String {
    let threads = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("thread_id")]);
    format!(
        "SELECT {LEASE} FROM {} {} WHERE l.tenant = {} AND l.thread_id = {}",
        threads.from,
        dialect.then_by("agent_leases l", "agent_leases_of_thread"),
        threads.col("tenant"),
        threads.col("thread_id")
    )
}

fn keepers(dialect: &Dialect) -> String {
    let lease = |column: &str| {
        format!(
            "(SELECT l.{column} FROM agent_leases l
                WHERE l.tenant = t.tenant AND l.thread_id = t.thread_id)"
        )
    };
    format!(
        "SELECT t.tenant, t.thread_id, (SELECT u.worker FROM turns u
            WHERE u.tenant = t.tenant AND u.thread_id = t.thread_id ORDER BY u.id DESC LIMIT 1),
         {}, {}, {} {}",
        lease("worker"),
        lease("agent"),
        lease("expires_at"),
        of_threads(dialect, "threads")
    )
}

/// A turn without a job is run by somebody who asked nobody for it, and so is what waits behind it.
fn demand(dialect: &Dialect) -> String {
    format!(
        "SELECT t.tenant, t.thread_id, t.agent, t.turn_id, t.status, t.created_at, t.worker, l.worker, l.expires_at
         FROM (SELECT tenant, thread_id, min(id) AS id FROM turns_open GROUP BY tenant, thread_id) o
         {} LEFT JOIN agent_leases l ON l.tenant = t.tenant AND l.thread_id = t.thread_id
         WHERE t.tenant = o.tenant AND t.thread_id = o.thread_id AND t.id = o.id AND t.job_id IS NOT NULL
         ORDER BY t.tenant, t.thread_id",
        dialect.then_by("turns t", "turns_by_age")
    )
}

/// A lease as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    pub tenant: Arc<str>,
    pub worker: Arc<str>,
    pub agent: Option<String>,
    pub thread: Option<Arc<str>>,
    /// Of its key; leases are in the order in which those were made.
    pub key_id: String,
    pub expires_at: Time,
    pub created_at: Time,
}

impl LeaseRow {
    pub(crate) fn thread(&self) -> Option<ThreadKey> {
        let thread = self.thread.as_ref()?;
        Some(ThreadKey::new(&self.tenant, Arc::clone(thread)))
    }
}

/// Who may want a thread's next turn.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    /// Who had the last one.
    pub last: Option<String>,
    /// Who has the thread: an instance, the agent that it is, and until when.
    pub lease: Option<(String, Option<String>, Time)>,
}

impl Store {
    /// Leases by their tenants and workers; those that are unknown are left out.
    pub(crate) async fn leases(
        &self,
        query: &mut impl Query,
        workers: &[(&str, &str)],
    ) -> Result<Vec<LeaseRow>> {
        leases_by(&self.leases.find, query, workers).await
    }

    /// The same, and nobody else changes them before the commit.
    pub(crate) async fn lock_leases(
        &self,
        tx: &mut Tx,
        workers: &[(&str, &str)],
    ) -> Result<Vec<LeaseRow>> {
        leases_by(&self.leases.lock, tx, workers).await
    }

    /// The leases on these threads, also those that have expired.
    pub(crate) async fn leases_of(
        &self,
        query: &mut impl Query,
        threads: &[&ThreadKey],
    ) -> Result<Vec<LeaseRow>> {
        if threads.is_empty() {
            return Ok(Vec::new());
        }
        let rows = query
            .rows(&self.leases.of_threads, vec![pairs(threads)?])
            .await?;
        rows.iter().map(lease).collect()
    }

    pub(crate) async fn insert_leases(&self, tx: &mut Tx, leases: &[&LeaseRow]) -> Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = leases
            .iter()
            .map(|lease| {
                (
                    &*lease.tenant,
                    &*lease.worker,
                    lease.agent.as_deref(),
                    lease.thread.as_deref(),
                    &lease.key_id,
                    self.dialect.json_time(lease.expires_at),
                    self.dialect.json_time(lease.created_at),
                )
            })
            .collect();
        self.demand.changes(tx);
        tx.push(&self.leases.insert, vec![Arg::json(&rows)?]).await
    }

    /// Writes the threads and the ends of leases.
    pub(crate) async fn renew_leases(&self, tx: &mut Tx, leases: &[&LeaseRow]) -> Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<_> = leases
            .iter()
            .map(|lease| {
                let expires_at = self.dialect.json_time(lease.expires_at);
                let thread = lease.thread.as_deref();
                (&*lease.tenant, &*lease.worker, thread, expires_at)
            })
            .collect();
        rows.sort_unstable();
        self.demand.changes(tx);
        tx.push(&self.leases.update, vec![Arg::json(&rows)?]).await
    }

    pub(crate) async fn delete_leases(&self, tx: &mut Tx, leases: &[LeaseRow]) -> Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<_> = leases
            .iter()
            .map(|lease| (&*lease.tenant, &*lease.worker))
            .collect();
        rows.sort_unstable();
        self.demand.changes(tx);
        tx.push(&self.leases.delete, vec![Arg::json(&rows)?]).await
    }

    /// All tenants' leases before one (by its key's id), newest first, each with its key's id.
    pub(crate) async fn list_leases(
        &self,
        query: &mut impl Query,
        before: &str,
        limit: u32,
    ) -> Result<Vec<(Lease, String)>> {
        let args = vec![before.into(), limit.into()];
        let rows = query.rows(&self.leases.list, args).await?;
        rows.iter()
            .map(|row| {
                let lease = lease(row)?;
                let shown = Lease {
                    tenant_id: lease.tenant.to_string(),
                    worker: lease.worker.to_string(),
                    agent: lease.agent,
                    thread_id: lease.thread.as_deref().map(str::to_owned),
                    expires_at: lease.expires_at,
                    created_at: lease.created_at,
                    last_turn_at: row.opt_time(7)?,
                };
                Ok((shown, lease.key_id))
            })
            .collect()
    }

    /// Some of the leases that expired before then.
    pub(crate) async fn outlived_leases(
        &self,
        query: &mut impl Query,
        before: Time,
        most: u32,
    ) -> Result<Vec<LeaseRow>> {
        let args = vec![before.into(), most.into()];
        let rows = query.rows(&self.leases.outlived, args).await?;
        rows.iter().map(lease).collect()
    }

    /// Who may want the next turn of each of these threads, as far as they are there.
    pub(crate) async fn keepers(
        &self,
        query: &mut impl Query,
        threads: &[&ThreadKey],
    ) -> Result<HashMap<ThreadKey, Keeper>> {
        let rows = query
            .rows(&self.leases.keepers, vec![pairs(threads)?])
            .await?;
        rows.iter()
            .map(|row| {
                let key = ThreadKey {
                    tenant: row.text(0)?.into(),
                    thread: row.text(1)?.into(),
                };
                let lease = match (row.opt_text(3)?, row.opt_time(5)?) {
                    (Some(worker), Some(until)) => Some((worker, row.opt_text(4)?, until)),
                    _ => None,
                };
                let last = row.opt_text(2)?;
                Ok((key, Keeper { last, lease }))
            })
            .collect()
    }

    /// All threads with an open turn that somebody is to run.
    pub(crate) async fn demand(
        &self,
        query: &mut impl Query,
        now: Time,
    ) -> Result<Vec<ThreadDemand>> {
        let rows = query.rows(&self.leases.demand, Vec::new()).await?;
        rows.iter()
            .map(|row| {
                let status: TurnStatus = row.text(4)?.parse().map_err(Error::Broken)?;
                let leased_until = row.opt_time(8)?.filter(|until| *until > now);
                Ok(ThreadDemand {
                    tenant_id: row.text(0)?,
                    thread_id: row.text(1)?,
                    agent: row.opt_text(2)?,
                    turn_id: row.text(3)?,
                    status,
                    since: row.time(5)?,
                    worker: row.opt_text(6)?,
                    leased_by: row.opt_text(7)?.filter(|_| leased_until.is_some()),
                    leased_until,
                })
            })
            .collect()
    }
}

async fn leases_by(
    sql: &Sql,
    query: &mut impl Query,
    workers: &[(&str, &str)],
) -> Result<Vec<LeaseRow>> {
    if workers.is_empty() {
        return Ok(Vec::new());
    }
    let rows = query.rows(sql, vec![Arg::json(&workers)?]).await?;
    rows.iter().map(lease).collect()
}

fn lease(row: &Row) -> Result<LeaseRow> {
    Ok(LeaseRow {
        tenant: row.text(0)?.into(),
        worker: row.text(1)?.into(),
        agent: row.opt_text(2)?,
        thread: row.opt_text(3)?.map(Arc::from),
        key_id: row.text(4)?,
        expires_at: row.time(5)?,
        created_at: row.time(6)?,
    })
}
