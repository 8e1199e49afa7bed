//! Pruning what finished long ago.

use tidewire_core::Time;
use tidewire_db::{Column, Dialect, Query, Result, Sql, Tx};

use super::{Store, json, status};
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
            next_tenant: dialect
                .sql("SELECT tenant FROM jobs WHERE tenant > ? ORDER BY tenant LIMIT 1"),
            oldest: dialect.sql(
                "SELECT id, status, finished_at FROM jobs
                 WHERE tenant = ? AND id > ? AND id < ? ORDER BY id LIMIT ?",
            ),
            delete: [
                dialect.delete_rows("job_attempts", &of_jobs, &["tenant", "job_id"]),
                dialect.delete_rows("job_results", &of_jobs, &["tenant", "job_id"]),
                dialect.delete_rows("jobs", &jobs, &["tenant", "id"]),
            ],
        }
    }
}

/// One step of a sweep through a tenant's jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Swept {
    pub pruned: usize,
    /// Where to go on; `None` at the end.
    pub last: Option<String>,
}

impl Store {
    /// The first tenant behind this one that has jobs.
    pub(crate) async fn next_tenant(
        &self,
        query: &mut impl Query,
        after: &str,
    ) -> Result<Option<String>> {
        let row = query
            .row(&self.sweep.next_tenant, vec![after.into()])
            .await?;
        row.map(|row| row.text(0)).transpose()
    }

    /// Looks at up to `most` jobs with ids in `after..before`, oldest first, and deletes those that
    /// `outlived` says so of, with their attempts and results.
    pub(crate) async fn prune(
        &self,
        tx: &mut Tx,
        tenant: &str,
        (after, before): (&str, &str),
        most: u32,
        outlived: impl Fn(Status, Time) -> bool + Send,
    ) -> Result<Swept> {
        let args = vec![tenant.into(), after.into(), before.into(), most.into()];
        let rows = tx.rows(&self.sweep.oldest, args).await?;
        let mut gone = Vec::new();
        let mut last = None;
        for row in &rows {
            let id = row.text(0)?;
            let status = status(row, 1)?;
            if row
                .opt_time(2)?
                .is_some_and(|at| status.is_final() && outlived(status, at))
            {
                gone.push((tenant, id.clone()));
            }
            last = Some(id);
        }
        if !gone.is_empty() {
            let gone = json(&gone)?;
            for sql in &self.sweep.delete {
                tx.push(sql, vec![gone.clone()]).await?;
            }
        }
        let more = u32::try_from(rows.len()).is_ok_and(|read| read >= most);
        Ok(Swept {
            pruned: gone.len(),
            last: last.filter(|_| more),
        })
    }
}
