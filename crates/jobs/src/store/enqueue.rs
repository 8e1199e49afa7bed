//! New jobs.

use std::{collections::HashMap, sync::Arc};

use tidewire_core::ids;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::{JOB, JOB_COLUMNS, QueueRow, RESULT, Store, job, queue_rows};
use crate::model::{Enqueued, Job, NewJob, Status};

pub(super) struct Statements {
    known: Sql,
    insert_jobs: Sql,
    insert_queue: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let keys = dialect.json_rows(
            "r",
            &[Column::Id("tenant"), Column::Text("idempotency_key")],
        );
        let known = format!(
            "SELECT {JOB}, o.output_json FROM {} {} {RESULT}
             WHERE j.tenant = {} AND j.idempotency_key = {}",
            keys.from,
            dialect.then_by("jobs j", "jobs_idempotency_key"),
            keys.col("tenant"),
            keys.col("idempotency_key")
        );
        let jobs = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("id"),
                Column::Id("type"),
                Column::Id("queue"),
                Column::Int("priority"),
                Column::Time("run_at"),
                Column::Int("max_attempts"),
                Column::Int("timeout_seconds"),
                Column::Text("idempotency_key"),
                Column::Id("event_id"),
                Column::Id("followed_by"),
                Column::Text("followed_as"),
                Column::Id("reserved_for"),
                Column::Time("reserved_until"),
                Column::Json("payload"),
            ],
        );
        let insert_jobs = format!(
            "INSERT INTO jobs (tenant, id, type, queue, priority, run_at, max_attempts, timeout_seconds,
                idempotency_key, event_id, followed_by, followed_as, reserved_for, reserved_until,
                payload, budget, created_at, updated_at, status, attempts)
             SELECT {}, {}, ?, ?, 'pending', 0 FROM {}",
            jobs.columns,
            jobs.col("max_attempts"),
            jobs.from
        );
        Statements {
            known: dialect.sql(&known),
            insert_jobs: dialect.sql(&insert_jobs),
            insert_queue: insert_queue(dialect),
        }
    }
}

pub(super) fn insert_queue(dialect: &Dialect) -> Sql {
    let rows = queue_rows(dialect);
    dialect.sql(&format!(
        "INSERT INTO job_queue (tenant, queue, type, priority, run_at, id) SELECT {} FROM {}",
        rows.columns, rows.from
    ))
}

type Keyed<'k> = HashMap<(&'k str, &'k str), usize>;

impl Store {
    /// Stores the jobs whose idempotency key is new; answers each in its place.
    pub(crate) async fn enqueue(
        &self,
        tx: &mut Tx,
        new: &[(&Arc<str>, &NewJob)],
    ) -> Result<Vec<Enqueued>> {
        let known = self.known(tx, new).await?;
        let now = self.clock.now();
        let mut answers: Vec<Enqueued> = Vec::with_capacity(new.len());
        // The first of this batch with a key.
        let mut first: Keyed<'_> = HashMap::new();
        for (place, (tenant, job)) in new.iter().enumerate() {
            if let Some(key) = &job.idempotency_key {
                let key = (&***tenant, key.as_str());
                let stands = known.get(&(key.0.to_owned(), key.1.to_owned()));
                let duplicate =
                    stands.or_else(|| first.get(&key).map(|place| &answers[*place].job));
                if let Some(job) = duplicate.cloned() {
                    answers.push(Enqueued {
                        job,
                        created: false,
                    });
                    continue;
                }
                first.insert(key, place);
            }
            let run_at = job.run_at.unwrap_or(now);
            answers.push(Enqueued {
                created: true,
                job: Job {
                    tenant: Arc::clone(tenant),
                    id: ids::new_id(&self.clock),
                    kind: job.kind.clone(),
                    queue: job.queue.clone(),
                    status: Status::Pending,
                    payload: job.payload.clone(),
                    priority: job.priority,
                    run_at,
                    attempts: 0,
                    max_attempts: job.max_attempts,
                    timeout_seconds: job.timeout_seconds(),
                    idempotency_key: job.idempotency_key.clone(),
                    locked_at: None,
                    locked_by: None,
                    last_error: None,
                    event_id: job.event_id.clone(),
                    followed: job.followed.clone(),
                    reserved: job.reserved(run_at),
                    created_at: now,
                    updated_at: now,
                    started_at: None,
                    finished_at: None,
                    output: None,
                },
            });
        }
        self.insert(tx, &answers).await?;
        Ok(answers)
    }

    async fn insert(&self, tx: &mut Tx, answers: &[Enqueued]) -> Result<()> {
        let new = || {
            answers
                .iter()
                .filter(|answer| answer.created)
                .map(|answer| &answer.job)
        };
        let Some(now) = new().next().map(|job| job.created_at) else {
            return Ok(());
        };
        let jobs: Vec<_> = new()
            .map(|job| {
                (
                    &*job.tenant,
                    &job.id,
                    &job.kind,
                    &job.queue,
                    job.priority,
                    self.time(job.run_at),
                    job.max_attempts,
                    job.timeout_seconds,
                    &job.idempotency_key,
                    &job.event_id,
                    job.followed.as_ref().map(|followed| &*followed.by),
                    job.followed.as_ref().map(|followed| &*followed.context),
                    job.reserved.as_ref().map(|reserved| &*reserved.worker),
                    self.opt_time(job.reserved.as_ref().map(|reserved| reserved.until)),
                    job.payload.get(),
                )
            })
            .collect();
        let args = vec![now.into(), now.into(), Arg::json(&jobs)?];
        tx.push(&self.enqueue.insert_jobs, args).await?;
        let entries: Vec<QueueRow<'_>> = new()
            .map(|job| {
                let due = self.time(job.due());
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
        tx.push(&self.enqueue.insert_queue, vec![Arg::json(&entries)?])
            .await?;
        self.reserve(tx, new()).await
    }

    /// The jobs that stand under the keys of these.
    async fn known(
        &self,
        tx: &mut Tx,
        new: &[(&Arc<str>, &NewJob)],
    ) -> Result<HashMap<(String, String), Job>> {
        let keys: Vec<(&str, &str)> = new
            .iter()
            .filter_map(|(tenant, job)| Some((&***tenant, job.idempotency_key.as_deref()?)))
            .collect();
        let mut known = HashMap::new();
        if keys.is_empty() {
            return Ok(known);
        }
        for row in tx
            .rows(&self.enqueue.known, vec![Arg::json(&keys)?])
            .await?
        {
            let mut job = job(&row, 0)?;
            job.output = row.opt_json(JOB_COLUMNS)?;
            if let Some(key) = &job.idempotency_key {
                known.insert((job.tenant.to_string(), key.clone()), job);
            }
        }
        Ok(known)
    }
}
