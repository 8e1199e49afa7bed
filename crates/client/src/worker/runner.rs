//! Runs one claimed job from its start to the word about its end.
//!
//! The processor runs in a task of its own, so that a panic stays there and a processor that blocks
//! its thread holds up neither the heartbeats nor the timeout.

use std::{any::Any, collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{ClaimedJob, Client};

use super::{
    Failure, JobContext, Output,
    lease::{Lease, Told},
    outcome::Next,
    processor::AnyProcessor,
};

pub(super) struct Runner {
    /// Repeats nothing by itself: for the protocol.
    pub client: Client,
    /// As the user made it: for processors.
    pub offered: Client,
    pub processors: BTreeMap<String, Arc<dyn AnyProcessor>>,
    pub lease: Duration,
    pub heartbeat: Duration,
    pub grace: Duration,
    /// Fires when the drain is over.
    pub deadline: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Failed,
    Lost,
    Released,
    Unreported,
}

/// What came first.
enum Verdict {
    Finished(Result<Result<Output, Failure>, JoinError>),
    TimedOut(Duration),
    Lost,
    Drained,
}

impl Runner {
    pub async fn run(&self, claimed: ClaimedJob) -> Ended {
        let span = tracing::info_span!(
            "job", id = %claimed.job.id, job_type = %claimed.job.job_type, attempt = claimed.job.attempts
        );
        self.run_in_span(claimed).instrument(span).await
    }

    async fn run_in_span(&self, claimed: ClaimedJob) -> Ended {
        let lease = Lease::new(&self.client, &claimed, self.lease, self.heartbeat);
        let Some(processor) = self.processors.get(&claimed.job.job_type).map(Arc::clone) else {
            tracing::warn!("the server gave a job of a type that was not asked for");
            return self.told(lease.release(&self.deadline).await, Ended::Released);
        };
        let limit = claimed.job.timeout_seconds.map(Duration::from_secs);
        let context = JobContext {
            job: Arc::new(claimed.job),
            client: self.offered.clone(),
            cancelled: CancellationToken::new(),
            progress: Arc::default(),
        };
        let cancelled = context.cancelled.clone();
        let progress = context.progress.subscribe();
        let mut work = JoinSet::new();
        work.spawn(async move { processor.start(context).await }.in_current_span());

        let verdict = tokio::select! {
            biased;
            joined = work.join_next() => Verdict::Finished(joined.expect("one task was spawned")),
            limit = passed(limit) => Verdict::TimedOut(limit),
            () = lease.keep(progress) => Verdict::Lost,
            () = self.deadline.cancelled() => Verdict::Drained,
        };
        // Whatever the processor handed the token to should stop too.
        cancelled.cancel();
        let ended = match verdict {
            Verdict::Finished(Ok(Ok(output))) => self.complete(&lease, output).await,
            Verdict::Finished(Ok(Err(failure))) if failure.next == Next::GiveBack => {
                tracing::info!(why = %failure, "the job is given back");
                self.told(lease.release(&self.deadline).await, Ended::Released)
            }
            Verdict::Finished(Ok(Err(failure))) => self.fail(&lease, &failure).await,
            Verdict::Finished(Err(error)) => {
                self.fail(&lease, &Failure::retry(broken(error))).await
            }
            Verdict::TimedOut(limit) => {
                work.abort_all();
                let failure = Failure::retry(format!(
                    "timed out after {}",
                    tidewire_core::duration::format(limit)
                ));
                self.fail(&lease, &failure).await
            }
            Verdict::Lost => {
                tracing::debug!("the lease is lost");
                // Either way the task is gone afterwards.
                let last = timeout(self.grace, work.join_next()).await;
                work.abort_all();
                match last {
                    // It was lost because the job has ended, and well.
                    Ok(Some(Ok(Ok(output)))) if output.is_told() => Ended::Done,
                    _ => {
                        tracing::info!("the job was cancelled or taken over");
                        Ended::Lost
                    }
                }
            }
            Verdict::Drained => {
                work.abort_all();
                self.told(lease.release(&self.deadline).await, Ended::Released)
            }
        };
        // The slot is free only when the code has really stopped; code that blocks its thread
        // cannot be stopped, and a worker that shuts down does not wait for it.
        tokio::select! {
            () = async { while work.join_next().await.is_some() {} } => {}
            () = self.deadline.cancelled() => {}
        }
        ended
    }

    async fn complete(&self, lease: &Lease<'_>, output: Output) -> Ended {
        match lease.complete(output.as_raw(), &self.deadline).await {
            // Left alone the job would run again, and end the same way.
            Told::Refused(error) => {
                let failure = Failure::permanent(format!("the output was refused: {error}"));
                self.fail(lease, &failure).await
            }
            told => self.told(told, Ended::Done),
        }
    }

    async fn fail(&self, lease: &Lease<'_>, failure: &Failure) -> Ended {
        tracing::info!(error = %failure, permanent = failure.is_permanent(), "the job failed");
        let retry_in = match failure.next {
            Next::In(wait) => Some(wait),
            Next::Backoff | Next::Never | Next::GiveBack => None,
        };
        let told = lease
            .fail(
                &failure.error,
                retry_in,
                failure.is_permanent(),
                &self.deadline,
            )
            .await;
        self.told(told, Ended::Failed)
    }

    fn told(&self, told: Told, ended: Ended) -> Ended {
        match told {
            Told::Heard => ended,
            Told::Lost => Ended::Lost,
            Told::Refused(error) => {
                tracing::error!(%error, ?ended, "the server refused the end of a job; its lease will expire");
                Ended::Unreported
            }
            Told::Unheard => {
                tracing::error!(
                    ?ended,
                    "the end of a job could not be told; its lease will expire"
                );
                Ended::Unreported
            }
        }
    }
}

/// Returns when the limit has passed; without one, never.
async fn passed(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// What a panic said.
fn broken(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(said) => format!("panicked: {}", words(said.as_ref())),
        Err(error) => format!("the task ended early: {error}"),
    }
}

fn words(said: &(dyn Any + Send)) -> &str {
    said.downcast_ref::<&str>()
        .copied()
        .or_else(|| said.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
