//! Runs jobs in this process.
//!
//! A worker claims jobs of the types that it has processors for, as many as it has free slots, and
//! holds the claim open until one is due. While a processor runs, heartbeats at a third of the
//! lease keep the job. The server's lease is authoritative: a result counts only with its token, so
//! whoever loses the lease has lost the job, and [`JobContext::cancelled`] says so.
//!
//! ```no_run
//! # async fn example(client: tidewire_client::Client) -> Result<(), tidewire_client::Error> {
//! use tidewire_client::{Failure, Worker};
//!
//! #[derive(serde::Deserialize)]
//! struct Resize { url: String, width: u32 }
//!
//! let report = Worker::builder(client)
//!     .queue("images")
//!     .concurrency(16)
//!     .register("resize", |job| async move {
//!         let Resize { url, width } = job.payload()?;
//!         if width == 0 {
//!             return Err(Failure::permanent("a picture needs a width"));
//!         }
//!         Ok(serde_json::json!({ "url": url, "width": width }))
//!     })
//!     .build()
//!     .run(async { drop(tokio::signal::ctrl_c().await) })
//!     .await?;
//! println!("{} done, {} failed", report.done, report.failed);
//! # Ok(())
//! # }
//! ```

mod context;
mod lease;
mod outcome;
mod processor;
mod runner;

use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc, time::Duration};

use tidewire_core::{Clock, backoff::Backoff, clock, ids};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{ClaimRequest, ClaimedJob, Client, Error, Result, Retry};

pub use context::JobContext;
pub use outcome::{Failure, Output};
pub use processor::Processor;

use processor::AnyProcessor;
use runner::{Ended, Runner};

const CONCURRENCY: usize = 16;
const LEASE: Duration = Duration::from_secs(60);
/// How long one claim waits for a job. Proxies cut quiet requests after half a minute or more.
const WAIT: Duration = Duration::from_secs(20);
const DRAIN: Duration = Duration::from_secs(25);
/// How long a processor that lost its job may tidy up before it is dropped.
const GRACE: Duration = Duration::from_secs(10);
/// Jobs of one claim.
const MOST_CLAIMED: usize = 100;
const CLAIM_AGAIN: Backoff = Backoff {
    base: Duration::from_millis(250),
    cap: Duration::from_secs(15),
};

/// The settings of a [`Worker`] to be.
#[must_use]
pub struct Builder {
    client: Client,
    name: String,
    queues: Vec<String>,
    concurrency: usize,
    lease: Duration,
    heartbeat: Duration,
    wait: Duration,
    drain: Duration,
    grace: Duration,
    processors: BTreeMap<String, Arc<dyn AnyProcessor>>,
}

impl Builder {
    /// The name that jobs show as `locked_by` (default: `worker-` and a fresh id).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Works on this queue, and on those named before (default: all queues).
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queues.push(queue.into());
        self
    }

    /// Jobs at the same time (default 16, at least 1).
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How long a job stays this worker's without a heartbeat (default 60 s, whole seconds, at
    /// least 1). It is also how long after a crash another worker takes over.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Duration::from_secs(lease.as_secs().max(1));
        self
    }

    /// How often the server is told that a running job is still this worker's, and says whether it
    /// is: at most a third of the lease, which is the default. The shorter, the sooner a cancelled
    /// job stops.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = every;
        self
    }

    /// How long one claim is held open (default 20 s, at most 60 s).
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait.min(Duration::from_secs(60));
        self
    }

    /// How long running jobs have to finish after the shutdown signal (default 25 s); what is left
    /// then is given back without costing an attempt.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// How long a processor whose job is no longer its own may tidy up (default 10 s).
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Runs jobs of `job_type` with an async closure.
    pub fn register<F, Fut, O>(self, job_type: impl Into<String>, run: F) -> Self
    where
        F: Fn(JobContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
        O: Into<Output> + 'static,
    {
        self.processor(job_type, processor::Closure(run))
    }

    /// Runs jobs of `job_type` with a processor.
    pub fn processor(mut self, job_type: impl Into<String>, processor: impl Processor) -> Self {
        self.processors.insert(job_type.into(), Arc::new(processor));
        self
    }

    #[must_use]
    pub fn build(self) -> Worker {
        Worker { settings: self }
    }
}

pub struct Worker {
    settings: Builder,
}

/// What a worker did until it stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    pub done: u64,
    /// Attempts that failed, panicked or took too long.
    pub failed: u64,
    /// Jobs that were cancelled or taken over.
    pub lost: u64,
    /// Jobs given back unfinished at the end.
    pub released: u64,
    /// Outcomes that the server could not be told; their leases expire.
    pub unreported: u64,
}

impl Worker {
    pub fn builder(client: Client) -> Builder {
        Builder {
            client,
            name: format!("worker-{}", ids::new_id(&Clock::system())),
            queues: Vec::new(),
            concurrency: CONCURRENCY,
            lease: LEASE,
            heartbeat: Duration::MAX,
            wait: WAIT,
            drain: DRAIN,
            grace: GRACE,
            processors: BTreeMap::new(),
        }
    }

    /// Works until `shutdown`, then stops claiming, lets running jobs finish within the drain
    /// deadline, gives back the rest, and returns what was done.
    ///
    /// A server that cannot be reached is tried again for as long as it takes. One that refuses the
    /// claim itself (a bad key, a wrong queue name) ends the worker with that error, after the
    /// running jobs ended as at a shutdown.
    ///
    /// The claim that is open at the shutdown is dropped. If the server gave it a job in that very
    /// instant, the job waits for its lease to expire.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Report> {
        let settings = self.settings;
        if settings.processors.is_empty() {
            let text = "a worker needs a processor: register one before it runs";
            return Err(Error::Request(text.to_owned()));
        }
        let deadline = CancellationToken::new();
        let runner = Arc::new(Runner {
            // Claims, heartbeats and results have patience of their own.
            client: settings.client.with_retry(Retry::none()),
            offered: settings.client.clone(),
            processors: settings.processors,
            lease: settings.lease,
            heartbeat: settings.heartbeat,
            grace: settings.grace,
            deadline: deadline.clone(),
        });
        let claims = Claims {
            client: runner.client.clone(),
            request: ClaimRequest {
                worker: settings.name,
                types: runner.processors.keys().cloned().collect(),
                queues: settings.queues,
                limit: None,
                wait_seconds: Some(settings.wait.as_secs()),
                lease_seconds: Some(settings.lease.as_secs()),
            },
            slots: Arc::new(Semaphore::new(settings.concurrency)),
        };
        let mut report = Report::default();
        let mut running = JoinSet::new();
        let end = {
            let mut work = pin!(work(&claims, &runner, &mut running, &mut report));
            tokio::select! {
                biased;
                () = shutdown => Ok(()),
                error = &mut work => Err(error),
            }
        };
        tracing::debug!(running = running.len(), "draining");
        let mut drained = pin!(sleep(settings.drain));
        loop {
            tokio::select! {
                joined = running.join_next() => match joined {
                    Some(ended) => report.count(ended.ok()),
                    None => break,
                },
                () = &mut drained, if !deadline.is_cancelled() => deadline.cancel(),
            }
        }
        end.map(|()| report)
    }
}

/// Claims and starts jobs; returns only with an error that waiting does not mend.
async fn work(
    claims: &Claims,
    runner: &Arc<Runner>,
    running: &mut JoinSet<Ended>,
    report: &mut Report,
) -> Error {
    let mut reached = false;
    let mut failures = 0u32;
    loop {
        match claims.take().await {
            Ok((jobs, mut permits)) => {
                (reached, failures) = (true, 0);
                for job in jobs {
                    // A server that sends more than was asked for borrows no slots.
                    let permit = permits.split(1);
                    let runner = Arc::clone(runner);
                    running.spawn(async move {
                        let ended = runner.run(job).await;
                        drop(permit);
                        ended
                    });
                }
            }
            Err(error) if is_final(&error, reached) => return error,
            Err(error) => {
                failures = failures.saturating_add(1);
                let own = CLAIM_AGAIN.delay(failures, clock::random_fraction());
                let wait = error.retry_after().map_or(own, |asked| own.max(asked));
                tracing::warn!(%error, failures, wait_ms = wait.as_millis(), "cannot claim jobs");
                sleep(wait).await;
            }
        }
        while let Some(ended) = running.try_join_next() {
            report.count(ended.ok());
        }
    }
}

/// Whether trying again cannot help: the server understood and said no, or is none of ours.
fn is_final(error: &Error, reached: bool) -> bool {
    match error {
        Error::Problem(problem) => (400..500).contains(&problem.status) && !error.is_transient(),
        Error::Request(_) => true,
        Error::Answer { .. } => !reached,
        Error::Transport(_) => false,
    }
}

struct Claims {
    client: Client,
    request: ClaimRequest,
    slots: Arc<Semaphore>,
}

impl Claims {
    /// Waits for a free slot, then claims for all that are free.
    async fn take(&self) -> Result<(Vec<ClaimedJob>, OwnedSemaphorePermit)> {
        let slots = || Arc::clone(&self.slots);
        let mut permits = slots()
            .acquire_owned()
            .await
            .expect("nobody closes the slots");
        while permits.num_permits() < MOST_CLAIMED {
            let Ok(permit) = slots().try_acquire_owned() else {
                break;
            };
            permits.merge(permit);
        }
        let limit = u32::try_from(permits.num_permits()).ok();
        let request = ClaimRequest {
            limit,
            ..self.request.clone()
        };
        Ok((self.client.jobs().claim(&request).await?, permits))
    }
}

impl Report {
    /// `None` is a runner that broke, which only a fault in this crate can do.
    fn count(&mut self, ended: Option<Ended>) {
        let counter = match ended {
            Some(Ended::Done) => &mut self.done,
            Some(Ended::Failed) => &mut self.failed,
            Some(Ended::Lost) => &mut self.lost,
            Some(Ended::Released) => &mut self.released,
            Some(Ended::Unreported) | None => &mut self.unreported,
        };
        *counter += 1;
    }
}
