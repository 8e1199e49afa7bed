//! All SQL of jobs. What each table is for:
//!
//! - `jobs`: the truth about every job.
//! - `job_queue`: one slim entry for each pending job, in the order in which a lane is served. It
//!   is the claim's path: nothing that is not due, running or finished is ever walked.
//! - `job_reservations`: one entry for each pending job that a worker may have before the others, in
//!   the same order; see [`reserve`].
//! - `job_leases`: one row for each running job. Heartbeats write only here.
//! - `job_limits`: what a claim locks while it counts a queue that has a limit; see [`limits`].
//! - `job_given_up`: the jobs that failed or were cancelled; see [`given_up`].
//! - `job_attempts`: attempts that ended without ending their job; of the attempt that ended it (or
//!   is running) the job's own row is the record.
//! - `job_results`: outputs other than null.
//! - `job_progress`: what a long job last said of itself; apart, so that saying it moves no row of a job.
//! - `job_count_deltas`, `metrics_daily`: see [`counts`].
//!
//! A job is in `job_queue` exactly while it is pending, in `job_leases` exactly while it is running,
//! and in `job_given_up` exactly while it is failed or cancelled; all are written with `jobs` in one
//! transaction.
//!
//! Where several processes write, a pending job's entry in `job_queue` and a running one's in
//! `job_leases` are its locks: whoever takes a job out of one of these states takes that entry away.
//! Claims lock entries, and skip those that are locked; reports of those who hold the claim's secret
//! take leases away. Every other step locks the job's row to look at it, several rows in the order of
//! (tenant, id), and yields to those two; see [`seize`].

mod change;
#[cfg(test)]
mod check;
mod claim;
mod counts;
mod enqueue;
mod given_up;
mod hold;
mod limits;
mod pick_up;
#[cfg(test)]
pub(crate) mod probe;
mod progress;
mod read;
mod reserve;
mod seize;
mod sweep;

use std::{sync::Arc, time::Duration};

use tidewire_core::{Clock, Time};
use tidewire_db::{Column, Dialect, Error, JsonRows, Result, Row};

use crate::{
    board::LaneKey,
    follow::Followed,
    model::{Job, Reserved, Status},
    state::State,
};

pub(crate) use claim::Taken;
pub(crate) use hold::Held;
pub(crate) use limits::Pair;
pub(crate) use read::{Depth, END};
pub(crate) use reserve::Entry;
pub(crate) use sweep::Old;

pub(crate) struct Store {
    dialect: &'static Dialect,
    clock: Clock,
    enqueue: enqueue::Statements,
    claim: claim::Statements,
    change: change::Statements,
    hold: hold::Statements,
    limits: limits::Statements,
    pick_up: pick_up::Statements,
    progress: progress::Statements,
    given_up: given_up::Statements,
    read: read::Statements,
    reserve: reserve::Statements,
    seize: seize::Statements,
    counts: counts::Statements,
    sweep: sweep::Statements,
}

impl Store {
    pub(crate) fn new(dialect: &'static Dialect, clock: Clock) -> Self {
        Store {
            dialect,
            clock,
            enqueue: enqueue::Statements::new(dialect),
            claim: claim::Statements::new(dialect),
            change: change::Statements::new(dialect),
            hold: hold::Statements::new(dialect),
            limits: limits::Statements::new(dialect),
            pick_up: pick_up::Statements::new(dialect),
            progress: progress::Statements::new(dialect),
            given_up: given_up::Statements::new(dialect),
            read: read::Statements::new(dialect),
            reserve: reserve::Statements::new(dialect),
            seize: seize::Statements::new(dialect),
            counts: counts::Statements::new(dialect),
            sweep: sweep::Statements::new(dialect),
        }
    }

    /// Whether others write to the same store.
    pub(crate) fn is_shared(&self) -> bool {
        !self.dialect.sole_writer
    }

    fn time(&self, time: Time) -> String {
        self.dialect.json_time(time)
    }

    fn opt_time(&self, time: Option<Time>) -> Option<String> {
        time.map(|time| self.time(time))
    }
}

/// A column of the table that leads a join, for the condition on the other one's. Said so, it is no
/// constant even if the first table is narrowed to one tenant, and the join cannot be turned round:
/// without statistics an engine takes a tenant's rows for a few, and walks all of them.
fn driven_by(column: &str) -> String {
    format!("coalesce({column}, {column})")
}

/// The columns of a [`Job`], its output aside.
const JOB: &str =
    "j.tenant, j.id, j.type, j.queue, j.status, j.payload, j.priority, j.run_at, j.attempts,
    j.max_attempts, j.timeout_seconds, j.idempotency_key, j.locked_at, j.locked_by, j.last_error,
    j.event_id, j.created_at, j.updated_at, j.started_at, j.finished_at, j.followed_by,
    j.followed_as, j.reserved_for, j.reserved_until";
const JOB_COLUMNS: usize = 24;

/// Joins the output to a job; see [`driven_by`].
const RESULT: &str = "LEFT JOIN job_results o
    ON o.tenant = coalesce(j.tenant, j.tenant) AND o.job_id = coalesce(j.id, j.id)";

/// The columns of a [`State`].
const STATE: &str = "j.tenant, j.id, j.queue, j.type, j.priority, j.status, j.run_at, j.attempts,
    j.max_attempts, j.budget, j.timeout_seconds, j.lease_secret, j.locked_at, j.locked_by,
    j.started_at, j.finished_at, j.last_error, j.followed_by, j.followed_as, j.reserved_for,
    j.reserved_until";

/// The columns of an entry of `job_queue`.
fn queue_rows(dialect: &Dialect) -> JsonRows {
    dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("queue"),
            Column::Id("type"),
            Column::Int("priority"),
            Column::Time("run_at"),
            Column::Id("id"),
        ],
    )
}

/// The columns of an entry of `job_leases`.
fn lease_rows(dialect: &Dialect) -> JsonRows {
    dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("queue"),
            Column::Id("id"),
            Column::Id("secret"),
            Column::Time("expires_at"),
        ],
    )
}

const LEASE_KEY: [&str; 3] = ["tenant", "queue", "id"];

const QUEUE_KEY: [&str; 6] = ["tenant", "queue", "type", "priority", "run_at", "id"];

/// An entry of `job_queue` as it travels.
type QueueRow<'r> = (&'r str, &'r str, &'r str, i32, String, &'r str);

fn small(row: &Row, column: usize) -> Result<u32> {
    let n = row.int(column)?;
    u32::try_from(n)
        .map_err(|_| Error::Broken(format!("column {column} holds {n}, which is no count")))
}

fn opt_small(row: &Row, column: usize) -> Result<Option<u32>> {
    row.opt_int(column)?.map(|_| small(row, column)).transpose()
}

fn priority(row: &Row, column: usize) -> Result<i32> {
    let n = row.int(column)?;
    i32::try_from(n)
        .map_err(|_| Error::Broken(format!("column {column} holds {n}, which is no priority")))
}

fn status(row: &Row, column: usize) -> Result<Status> {
    row.text(column)?.parse().map_err(Error::Broken)
}

/// Reads the columns [`JOB`] from `at` on; the output stays empty.
fn job(row: &Row, at: usize) -> Result<Job> {
    let status = status(row, at + 4)?;
    // The row remembers its last holder; a job that does not run has none.
    let held = status == Status::Running;
    let run_at = row.time(at + 7)?;
    Ok(Job {
        tenant: row.text(at)?.into(),
        id: row.text(at + 1)?,
        kind: row.text(at + 2)?,
        queue: row.text(at + 3)?,
        status,
        payload: row.json(at + 5)?,
        priority: priority(row, at + 6)?,
        run_at,
        attempts: small(row, at + 8)?,
        max_attempts: small(row, at + 9)?,
        timeout_seconds: opt_small(row, at + 10)?,
        idempotency_key: row.opt_text(at + 11)?,
        locked_at: row.opt_time(at + 12)?.filter(|_| held),
        locked_by: row.opt_text(at + 13)?.filter(|_| held),
        last_error: row.opt_text(at + 14)?,
        event_id: row.opt_text(at + 15)?,
        created_at: row.time(at + 16)?,
        updated_at: row.time(at + 17)?,
        started_at: row.opt_time(at + 18)?,
        finished_at: row.opt_time(at + 19)?,
        followed: followed(row, at + 20)?,
        reserved: reserved(row, at + 22, run_at)?,
        output: None,
    })
}

/// Reads the columns [`STATE`] from `at` on.
fn state(row: &Row, at: usize) -> Result<State> {
    let text = |column: usize| -> Result<Arc<str>> { Ok(row.text(at + column)?.into()) };
    let run_at = row.time(at + 6)?;
    Ok(State {
        id: text(1)?,
        lane: LaneKey::new(text(0)?, text(2)?, text(3)?, priority(row, at + 4)?),
        status: status(row, at + 5)?,
        run_at,
        attempts: small(row, at + 7)?,
        max_attempts: small(row, at + 8)?,
        budget: small(row, at + 9)?,
        timeout: opt_small(row, at + 10)?.map(|seconds| Duration::from_secs(seconds.into())),
        secret: row.opt_text(at + 11)?.map(Arc::from),
        locked_at: row.opt_time(at + 12)?,
        locked_by: row.opt_text(at + 13)?.map(Arc::from),
        started_at: row.opt_time(at + 14)?,
        finished_at: row.opt_time(at + 15)?,
        last_error: row.opt_text(at + 16)?,
        followed: followed(row, at + 17)?,
        reserved: reserved(row, at + 19, run_at)?,
    })
}

fn followed(row: &Row, at: usize) -> Result<Option<Followed>> {
    let Some(by) = row.opt_text(at)? else {
        return Ok(None);
    };
    Ok(Some(Followed {
        by: by.into(),
        context: row.opt_text(at + 1)?.unwrap_or_default().into(),
    }))
}

fn reserved(row: &Row, at: usize, run_at: Time) -> Result<Option<Reserved>> {
    let (Some(worker), Some(until)) = (row.opt_text(at)?, row.opt_time(at + 1)?) else {
        return Ok(None);
    };
    Ok(Some(Reserved {
        worker: worker.into(),
        from: run_at,
        until,
    }))
}
