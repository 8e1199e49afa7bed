//! How many jobs of a queue run, counted so that nobody can begin another in between.
//!
//! Where several processes claim, whoever counts holds the queue's row of `job_limits` until its
//! leases are committed; the count is a statement of its own behind the lock, so it sees the leases
//! of everybody who held it before. The row is never changed: a counter in it would leave a dead
//! version behind at every claim, and an old transaction held open would have all of them walked.

use std::sync::Arc;

use tidewire_db::{Arg, Column, Dialect, JsonRows, Query, Result, Sql, Tx};

use super::{Store, claim::place};

pub(super) struct Statements {
    running: Sql,
    insert: Sql,
    lock: Sql,
}

fn pairs(dialect: &Dialect) -> JsonRows {
    dialect.json_rows(
        "r",
        &[Column::Int("n"), Column::Id("tenant"), Column::Id("queue")],
    )
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let pairs = pairs(dialect);
        let (n, tenant, queue) = (pairs.col("n"), pairs.col("tenant"), pairs.col("queue"));
        let from = &pairs.from;
        let (insert, unless_known) = dialect.insert_new();
        Statements {
            running: dialect.sql(&format!(
                "SELECT {n}, (SELECT count(*) FROM job_leases l WHERE l.tenant = {tenant} AND l.queue = {queue})
                 FROM {from}"
            )),
            insert: dialect.sql(&format!(
                "{insert} job_limits (tenant, queue) SELECT {tenant}, {queue} FROM {from} WHERE {n} >= 0{unless_known}"
            )),
            lock: dialect.sql(&format!(
                "SELECT {n} FROM {from} {} WHERE k.tenant = {tenant} AND k.queue = {queue}{}",
                dialect.then("job_limits k"),
                dialect.skip_locked()
            )),
        }
    }
}

/// A tenant and a queue.
pub(crate) type Pair = (Arc<str>, Arc<str>);

fn numbered(queues: &[Pair]) -> Result<Arg> {
    let rows: Vec<_> = queues
        .iter()
        .enumerate()
        .map(|(n, (tenant, queue))| (n, &**tenant, &**queue))
        .collect();
    Arg::json(&rows)
}

impl Store {
    /// Makes the rows that are locked, for queues that may have none yet.
    pub(crate) async fn make_limits(&self, tx: &mut Tx, queues: &[Pair]) -> Result<()> {
        tx.push(&self.limits.insert, vec![numbered(queues)?]).await
    }

    /// Which of these queues are this transaction's alone to begin jobs of, until its end; the
    /// others are somebody else's at this moment. Nobody is waited for.
    pub(crate) async fn lock_limits(&self, tx: &mut Tx, queues: &[Pair]) -> Result<Vec<bool>> {
        let mut locked = vec![false; queues.len()];
        for row in tx.rows(&self.limits.lock, vec![numbered(queues)?]).await? {
            locked[place(&row, queues.len())?] = true;
        }
        Ok(locked)
    }

    /// How many jobs of each queue run.
    pub(crate) async fn running(&self, tx: &mut Tx, queues: &[Pair]) -> Result<Vec<u64>> {
        let mut counts = vec![0; queues.len()];
        for row in tx
            .rows(&self.limits.running, vec![numbered(queues)?])
            .await?
        {
            let at = place(&row, queues.len())?;
            counts[at] = row.count(1)?;
        }
        Ok(counts)
    }
}
