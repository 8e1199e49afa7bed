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
    delete_of_lane: Sql,
    next: Sql,
    insert_leases: Sql,
    insert_leases_of_lane: Sql,
    start: Sql,
    start_of_lane: Sql,
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
                Column::Text("secret"),
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
                ("lease_secret", taken.col("secret")),
                ("started_at", taken.col("at")),
                ("updated_at", taken.col("at")),
            ],
        );
        let entries = dialect.json_rows("r", &[Column::Time("run_at"), Column::Text("id")]);
        let delete_of_lane = format!(
            "DELETE FROM job_queue WHERE tenant = ? AND queue = ? AND type = ? AND priority = ?
             AND (run_at, id) IN (SELECT {} FROM {})",
            entries.columns, entries.from
        );
        let ids = dialect.json_rows("r", &[Column::Text("id")]);
        let insert_leases_of_lane = format!(
            "INSERT INTO job_leases (tenant, queue, worker, expires_at, id) SELECT ?, ?, ?, ?, {} FROM {}",
            ids.columns, ids.from
        );
        let start_of_lane = format!(
            "UPDATE jobs SET status = 'running', attempts = attempts + 1, locked_at = ?, locked_by = ?,
             lease_secret = ?, started_at = ?, updated_at = ? WHERE tenant = ? AND id IN {}",
            dialect.id_list()
        );
        Statements {
            running: dialect.sql(&running),
            shares: dialect.sql(&shares),
            due: dialect.sql(&due),
            delete_queue: dialect.delete_rows("job_queue", &queue_rows(dialect), &QUEUE_KEY),
            delete_of_lane: dialect.sql(&delete_of_lane),
            next: dialect.sql(&next),
            insert_leases: dialect.sql(&insert_leases),
            insert_leases_of_lane: dialect.sql(&insert_leases_of_lane),
            start,
            start_of_lane: dialect.sql(&start_of_lane),
        }
    }
}

/// A pending job that is due, and the place of its lane among those that were asked for.
pub(crate) struct Claimable {
    pub lane: usize,
    pub job: Job,
}

/// What one claim took.
pub(crate) struct Taken<'t> {
    pub jobs: &'t [Job],
    pub worker: &'t str,
    pub secret: &'t str,
    pub expires_at: Time,
}

/// One of the jobs, if they are all of one lane.
fn of_one_lane(jobs: &[Job]) -> Option<&Job> {
    let (first, others) = jobs.split_first()?;
    let is_alike = |job: &Job| {
        job.priority == first.priority
            && job.kind == first.kind
            && job.queue == first.queue
            && job.tenant == first.tenant
    };
    others.iter().all(is_alike).then_some(first)
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
    pub(crate) async fn unqueue(&self, tx: &mut Tx, jobs: &[Job]) -> Result<()> {
        if let Some(first) = of_one_lane(jobs) {
            let entries: Vec<_> = jobs
                .iter()
                .map(|job| (self.time(job.run_at), &job.id))
                .collect();
            let args = vec![
                (&first.tenant).into(),
                (&first.queue).into(),
                (&first.kind).into(),
                i64::from(first.priority).into(),
                Arg::json(&entries)?,
            ];
            return tx.push(&self.claim.delete_of_lane, args).await;
        }
        let entries: Vec<QueueRow<'_>> = jobs
            .iter()
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
            .await
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
        if let [one] = taken
            && let Some(first) = of_one_lane(one.jobs)
        {
            return self.lease_of_lane(tx, one, first, at).await;
        }
        let at = self.time(at);
        let rows: Vec<_> = taken
            .iter()
            .flat_map(|taken| {
                let (at, expires) = (&at, self.time(taken.expires_at));
                taken.jobs.iter().map(move |job| {
                    let (tenant, queue) = (&*job.tenant, &job.queue);
                    (
                        tenant,
                        queue,
                        &job.id,
                        taken.worker,
                        taken.secret,
                        at,
                        expires.clone(),
                    )
                })
            })
            .collect();
        let rows = Arg::json(&rows)?;
        tx.push(&self.claim.insert_leases, vec![rows.clone()])
            .await?;
        tx.push(&self.claim.start, vec![rows]).await
    }

    /// The common case, at less than half the cost: nothing but the id differs between the jobs.
    async fn lease_of_lane(
        &self,
        tx: &mut Tx,
        taken: &Taken<'_>,
        first: &Job,
        at: Time,
    ) -> Result<()> {
        let rows: Vec<_> = taken.jobs.iter().map(|job| [&job.id]).collect();
        let lease = vec![
            (&first.tenant).into(),
            (&first.queue).into(),
            taken.worker.into(),
            taken.expires_at.into(),
            Arg::json(&rows)?,
        ];
        tx.push(&self.claim.insert_leases_of_lane, lease).await?;
        let ids: Vec<_> = taken.jobs.iter().map(|job| &job.id).collect();
        let start = vec![
            at.into(),
            taken.worker.into(),
            taken.secret.into(),
            at.into(),
            at.into(),
            (&first.tenant).into(),
            Arg::json(&ids)?,
        ];
        tx.push(&self.claim.start_of_lane, start).await
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
