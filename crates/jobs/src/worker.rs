//! The role that runs jobs in this process.
//!
//! One loop claims as many jobs as it can soon start; each job is a task that waits for a slot,
//! runs its processor and reports. A report does not hold the slot, so reports and the next claim
//! meet in one round of the writer. Memory decides nothing: whatever is held here when the process
//! dies runs again when its lease has run out.

mod held;
mod processor;
mod processors;

use std::{
    any::Any,
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::join_all, poll};
use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore, broadcast::error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

pub use processor::{Failure, JobContext, Output, Processor};
pub use processors::Processors;

use crate::{
    Error, Filter, Jobs,
    lanes::{Report, Says},
    model::{ClaimedJob, MAX_CLAIM, document, error_text},
};
use held::{Held, Holding};

/// Work of this much time is claimed ahead of the free slots; more would only keep it from others.
const AHEAD: Duration = Duration::from_millis(20);
/// Jobs in hand, those included that wait for their report to be written.
const MOST_IN_HAND: usize = 5_000;
/// How long a processor may take to notice that its job was taken from it.
const GRACE: Duration = Duration::from_secs(5);
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
}

struct Core {
    jobs: Jobs,
    processors: Processors,
    filter: Arc<Filter>,
    name: Arc<str>,
    concurrency: usize,
    slots: Semaphore,
    held: Held,
    tasks: TaskTracker,
    /// Claimed and not ended; without those that only wait for their report.
    in_hand: AtomicUsize,
    /// Something ended, and more may be claimed.
    ended: Notify,
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
        };
        let concurrency = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let core = Core {
            jobs,
            processors,
            filter: Arc::new(filter),
            name: options.name.into(),
            concurrency,
            slots: Semaphore::new(concurrency),
            held: Held::default(),
            tasks: TaskTracker::new(),
            in_hand: AtomicUsize::new(0),
            ended: Notify::new(),
            pace: Pace::default(),
            stop: CancellationToken::new(),
            hard_stop: CancellationToken::new(),
        };
        Worker {
            core: Arc::new(core),
            drain: options.drain,
        }
    }

    /// Works until `stop`, then finishes what runs within the drain and gives the rest back.
    pub async fn run(self, stop: CancellationToken) {
        let core = &self.core;
        let over = CancellationToken::new();
        let work = async {
            core.dispatch(&stop).await;
            core.stop.cancel();
            core.tasks.close();
            if tokio::time::timeout(self.drain, core.tasks.wait())
                .await
                .is_err()
            {
                tracing::info!(
                    jobs = core.tasks.len(),
                    "the drain is over, running jobs go back"
                );
                core.hard_stop.cancel();
                if tokio::time::timeout(GRACE, core.tasks.wait())
                    .await
                    .is_err()
                {
                    tracing::warn!(jobs = core.tasks.len(), "jobs were left to their leases");
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
                Ok(jobs) => jobs.into_iter().for_each(|job| self.begin(job)),
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

    async fn claim(&self) -> Result<Vec<ClaimedJob>, Error> {
        let limit = self.demand().await;
        let settings = self.jobs.settings();
        // Waits only while it has room: a wake-up is for somebody who can use it.
        let waiter = self.jobs.waiter(Arc::clone(&self.filter));
        waiter
            .due(self.jobs.clock(), None, settings.poll_interval)
            .await;
        let claimed = self
            .jobs
            .claim_now(&self.filter, &self.name, limit, settings.lease)
            .await?;
        Ok(claimed.take())
    }

    /// Waits until it is worth claiming, and for how many jobs.
    async fn demand(&self) -> u32 {
        loop {
            let ahead = self.pace.ahead(self.concurrency);
            let room =
                (self.concurrency + ahead).saturating_sub(self.in_hand.load(Ordering::Relaxed));
            if room > ahead / 2 && self.tasks.len() < MOST_IN_HAND {
                return u32::try_from(room).unwrap_or(MAX_CLAIM).min(MAX_CLAIM);
            }
            self.ended.notified().await;
        }
    }

    fn begin(self: &Arc<Self>, claimed: ClaimedJob) {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        let holding = self.held.add(&claimed);
        let core = Arc::clone(self);
        self.tasks.spawn(async move {
            let says = core.attempt(claimed, &holding).await;
            core.in_hand.fetch_sub(1, Ordering::Relaxed);
            core.ended.notify_one();
            if let Some(says) = says {
                core.report(&holding, says).await;
            }
            core.held.remove(&holding);
        });
    }

    /// Runs a job; what is to be reported, or nothing if it was lost.
    async fn attempt(&self, claimed: ClaimedJob, holding: &Holding) -> Option<Says> {
        let slot = match self.slots.try_acquire() {
            Ok(slot) => slot,
            Err(_) => tokio::select! {
                biased;
                () = holding.lost.cancelled() => return None,
                () = self.stop.cancelled() => return Some(Says::Release),
                slot = self.slots.acquire() => slot.expect("the slots are never closed"),
            },
        };
        if self.stop.is_cancelled() {
            return Some(Says::Release);
        }
        let job = &claimed.job;
        let span = tracing::info_span!(
            "job",
            job_id = job.id,
            job_type = job.kind,
            attempt = job.attempts
        );
        let started = Instant::now();
        let says = self.process(claimed, holding).instrument(span).await;
        self.pace.ran(started.elapsed());
        drop(slot);
        says
    }

    async fn process(&self, claimed: ClaimedJob, holding: &Holding) -> Option<Says> {
        let job = claimed.job;
        let Some(processor) = self.processors.get(&job.kind) else {
            // Only types that have one are claimed.
            return Some(Says::Release);
        };
        let timeout = match job.timeout_seconds {
            Some(seconds) => Duration::from_secs(seconds.into()),
            None => self.jobs.settings().timeout,
        };
        let context = JobContext::new(job, Arc::clone(&self.name), holding.lost.clone());
        // In a block, so that a panic before the first await is caught too.
        let running = AssertUnwindSafe(async { processor.process(context).await }).catch_unwind();
        let mut running = pin!(running);
        // Most of the cost of a job that does nothing would be setting up the waiting below.
        if let std::task::Poll::Ready(result) = poll!(&mut running) {
            return Some(says(result));
        }
        tokio::select! {
            biased;
            result = &mut running => Some(says(result)),
            () = holding.lost.cancelled() => {
                let _ = tokio::time::timeout(GRACE, running).await;
                None
            }
            () = self.hard_stop.cancelled() => Some(Says::Release),
            () = tokio::time::sleep(timeout) => Some(says(Ok(Err(timed_out(timeout))))),
        }
    }

    /// Writes how an attempt ended; tries again as long as the store cannot take it, since nobody
    /// else can take the job over meanwhile.
    async fn report(&self, holding: &Holding, says: Says) {
        let (mut pause, mut last) = (RETRY_FIRST, false);
        loop {
            let report = Report {
                tenant: Arc::clone(&holding.tenant),
                id: Arc::clone(&holding.id),
                token: holding.token.clone(),
                says: says.clone(),
                wants_job: false,
                claimed: Some(Arc::clone(&holding.claimed)),
            };
            match self.jobs.report(report).await {
                Ok(_) => return,
                Err(Error::Store(error)) if error.is_unavailable() || error.is_transient() => {
                    tracing::warn!(%error, job_id = &*holding.id, "a report was not written, it will be tried again");
                }
                Err(error) => {
                    tracing::warn!(%error, job_id = &*holding.id, "a report was refused");
                    return;
                }
            }
            if last {
                return;
            }
            let pause_over = self
                .hard_stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await;
            last = pause_over.is_none();
            pause = (pause * 2).min(RETRY_MOST);
        }
    }

    /// Sends heartbeats for everything that has been held for a while, in one batch.
    async fn beat(&self, over: &CancellationToken) {
        loop {
            let third = self.jobs.settings().lease / 3;
            if over
                .run_until_cancelled(tokio::time::sleep(third))
                .await
                .is_none()
            {
                return;
            }
            let lease = self.jobs.settings().lease;
            let beats = self.held.since(third / 2).into_iter().map(|holding| async move {
                let report = Report {
                    tenant: Arc::clone(&holding.tenant),
                    id: Arc::clone(&holding.id),
                    token: holding.token.clone(),
                    says: Says::Extend(lease),
                    wants_job: false,
                claimed: Some(Arc::clone(&holding.claimed)),
                };
                match self.jobs.report(report).await {
                    Ok(_) => {}
                    Err(error @ (Error::LeaseLost { .. } | Error::NoSuchJob(_))) => {
                        // One that reported meanwhile has nothing to lose any more.
                        if self.held.contains(&holding) {
                            tracing::info!(%error, job_id = &*holding.id, "a job was lost");
                            holding.lost.cancel();
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, job_id = &*holding.id, "a heartbeat was not written");
                    }
                }
            });
            join_all(beats).await;
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

type Ran = Result<Result<Output, Failure>, Box<dyn Any + Send>>;

/// What is to be said of an attempt that ran.
fn says(ran: Ran) -> Says {
    let failure = match ran {
        Ok(Ok(Output(None))) => return Says::Complete(None),
        Ok(Ok(Output(Some(output)))) => match check(output) {
            Ok(output) => return Says::Complete(output),
            Err(failure) => failure,
        },
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::new(format!("the processor panicked: {}", panic_text(&*panic))),
    };
    tracing::info!(
        error = failure.error,
        permanent = failure.permanent,
        "an attempt failed"
    );
    Says::Fail {
        error: error_text(&failure.error),
        retry_in: failure.retry_in,
        permanent: failure.permanent,
    }
}

fn check(output: Box<RawValue>) -> Result<Option<Box<RawValue>>, Failure> {
    if output.get() == "null" {
        return Ok(None);
    }
    match document("/output", &output) {
        Ok(()) => Ok(Some(output)),
        // It would be as wrong the next time.
        Err(problem) => Err(Failure::new(problem.detail).permanent()),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

fn timed_out(after: Duration) -> Failure {
    let after = tidewire_core::duration::format(after);
    Failure::new(format!(
        "timed out: the attempt ran longer than its {after}"
    ))
}

/// How long attempts take, smoothed, to claim just enough ahead.
#[derive(Default)]
struct Pace {
    /// Zero before the first.
    micros: AtomicU64,
}

impl Pace {
    fn ran(&self, took: Duration) {
        let took = u64::try_from(took.as_micros())
            .unwrap_or(u64::MAX / 8)
            .max(1);
        let before = self.micros.load(Ordering::Relaxed);
        // Two that end at once may lose one figure of many.
        let smoothed = if before == 0 {
            took
        } else {
            (before * 7).saturating_add(took) / 8
        };
        self.micros.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Jobs to hold besides those that run.
    fn ahead(&self, concurrency: usize) -> usize {
        let most = MAX_CLAIM as usize;
        match self.micros.load(Ordering::Relaxed) {
            0 => concurrency.min(most),
            micros => {
                let ahead = u64::try_from(AHEAD.as_micros()).unwrap_or(u64::MAX);
                let jobs = (concurrency as u64).saturating_mul(ahead) / micros;
                usize::try_from(jobs).unwrap_or(most).min(most)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_claimed_ahead_of_slow_jobs() {
        let pace = Pace::default();
        assert_eq!(pace.ahead(64), 64);
        pace.ran(Duration::from_micros(5));
        assert_eq!(pace.ahead(64), 500);
        for _ in 0..100 {
            pace.ran(Duration::from_secs(10));
        }
        assert_eq!(pace.ahead(64), 0);
    }

    #[test]
    fn a_panic_tells_its_text() {
        let caught = std::panic::catch_unwind(|| panic!("no {}", "luck")).unwrap_err();
        assert_eq!(panic_text(&*caught), "no luck");
    }
}
