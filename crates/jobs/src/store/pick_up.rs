//! Taking jobs that are named, due or not, while they are as they were when they were spoken of.

use tidewire_db::{Arg, Column, Dialect, Query as _, Result, Sql, Tx};

use super::{JOB, JOB_COLUMNS, QUEUE_KEY, QueueRow, Store, driven_by, job, queue_rows};
use crate::{bus::Wanted, model::Job};

pub(super) struct Statements {
    untouched: Sql,
    delete_addressed: Option<Sql>,
    delete: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let wanted = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("id"),
                Column::Time("run_at"),
            ],
        );
        let address = dialect.address("q");
        let address = address.map_or_else(String::new, |address| format!(", {address}"));
        // The entry's key holds `run_at`: a job that was put off or tried since has another entry.
        let untouched = format!(
            "SELECT {JOB}{address} FROM {} {} {} WHERE j.tenant = {} AND j.id = {}
             AND j.status = 'pending' AND j.attempts = 0
             AND q.tenant = {} AND q.queue = j.queue AND q.type = j.type AND q.priority = j.priority
             AND q.run_at = {} AND q.id = j.id{}",
            wanted.from,
            dialect.then("jobs j"),
            dialect.then("job_queue q"),
            wanted.col("tenant"),
            wanted.col("id"),
            driven_by("j.tenant"),
            wanted.col("run_at"),
            dialect.skip_locked_of("q")
        );
        Statements {
            untouched: dialect.sql(&untouched),
            delete_addressed: dialect.delete_addressed("job_queue"),
            delete: dialect.delete_rows("job_queue", &queue_rows(dialect), &QUEUE_KEY),
        }
    }
}

/// A pending job's entry, had by this transaction.
pub(crate) struct Untouched {
    pub job: Job,
    /// Where it lies, if the engine says so.
    address: Option<String>,
}

impl Store {
    /// Those of these jobs that nobody has touched since they were spoken of, in no order. They are
    /// this transaction's until its end; those that are another's at this moment are left.
    pub(crate) async fn untouched(
        &self,
        tx: &mut Tx,
        wanted: &[&Wanted],
    ) -> Result<Vec<Untouched>> {
        let mut rows: Vec<_> = wanted
            .iter()
            .map(|wanted| (&*wanted.tenant, &*wanted.id, self.time(wanted.due)))
            .collect();
        rows.sort_unstable();
        rows.dedup();
        let rows = tx
            .rows(&self.pick_up.untouched, vec![Arg::json(&rows)?])
            .await?;
        let has_address = self.pick_up.delete_addressed.is_some();
        rows.iter()
            .map(|row| {
                let address = has_address.then(|| row.text(JOB_COLUMNS)).transpose()?;
                Ok(Untouched {
                    job: job(row, 0)?,
                    address,
                })
            })
            .collect()
    }

    /// Takes these out of the queue.
    pub(crate) async fn take_untouched(
        &self,
        tx: &mut Tx,
        taken: Vec<Untouched>,
    ) -> Result<Vec<Job>> {
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(delete) = &self.pick_up.delete_addressed {
            let lie: Vec<_> = taken.iter().map(|taken| &taken.address).collect();
            tx.push(delete, vec![Arg::json(&lie)?]).await?;
        } else {
            let entries: Vec<QueueRow<'_>> = taken
                .iter()
                .map(|Untouched { job, .. }| {
                    (
                        &*job.tenant,
                        job.queue.as_str(),
                        job.kind.as_str(),
                        job.priority,
                        self.time(job.due()),
                        job.id.as_str(),
                    )
                })
                .collect();
            tx.push(&self.pick_up.delete, vec![Arg::json(&entries)?])
                .await?;
        }
        Ok(taken.into_iter().map(|taken| taken.job).collect())
    }
}
