//! The limits on PostgreSQL: bare SQL over prepared statements, from this process and without HTTP.
//!
//! Rows are written by `rows`, one statement of constant shape a batch. They come in batches of a fixed size, or, where
//! Tidewire takes one thing a request, from as many callers as there are connections there: what waits is written
//! together, and each is answered after the commit. Jobs are claimed and completed by `jobs`.

mod jobs;
mod rows;

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;

use crate::data::Data;
use crate::load::{self, Answer, Caller, Outcome, Until};

pub use jobs::{burn_down, worked_while_enqueued};
use rows::{Events, Jobs, Rows};

/// In one statement, as in Tidewire's writers.
const MOST: usize = 1_000;

/// What a statement is given. It has a name of its own because several are under way at once.
type Values<'a, const N: usize> = [&'a (dyn ToSql + Sync); N];

/// How rows come to the limit.
#[derive(Clone, Copy)]
pub enum Arrival {
    /// So many in a statement, from each of so many connections.
    Batches { rows: usize, connections: usize },
    /// One from each of so many callers at a time.
    Singly { callers: usize },
}

/// One connection, because a log has one order.
pub async fn events(data: &Data, keyed: bool, arrival: Arrival, until: Until) -> Result<Outcome> {
    rows::create_events(data).await?;
    let events = vec![Events::open(data, keyed).await?];
    write(events, arrival, until).await
}

/// Two connections where rows come singly: jobs have no order among themselves.
pub async fn jobs(data: &Data, arrival: Arrival, until: Until) -> Result<Outcome> {
    rows::create_jobs(data).await?;
    let connections = match arrival {
        Arrival::Batches { connections, .. } => connections,
        Arrival::Singly { callers } => callers.min(2),
    };
    let mut jobs = Vec::with_capacity(connections);
    for seed in 0..connections {
        jobs.push(Jobs::open(data, seed as u64).await?);
    }
    write(jobs, arrival, until).await
}

async fn write<R: Rows + 'static>(
    tables: Vec<R>,
    arrival: Arrival,
    until: Until,
) -> Result<Outcome> {
    match arrival {
        Arrival::Batches { rows, .. } => {
            let callers = tables.into_iter().map(|table| Batches { table, rows });
            load::closed(callers.collect(), until, || Ok(None)).await
        }
        Arrival::Singly { callers } => {
            let group = Group::start(tables);
            load::closed(group.callers(callers), until, || Ok(None)).await
        }
    }
}

/// A connection that writes batch after batch.
struct Batches<R> {
    table: R,
    rows: usize,
}

impl<R: Rows> Caller for Batches<R> {
    fn prepare(&mut self) {
        self.table.make(self.rows);
    }

    async fn call(&mut self) -> Result<Answer> {
        self.table.write().await?;
        Ok(Answer::Taken)
    }
}

/// The group commit: connections that take whatever waits, write it in one statement, and answer after the commit.
struct Group {
    queue: mpsc::Sender<oneshot::Sender<()>>,
    failure: Rc<RefCell<Option<anyhow::Error>>>,
    _writers: JoinSet<()>,
}

impl Group {
    fn start<R: Rows + 'static>(tables: Vec<R>) -> Self {
        let (queue, waiting) = mpsc::channel::<oneshot::Sender<()>>(4 * MOST);
        let waiting = Rc::new(Mutex::new(waiting));
        let failure = Rc::new(RefCell::new(None));
        let mut writers = JoinSet::new();
        for mut table in tables {
            let (waiting, failure) = (Rc::clone(&waiting), Rc::clone(&failure));
            writers.spawn_local(async move {
                let mut taken = Vec::with_capacity(MOST);
                while waiting.lock().await.recv_many(&mut taken, MOST).await > 0 {
                    table.make(taken.len());
                    if let Err(error) = table.write().await {
                        failure.borrow_mut().get_or_insert(error);
                        return;
                    }
                    for answer in taken.drain(..) {
                        // Whoever called may have been told to stop.
                        let _ = answer.send(());
                    }
                }
            });
        }
        Self {
            queue,
            failure,
            _writers: writers,
        }
    }

    fn callers(&self, callers: usize) -> Vec<Single> {
        let single = || Single {
            queue: self.queue.clone(),
            failure: Rc::clone(&self.failure),
        };
        std::iter::repeat_with(single).take(callers).collect()
    }
}

struct Single {
    queue: mpsc::Sender<oneshot::Sender<()>>,
    failure: Rc<RefCell<Option<anyhow::Error>>>,
}

impl Caller for Single {
    fn prepare(&mut self) {}

    async fn call(&mut self) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.send(answer).await.is_ok();
        if sent && answered.await.is_ok() {
            return Ok(Answer::Taken);
        }
        let failure = self.failure.borrow_mut().take();
        Err(failure.unwrap_or_else(|| anyhow::anyhow!("the writer has failed")))
    }
}

/// Planned by index from the first row on, as Tidewire's own connections are: a plan that was made over an empty table
/// would stay.
async fn open(data: &Data) -> Result<tokio_postgres::Client> {
    let db = crate::postgres::connect(&data.database()?.url).await?;
    db.batch_execute(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
         SET plan_cache_mode = force_generic_plan",
    )
    .await?;
    Ok(db)
}
