//! How many jobs were done and failed on each day.
//!
//! The transaction that ends jobs inserts one row of `job_count_deltas` for each tenant and day;
//! nothing is updated on that path. A fold moves deltas into `metrics_daily` later: it adds exactly
//! the rows that it deletes, so a delta whose transaction commits late is folded next time; it locks
//! them before, and leaves out what another process is folding. Readers add both tables in one
//! statement and never see a delta twice or not at all.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use tidewire_core::{Time, ids};
use tidewire_db::{Arg, Column, Dialect, Error, Query, Result, Row, Sql, Tx};

use super::Store;
use crate::{
    model::{DayCounts, Status},
    state::State,
};

pub(super) struct Statements {
    insert: Sql,
    by_day: Sql,
    deltas: Sql,
    days: Sql,
    insert_days: Sql,
    update_days: Sql,
    delete: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let deltas = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("id"),
                Column::Id("day"),
                Column::Int("jobs_done"),
                Column::Int("jobs_failed"),
            ],
        );
        let insert = format!(
            "INSERT INTO job_count_deltas (tenant, id, day, jobs_done, jobs_failed) SELECT {} FROM {}",
            deltas.columns, deltas.from
        );
        let days = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("day"),
                Column::Int("jobs_done"),
                Column::Int("jobs_failed"),
            ],
        );
        let known = format!(
            "SELECT d.tenant, d.day FROM {} {} WHERE d.tenant = {} AND d.day = {}{}",
            days.from,
            dialect.then("metrics_daily d"),
            days.col("tenant"),
            days.col("day"),
            dialect.lock()
        );
        let insert_days = format!(
            "INSERT INTO metrics_daily (tenant, day, jobs_done, jobs_failed) SELECT {} FROM {}",
            days.columns, days.from
        );
        let plus = |column: &str| format!("metrics_daily.{column} + {}", days.col(column));
        let (done, failed) = (plus("jobs_done"), plus("jobs_failed"));
        Statements {
            insert: dialect.sql(&insert),
            by_day: dialect.sql(&format!(
                "SELECT day, {}, {} FROM (
                    SELECT day, jobs_done, jobs_failed FROM metrics_daily
                    WHERE tenant = ?1 AND day >= ?2 AND day <= ?3
                    UNION ALL SELECT day, jobs_done, jobs_failed FROM job_count_deltas
                    WHERE tenant = ?1 AND day >= ?2 AND day <= ?3) both_tables
                 GROUP BY day ORDER BY day",
                dialect.sum("jobs_done"),
                dialect.sum("jobs_failed")
            )),
            deltas: dialect.sql(&format!(
                "SELECT tenant, id, day, jobs_done, jobs_failed FROM job_count_deltas
                 ORDER BY tenant, id LIMIT ?{}",
                dialect.skip_locked()
            )),
            days: dialect.sql(&known),
            insert_days: dialect.sql(&insert_days),
            update_days: dialect.update_rows(
                "metrics_daily",
                &days,
                &["tenant", "day"],
                &[("jobs_done", &done), ("jobs_failed", &failed)],
            ),
            delete: dialect.delete_rows("job_count_deltas", &deltas, &["tenant", "id"]),
        }
    }
}

/// Jobs that were done and failed, by tenant.
fn by_tenant<'s>(ended: impl Iterator<Item = &'s State>) -> BTreeMap<&'s str, DayCounts> {
    let mut tenants: BTreeMap<&str, DayCounts> = BTreeMap::new();
    for state in ended {
        match state.status {
            Status::Done => tenants.entry(&state.lane.tenant).or_default().done += 1,
            Status::Failed => tenants.entry(&state.lane.tenant).or_default().failed += 1,
            Status::Pending | Status::Running | Status::Cancelled => {}
        }
    }
    tenants
}

impl Store {
    /// Counts jobs that ended at `at`.
    pub(super) async fn count(
        &self,
        tx: &mut Tx,
        ended: impl Iterator<Item = &State>,
        at: Time,
    ) -> Result<()> {
        let day = at.day().to_string();
        let rows: Vec<_> = by_tenant(ended)
            .into_iter()
            .map(|(tenant, counts)| {
                (
                    tenant,
                    ids::new_id(&self.clock),
                    &day,
                    counts.done,
                    counts.failed,
                )
            })
            .collect();
        if !rows.is_empty() {
            tx.push(&self.counts.insert, vec![Arg::json(&rows)?])
                .await?;
        }
        Ok(())
    }

    /// The days that have any, both ends inclusive.
    pub(crate) async fn by_day(
        &self,
        query: &mut impl Query,
        tenant: &str,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<BTreeMap<NaiveDate, DayCounts>> {
        let (from, to) = (from.to_string(), to.to_string());
        let args = vec![tenant.into(), from.into(), to.into()];
        let rows = query.rows(&self.counts.by_day, args).await?;
        rows.iter()
            .map(|row| Ok((day(row, 0)?, counts(row, 1)?)))
            .collect()
    }

    /// Folds up to `most` deltas; how many there were.
    pub(crate) async fn fold(&self, tx: &mut Tx, most: u32) -> Result<usize> {
        let rows = tx.rows(&self.counts.deltas, vec![most.into()]).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut days: BTreeMap<(String, String), DayCounts> = BTreeMap::new();
        let mut gone = Vec::with_capacity(rows.len());
        for row in &rows {
            let (tenant, counts) = (row.text(0)?, counts(row, 3)?);
            gone.push((tenant.clone(), row.text(1)?));
            let sum = days.entry((tenant, row.text(2)?)).or_default();
            sum.done += counts.done;
            sum.failed += counts.failed;
        }
        // In the order of their keys, in which everybody locks them.
        let asked: Vec<_> = days.keys().collect();
        let mut known = Vec::new();
        for row in tx.rows(&self.counts.days, vec![Arg::json(&asked)?]).await? {
            known.push((row.text(0)?, row.text(1)?));
        }
        let (old, new): (Vec<_>, Vec<_>) = days
            .iter()
            .map(|((tenant, day), counts)| (tenant, day, counts.done, counts.failed))
            .partition(|(tenant, day, ..)| {
                known
                    .iter()
                    .any(|known| (&known.0, &known.1) == (tenant, day))
            });
        for (sql, rows) in [
            (&self.counts.update_days, old),
            (&self.counts.insert_days, new),
        ] {
            if !rows.is_empty() {
                tx.push(sql, vec![Arg::json(&rows)?]).await?;
            }
        }
        tx.push(&self.counts.delete, vec![Arg::json(&gone)?])
            .await?;
        Ok(rows.len())
    }
}

fn counts(row: &Row, at: usize) -> Result<DayCounts> {
    Ok(DayCounts {
        done: row.count(at)?,
        failed: row.count(at + 1)?,
    })
}

fn day(row: &Row, column: usize) -> Result<NaiveDate> {
    let text = row.text(column)?;
    text.parse()
        .map_err(|_| Error::Broken(format!("`{text}` is not a day")))
}
