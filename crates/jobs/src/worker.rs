//! The role that runs jobs in this process.
//!
//! One loop claims as many jobs as it can soon start; each waits for a slot, runs its processor and
//! is reported. A report does not hold the slot, so reports and the next claim meet in one round of
//! the writer. Memory decides nothing: whatever is held here when the process dies runs again when
//! its lease has run out.

mod attempt;
mod feed;
mod held;
mod pace;
mod processor;
mod processors;
mod slot;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore, broadcast::error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use processor::{Failure, JobContext, Output, Processor};
pub use processors::Processors;

use crate::{
    Error, Filter, Jobs,
    bus::JobBus,
    lanes::{Grant, Says},
    model::MAX_CLAIM,
};
use attempt::{GRACE, log_refused};
use held::{Held, Holding};
use pace::Pace;

/// Jobs held at most, those included that wait for their report to be written.
const MOST_HELD: usize = 5_000;
/// Heartbeats handed in together.
const BEATS: usize = 500;
/// Fewer jobs than this are not shared out among tasks.
const FEW: usize = 16;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// As `locked_by` shows it.
    pub name: String,
    /// Jobs that run at once.
    pub concurrency: usize,
    /// Only these queues; all without it.
    pub queues: Option<BTreeSet<Arc<str>>>,
    /// How long running jobs may go on after the order to stop. What has not ended then goes back.
    pub drain: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        WorkerOptions {
            name: "worker".to_owned(),
            concurrency: 64,
            queues: None,
            drain: Duration::from_secs(30),
        }
    }
}

/// Runs the jobs whose types its processors know, of all tenants.
pub struct Worker {
    core: Arc<Core>,
    drain: Duration,
    bus: Option<Arc<dyn JobBus>>,
}

struct Core {
    jobs: Jobs,
    processors: Processors,
    filter: Arc<Filter>,
    name: Arc<str>,
    concurrency: usize,
    slots: Arc<Semaphore>,
    held: Held,
    tasks: TaskTracker,
    /// Tasks that begin the jobs of one claim.
    beginners: usize,
    /// Jobs that were claimed and have not ended.
    in_hand: AtomicUsize,
    /// Those, and the ones that only wait for their report to be written.
    in_custody: AtomicUsize,
    /// Something ended, and more may be claimed …
    ended: Notify,
    /// … also of what a bus has named.
    ended_for_feed: Notify,
    pace: Pace,
    /// No new jobs are begun.
    stop: CancellationToken,
    /// The drain is over: what runs is given back.
    hard_stop: CancellationToken,
}

impl Worker {
    #[must_use]
    pub fn new(jobs: Jobs, processors: Processors, options: WorkerOptions) -> Self {
        let filter = Filter {
            tenant: None,
            types: Some(processors.types()),
            queues: options.queues,
            except: BTreeSet::new(),
            own: false,
        };
        let concurrency = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let core = Core {
            jobs,
            processors,
            filter: Arc::new(filter),
            name: options.name.into(),
            concurrency,
            slots: Arc::new(Semaphore::new(concurrency)),
            held: Held::default(),
            tasks: TaskTracker::new(),
            beginners: std::thread::available_parallelism().map_or(1, usize::from),
            in_hand: AtomicUsize::new(0),
            in_custody: AtomicUsize::new(0),
            ended: Notify::new(),
            ended_for_feed: Notify::new(),
            pace: Pace::default(),
            stop: CancellationToken::new(),
            hard_stop: CancellationToken::new(),
        };
        Worker {
            core: Arc::new(core),
            drain: options.drain,
            bus: None,
        }
    }

    /// The worker also takes what this bus says is ready.
    #[must_use]
    pub fn fed_by(mut self, bus: Arc<dyn JobBus>) -> Self {
        self.bus = Some(bus).filter(|bus| bus.is_apart());
        self
    }

    /// Works until `stop`, then finishes what runs within the drain and gives the rest back.
    pub async fn run(self, stop: CancellationToken) {
        let core = &self.core;
        let over = CancellationToken::new();
        let work = async {
            let feed = async {
                if let Some(bus) = &self.bus {
                    core.feed(&**bus, &stop).await;
                }
            };
            tokio::join!(core.dispatch(&stop), feed);
            core.stop.cancel();
            core.tasks.close();
            if tokio::time::timeout(self.drain, core.tasks.wait())
                .await
                .is_err()
            {
                tracing::info!(
                    jobs = core.custody(),
                    "the drain is over, running jobs go back"
                );
                core.hard_stop.cancel();
                if tokio::time::timeout(GRACE, core.tasks.wait())
                    .await
                    .is_err()
                {
                    tracing::warn!(jobs = core.custody(), "jobs were left to their leases");
                }
            }
            over.cancel();
        };
        tokio::join!(work, core.beat(&over), core.hear_cancellations(&over));
    }
}

impl Core {
    /// Claims what can soon be started, until `stop`.
    async fn dispatch(self: &Arc<Self>, stop: &CancellationToken) {
        loop {
            let claimed = tokio::select! {
                () = stop.cancelled() => return,
                // Dropped half-way, a claim gives back what it got.
                claimed = self.claim() => claimed,
            };
            match claimed {
                Ok(jobs) => self.take(jobs),
                Err(error) => {
                    tracing::warn!(%error, "no jobs could be claimed, it will be tried again");
                    let pause = tokio::time::sleep(RETRY_FIRST * 5);
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    async fn claim(&self) -> Result<Vec<Grant>, Error> {
        let limit = self.demand(&self.ended, |ahead| ahead / 2).await;
        let settings = self.jobs.settings();
        // Waits only while it has room: a wake-up is for somebody who can use it.
        let waiter = self.jobs.waiter(&self.filter, &self.name);
        waiter
            .due(self.jobs.clock(), None, settings.poll_interval)
            .await;
        let claimed = self
            .jobs
            .claim_now(&self.filter, &self.name, limit, settings.lease)
            .await?;
        Ok(claimed.take())
    }

    /// Waits until there is room for more than `few` jobs (of those that are held ahead), and says for
    /// how many.
    async fn demand(&self, ended: &Notify, few: fn(usize) -> usize) -> u32 {
        loop {
            let ahead = self.pace.ahead(self.concurrency);
            let room =
                (self.concurrency + ahead).saturating_sub(self.in_hand.load(Ordering::Relaxed));
            if room > few(ahead) && self.custody() < MOST_HELD {
                return u32::try_from(room).unwrap_or(MAX_CLAIM).min(MAX_CLAIM);
            }
            ended.notified().await;
        }
    }

    /// Shares claimed jobs out among the tasks that begin them.
    fn take(self: &Arc<Self>, claimed: Vec<Grant>) {
        let count = claimed.len();
        self.in_hand.fetch_add(count, Ordering::Relaxed);
        self.in_custody.fetch_add(count, Ordering::Relaxed);
        let holdings = self.held.add(&claimed);
        let mut jobs = claimed.into_iter().zip(holdings).peekable();
        let share = count.div_ceil(self.beginners).max(FEW);
        while jobs.peek().is_some() {
            let some = jobs.by_ref().take(share).collect();
            self.tasks.spawn(Arc::clone(self).begin(some));
        }
    }

    /// So many jobs have ended.
    fn left(&self, count: usize) {
        self.in_hand.fetch_sub(count, Ordering::Relaxed);
        self.tell_room();
    }

    /// These jobs are not this worker's business any more.
    fn forget<'h>(&self, holdings: impl IntoIterator<Item = &'h Arc<Holding>>) {
        let gone = self.held.remove(holdings);
        self.in_custody.fetch_sub(gone, Ordering::Relaxed);
        self.tell_room();
    }

    fn tell_room(&self) {
        self.ended.notify_one();
        self.ended_for_feed.notify_one();
    }

    fn custody(&self) -> usize {
        self.in_custody.load(Ordering::Relaxed)
    }

    /// Sends heartbeats for everything that has been held for a while.
    async fn beat(&self, over: &CancellationToken) {
        loop {
            let lease = self.jobs.settings().lease;
            let pause = tokio::time::sleep((lease / 3).max(RETRY_FIRST));
            if over.run_until_cancelled(pause).await.is_none() {
                return;
            }
            for holdings in self.held.since(lease / 6).chunks(BEATS) {
                let beats = holdings
                    .iter()
                    .map(|holding| holding.report(extend(lease, None)));
                let answers = match self.jobs.report(beats.collect()).await {
                    Ok(answers) => answers,
                    Err(error) => {
                        tracing::warn!(%error, jobs = holdings.len(), "heartbeats were not written");
                        continue;
                    }
                };
                for (holding, answer) in holdings.iter().zip(answers) {
                    // One that was reported meanwhile has nothing to lose any more.
                    if let Err(refused) = answer
                        && self.held.contains(holding)
                    {
                        log_refused(holding, &refused);
                        holding.lost.cancel();
                    }
                }
            }
        }
    }

    /// Stops jobs that are cancelled here at once; those cancelled elsewhere show in a heartbeat.
    async fn hear_cancellations(&self, over: &CancellationToken) {
        let mut cancelled = self.jobs.cancellations();
        loop {
            match over.run_until_cancelled(cancelled.recv()).await {
                Some(Ok(id)) => self.held.lose(&id),
                Some(Err(RecvError::Lagged(_))) => {}
                Some(Err(RecvError::Closed)) | None => return,
            }
        }
    }
}

fn extend(lease: Duration, progress: Option<Box<RawValue>>) -> Says {
    Says::Extend { lease, progress }
}
