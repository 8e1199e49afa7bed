//! Who goes first where several write.
//!
//! The hot paths lock a job's entry, in the queue or among the leases, and then write its row; every
//! other step locks the row first, as it has to look at it. Two that meet would wait for each other
//! until the engine notices, and everybody behind a claim with them. So a step that is not hot asks
//! for the entry without waiting, and if it cannot have it, begins again: the other one ends soon.

use tidewire_db::{Arg, Dialect, JsonRows, Query, Result, Sql, Tx};

use super::{LEASE_KEY, QUEUE_KEY, Store, lease_rows, queue_rows};
use crate::{model::Status, state::Change};

pub(super) struct Statements {
    queue: Sql,
    leases: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let lock = |rows: &JsonRows, table: &str, key: &[&str]| {
            let same: Vec<_> = key
                .iter()
                .map(|column| format!("e.{column} = {}", rows.col(column)))
                .collect();
            dialect.sql(&format!(
                "SELECT e.id FROM {} {} WHERE {}{}",
                rows.from,
                dialect.then(&format!("{table} e")),
                same.join(" AND "),
                dialect.skip_locked()
            ))
        };
        Statements {
            queue: lock(&queue_rows(dialect), "job_queue", &QUEUE_KEY),
            leases: lock(&lease_rows(dialect), "job_leases", &LEASE_KEY),
        }
    }
}

impl Store {
    /// Has the entries of jobs that these steps take from where hot paths may be at them; their rows
    /// are locked.
    pub(super) async fn seize(&self, tx: &mut Tx, changes: &[Change]) -> Result<()> {
        if !self.is_shared() {
            return Ok(());
        }
        let queued: Vec<_> = changes
            .iter()
            .filter(|change| change.was == Status::Pending)
            .map(|change| self.entry(&change.now, change.was_due))
            .collect();
        if !queued.is_empty() {
            let rows = tx
                .rows(&self.seize.queue, vec![Arg::json(&queued)?])
                .await?;
            all_had(tx, rows.len(), queued.len())?;
        }
        let leased: Vec<_> = changes
            .iter()
            .filter(|change| change.was == Status::Running && change.by_others)
            .map(|change| {
                let lane = &change.now.lane;
                (&*lane.tenant, &*lane.queue, &*change.now.id)
            })
            .collect();
        if !leased.is_empty() {
            let rows = tx
                .rows(&self.seize.leases, vec![Arg::json(&leased)?])
                .await?;
            all_had(tx, rows.len(), leased.len())?;
        }
        Ok(())
    }
}

fn all_had(tx: &mut Tx, had: usize, asked: usize) -> Result<()> {
    if had == asked {
        return Ok(());
    }
    Err(tx.yield_to_others(format!(
        "{} of {asked} jobs are being claimed or reported at this moment",
        asked - had
    )))
}
