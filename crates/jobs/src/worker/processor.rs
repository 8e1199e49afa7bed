//! What runs one type of job.

use std::{fmt::Display, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::sync::CancellationToken;

use super::{held::Holding, slot::Slot};
use crate::{follow::Note, model::Job};

/// A job says how far it is at most so often.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// The code for one type of job: a type of its own, or an async closure.
///
/// It may run more than once for the same job (a crash, a lease that ran out), and two runs may
/// overlap when a machine stalls: what it does outside Tidewire should be safe to repeat. Its
/// future is dropped, at an await, when its time is over, when the process must stop, or a little
/// after its job was taken from it.
pub trait Processor: Send + Sync + 'static {
    fn process(&self, job: JobContext) -> BoxFuture<'_, Result<Output, Failure>>;
}

impl<F, R> Processor for F
where
    F: Fn(JobContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Output, Failure>> + Send + 'static,
{
    fn process(&self, job: JobContext) -> BoxFuture<'_, Result<Output, Failure>> {
        Box::pin(self(job))
    }
}

/// One attempt at a job, as its processor sees it.
pub struct JobContext {
    job: Job,
    worker: Arc<str>,
    holding: Arc<Holding>,
    slot: Arc<Slot>,
}

impl JobContext {
    pub(super) fn new(job: Job, worker: Arc<str>, holding: Arc<Holding>, slot: Arc<Slot>) -> Self {
        JobContext {
            job,
            worker,
            holding,
            slot,
        }
    }

    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    #[must_use]
    pub fn into_job(self) -> Job {
        self.job
    }

    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.job.tenant
    }

    /// What its follower knows it by, if it is followed.
    #[must_use]
    pub fn followed_as(&self) -> Option<&str> {
        self.job
            .followed
            .as_ref()
            .map(|followed| &*followed.context)
    }

    /// Counts 1, 2, 3 …
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.job.attempts
    }

    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The payload as a type. One that does not fit is a permanent failure: it would fit no better
    /// the next time.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(self.job.payload.get())
            .map_err(|error| Failure::new(format!("the payload does not fit: {error}")).permanent())
    }

    /// Waits for something without keeping others from running: they have this job's slot meanwhile,
    /// and it gets one back before this returns. If the worker stops first, the job goes back to its
    /// queue as if it had not been begun. The worker holds no more than a few thousand jobs in all,
    /// those that are aside among them, so whoever uses this keeps them few.
    pub async fn aside<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.slot.aside(waiting).await
    }

    /// Fires when the job is not this attempt's any more: it was cancelled, or the lease was lost.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.holding.lost
    }

    /// Says how far the job is, for those who look at it: small JSON, at most 4 KiB. It is cheap to call
    /// often: what comes within a second of what was said last is dropped, and what cannot be
    /// written is only logged. The job's output says how it ended.
    pub async fn progress<T: Serialize + ?Sized>(&self, progress: &T) {
        if self.holding.may_say(SAID_EVERY) {
            self.slot.say(&self.holding, progress).await;
        }
    }
}

/// What a processor returns, kept as the job's output.
#[derive(Clone, Debug, Default)]
pub struct Output {
    pub(super) json: Option<Box<RawValue>>,
    pub(super) note: Option<Note>,
}

impl Output {
    #[must_use]
    pub fn none() -> Self {
        Output::default()
    }

    #[must_use]
    pub fn raw(json: Box<RawValue>) -> Self {
        Output {
            json: Some(json),
            note: None,
        }
    }

    /// For the job's follower.
    #[must_use]
    pub fn note(mut self, note: Note) -> Self {
        self.note = Some(note);
        self
    }

    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        match to_raw_value(value) {
            Ok(json) => Ok(Output::raw(json)),
            Err(error) => Err(Failure::new(format!(
                "the output cannot be written as JSON: {error}"
            ))
            .permanent()),
        }
    }
}

/// Why an attempt failed, and what should come next. Any error becomes one with `?`.
#[derive(Clone, Debug)]
pub struct Failure {
    pub(super) error: String,
    pub(super) retry_in: Option<Duration>,
    pub(super) permanent: bool,
    /// The attempt does not count.
    pub(super) put_off: bool,
    pub(super) note: Option<Note>,
}

impl Failure {
    #[must_use]
    pub fn new(error: impl Display) -> Self {
        Failure {
            error: error.to_string(),
            retry_in: None,
            permanent: false,
            put_off: false,
            note: None,
        }
    }

    /// Not a failure: it cannot be begun now, and should come again after `wait`. The attempt does
    /// not count, and no follower is handed a note.
    #[must_use]
    pub fn not_now(why: impl Display, wait: Duration) -> Self {
        Failure {
            put_off: true,
            ..Failure::new(why).retry_in(wait)
        }
    }

    /// When to try again, in place of the backoff.
    #[must_use]
    pub fn retry_in(mut self, wait: Duration) -> Self {
        self.retry_in = Some(wait);
        self
    }

    /// For the job's follower.
    #[must_use]
    pub fn note(mut self, note: Note) -> Self {
        self.note = Some(note);
        self
    }

    /// Trying again is of no use.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::new(error)
    }
}
