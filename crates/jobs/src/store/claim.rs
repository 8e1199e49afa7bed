//! Taking jobs that are due.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::{JOB, JOB_COLUMNS, QUEUE_KEY, Store, driven_by, job};
use crate::{
    board::{LaneKey, Mark},
    model::Job,
};

pub(super) struct Statements {
    due: Sql,
    next: Sql,
    delete_addressed: Option<Sql>,
    delete_of_lane: Sql,
    insert_leases: Sql,
    insert_leases_of_lane: Sql,
    start: Sql,
    start_of_lane: Sql,
}

/// A lane's entries from a place on.
fn of_lane(dialect: &Dialect, alias: &str) -> String {
    let column = |name: &str| format!("{alias}.{name}");
    format!(
        "{alias}.tenant = ?1 AND {alias}.queue = ?2 AND {alias}.type = ?3 AND {alias}.priority = ?4 AND {}",
        dialect.at_or_behind(&[&column("run_at"), &column("id")], &["?5", "?6"])
    )
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let address = dialect.address("q");
        let address = address.map_or_else(String::new, |address| format!(", {address}"));
        let due = format!(
            "SELECT {JOB}{address} FROM job_queue q {} WHERE {} AND q.run_at <= ?7
             AND j.tenant = {} AND j.id = q.id ORDER BY q.run_at, q.id LIMIT ?8{}",
            dialect.then("jobs j"),
            of_lane(dialect, "q"),
            driven_by("q.tenant"),
            dialect.skip_locked_of("q")
        );
        let next = format!(
            "SELECT q.run_at, q.id FROM job_queue q WHERE {} ORDER BY q.run_at, q.id LIMIT 1",
            of_lane(dialect, "q")
        );
        let entries = dialect
            .json_rows("r", &[Column::Time("run_at"), Column::Id("id")])
            .arg(5)
            .with(&[("tenant", 1), ("queue", 2), ("type", 3), ("priority", 4)]);
        let ids = dialect.json_ids("r", "id");
        let insert_leases_of_lane = format!(
            "INSERT INTO job_leases (tenant, queue, secret, expires_at, id) SELECT ?, ?, ?, ?, {} FROM {}",
            ids.columns, ids.from
        );
        let (insert_leases, start) = of_many(dialect);
        Statements {
            due: dialect.sql(&due),
            next: dialect.sql(&next),
            delete_addressed: dialect.delete_addressed("job_queue"),
            delete_of_lane: dialect.delete_rows("job_queue", &entries, &QUEUE_KEY),
            insert_leases,
            insert_leases_of_lane: dialect.sql(&insert_leases_of_lane),
            start,
            start_of_lane: dialect.update_rows(
                "jobs",
                &ids.arg(5).with(&[("tenant", 4)]),
                &["tenant", "id"],
                &[
                    ("status", "'running'"),
                    ("attempts", "jobs.attempts + 1"),
                    ("locked_at", "?1"),
                    ("locked_by", "?2"),
                    ("lease_secret", "?3"),
                    ("started_at", "?1"),
                    ("updated_at", "?1"),
                ],
            ),
        }
    }
}

/// Leases and the jobs' rows, where the jobs differ in more than their ids.
fn of_many(dialect: &Dialect) -> (Sql, Sql) {
    let taken = dialect.json_rows(
        "r",
        &[
            Column::Id("tenant"),
            Column::Id("queue"),
            Column::Id("id"),
            Column::Id("worker"),
            Column::Id("secret"),
            Column::Time("at"),
            Column::Time("expires_at"),
        ],
    );
    let insert_leases = format!(
        "INSERT INTO job_leases (tenant, queue, id, secret, expires_at) SELECT {}, {}, {}, {}, {} FROM {}",
        taken.col("tenant"),
        taken.col("queue"),
        taken.col("id"),
        taken.col("secret"),
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
    (dialect.sql(&insert_leases), start)
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

fn lane_args(lane: &LaneKey, from: &Mark) -> Vec<Arg> {
    vec![
        (&lane.tenant).into(),
        (&lane.queue).into(),
        (&lane.kind).into(),
        i64::from(lane.priority).into(),
        from.due.into(),
        (&*from.id).into(),
    ]
}

impl Store {
    /// Takes the next jobs of a lane that are due, from a place on, out of the queue (what is reserved
    /// is so still: see [`Store::unreserve`]). They are this
    /// transaction's until its end; those that are another's at this moment are left.
    pub(crate) async fn take(
        &self,
        tx: &mut Tx,
        lane: &LaneKey,
        from: &Mark,
        now: Time,
        most: u32,
    ) -> Result<Vec<Job>> {
        let mut args = lane_args(lane, from);
        args.extend([now.into(), most.into()]);
        let sql = match &lane.reserved_for {
            Some(worker) => {
                args.push(worker.into());
                &self.reserve.due
            }
            None => &self.claim.due,
        };
        let rows = tx.rows(sql, args).await?;
        let jobs: Vec<_> = rows.iter().map(|row| job(row, 0)).collect::<Result<_>>()?;
        if jobs.is_empty() {
            return Ok(jobs);
        }
        if let Some(delete) = &self.claim.delete_addressed {
            let lie: Vec<_> = rows
                .iter()
                .map(|row| row.text(JOB_COLUMNS))
                .collect::<Result<_>>()?;
            tx.push(delete, vec![Arg::json(&lie)?]).await?;
        } else {
            let entries: Vec<_> = jobs
                .iter()
                .map(|job| (self.time(job.due()), &job.id))
                .collect();
            let mut args = lane_args(lane, from);
            args.truncate(4);
            args.push(Arg::json(&entries)?);
            tx.push(&self.claim.delete_of_lane, args).await?;
        }
        Ok(jobs)
    }

    /// A lane's first entry from a place on, due or not, whosever it is at this moment. What others may
    /// have by now is in no worker's own lane.
    pub(crate) async fn next(
        &self,
        query: &mut impl Query,
        lane: &LaneKey,
        from: &Mark,
        now: Time,
    ) -> Result<Option<Mark>> {
        let mut args = lane_args(lane, from);
        let sql = match &lane.reserved_for {
            Some(worker) => {
                args.extend([now.into(), worker.into()]);
                &self.reserve.next
            }
            None => &self.claim.next,
        };
        let row = query.row(sql, args).await?;
        row.map(|row| Ok(Mark::at(row.time(0)?, row.text(1)?)))
            .transpose()
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
        let ids: Vec<_> = taken.jobs.iter().map(|job| &job.id).collect();
        let ids = Arg::json(&ids)?;
        let lease = vec![
            (&first.tenant).into(),
            (&first.queue).into(),
            taken.secret.into(),
            taken.expires_at.into(),
            ids.clone(),
        ];
        tx.push(&self.claim.insert_leases_of_lane, lease).await?;
        let start = vec![
            at.into(),
            taken.worker.into(),
            taken.secret.into(),
            (&first.tenant).into(),
            ids,
        ];
        tx.push(&self.claim.start_of_lane, start).await
    }
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
