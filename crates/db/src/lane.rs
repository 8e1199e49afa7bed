//! Group commit: operations of one kind meet in a lane and are applied as one batch.
//!
//! There is no linger. What waits while a round is being committed makes up the next round, so a
//! lone operation pays one commit and a thousand at once share one (a wait of 200 µs cost 14 % of
//! throughput, 1 ms 35 %).

use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{Error, Result, Tx, round::Wake};

/// A kind of operation that is written in batches.
pub trait Batch: Send + Sync + 'static {
    /// One caller's operation.
    type In: Send + Sync + 'static;
    /// Its answer, which may itself be a refusal; a refused operation does not fail its batch.
    type Out: Send + 'static;

    /// For metrics and logs.
    const NAME: &'static str;
    /// Lanes of a lower rank are applied first, in every round, so that locks are always taken in
    /// one order. The log's appends have the highest: they come last in any transaction.
    const RANK: u8 = 50;
    /// How much of [`Batch::weight`] one round takes at most. One operation always fits.
    const ROUND: usize;
    /// Lanes of one name share a round, that is, a transaction. Where only one can write all lanes
    /// do; elsewhere each name has a writer of its own, and its rounds do not wait for others'.
    const WRITER: &'static str;

    /// How many rows the operation writes.
    fn weight(&self, op: &Self::In) -> usize;

    /// The name of the lock that the operation's transaction must hold, where others write too. It
    /// is held when [`Batch::apply`] is called. Operations whose lock somebody else holds are set
    /// aside and hold nobody up.
    fn lock<'o>(&self, op: &'o Self::In) -> Option<&'o str> {
        let _ = op;
        None
    }

    /// Applies the operations, in order, answering each in its place. An error fails the whole
    /// batch: it is rolled back and its operations are tried one by one.
    fn apply<'a>(
        &'a self,
        tx: &'a mut Tx,
        ops: &'a [Self::In],
    ) -> impl Future<Output = Result<Vec<Self::Out>>> + Send + 'a;
}

/// The handle to a lane: cheap to clone.
pub struct Lane<B: Batch> {
    shared: Arc<Shared<B>>,
    wake: Arc<Wake>,
}

impl<B: Batch> Clone for Lane<B> {
    fn clone(&self) -> Self {
        Lane {
            shared: Arc::clone(&self.shared),
            wake: Arc::clone(&self.wake),
        }
    }
}

/// More weight than this may not wait in a lane: past it callers are told to come back, so that
/// memory stays bounded however slow the disk is.
pub(crate) const MOST_WAITING: usize = 65_536;

struct Shared<B: Batch> {
    batch: B,
    waiting: Mutex<VecDeque<Waiting<B>>>,
    weight: AtomicUsize,
}

struct Waiting<B: Batch> {
    op: B::In,
    weight: usize,
    answer: oneshot::Sender<Result<B::Out>>,
}

impl<B: Batch> Lane<B> {
    pub(crate) fn new(batch: B, wake: Arc<Wake>) -> (Self, Arc<dyn Source>) {
        let shared = Arc::new(Shared {
            batch,
            waiting: Mutex::default(),
            weight: AtomicUsize::new(0),
        });
        (
            Lane {
                shared: Arc::clone(&shared),
                wake,
            },
            shared,
        )
    }

    /// Hands an operation in and waits for its durable answer.
    pub async fn submit(&self, op: B::In) -> Result<B::Out> {
        let weight = self.shared.batch.weight(&op).max(1);
        if self.shared.weight.fetch_add(weight, Ordering::Relaxed) > MOST_WAITING {
            self.shared.weight.fetch_sub(weight, Ordering::Relaxed);
            return Err(Error::Busy(format!(
                "more than {MOST_WAITING} rows wait to be written"
            )));
        }
        let (answer, answered) = oneshot::channel();
        lock(&self.shared.waiting).push_back(Waiting { op, weight, answer });
        self.wake.wake();
        if self.wake.is_closed()
            && let Some(late) = Arc::clone(&self.shared).take()
        {
            late.fail(&stopped());
        }
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

pub(crate) fn stopped() -> Error {
    Error::Unavailable("the writer has stopped".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lane as the writer sees it: somewhere that batches come from.
pub(crate) trait Source: Send + Sync {
    fn rank(&self) -> u8;
    /// The next batch, if anything waits.
    fn take(self: Arc<Self>) -> Option<Box<dyn Pending>>;
}

/// A batch on its way through a transaction.
pub(crate) trait Pending: Send {
    fn name(&self) -> &'static str;
    fn len(&self) -> usize;
    fn weight(&self) -> usize;
    fn apply<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<()>>;
    /// Adds the names of the locks that its operations want.
    fn locks(&self, names: &mut BTreeSet<Box<str>>);
    /// Takes out the operations that want this lock.
    fn set_aside(&mut self, name: &str) -> Option<Box<dyn Pending>>;
    /// The batch as batches of one operation each.
    fn split(self: Box<Self>) -> Vec<Box<dyn Pending>>;
    /// The commit is durable: answer everybody.
    fn done(self: Box<Self>);
    fn fail(self: Box<Self>, error: &Error);
}

impl<B: Batch> Source for Shared<B> {
    fn rank(&self) -> u8 {
        B::RANK
    }

    fn take(self: Arc<Self>) -> Option<Box<dyn Pending>> {
        let mut ops = Vec::new();
        let mut weight = 0;
        let mut answers = Vec::new();
        {
            let mut waiting = lock(&self.waiting);
            while let Some(next) = waiting.front() {
                if !ops.is_empty() && weight + next.weight > B::ROUND {
                    break;
                }
                weight += next.weight;
                if let Some(next) = waiting.pop_front() {
                    ops.push(next.op);
                    answers.push(next.answer);
                }
            }
        }
        if ops.is_empty() {
            return None;
        }
        Some(Box::new(Gathered {
            lane: self,
            ops,
            answers,
            outs: Vec::new(),
            weight,
            since: Instant::now(),
        }))
    }
}

struct Gathered<B: Batch> {
    lane: Arc<Shared<B>>,
    ops: Vec<B::In>,
    answers: Vec<oneshot::Sender<Result<B::Out>>>,
    outs: Vec<B::Out>,
    weight: usize,
    since: Instant,
}

impl<B: Batch> Gathered<B> {
    fn part(&self, ops: Vec<B::In>, answers: Vec<oneshot::Sender<Result<B::Out>>>) -> Self {
        let weigh = |op| self.lane.batch.weight(op).max(1);
        Gathered {
            lane: Arc::clone(&self.lane),
            weight: ops.iter().map(weigh).sum(),
            ops,
            answers,
            outs: Vec::new(),
            since: self.since,
        }
    }
}

/// What was handed in counts until it is answered, wherever it waits.
impl<B: Batch> Drop for Gathered<B> {
    fn drop(&mut self) {
        self.lane.weight.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

impl<B: Batch> Pending for Gathered<B> {
    fn name(&self) -> &'static str {
        B::NAME
    }

    fn len(&self) -> usize {
        self.ops.len()
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn apply<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.ops.is_empty() {
                return Ok(());
            }
            self.outs = self.lane.batch.apply(tx, &self.ops).await?;
            if self.outs.len() == self.ops.len() {
                return Ok(());
            }
            Err(Error::Broken(format!(
                "the batch {} answered {} of {} operations",
                B::NAME,
                self.outs.len(),
                self.ops.len()
            )))
        })
    }

    fn locks(&self, names: &mut BTreeSet<Box<str>>) {
        for name in self.ops.iter().filter_map(|op| self.lane.batch.lock(op)) {
            if !names.contains(name) {
                names.insert(name.into());
            }
        }
    }

    fn set_aside(&mut self, name: &str) -> Option<Box<dyn Pending>> {
        let wants = |op: &B::In| self.lane.batch.lock(op) == Some(name);
        if !self.ops.iter().any(wants) {
            return None;
        }
        let both = std::mem::take(&mut self.ops)
            .into_iter()
            .zip(std::mem::take(&mut self.answers));
        let (aside, kept): (Vec<_>, Vec<_>) =
            both.partition(|(op, _)| self.lane.batch.lock(op) == Some(name));
        (self.ops, self.answers) = kept.into_iter().unzip();
        let (ops, answers) = aside.into_iter().unzip();
        let aside = self.part(ops, answers);
        self.weight = self.weight.saturating_sub(aside.weight);
        Some(Box::new(aside))
    }

    fn split(mut self: Box<Self>) -> Vec<Box<dyn Pending>> {
        let both = std::mem::take(&mut self.ops)
            .into_iter()
            .zip(std::mem::take(&mut self.answers));
        let parts = both.map(|(op, answer)| self.part(vec![op], vec![answer]));
        let parts = parts
            .map(|part| Box::new(part) as Box<dyn Pending>)
            .collect();
        // Their weight is the parts' now.
        self.weight = 0;
        parts
    }

    fn done(mut self: Box<Self>) {
        #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52 rows")]
        metrics::histogram!("tidewire_store_batch_size", "lane" => B::NAME)
            .record(self.weight as f64);
        metrics::histogram!("tidewire_store_batch_seconds", "lane" => B::NAME)
            .record(self.since.elapsed());
        let outs = std::mem::take(&mut self.outs);
        for (answer, out) in std::mem::take(&mut self.answers).into_iter().zip(outs) {
            // A caller that hung up has its answer in the store.
            let _ = answer.send(Ok(out));
        }
    }

    fn fail(mut self: Box<Self>, error: &Error) {
        for answer in std::mem::take(&mut self.answers) {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
