//! Pruning what finished long ago.

use tidewire_core::Time;
use tidewire_db::{Arg, Dialect, Query, Result, Row, Sql, Tx};

use super::{Store, status};
use crate::model::Status;

pub(super) struct Statements {
    next_tenant: Sql,
    oldest: Sql,
    locked: Sql,
    present: Sql,
    delete: [Sql; 4],
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let jobs = dialect.json_ids("r", "id").arg(2).with(&[("tenant", 1)]);
        let of_jobs = dialect
            .json_ids("r", "job_id")
            .arg(2)
            .with(&[("tenant", 1)]);
        let these = |columns: &str| {
            format!(
                "SELECT {columns} FROM {} {} WHERE j.tenant = {} AND j.id = {}",
                jobs.from,
                dialect.then("jobs j"),
                jobs.col("tenant"),
                jobs.col("id")
            )
        };
        let locked = format!(
            "{}{}",
            these("j.id, j.status, j.created_at, j.finished_at, j.followed_by"),
            dialect.skip_locked()
        );
        Statements {
            next_tenant: dialect.sql(
                "SELECT tenant, created_at FROM jobs WHERE tenant > ? ORDER BY tenant, id LIMIT 1",
            ),
            oldest: dialect.sql(
                "SELECT id, status, created_at, finished_at, followed_by FROM jobs
                 WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?",
            ),
            locked: dialect.sql(&locked),
            present: dialect.sql(&these("j.id")),
            delete: [
                dialect.delete_rows("job_attempts", &of_jobs, &["tenant", "job_id"]),
                dialect.delete_rows("job_results", &of_jobs, &["tenant", "job_id"]),
                dialect.delete_rows("job_progress", &of_jobs, &["tenant", "job_id"]),
                dialect.delete_rows("jobs", &jobs, &["tenant", "id"]),
            ],
        }
    }
}

/// A job as the sweep sees it.
#[derive(Clone, Debug)]
pub(crate) struct Old {
    pub id: String,
    pub status: Status,
    pub created_at: Time,
    pub finished_at: Option<Time>,
    /// Its follower decides how long it is kept.
    pub is_followed: bool,
}

impl Store {
    /// The first tenant behind this one that has jobs, and when its oldest was made.
    pub(crate) async fn next_tenant(
        &self,
        query: &mut impl Query,
        after: &str,
    ) -> Result<Option<(String, Time)>> {
        let row = query
            .row(&self.sweep.next_tenant, vec![after.into()])
            .await?;
        row.map(|row| Ok((row.text(0)?, row.time(1)?))).transpose()
    }

    /// Up to `most` jobs behind an id, oldest first.
    pub(crate) async fn oldest(
        &self,
        query: &mut impl Query,
        tenant: &str,
        after: &str,
        most: u32,
    ) -> Result<Vec<Old>> {
        let args = vec![tenant.into(), after.into(), most.into()];
        let rows = query.rows(&self.sweep.oldest, args).await?;
        rows.iter().map(old).collect()
    }

    /// These jobs as they are now and stay until the end of this transaction; those that somebody
    /// else has in hand are left out.
    pub(crate) async fn lock_old(
        &self,
        tx: &mut Tx,
        tenant: &str,
        ids: &[String],
    ) -> Result<Vec<Old>> {
        let args = vec![tenant.into(), Arg::json(ids)?];
        let rows = tx.rows(&self.sweep.locked, args).await?;
        rows.iter().map(old).collect()
    }

    /// Those of these jobs that are there, whoever has them in hand.
    pub(crate) async fn present(
        &self,
        query: &mut impl Query,
        tenant: &str,
        ids: &[String],
    ) -> Result<Vec<String>> {
        let args = vec![tenant.into(), Arg::json(ids)?];
        let rows = query.rows(&self.sweep.present, args).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Deletes jobs, which must be locked, with all that is kept of them.
    pub(crate) async fn prune(&self, tx: &mut Tx, tenant: &str, gone: &[Old]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let listed: Vec<_> = gone
            .iter()
            .filter(|old| old.status != Status::Done)
            .map(|old| (tenant, old.status.as_str(), old.id.as_str()))
            .collect();
        self.unlist_given_up(tx, &listed).await?;
        let ids: Vec<_> = gone.iter().map(|old| old.id.as_str()).collect();
        self.forget(tx, tenant, &ids).await
    }

    /// Deletes jobs that are in no list any more, with all that is kept of them.
    pub(super) async fn forget(&self, tx: &mut Tx, tenant: &str, ids: &[&str]) -> Result<()> {
        let ids = Arg::json(ids)?;
        for sql in &self.sweep.delete {
            tx.push(sql, vec![tenant.into(), ids.clone()]).await?;
        }
        Ok(())
    }
}

fn old(row: &Row) -> Result<Old> {
    Ok(Old {
        id: row.text(0)?,
        status: status(row, 1)?,
        created_at: row.time(2)?,
        finished_at: row.opt_time(3)?,
        is_followed: row.opt_text(4)?.is_some(),
    })
}
