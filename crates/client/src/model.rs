//! The wire types, as a client sees them. Payloads and outputs are kept as the JSON text that came
//! ([`RawValue`]), so no digit of a number is lost on the way through.

mod triggers;

use std::{collections::BTreeMap, fmt, time::Duration};

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;

pub use triggers::{
    EndpointState, Execution, ExecutionAttempt, ExecutionCounts, ExecutionStatus, ExecutionSummary,
    NewTrigger, Numbered, PageNumber, Pagination, RetentionStatus, Schedule, ScheduleStatus,
    SetOff, Source, Trigger, TriggerEdit, TriggerStatus, TriggerSummary, TriggerType,
};
pub(crate) use triggers::{EndpointsList, ExecutionsPage, Runs, SchedulesPage, TriggersPage};

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next_cursor: Option<String>,
}

/// An event to be stored.
#[derive(Clone, Debug, Serialize)]
pub struct NewEvent {
    #[serde(rename = "type")]
    pub event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_seq: Option<u64>,
}

impl NewEvent {
    #[must_use]
    pub fn new(event_type: impl Into<String>) -> Self {
        NewEvent {
            event_type: event_type.into(),
            payload: None,
            stream: None,
            subject: None,
            dedupe_key: None,
            source: None,
            occurred_at: None,
            expected_seq: None,
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
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Makes the append safe to repeat: the tenant stores one event with this key.
    #[must_use]
    pub fn dedupe_key(mut self, key: impl Into<String>) -> Self {
        self.dedupe_key = Some(key.into());
        self
    }

    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn occurred_at(mut self, at: Time) -> Self {
        self.occurred_at = Some(at);
        self
    }

    /// Stores the event only if this is its stream's last `seq` (0: the stream is empty).
    #[must_use]
    pub fn expected_seq(mut self, seq: u64) -> Self {
        self.expected_seq = Some(seq);
        self
    }
}

/// What the log says of an appended event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Appended {
    pub id: String,
    pub stream: String,
    pub seq: u64,
    pub created_at: Time,
    /// The `dedupe_key` was known: this is the first event with it, and nothing was stored.
    #[serde(default)]
    pub duplicated: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub id: String,
    pub stream: String,
    pub seq: u64,
    #[serde(rename = "type")]
    pub event_type: String,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default = "empty_object")]
    pub payload: Box<RawValue>,
    #[serde(default)]
    pub dedupe_key: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub occurred_at: Option<Time>,
    pub created_at: Time,
}

#[derive(Deserialize)]
pub(crate) struct EventsPage {
    pub events: Vec<Event>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobStatus {
    Pending,
    Running,
    Done,
    Failed,
    Cancelled,
    /// A status that this client is too old to know.
    #[serde(other)]
    Unknown,
}

impl JobStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            JobStatus::Pending => "pending",
            JobStatus::Running => "running",
            JobStatus::Done => "done",
            JobStatus::Failed => "failed",
            JobStatus::Cancelled => "cancelled",
            JobStatus::Unknown => "unknown",
        }
    }

    /// Whether the job stays as it is unless somebody retries it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            JobStatus::Done | JobStatus::Failed | JobStatus::Cancelled
        )
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub events_received: u64,
    pub jobs_done: u64,
    pub jobs_failed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timeseries {
    pub days: Vec<Day>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Day {
    pub day: NaiveDate,
    pub events_received: u64,
    pub jobs_done: u64,
    pub jobs_failed: u64,
}

/// A tenant that was just made, with its first key. The key is shown only here.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewTenant {
    pub id: String,
    pub name: String,
    pub api_key: String,
    pub created_at: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenant {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub created_at: Option<Time>,
}

#[derive(Deserialize)]
pub(crate) struct TenantsPage {
    pub tenants: Vec<Tenant>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A key that was just made. It is shown only here.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewKey {
    pub id: String,
    pub api_key: String,
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A key without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    pub id: String,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub created_at: Option<Time>,
    #[serde(default)]
    pub last_used_at: Option<Time>,
}

#[derive(Deserialize)]
pub(crate) struct KeysPage {
    pub keys: Vec<Key>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

// Secrets stay out of logs, also by accident.
impl fmt::Debug for NewTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTenant")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("id", &self.id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    pub status: String,
    /// Each dependency and how it is.
    #[serde(default)]
    pub checks: BTreeMap<String, String>,
}

impl Health {
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// Adds what a list is asked by, where it is given.
pub(crate) fn paged(url: &mut reqwest::Url, limit: Option<u32>, cursor: Option<&str>) {
    let limit = limit.map(|limit| limit.to_string());
    asked(url, &[("limit", limit.as_deref()), ("cursor", cursor)]);
}

/// The same for a list with numbered pages.
pub(crate) fn numbered(url: &mut reqwest::Url, page: PageNumber) {
    let number = page.page.map(|page| page.to_string());
    let limit = page.limit.map(|limit| limit.to_string());
    asked(
        url,
        &[("page", number.as_deref()), ("limit", limit.as_deref())],
    );
}

pub(crate) fn asked(url: &mut reqwest::Url, pairs: &[(&str, Option<&str>)]) {
    for (name, value) in pairs {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("`{}` is JSON")
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

    #[test]
    fn what_is_not_given_is_not_sent() {
        let event = NewEvent::new("t").payload(&[1, 2]).unwrap();
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"type":"t","payload":[1,2]}"#
        );
    }
}
