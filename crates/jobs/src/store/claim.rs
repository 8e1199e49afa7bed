//! Taking jobs that are due.

use std::{collections::HashMap, sync::Arc};

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::{END, JOB, QUEUE_KEY, QueueRow, Store, job, queue_rows};
use crate::{board::LaneKey, model::Job};

pub(super) struct Statements {
    running: Sql,
    shares: Sql,
    due: Sql,
    delete_queue: Sql,
    next: Sql,
    insert_leases: Sql,
    start: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let pairs = dialect.json_rows(
            "r",
            &[
                Column::Int("n"),
                Column::Text("tenant"),
                Column::Text("queue"),
            ],
        );
        let running = format!(
            "SELECT {}, (SELECT count(*) FROM job_leases l WHERE l.tenant = {} AND l.queue = {}) FROM {}",
            pairs.col("n"),
            pairs.col("tenant"),
            pairs.col("queue"),
            pairs.from
        );
        let lanes = dialect.json_rows(
            "r",
            &[
                Column::Int("n"),
                Column::Text("tenant"),
                Column::Text("queue"),
                Column::Text("type"),
                Column::Int("priority"),
            ],
        );
        let lane_of = |alias: &str| {
            ["tenant", "queue", "type", "priority"]
                .map(|column| format!("{alias}.{column} = {}", lanes.col(column)))
                .join(" AND ")
        };
        // Where a lane's share ends: the same place of the lane, asked for column by column.
        let end_of_share = |column: &str| {
            format!(
                "(SELECT s.{column} FROM job_queue s WHERE {} AND s.run_at <= ?
                 ORDER BY s.run_at, s.id LIMIT 1 OFFSET ?)",
                lane_of("s")
            )
        };
        let shares = format!(
            "SELECT {}, {}, {} FROM {}",
            lanes.col("n"),
            end_of_share("run_at"),
            end_of_share("id"),
            lanes.from
        );
        let bounded = dialect.json_rows(
            "r",
            &[
                Column::Int("n"),
                Column::Text("tenant"),
                Column::Text("queue"),
                Column::Text("type"),
                Column::Int("priority"),
                Column::Time("last_run_at"),
                Column::Text("last_id"),
            ],
        );
        // The lanes come in the order of urgency and are read in it: CROSS JOIN keeps SQLite from
        // choosing another.
        let due = format!(
            "SELECT {n}, {JOB} FROM {from} CROSS JOIN job_queue q CROSS JOIN jobs j
             WHERE {lane} AND (q.run_at, q.id) <= ({run_at}, {id})
             AND j.tenant = q.tenant AND j.id = q.id LIMIT ?",
            n = bounded.col("n"),
            from = bounded.from,
            lane = lane_of("q"),
            run_at = bounded.col("last_run_at"),
            id = bounded.col("last_id"),
        );
        let next = format!(
            "SELECT {}, (SELECT s.run_at FROM job_queue s WHERE {} ORDER BY s.run_at LIMIT 1) FROM {}",
            lanes.col("n"),
            lane_of("s"),
            lanes.from
        );
        let taken = dialect.json_rows(
            "r",
            &[
                Column::Text("tenant"),
                Column::Text("queue"),
                Column::Text("id"),
                Column::Text("worker"),
                Column::Text("token"),
                Column::Time("at"),
                Column::Time("expires_at"),
            ],
        );
        let insert_leases = format!(
            "INSERT INTO job_leases (tenant, queue, id, worker, expires_at) SELECT {}, {}, {}, {}, {} FROM {}",
            taken.col("tenant"),
            taken.col("queue"),
            taken.col("id"),
            taken.col("worker"),
            taken.col("expires_at"),
            taken.from
        );
        let start = dialect.update_rows(
            "jobs",
            &taken,
            &["tenant", "id"],
            &[
                ("status", "'running'"),
                ("attempts", "jobs.attempts + 1"),
                ("locked_at", taken.col("at")),
                ("locked_by", taken.col("worker")),
                ("lease_token", taken.col("token")),
                ("started_at", taken.col("at")),
                ("updated_at", taken.col("at")),
            ],
        );
        Statements {
            running: dialect.sql(&running),
            shares: dialect.sql(&shares),
            due: dialect.sql(&due),
            delete_queue: dialect.delete_rows("job_queue", &queue_rows(dialect), &QUEUE_KEY),
            next: dialect.sql(&next),
            insert_leases: dialect.sql(&insert_leases),
            start,
        }
    }
}

/// A pending job that is due, and the place of its lane among those that were asked for.
pub(crate) struct Claimable {
    pub lane: usize,
    pub job: Job,
}

/// A job on its way to a worker.
pub(crate) struct Taken<'t> {
    pub tenant: &'t str,
    pub queue: &'t str,
    pub id: &'t str,
    pub worker: &'t str,
    pub token: &'t str,
    pub expires_at: Time,
}

impl Store {
    /// How many jobs of each (tenant, queue) run.
    pub(crate) async fn running(
        &self,
        tx: &mut Tx,
        queues: &[(Arc<str>, Arc<str>)],
    ) -> Result<Vec<u64>> {
        let rows: Vec<_> = queues
            .iter()
            .enumerate()
            .map(|(n, (tenant, queue))| (n, &**tenant, &**queue))
            .collect();
        let mut counts = vec![0; queues.len()];
        for row in tx
            .rows(&self.claim.running, vec![Arg::json(&rows)?])
            .await?
        {
            let at = place(&row, queues.len())?;
            counts[at] = row.count(1)?;
        }
        Ok(counts)
    }

    /// The next jobs of these lanes that are due: the lanes in their order, of each lane at most
    /// `share`, `limit` in all.
    pub(crate) async fn due(
        &self,
        tx: &mut Tx,
        lanes: &[&LaneKey],
        share: u32,
        limit: u32,
        now: Time,
    ) -> Result<Vec<Claimable>> {
        let mut ends = vec![(self.time(now), END.to_owned()); lanes.len()];
        if share < limit {
            let offset = share.saturating_sub(1);
            let mut args = vec![now.into(), offset.into(), now.into(), offset.into()];
            args.push(Arg::json(&lane_rows(lanes))?);
            for row in tx.rows(&self.claim.shares, args).await? {
                if let (Some(run_at), Some(id)) = (row.opt_time(1)?, row.opt_text(2)?) {
                    ends[place(&row, lanes.len())?] = (self.time(run_at), id);
                }
            }
        }
        let rows: Vec<_> = lane_rows(lanes)
            .into_iter()
            .zip(ends)
            .map(|((n, tenant, queue, kind, priority), (run_at, id))| {
                (n, tenant, queue, kind, priority, run_at, id)
            })
            .collect();
        let rows = tx
            .rows(&self.claim.due, vec![Arg::json(&rows)?, limit.into()])
            .await?;
        let read = |row| {
            Ok(Claimable {
                lane: place(row, lanes.len())?,
                job: job(row, 1)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Takes jobs out of the queue.
    pub(crate) async fn unqueue<'j>(
        &self,
        tx: &mut Tx,
        jobs: impl Iterator<Item = &'j Job>,
    ) -> Result<()> {
        let entries: Vec<QueueRow<'_>> = jobs
            .map(|job| {
                let due = self.time(job.run_at);
                (
                    &*job.tenant,
                    &*job.queue,
                    &*job.kind,
                    job.priority,
                    due,
                    &*job.id,
                )
            })
            .collect();
        tx.push(&self.claim.delete_queue, vec![Arg::json(&entries)?])
            .await?;
        Ok(())
    }

    /// When the next job of each lane is due.
    pub(crate) async fn next_due(
        &self,
        tx: &mut Tx,
        lanes: &[&LaneKey],
    ) -> Result<HashMap<usize, Option<Time>>> {
        let rows = tx
            .rows(&self.claim.next, vec![Arg::json(&lane_rows(lanes))?])
            .await?;
        rows.iter()
            .map(|row| Ok((place(row, lanes.len())?, row.opt_time(1)?)))
            .collect()
    }

    /// Leases jobs to their workers.
    pub(crate) async fn lease(&self, tx: &mut Tx, taken: &[Taken<'_>], at: Time) -> Result<()> {
        let at = self.time(at);
        let rows: Vec<_> = taken
            .iter()
            .map(|job| {
                let expires = self.time(job.expires_at);
                (
                    job.tenant, job.queue, job.id, job.worker, job.token, &at, expires,
                )
            })
            .collect();
        let rows = Arg::json(&rows)?;
        tx.push(&self.claim.insert_leases, vec![rows.clone()])
            .await?;
        tx.push(&self.claim.start, vec![rows]).await?;
        Ok(())
    }
}

type LaneRow<'r> = (usize, &'r str, &'r str, &'r str, i32);

fn lane_rows<'l>(lanes: &[&'l LaneKey]) -> Vec<LaneRow<'l>> {
    lanes
        .iter()
        .enumerate()
        .map(|(n, lane)| (n, &*lane.tenant, &*lane.queue, &*lane.kind, lane.priority))
        .collect()
}

/// The ordinal in column 0, which must be below `most`.
pub(super) fn place(row: &tidewire_db::Row, most: usize) -> Result<usize> {
    let n = row.count(0)?;
    usize::try_from(n)
        .ok()
        .filter(|n| *n < most)
        .ok_or_else(|| {
            tidewire_db::Error::Broken(format!("a row set of {most} rows answered for row {n}"))
        })
}
