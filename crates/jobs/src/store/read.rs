//! Reading jobs: one, a page, the lanes, the depth of the queue.

use std::collections::BTreeMap;

use tidewire_core::Time;
use tidewire_db::{Dialect, Error, Query, Result, Row, Sql};

use super::{JOB, JOB_COLUMNS, RESULT, Store, driven_by, job, priority, small};
use crate::{
    board::{LaneKey, Mark},
    model::{Attempt, Job, JobDetail, JobFilter, Outcome, QueueDepth, Status},
};

pub(super) struct Statements {
    detail: Sql,
    attempts: Sql,
    page: Sql,
    window: Sql,
    running: Sql,
    lanes: Sql,
    depth: Sql,
    leases: Sql,
    queues: Sql,
    queues_running: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let page = format!(
            "SELECT {JOB}, o.output_json FROM jobs j {RESULT}
             WHERE j.tenant = ? AND j.id < ? AND j.id >= ? AND j.status = coalesce(?, j.status)
             AND j.type = coalesce(?, j.type) AND j.queue = coalesce(?, j.queue)
             ORDER BY j.id DESC LIMIT ?"
        );
        // The last column is the job's holder also after its end, for the log of attempts.
        let detail = format!(
            "SELECT {JOB}, o.output_json, j.locked_by,
                (SELECT p.progress FROM job_progress p WHERE p.tenant = ?1 AND p.job_id = ?2)
             FROM jobs j {RESULT} WHERE j.tenant = ?1 AND j.id = ?2"
        );
        let running = format!(
            "SELECT l.id FROM job_leases l {}
             WHERE l.tenant = ? AND l.id < ? AND l.queue = coalesce(?, l.queue)
             AND j.tenant = {} AND j.id = {} AND j.type = coalesce(?, j.type)
             ORDER BY l.id DESC LIMIT ?",
            dialect.then("jobs j"),
            driven_by("l.tenant"),
            driven_by("l.id")
        );
        let ready = dialect.sum("CASE WHEN run_at <= ? THEN 1 ELSE 0 END");
        Statements {
            detail: dialect.sql(&detail),
            attempts: dialect.sql(
                "SELECT attempt, started_at, finished_at, outcome, error, worker FROM job_attempts
                 WHERE tenant = ? AND job_id = ? ORDER BY attempt",
            ),
            page: dialect.sql(&page),
            window: dialect.sql(
                "SELECT id FROM jobs WHERE tenant = ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?",
            ),
            running: dialect.sql(&running),
            lanes: dialect.firsts("job_queue", &LANE, ["run_at", "id"]),
            depth: dialect.sql(&format!(
                "SELECT count(*), coalesce({ready}, 0), min(run_at) FROM job_queue"
            )),
            leases: dialect.sql("SELECT count(*) FROM job_leases"),
            queues: dialect.sql(&format!(
                "SELECT queue, count(*), coalesce({ready}, 0), min(run_at) FROM job_queue
                 WHERE tenant = ? GROUP BY queue"
            )),
            queues_running: dialect
                .sql("SELECT queue, count(*) FROM job_leases WHERE tenant = ? GROUP BY queue"),
        }
    }
}

const LANE: [&str; 4] = ["tenant", "queue", "type", "priority"];

/// How much waits and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Pending and due.
    pub ready: u64,
    /// Pending and not due yet.
    pub scheduled: u64,
    pub running: u64,
    /// Since when the one that is overdue longest has been due.
    pub oldest: Option<Time>,
}

/// Behind every id.
pub(crate) const END: &str = "~";

impl Store {
    /// A job with the log of its attempts.
    pub(crate) async fn detail(
        &self,
        query: &mut impl Query,
        tenant: &str,
        id: &str,
    ) -> Result<Option<JobDetail>> {
        let args = || vec![tenant.into(), id.into()];
        let Some(row) = query.row(&self.read.detail, args()).await? else {
            return Ok(None);
        };
        let mut job = job(&row, 0)?;
        job.output = row.opt_json(JOB_COLUMNS)?;
        let rows = query.rows(&self.read.attempts, args()).await?;
        let mut attempts_log = rows.iter().map(attempt).collect::<Result<Vec<_>>>()?;
        let logged = attempts_log
            .iter()
            .any(|entry| entry.attempt == job.attempts);
        if let Some(latest) = latest(&job, row.opt_text(JOB_COLUMNS + 1)?)
            && !logged
        {
            attempts_log.push(latest);
        }
        Ok(Some(JobDetail {
            job,
            progress: row.opt_json(JOB_COLUMNS + 2)?,
            attempts_log,
        }))
    }

    /// Up to `limit` jobs with ids in `floor..before`, newest first.
    pub(crate) async fn page(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &JobFilter,
        (floor, before): (&str, &str),
        limit: u32,
    ) -> Result<Vec<Job>> {
        let args = vec![
            tenant.into(),
            before.into(),
            floor.into(),
            filter.status.map(Status::as_str).into(),
            filter.kind.as_ref().into(),
            filter.queue.as_ref().into(),
            limit.into(),
        ];
        let rows = query.rows(&self.read.page, args).await?;
        rows.iter()
            .map(|row| {
                let mut job = job(row, 0)?;
                job.output = row.opt_json(JOB_COLUMNS)?;
                Ok(job)
            })
            .collect()
    }

    /// The id `rows` jobs below `before`; `None` if there are fewer.
    pub(crate) async fn window(
        &self,
        query: &mut impl Query,
        tenant: &str,
        before: &str,
        rows: u32,
    ) -> Result<Option<String>> {
        let args = vec![tenant.into(), before.into(), rows.saturating_sub(1).into()];
        query
            .row(&self.read.window, args)
            .await?
            .map(|row| row.text(0))
            .transpose()
    }

    /// Running jobs, newest first.
    pub(crate) async fn running_below(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: &JobFilter,
        before: &str,
        limit: u32,
    ) -> Result<Vec<String>> {
        let args = vec![
            tenant.into(),
            before.into(),
            filter.queue.as_ref().into(),
            filter.kind.as_ref().into(),
            limit.into(),
        ];
        ids(&query.rows(&self.read.running, args).await?)
    }

    /// Every lane and its first entry, due or not. The entries between are not walked.
    pub(crate) async fn lanes(&self, query: &mut impl Query) -> Result<Vec<(LaneKey, Mark)>> {
        let rows = query.rows(&self.read.lanes, Vec::new()).await?;
        rows.iter()
            .map(|row| {
                let lane =
                    LaneKey::new(row.text(0)?, row.text(1)?, row.text(2)?, priority(row, 3)?);
                Ok((lane, Mark::at(row.time(4)?, row.text(5)?)))
            })
            .collect()
    }

    /// Counts what waits and runs, by walking it.
    pub(crate) async fn depth(&self, query: &mut impl Query, now: Time) -> Result<Depth> {
        let missing = || Error::Broken("a count answered nothing".to_owned());
        let queue = query
            .row(&self.read.depth, vec![now.into()])
            .await?
            .ok_or_else(missing)?;
        let leases = query
            .row(&self.read.leases, Vec::new())
            .await?
            .ok_or_else(missing)?;
        let (pending, ready) = (queue.count(0)?, queue.count(1)?);
        Ok(Depth {
            ready,
            scheduled: pending - ready.min(pending),
            running: leases.count(0)?,
            oldest: queue.opt_time(2)?.filter(|due| *due <= now),
        })
    }

    /// The same of a tenant's queues that have any, by their names.
    pub(crate) async fn queues(
        &self,
        query: &mut impl Query,
        tenant: &str,
        now: Time,
    ) -> Result<Vec<QueueDepth>> {
        let mut queues = BTreeMap::new();
        let args = vec![now.into(), tenant.into()];
        for row in query.rows(&self.read.queues, args).await? {
            let (queue, pending, ready) = (row.text(0)?, row.count(1)?, row.count(2)?);
            let depth = QueueDepth {
                queue: queue.clone(),
                ready,
                scheduled: pending - ready.min(pending),
                running: 0,
                oldest: row.opt_time(3)?.filter(|due| *due <= now),
            };
            queues.insert(queue, depth);
        }
        for row in query
            .rows(&self.read.queues_running, vec![tenant.into()])
            .await?
        {
            let queue = row.text(0)?;
            let depth = queues.entry(queue.clone()).or_insert(QueueDepth {
                queue,
                ..QueueDepth::default()
            });
            depth.running = row.count(1)?;
        }
        Ok(queues.into_values().collect())
    }

    /// Jobs by their ids, in the order of the ids; those that are gone are left out.
    pub(crate) async fn by_ids(
        &self,
        query: &mut impl Query,
        tenant: &str,
        ids: &[String],
    ) -> Result<Vec<Job>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| (tenant, id.as_str())).collect();
        Ok(self
            .jobs(query, &keys)
            .await?
            .into_iter()
            .flatten()
            .collect())
    }
}

pub(super) fn ids(rows: &[Row]) -> Result<Vec<String>> {
    rows.iter().map(|row| row.text(0)).collect()
}

/// The attempt that the job's own row is the record of.
fn latest(job: &Job, worker: Option<String>) -> Option<Attempt> {
    let outcome = match job.status {
        Status::Pending => return None,
        Status::Running => Outcome::Running,
        Status::Done => Outcome::Done,
        Status::Failed => Outcome::Failed,
        Status::Cancelled => Outcome::Cancelled,
    };
    (job.attempts > 0).then(|| Attempt {
        attempt: job.attempts,
        started_at: job.started_at,
        finished_at: job.finished_at,
        outcome,
        error: job
            .last_error
            .clone()
            .filter(|_| outcome == Outcome::Failed),
        worker,
    })
}

fn attempt(row: &Row) -> Result<Attempt> {
    let outcome = row.text(3)?;
    Ok(Attempt {
        attempt: small(row, 0)?,
        started_at: row.opt_time(1)?,
        finished_at: row.opt_time(2)?,
        outcome: Outcome::parse(&outcome)
            .ok_or_else(|| Error::Broken(format!("`{outcome}` is no outcome of an attempt")))?,
        error: row.opt_text(4)?,
        worker: row.opt_text(5)?,
    })
}
