//! Pruning what finished long ago.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::{Store, status};
use crate::model::Status;

pub(super) struct Statements {
    next_tenant: Sql,
    oldest: Sql,
    delete: [Sql; 3],
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let jobs = dialect.json_rows("r", &[Column::Text("tenant"), Column::Text("id")]);
        let of_jobs = dialect.json_rows("r", &[Column::Text("tenant"), Column::Text("job_id")]);
        Statements {
            next_tenant: dialect.sql(
                "SELECT tenant, created_at FROM jobs WHERE tenant > ? ORDER BY tenant, id LIMIT 1",
            ),
            oldest: dialect.sql(
                "SELECT id, status, created_at, finished_at FROM jobs
                 WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?",
            ),
            delete: [
                dialect.delete_rows("job_attempts", &of_jobs, &["tenant", "job_id"]),
                dialect.delete_rows("job_results", &of_jobs, &["tenant", "job_id"]),
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
        let read = |row: &tidewire_db::Row| {
            Ok(Old {
                id: row.text(0)?,
                status: status(row, 1)?,
                created_at: row.time(2)?,
                finished_at: row.opt_time(3)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Deletes jobs with their attempts and results.
    pub(crate) async fn prune(&self, tx: &mut Tx, tenant: &str, ids: &[String]) -> Result<()> {
        let gone: Vec<_> = ids.iter().map(|id| (tenant, id)).collect();
        let gone = Arg::json(&gone)?;
        for sql in &self.sweep.delete {
            tx.push(sql, vec![gone.clone()]).await?;
        }
        Ok(())
    }
}
