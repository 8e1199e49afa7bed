//! Running claimed jobs and reporting how they ended.
//!
//! Jobs of one claim are begun one after the other by a few tasks. One that ends at its first step,
//! as quick ones do, never becomes a task of its own, and is reported together with its
//! neighbours: a task, a wake-up and a lock for each job would cost more than most of them do.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use super::{
    Core, Failure, JobContext, Output, RETRY_FIRST, RETRY_MOST, held::Holding, slot::Slot,
};
use crate::{
    Error,
    lanes::{Grant, Refused, Says},
    model::{Job, document, error_text},
    state::Later,
};

/// How long a processor may take to notice that its job was taken from it.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long one task begins jobs before it lets others have their turn.
const TURN: Duration = Duration::from_millis(1);

/// A job that has begun, in its slot.
struct Attempt {
    running: BoxFuture<'static, Says>,
    slot: Arc<Slot>,
    started: Instant,
    timeout: Duration,
}

impl Core {
    /// Begins jobs one after the other.
    pub(super) async fn begin(self: Arc<Self>, jobs: Vec<(Grant, Arc<Holding>)>) {
        let default_timeout = self.jobs.settings().timeout;
        let mut over = Vec::new();
        let mut turn = Instant::now();
        for (claimed, holding) in jobs {
            if let Some(says) = self.first_step(claimed, &holding, default_timeout) {
                over.push((holding, says));
            }
            if turn.elapsed() > TURN {
                let core = Arc::clone(&self);
                let reported = std::mem::take(&mut over);
                core.left(reported.len());
                self.tasks.spawn(async move { core.report(reported).await });
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
        }
        self.left(over.len());
        self.report(over).await;
    }

    /// What to report if that was all there was to it.
    fn first_step(
        self: &Arc<Self>,
        claimed: Grant,
        holding: &Arc<Holding>,
        default_timeout: Duration,
    ) -> Option<Says> {
        if self.stop.is_cancelled() {
            return Some(Says::Release(None));
        }
        if holding.lost.is_cancelled() {
            self.left(1);
            self.forget([holding]);
            return None;
        }
        let core = Arc::clone(self);
        let holding = Arc::clone(holding);
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            self.tasks.spawn(async move {
                let says = core
                    .wait_and_run(claimed.job, &holding, default_timeout)
                    .await;
                core.finish(holding, says).await;
            });
            return None;
        };
        let mut attempt = self.attempt(claimed.job, &holding, slot, default_timeout);
        // Nobody is woken by this step: if it was not the last one, the next follows at once.
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(says) = attempt.running.poll_unpin(&mut context) {
            self.pace.ran(attempt.started.elapsed());
            return Some(says);
        }
        self.tasks.spawn(async move {
            let says = core.run(attempt, &holding).await;
            core.finish(holding, says).await;
        });
        None
    }

    async fn wait_and_run(
        self: &Arc<Self>,
        job: Job,
        holding: &Arc<Holding>,
        default_timeout: Duration,
    ) -> Option<Says> {
        let slot = tokio::select! {
            biased;
            () = holding.lost.cancelled() => return None,
            () = self.stop.cancelled() => return Some(Says::Release(None)),
            slot = Arc::clone(&self.slots).acquire_owned() => slot.expect("the slots are never closed"),
        };
        let attempt = self.attempt(job, holding, slot, default_timeout);
        self.run(attempt, holding).await
    }

    fn attempt(
        self: &Arc<Self>,
        job: Job,
        holding: &Arc<Holding>,
        slot: OwnedSemaphorePermit,
        default_timeout: Duration,
    ) -> Attempt {
        let slot = Slot::new(Arc::clone(self), slot);
        let timeout = job.timeout_seconds.map_or(default_timeout, |seconds| {
            Duration::from_secs(seconds.into())
        });
        let span = tracing::info_span!(
            "job",
            job_id = job.id,
            job_type = job.kind,
            attempt = job.attempts
        );
        let processor = self.processors.get(&job.kind);
        let context = JobContext::new(
            job,
            Arc::clone(&self.name),
            Arc::clone(holding),
            Arc::clone(&slot),
        );
        let running = async move {
            let Some(processor) = processor else {
                // Only types that have one are claimed.
                return Says::Release(None);
            };
            // In a block, so that a panic before the first await is caught too.
            let process = async { processor.process(context).await };
            says(AssertUnwindSafe(process).catch_unwind().await)
        };
        Attempt {
            running: Box::pin(running.instrument(span)),
            slot,
            started: Instant::now(),
            timeout,
        }
    }

    /// Runs an attempt to its end; what is to be reported, or nothing if the job was lost.
    async fn run(&self, attempt: Attempt, holding: &Holding) -> Option<Says> {
        let Attempt {
            mut running,
            slot,
            started,
            timeout,
        } = attempt;
        let left = timeout.saturating_sub(started.elapsed());
        let says = tokio::select! {
            biased;
            says = &mut running => Some(says),
            () = holding.lost.cancelled() => {
                let _ = tokio::time::timeout(GRACE, running).await;
                None
            }
            () = self.hard_stop.cancelled() => Some(Says::Release(None)),
            () = slot.gives_up.notified() => Some(Says::Release(None)),
            () = tokio::time::sleep(left) => Some(failed(timed_out(timeout))),
        };
        self.pace.ran(started.elapsed());
        slot.leave();
        says
    }

    /// Ends a job that became a task of its own.
    async fn finish(&self, holding: Arc<Holding>, says: Option<Says>) {
        self.left(1);
        match says {
            Some(says) => self.report(vec![(holding, says)]).await,
            None => self.forget([&holding]),
        }
    }

    /// Writes how attempts ended; tries again as long as the store cannot take it, since nobody
    /// else can take the jobs over meanwhile.
    async fn report(&self, ended: Vec<(Arc<Holding>, Says)>) {
        if ended.is_empty() {
            return;
        }
        let (mut pause, mut last) = (RETRY_FIRST, false);
        loop {
            let reports = ended
                .iter()
                .map(|(holding, says)| holding.report(says.clone()));
            match self.jobs.report(reports.collect()).await {
                Ok(answers) => {
                    for ((holding, _), answer) in ended.iter().zip(&answers) {
                        if let Err(refused) = answer {
                            log_refused(holding, refused);
                        }
                    }
                    break;
                }
                Err(Error::Store(error)) if error.is_unavailable() || error.is_transient() => {
                    tracing::warn!(%error, jobs = ended.len(), "reports were not written, it will be tried again");
                }
                Err(error) => {
                    tracing::error!(%error, jobs = ended.len(), "reports were not written");
                    break;
                }
            }
            if last {
                break;
            }
            let pause_over = self
                .hard_stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await;
            last = pause_over.is_none();
            pause = (pause * 2).min(RETRY_MOST);
        }
        self.forget(ended.iter().map(|(holding, _)| holding));
    }
}

pub(super) fn log_refused(holding: &Holding, refused: &Refused) {
    let why = match refused {
        Refused::Unknown => "there is no such job",
        Refused::Lost(why) => why,
    };
    tracing::warn!(
        job_id = &*holding.id,
        why,
        "the job is not this worker's any more"
    );
}

type Ran = Result<Result<Output, Failure>, Box<dyn Any + Send>>;

/// What is to be said of an attempt that ran.
fn says(ran: Ran) -> Says {
    match ran {
        Ok(Ok(Output { json, note })) => match json.map_or(Ok(None), check) {
            Ok(output) => Says::Complete { output, note },
            Err(failure) => failed(failure),
        },
        Ok(Err(failure)) => failed(failure),
        Err(panic) => {
            let text = panic_text(&*panic);
            failed(Failure::new(format!("the processor panicked: {text}")))
        }
    }
}

fn failed(failure: Failure) -> Says {
    if failure.put_off {
        tracing::debug!(why = failure.error, wait = ?failure.retry_in, "put off");
        return Says::Release(Some(Later {
            wait: failure.retry_in.unwrap_or_default(),
            why: error_text(&failure.error),
        }));
    }
    tracing::info!(
        error = failure.error,
        permanent = failure.permanent,
        "an attempt failed"
    );
    Says::Fail {
        error: error_text(&failure.error),
        retry_in: failure.retry_in,
        permanent: failure.permanent,
        note: failure.note,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tells_its_text() {
        let caught = std::panic::catch_unwind(|| panic!("no {}", "luck")).unwrap_err();
        assert_eq!(panic_text(&*caught), "no luck");
    }
}
