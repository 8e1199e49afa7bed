//! Writing the steps of jobs' lives, all kinds of them with the same few statements.

use std::collections::BTreeMap;

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Result, Sql, Tx};

use super::{
    LEASE_KEY, QUEUE_KEY, QueueRow, Store, enqueue, lease_rows, queue_rows, reserve::Entry,
};
use crate::{
    model::Status,
    state::{Change, LeaseEnded, State},
};

pub(super) struct Statements {
    delete_queue: Sql,
    insert_queue: Sql,
    insert_leases: Sql,
    extend_leases: Sql,
    delete_leases: Sql,
    delete_leases_of_queue: Sql,
    delete_attempts: Sql,
    insert_attempts: Sql,
    insert_results: Sql,
    finish: Sql,
    finish_of_tenant: Sql,
    update: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
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
        Statements {
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

    /// Deletes pending jobs of a tenant that were never begun. Their rows are locked.
    pub(crate) async fn withdraw(&self, tx: &mut Tx, tenant: &str, jobs: &[State]) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let changes: Vec<_> = jobs
            .iter()
            .filter_map(|job| job.cancel(job.run_at).ok().flatten())
            .collect();
        self.seize(tx, &changes).await?;
        self.leave(tx, &changes).await?;
        let ids: Vec<_> = jobs.iter().map(|job| &*job.id).collect();
        self.forget(tx, tenant, &ids).await
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
        let reserved = changes.iter().filter_map(|change| {
            let reserved = change.was_reserved.as_ref()?;
            Some(Entry {
                lane: change.now.lane.clone(),
                id: &change.now.id,
                reserved,
            })
        });
        self.unreserve(tx, reserved.collect()).await
    }

    /// Puts the jobs where they are now.
    async fn enter(&self, tx: &mut Tx, changes: &[Change]) -> Result<()> {
        let queued: Vec<_> = changes
            .iter()
            .filter(|change| change.now.status == Status::Pending)
            .map(|change| self.entry(&change.now, change.now.due()))
            .collect();
        if !queued.is_empty() {
            tx.push(&self.change.insert_queue, vec![Arg::json(&queued)?])
                .await?;
        }
        self.reserve_states(tx, changes.iter().map(|change| &change.now))
            .await?;
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
                    now.locked_by.as_deref(),
                    now.secret.as_deref(),
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

/// What is the same for all; `None` if it differs or there is nothing.
pub(super) fn alike<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}
