//! Writing the steps of jobs' lives, all kinds of them with the same few statements.

use std::collections::BTreeMap;

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, JsonRows, Query, Result, Sql, Tx};

use super::{
    JOB, JOB_COLUMNS, QUEUE_KEY, QueueRow, RESULT, STATE, Store, claim::place, driven_by, enqueue,
    job, queue_rows, state,
};
use crate::{
    model::{Job, Status},
    state::{Change, LeaseEnded, State},
};

pub(super) struct Statements {
    held: Sql,
    states: Sql,
    jobs: Sql,
    expired: Sql,
    any_expired: Sql,
    delete_queue: Sql,
    insert_queue: Sql,
    insert_leases: Sql,
    extend_leases: Sql,
    delete_leases: Sql,
    delete_leases_of_queue: Sql,
    end_leases: Sql,
    end_leases_of_queue: Sql,
    delete_attempts: Sql,
    insert_attempts: Sql,
    insert_results: Sql,
    finish: Sql,
    finish_of_tenant: Sql,
    update: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let ids = dialect.json_rows(
            "r",
            &[Column::Int("n"), Column::Id("tenant"), Column::Id("id")],
        );
        let secrets = dialect.json_rows(
            "r",
            &[Column::Id("tenant"), Column::Id("id"), Column::Id("secret")],
        );
        let held = format!(
            "FROM {} {} WHERE j.tenant = {} AND j.id = {} AND j.status = 'running' AND j.lease_secret = {}",
            secrets.from,
            dialect.then("jobs j"),
            secrets.col("tenant"),
            secrets.col("id"),
            secrets.col("secret")
        );
        let by_ids = |columns: &str, more: &str| {
            format!(
                "SELECT {}, {columns} FROM {} {} {more} WHERE j.tenant = {} AND j.id = {}",
                ids.col("n"),
                ids.from,
                dialect.then("jobs j"),
                ids.col("tenant"),
                ids.col("id")
            )
        };
        let states = format!("{}{}", by_ids(STATE, ""), dialect.lock());
        let jobs = by_ids(&format!("{JOB}, o.output_json"), RESULT);
        let expired = format!(
            "SELECT {STATE} FROM job_leases l {} WHERE l.expires_at <= ?
             AND j.tenant = {} AND j.id = {} LIMIT ?{}",
            dialect.then("jobs j"),
            driven_by("l.tenant"),
            driven_by("l.id"),
            dialect.skip_locked()
        );
        let leases = lease_rows(dialect);
        let insert_leases = format!(
            "INSERT INTO job_leases (tenant, queue, id, secret, expires_at) SELECT {} FROM {}",
            leases.columns, leases.from
        );
        let attempts = dialect
            .json_rows("r", &[Column::Id("tenant"), Column::Id("job_id")])
            .arg(1)
            .with(&[("attempt", 2)]);
        let leases_of_queue = dialect
            .json_ids("r", "id")
            .arg(3)
            .with(&[("tenant", 1), ("queue", 2)]);
        let claimed = dialect
            .json_rows("r", &[Column::Id("id"), Column::Id("secret")])
            .arg(3)
            .with(&[("tenant", 1), ("queue", 2)]);
        Statements {
            held: dialect.count_locked(&held),
            states: dialect.sql(&states),
            jobs: dialect.sql(&jobs),
            expired: dialect.sql(&expired),
            any_expired: dialect.sql("SELECT 1 FROM job_leases WHERE expires_at <= ? LIMIT 1"),
            delete_queue: dialect.delete_rows("job_queue", &queue_rows(dialect), &QUEUE_KEY),
            insert_queue: enqueue::insert_queue(dialect),
            insert_leases: dialect.sql(&insert_leases),
            extend_leases: dialect.update_rows(
                "job_leases",
                &leases,
                &LEASE_KEY,
                &[("expires_at", leases.col("expires_at"))],
            ),
            delete_leases: dialect.delete_rows("job_leases", &leases, &LEASE_KEY),
            delete_leases_of_queue: dialect.delete_rows("job_leases", &leases_of_queue, &LEASE_KEY),
            end_leases: dialect.delete_rows("job_leases", &leases, &LEASE_PROOF),
            end_leases_of_queue: dialect.delete_rows("job_leases", &claimed, &LEASE_PROOF),
            delete_attempts: dialect.delete_rows(
                "job_attempts",
                &attempts,
                &["tenant", "job_id", "attempt"],
            ),
            insert_attempts: insert_attempts(dialect),
            insert_results: insert_results(dialect),
            finish: finish(dialect),
            finish_of_tenant: finish_of_tenant(dialect),
            update: update(dialect),
        }
    }
}

const LEASE_KEY: [&str; 3] = ["tenant", "queue", "id"];
const LEASE_PROOF: [&str; 4] = ["tenant", "queue", "id", "secret"];

/// A job as its holder names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held<'h> {
    pub tenant: &'h str,
    pub queue: &'h str,
    pub id: &'h str,
    pub secret: &'h str,
}

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

fn insert_attempts(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("job_id"),
            Column::Int("attempt"),
            Column::Time("started_at"),
            Column::Time("finished_at"),
            Column::Id("outcome"),
            Column::Text("error"),
            Column::Id("worker"),
        ],
    );
    // An attempt that expired at the end of a job's budget is here before a retry by hand logs it.
    // Counted, as NOT EXISTS would be a join, and that one could walk the whole table.
    dialect.sql(&format!(
        "INSERT INTO job_attempts (tenant, job_id, attempt, started_at, finished_at, outcome, error, worker)
         SELECT {} FROM {} WHERE (SELECT count(*) FROM job_attempts a
            WHERE a.tenant = {} AND a.job_id = {} AND a.attempt = {}) = 0",
        rows.columns,
        rows.from,
        rows.col("tenant"),
        rows.col("job_id"),
        rows.col("attempt")
    ))
}

fn insert_results(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("job_id"),
            Column::Time("started_at"),
            Column::Time("finished_at"),
            Column::Json("output_json"),
        ],
    );
    dialect.sql(&format!(
        "INSERT INTO job_results (tenant, job_id, started_at, finished_at, output_json) SELECT {} FROM {}",
        rows.columns, rows.from
    ))
}

/// The hot way: running → done.
fn finish(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows(
        "r",
        &[Column::Id("tenant"), Column::Id("id"), Column::Time("at")],
    );
    dialect.update_rows(
        "jobs",
        &rows,
        &["tenant", "id"],
        &[
            ("status", "'done'"),
            ("lease_secret", "NULL"),
            ("finished_at", rows.col("at")),
            ("updated_at", rows.col("at")),
        ],
    )
}

/// The same for jobs of one tenant that end at one time.
fn finish_of_tenant(dialect: &Dialect) -> Sql {
    let ids = dialect.json_ids("r", "id").arg(3).with(&[("tenant", 2)]);
    dialect.update_rows(
        "jobs",
        &ids,
        &["tenant", "id"],
        &[
            ("status", "'done'"),
            ("lease_secret", "NULL"),
            ("finished_at", "?1"),
            ("updated_at", "?1"),
        ],
    )
}

/// Every other way.
fn update(dialect: &Dialect) -> Sql {
    let rows = dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("id"),
            Column::Id("status"),
            Column::Time("run_at"),
            Column::Int("attempts"),
            Column::Int("max_attempts"),
            Column::Time("locked_at"),
            Column::Id("locked_by"),
            Column::Id("lease_secret"),
            Column::Time("started_at"),
            Column::Time("finished_at"),
            Column::Text("last_error"),
            Column::Time("updated_at"),
        ],
    );
    let set = [
        "status",
        "run_at",
        "attempts",
        "max_attempts",
        "locked_at",
        "locked_by",
        "lease_secret",
        "started_at",
        "finished_at",
        "last_error",
        "updated_at",
    ];
    let set = set.map(|column| (column, rows.col(column)));
    dialect.update_rows("jobs", &rows, &["tenant", "id"], &set)
}

impl Store {
    /// Whether all of these run under their claim. They do until the end of this transaction.
    pub(crate) async fn are_held(&self, tx: &mut Tx, mut held: Vec<Held<'_>>) -> Result<bool> {
        if held.is_empty() {
            return Ok(true);
        }
        held.sort_unstable();
        let rows: Vec<_> = held.iter().map(|h| (h.tenant, h.id, h.secret)).collect();
        let rows = tx.rows(&self.change.held, vec![Arg::json(&rows)?]).await?;
        let found: u64 = rows.iter().map(|row| row.count(0)).sum::<Result<_>>()?;
        Ok(found == held.len() as u64)
    }

    /// Ends the leases of jobs that do not go on running, and says whether all of them were held.
    /// Where others write, taking a lease away is the proof and the lock in one; where nobody does,
    /// counting costs less, and the step deletes the lease.
    pub(crate) async fn end_leases(
        &self,
        tx: &mut Tx,
        mut held: Vec<Held<'_>>,
    ) -> Result<(bool, LeaseEnded)> {
        if self.dialect.sole_writer || held.is_empty() {
            return Ok((self.are_held(tx, held).await?, LeaseEnded(false)));
        }
        held.sort_unstable();
        let of_queue = alike(held.iter().map(|h| (h.tenant, h.queue)));
        let ended = match of_queue {
            Some((tenant, queue)) => {
                let rows: Vec<_> = held.iter().map(|h| (h.id, h.secret)).collect();
                let args = vec![tenant.into(), queue.into(), Arg::json(&rows)?];
                tx.execute(&self.change.end_leases_of_queue, args).await?
            }
            None => {
                let rows: Vec<_> = held
                    .iter()
                    .map(|h| (h.tenant, h.queue, h.id, h.secret))
                    .collect();
                tx.execute(&self.change.end_leases, vec![Arg::json(&rows)?])
                    .await?
            }
        };
        Ok((ended == held.len() as u64, LeaseEnded(true)))
    }

    /// The states of these jobs, each in its place; `None` for one that is unknown. They stay so
    /// until the end of this transaction, but for what it does itself.
    pub(crate) async fn states(
        &self,
        tx: &mut Tx,
        jobs: &[(&str, &str)],
    ) -> Result<Vec<Option<State>>> {
        let mut found = vec![None; jobs.len()];
        for row in tx.rows(&self.change.states, vec![numbered(jobs)?]).await? {
            found[place(&row, jobs.len())?] = Some(state(&row, 1)?);
        }
        Ok(found)
    }

    /// These jobs whole, each in its place.
    pub(crate) async fn jobs(
        &self,
        query: &mut impl Query,
        jobs: &[(&str, &str)],
    ) -> Result<Vec<Option<Job>>> {
        let mut found = vec![None; jobs.len()];
        for row in query.rows(&self.change.jobs, vec![numbered(jobs)?]).await? {
            let mut job = job(&row, 1)?;
            job.output = row.opt_json(1 + JOB_COLUMNS)?;
            found[place(&row, jobs.len())?] = Some(job);
        }
        Ok(found)
    }

    /// Running jobs whose lease has run out, but for those that somebody else has in hand.
    pub(crate) async fn expired(&self, tx: &mut Tx, now: Time, most: u32) -> Result<Vec<State>> {
        let rows = tx
            .rows(&self.change.expired, vec![now.into(), most.into()])
            .await?;
        rows.iter().map(|row| state(row, 0)).collect()
    }

    pub(crate) async fn any_expired(&self, query: &mut impl Query, now: Time) -> Result<bool> {
        Ok(query
            .row(&self.change.any_expired, vec![now.into()])
            .await?
            .is_some())
    }

    /// Writes steps, at most one of each job: the job, its entries, the log, the result and the
    /// counts, as one.
    pub(crate) async fn apply(&self, tx: &mut Tx, changes: &[Change], at: Time) -> Result<()> {
        self.seize(tx, changes).await?;
        self.leave(tx, changes).await?;
        self.log(tx, changes).await?;
        self.update(tx, changes, at).await?;
        self.list_given_up(tx, changes).await?;
        self.enter(tx, changes).await?;
        let ended = changes.iter().filter(|change| change.is_terminal());
        self.count(tx, ended.map(|change| &change.now), at).await
    }

    /// Takes the jobs out of where they were.
    async fn leave(&self, tx: &mut Tx, changes: &[Change]) -> Result<()> {
        let stopped: Vec<_> = changes
            .iter()
            .filter(|change| change.was == Status::Running && change.now.status != Status::Running)
            .filter(|change| change.lease_ended != LeaseEnded(true))
            .map(|change| {
                let lane = &change.now.lane;
                (&*lane.tenant, &*lane.queue, &*change.now.id)
            })
            .collect();
        // Plain lists of ids cost less than half of rows, and most batches are alike in the rest.
        if let Some((tenant, queue)) = alike(stopped.iter().map(|row| (row.0, row.1))) {
            let ids: Vec<_> = stopped.iter().map(|row| row.2).collect();
            let args = vec![tenant.into(), queue.into(), Arg::json(&ids)?];
            tx.push(&self.change.delete_leases_of_queue, args).await?;
        } else if !stopped.is_empty() {
            tx.push(&self.change.delete_leases, vec![Arg::json(&stopped)?])
                .await?;
        }
        let unqueued: Vec<_> = changes
            .iter()
            .filter(|change| change.was == Status::Pending)
            .map(|change| self.entry(&change.now, change.was_due))
            .collect();
        if !unqueued.is_empty() {
            tx.push(&self.change.delete_queue, vec![Arg::json(&unqueued)?])
                .await?;
        }
        Ok(())
    }

    /// Puts the jobs where they are now.
    async fn enter(&self, tx: &mut Tx, changes: &[Change]) -> Result<()> {
        let queued: Vec<_> = changes
            .iter()
            .filter(|change| change.now.status == Status::Pending)
            .map(|change| self.entry(&change.now, change.now.run_at))
            .collect();
        if !queued.is_empty() {
            tx.push(&self.change.insert_queue, vec![Arg::json(&queued)?])
                .await?;
        }
        for (was_running, sql) in [
            (true, &self.change.extend_leases),
            (false, &self.change.insert_leases),
        ] {
            let leased: Vec<_> = changes
                .iter()
                .filter(|change| {
                    change.now.status == Status::Running
                        && (change.was == Status::Running) == was_running
                })
                .map(|change| {
                    let (now, lane) = (&change.now, &change.now.lane);
                    let secret = now.secret.as_deref().unwrap_or_default();
                    let until = self.opt_time(change.leased_until);
                    (&*lane.tenant, &*lane.queue, &*now.id, secret, until)
                })
                .collect();
            if !leased.is_empty() {
                tx.push(sql, vec![Arg::json(&leased)?]).await?;
            }
        }
        Ok(())
    }

    async fn log(&self, tx: &mut Tx, changes: &[Change]) -> Result<()> {
        let mut forgotten: BTreeMap<u32, Vec<(&str, &str)>> = BTreeMap::new();
        for change in changes {
            if let Some(attempt) = change.went_on {
                let job = (&*change.now.lane.tenant, &*change.now.id);
                forgotten.entry(attempt).or_default().push(job);
            }
        }
        for (attempt, jobs) in forgotten {
            let args = vec![Arg::json(&jobs)?, attempt.into()];
            tx.push(&self.change.delete_attempts, args).await?;
        }
        let logged: Vec<_> = changes
            .iter()
            .filter_map(|change| {
                let attempt = change.logged.as_ref()?;
                Some((
                    &*change.now.lane.tenant,
                    &*change.now.id,
                    attempt.attempt,
                    self.opt_time(attempt.started_at),
                    self.opt_time(attempt.finished_at),
                    attempt.outcome.as_str(),
                    &attempt.error,
                    &attempt.worker,
                ))
            })
            .collect();
        if !logged.is_empty() {
            tx.push(&self.change.insert_attempts, vec![Arg::json(&logged)?])
                .await?;
        }
        let results: Vec<_> = changes
            .iter()
            .filter_map(|change| {
                let now = &change.now;
                Some((
                    &*now.lane.tenant,
                    &*now.id,
                    self.opt_time(now.started_at),
                    self.opt_time(now.finished_at),
                    change.output.as_ref()?.get(),
                ))
            })
            .collect();
        if !results.is_empty() {
            tx.push(&self.change.insert_results, vec![Arg::json(&results)?])
                .await?;
        }
        Ok(())
    }

    async fn update(&self, tx: &mut Tx, changes: &[Change], at: Time) -> Result<()> {
        let text = self.time(at);
        let hot =
            |change: &Change| change.was == Status::Running && change.now.status == Status::Done;
        let done: Vec<_> = changes
            .iter()
            .filter(|change| hot(change))
            .map(|change| (&*change.now.lane.tenant, &*change.now.id, &text))
            .collect();
        if let Some(tenant) = alike(done.iter().map(|row| row.0)) {
            let ids: Vec<_> = done.iter().map(|row| row.1).collect();
            let args = vec![at.into(), tenant.into(), Arg::json(&ids)?];
            tx.push(&self.change.finish_of_tenant, args).await?;
        } else if !done.is_empty() {
            tx.push(&self.change.finish, vec![Arg::json(&done)?])
                .await?;
        }
        let others: Vec<_> = changes
            .iter()
            // A heartbeat writes the lease alone.
            .filter(|change| !hot(change) && (change.was, change.now.status) != (Status::Running, Status::Running))
            .map(|change| {
                let now = &change.now;
                (
                    &*now.lane.tenant,
                    &*now.id,
                    now.status.as_str(),
                    self.time(now.run_at),
                    now.attempts,
                    now.max_attempts,
                    self.opt_time(now.locked_at),
                    &now.locked_by,
                    &now.secret,
                    self.opt_time(now.started_at),
                    self.opt_time(now.finished_at),
                    &now.last_error,
                    &text,
                )
            })
            .collect();
        if !others.is_empty() {
            tx.push(&self.change.update, vec![Arg::json(&others)?])
                .await?;
        }
        Ok(())
    }

    pub(super) fn entry<'c>(&self, state: &'c State, due: Time) -> QueueRow<'c> {
        let lane = &state.lane;
        (
            &lane.tenant,
            &lane.queue,
            &lane.kind,
            lane.priority,
            self.time(due),
            &state.id,
        )
    }
}

/// Sorted as rows are locked: two who want the same jobs wait for each other one way only.
fn numbered(jobs: &[(&str, &str)]) -> Result<Arg> {
    let mut rows: Vec<_> = jobs
        .iter()
        .enumerate()
        .map(|(n, (tenant, id))| (n, *tenant, *id))
        .collect();
    rows.sort_unstable_by_key(|(_, tenant, id)| (*tenant, *id));
    Arg::json(&rows)
}

/// What is the same for all; `None` if it differs or there is nothing.
fn alike<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}
