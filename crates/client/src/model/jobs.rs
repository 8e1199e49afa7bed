//! Jobs, their attempts, and what a claim gives.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;

use super::{empty_object, named::named};

/// A job to be enqueued.
#[derive(Clone, Debug, Serialize)]
pub struct NewJob {
    #[serde(rename = "type")]
    pub job_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

impl NewJob {
    #[must_use]
    pub fn new(job_type: impl Into<String>) -> Self {
        NewJob {
            job_type: job_type.into(),
            payload: None,
            queue: None,
            priority: None,
            run_at: None,
            max_attempts: None,
            idempotency_key: None,
            timeout_seconds: None,
            event_id: None,
        }
    }

    /// The payload, from anything that serialises.
    pub fn payload<T: Serialize + ?Sized>(
        mut self,
        payload: &T,
    ) -> Result<Self, serde_json::Error> {
        self.payload = Some(to_raw_value(payload)?);
        Ok(self)
    }

    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// The lower one runs first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    #[must_use]
    pub fn run_at(mut self, at: Time) -> Self {
        self.run_at = Some(at);
        self
    }

    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Makes the enqueueing safe to repeat: the tenant has one job with this key.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u64) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }

    /// The event that this job is about.
    #[must_use]
    pub fn event_id(mut self, id: impl Into<String>) -> Self {
        self.event_id = Some(id.into());
        self
    }
}

named! {
    pub enum JobStatus {
        Pending = "pending",
        Running = "running",
        Done = "done",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl JobStatus {
    /// Whether the job stays as it is unless somebody retries it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            JobStatus::Done | JobStatus::Failed | JobStatus::Cancelled
        )
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub id: String,
    #[serde(rename = "type")]
    pub job_type: String,
    #[serde(default)]
    pub queue: String,
    pub status: JobStatus,
    #[serde(default = "empty_object")]
    pub payload: Box<RawValue>,
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub run_at: Option<Time>,
    #[serde(default)]
    pub attempts: u32,
    #[serde(default)]
    pub max_attempts: u32,
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    #[serde(default)]
    pub idempotency_key: Option<String>,
    #[serde(default)]
    pub locked_at: Option<Time>,
    #[serde(default)]
    pub locked_by: Option<String>,
    #[serde(default)]
    pub last_error: Option<String>,
    #[serde(default)]
    pub event_id: Option<String>,
    #[serde(default)]
    pub created_at: Option<Time>,
    #[serde(default)]
    pub updated_at: Option<Time>,
    #[serde(default)]
    pub started_at: Option<Time>,
    #[serde(default)]
    pub finished_at: Option<Time>,
    #[serde(default)]
    pub output: Option<Box<RawValue>>,
    /// How far it is, as its worker said last. Only where one job is asked for by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<RawValue>>,
    /// Only where one job is asked for by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_log: Option<Vec<Attempt>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub attempt: u32,
    #[serde(default)]
    pub started_at: Option<Time>,
    #[serde(default)]
    pub finished_at: Option<Time>,
    #[serde(default)]
    pub outcome: Option<String>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub worker: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct JobsPage {
    pub jobs: Vec<Job>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A job that this worker holds until `lease_expires_at`, or longer if it sends heartbeats.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    pub job: Job,
    pub lease_token: String,
    pub lease_expires_at: Option<Time>,
}

impl ClaimedJob {
    /// How long the lease is, by the server's own clock; `None` if it does not say.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        let lease = self.lease_expires_at?.since(self.job.locked_at?);
        (!lease.is_zero()).then_some(lease)
    }
}

impl<'de> Deserialize<'de> for ClaimedJob {
    /// In two readings of the text: serde's `flatten` would lose the payload's raw text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Lease {
            lease_token: String,
            #[serde(default)]
            lease_expires_at: Option<Time>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let job = serde_json::from_str(text.get()).map_err(de::Error::custom)?;
        let Lease {
            lease_token,
            lease_expires_at,
        } = serde_json::from_str(text.get()).map_err(de::Error::custom)?;
        Ok(ClaimedJob {
            job,
            lease_token,
            lease_expires_at,
        })
    }
}

#[derive(Deserialize)]
pub(crate) struct Claimed {
    pub jobs: Vec<ClaimedJob>,
}

#[derive(Deserialize)]
pub(crate) struct Retried {
    pub retried: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_job_keeps_the_text_of_its_payload() {
        let text = r#"{"id":"1","type":"t","status":"running","payload":{"n": 1.000000000000000000000000000001},
            "locked_at":"2026-01-01T00:00:00Z","lease_expires_at":"2026-01-01T00:01:00Z",
            "lease_token":"x","a_new_field":1}"#;
        let claimed: ClaimedJob = serde_json::from_str(text).unwrap();
        assert_eq!(
            claimed.job.payload.get(),
            r#"{"n": 1.000000000000000000000000000001}"#
        );
        assert_eq!(claimed.lease(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn an_unknown_status_is_read() {
        let job: Job = serde_json::from_str(r#"{"id":"1","type":"t","status":"paused"}"#).unwrap();
        assert_eq!(job.status, JobStatus::Unknown);
        assert!(!job.status.is_final());
    }
}
