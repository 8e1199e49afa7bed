//! No-op jobs claimed and completed in batches: what a well-made queue does, and nothing else.
//!
//! A round is one transaction whose statements are sent together: what the last round claimed is completed, the next
//! are claimed. A claim takes the next of the queue's order that nobody holds, marks them, and answers their payloads.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Statement};

use super::rows::{Jobs, Rows, create_jobs};
use super::{Group, MOST, Values, open};
use crate::data::Data;
use crate::load::{self, Until};
use crate::record::{Figure, Figures};

/// How long the claiming half waits when it finds nothing.
const PAUSE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

struct Worker {
    db: Client,
    complete: Statement,
    claim: Statement,
    batch: i64,
    claimed: Vec<i64>,
}

impl Worker {
    async fn open(data: &Data, batch: i64) -> Result<Self> {
        let db = open(data).await?;
        let complete = db
            .prepare(
                "UPDATE jobs SET status = 'done', locked_by = NULL, finished_at = now() WHERE num = ANY ($1::bigint[])",
            )
            .await?;
        let claim = db
            .prepare(
                "WITH next AS MATERIALIZED (
                     SELECT num FROM jobs WHERE status = 'pending' AND queue = 'default' AND run_at <= now()
                     ORDER BY priority, run_at, num LIMIT $1 FOR UPDATE SKIP LOCKED)
                 UPDATE jobs SET status = 'running', attempts = attempts + 1, locked_by = 'limit', locked_at = now(),
                     started_at = now()
                 WHERE num = ANY (ARRAY (SELECT num FROM next)) RETURNING num, type, payload",
            )
            .await?;
        Ok(Self {
            db,
            complete,
            claim,
            batch,
            claimed: Vec::new(),
        })
    }

    /// How many were completed; claims the next.
    async fn round(&mut self) -> Result<u64> {
        let completed: Values<'_, 1> = [&self.claimed];
        let wanted: Values<'_, 1> = [&self.batch];
        let (_, _, rows, _) = tokio::try_join!(
            biased;
            self.db.batch_execute("BEGIN"),
            self.db.execute(&self.complete, &completed),
            self.db.query(&self.claim, &wanted),
            self.db.batch_execute("COMMIT")
        )?;
        let completed = self.claimed.len();
        self.claimed = rows.iter().map(|row| row.get(0)).collect();
        Ok(completed as u64)
    }
}

/// Fills the table and works it off; jobs a second.
pub async fn burn_down(
    data: &Data,
    backlog: u64,
    batch: i64,
    connections: usize,
) -> Result<Figures> {
    create_jobs(data).await?;
    let mut jobs = Jobs::open(data, 0).await?;
    let mut left = backlog;
    while left > 0 {
        let rows = left.min(MOST as u64);
        jobs.make(usize::try_from(rows)?);
        jobs.write().await?;
        left -= rows;
    }
    let done = Rc::new(Cell::new(0));
    let mut workers = Vec::with_capacity(connections);
    for _ in 0..connections {
        workers.push(Worker::open(data, batch).await?);
    }
    workers[0].db.batch_execute("ANALYZE jobs").await?;
    let began = Instant::now();
    work(workers, backlog, &done).await?;
    Ok(rate(backlog, began.elapsed()))
}

/// Callers enqueue one each, grouped over one connection, while another claims and completes.
pub async fn worked_while_enqueued(
    data: &Data,
    total: u64,
    callers: usize,
    batch: i64,
) -> Result<Figures> {
    create_jobs(data).await?;
    let group = Group::start(vec![Jobs::open(data, 0).await?]);
    let workers = vec![Worker::open(data, batch).await?];
    let done = Rc::new(Cell::new(0));
    let began = Instant::now();
    let enqueue = load::closed(group.callers(callers), Until::Calls(total), || Ok(None));
    tokio::try_join!(enqueue, work(workers, total, &done))?;
    Ok(rate(total, began.elapsed()))
}

async fn work(workers: Vec<Worker>, total: u64, done: &Rc<Cell<u64>>) -> Result<()> {
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        let done = Rc::clone(done);
        tasks.spawn_local(async move {
            let mut moved = Instant::now();
            while done.get() < total {
                let completed = worker.round().await?;
                done.set(done.get() + completed);
                if completed > 0 || !worker.claimed.is_empty() {
                    moved = Instant::now();
                } else if moved.elapsed() > PATIENCE {
                    bail!("{} of {total} jobs were done, then none", done.get());
                } else {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.context("a worker's task ended badly")??;
    }
    Ok(())
}

fn rate(jobs: u64, elapsed: Duration) -> Figures {
    Figures::from([(Figure::Rate, jobs as f64 / elapsed.as_secs_f64())])
}
