//! What a processor is given.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Client, Job};

use super::Failure;

/// One attempt at one job. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobContext {
    pub(super) job: Arc<Job>,
    pub(super) client: Client,
    pub(super) cancelled: CancellationToken,
    pub(super) progress: Arc<watch::Sender<Option<Box<RawValue>>>>,
}

impl JobContext {
    #[must_use]
    pub fn id(&self) -> &str {
        &self.job.id
    }

    #[must_use]
    pub fn job_type(&self) -> &str {
        &self.job.job_type
    }

    #[must_use]
    pub fn queue(&self) -> &str {
        &self.job.queue
    }

    /// Which attempt this is: 1, 2, 3 …
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.job.attempts
    }

    /// Whether a failure now is the end of the job.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.job.attempts >= self.job.max_attempts
    }

    /// The payload as `T`. One that does not fit never will, so the failure is permanent.
    pub fn payload<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_str(self.job.payload.get())
            .map_err(|error| Failure::permanent(format_args!("the payload does not fit: {error}")))
    }

    /// The payload as the JSON text that was enqueued.
    #[must_use]
    pub fn raw_payload(&self) -> &RawValue {
        &self.job.payload
    }

    /// The whole job, as it was claimed.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The worker's client, for what the processor has to say to the server.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Says how far the job is, for those who look at it: small JSON, at most 4 KiB. Cheap to call often:
    /// the newest word goes out once a second, with the heartbeats. The output says how it ended.
    pub fn progress<T: Serialize + ?Sized>(&self, progress: &T) {
        match to_raw_value(progress) {
            Ok(progress) => drop(self.progress.send_replace(Some(progress))),
            Err(error) => tracing::warn!(%error, "the job's progress cannot be written as JSON"),
        }
    }

    /// Returns when the work is of no use any more: the job was cancelled, taken over, took longer
    /// than its timeout, or the worker stops. Tidy up and return; the result does not count.
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// The token behind [`JobContext::cancelled`], for code that takes one.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.cancelled.clone()
    }
}
