//! What a job is, inside and on the wire.

mod new_job;

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{
    Problem, Time, json,
    name::{self, ID_MAX},
    problem::clip,
};

pub use new_job::{NewJob, Reservation};

use crate::follow::Followed;

/// The queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "default";
/// Bytes of a payload, and of an output.
pub const MAX_DOCUMENT: usize = 256 << 10;
/// Bytes of what a job says of how far it is.
pub const MAX_PROGRESS: usize = 4 << 10;
/// Jobs that one claim may take.
pub const MAX_CLAIM: u32 = 500;
pub const MAX_ATTEMPTS: u32 = 100;
pub const DEFAULT_ATTEMPTS: u32 = 3;
/// Priorities go from minus this to plus this; the lower one runs first.
pub const MAX_PRIORITY: i32 = 1000;
/// A day.
pub const MAX_TIMEOUT_SECONDS: u32 = 86_400;
pub const MAX_LEASE_SECONDS: u32 = 3600;
/// A year.
pub const MAX_RETRY_SECONDS: u32 = 31_536_000;
const KEY_MAX: usize = 255;
/// Characters of an error that are kept.
const ERROR_MAX: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = JobStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pending,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Status; 5] = [
        Status::Pending,
        Status::Running,
        Status::Done,
        Status::Failed,
        Status::Cancelled,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Running => "running",
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        }
    }

    /// Whether the job stays so unless somebody retries it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Status::Done | Status::Failed | Status::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Status::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of pending, running, done, failed, cancelled"))
    }
}

/// A job as everybody may see it: never with its lease token.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Job {
    #[serde(skip)]
    pub tenant: Arc<str>,
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub queue: String,
    pub status: Status,
    #[schema(value_type = serde_json::Value)]
    pub payload: Box<RawValue>,
    /// The lower one runs first.
    pub priority: i32,
    /// When it is due.
    pub run_at: Time,
    /// Attempts that were begun and not given back.
    pub attempts: u32,
    /// Attempts after which the job has failed; a retry by hand adds as many as it had at first.
    pub max_attempts: u32,
    /// How long an attempt may run.
    #[schema(required)]
    pub timeout_seconds: Option<u32>,
    #[schema(required)]
    pub idempotency_key: Option<String>,
    /// While it is running: since when, and by whom.
    #[schema(required)]
    pub locked_at: Option<Time>,
    #[schema(required)]
    pub locked_by: Option<String>,
    #[schema(required)]
    pub last_error: Option<String>,
    #[schema(required)]
    pub event_id: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
    /// When its latest attempt began.
    #[schema(required)]
    pub started_at: Option<Time>,
    /// When it was done, failed or cancelled.
    #[schema(required)]
    pub finished_at: Option<Time>,
    #[schema(required, value_type = serde_json::Value)]
    pub output: Option<Box<RawValue>>,
    #[serde(skip)]
    pub followed: Option<Followed>,
    #[serde(skip)]
    pub(crate) reserved: Option<Reserved>,
}

impl Job {
    /// When everybody may have it; where its entry in the queue is.
    pub(crate) fn due(&self) -> Time {
        due(self.run_at, self.reserved.as_ref())
    }
}

/// What a worker has been promised of a pending job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub worker: Arc<str>,
    /// When the job is due.
    pub from: Time,
    /// When it is due for everybody.
    pub until: Time,
}

pub(crate) fn due(run_at: Time, reserved: Option<&Reserved>) -> Time {
    reserved.map_or(run_at, |reserved| reserved.until)
}

/// How a job ends that its follower ends by itself.
#[derive(Clone, Debug)]
pub enum Settled {
    /// Done, with an output.
    Done(Option<Box<RawValue>>),
    /// Failed for good, and why.
    Failed(String),
    Cancelled,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AttemptOutcome)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It has not ended.
    Running,
    Done,
    Failed,
    /// Its lease ran out.
    Expired,
    /// The job was cancelled under it.
    Cancelled,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Expired => "expired",
            Outcome::Cancelled => "cancelled",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        use Outcome::{Cancelled, Done, Expired, Failed, Running};
        [Running, Done, Failed, Expired, Cancelled]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// One attempt at a job.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = JobAttempt)]
pub struct Attempt {
    /// Counts 1, 2, 3 … over all retries.
    pub attempt: u32,
    #[schema(required)]
    pub started_at: Option<Time>,
    #[schema(required)]
    pub finished_at: Option<Time>,
    pub outcome: Outcome,
    #[schema(required)]
    pub error: Option<String>,
    #[schema(required)]
    pub worker: Option<String>,
}

/// A job and the log of its attempts, oldest first.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobDetail {
    #[serde(flatten)]
    pub job: Job,
    /// How far it is, or was when it ended, in its worker's words; null if it never said.
    #[schema(required, value_type = Option<serde_json::Value>)]
    pub progress: Option<Box<RawValue>>,
    pub attempts_log: Vec<Attempt>,
}

/// A job in the hands of the worker that claimed it.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct ClaimedJob {
    #[serde(flatten)]
    pub job: Job,
    /// What proves the claim: show it with everything said about the job.
    pub lease_token: String,
    /// Until when the claim is good without a heartbeat.
    pub lease_expires_at: Time,
}

// The token stays out of logs, also by accident.
impl fmt::Debug for ClaimedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedJob")
            .field("job", &self.job)
            .field("lease_expires_at", &self.lease_expires_at)
            .finish_non_exhaustive()
    }
}

/// What `enqueue` answers.
#[derive(Clone, Debug)]
pub struct Enqueued {
    pub job: Job,
    /// False if the idempotency key was known: this is the first job with it, as it is now.
    pub created: bool,
}

/// Which jobs a list shows; what is `None` does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub status: Option<Status>,
    pub kind: Option<String>,
    pub queue: Option<String>,
}

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct JobPage {
    pub jobs: Vec<Job>,
    /// Where the next page begins. A page may be short of its limit, or empty, and still have one:
    /// looking for rare jobs stops after a while, so that no request holds the store for long.
    pub next: Option<String>,
}

/// What waits and runs in one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    pub queue: String,
    /// Pending and due.
    pub ready: u64,
    /// Pending and not due yet.
    pub scheduled: u64,
    pub running: u64,
    /// Since when the one that is overdue longest has been due.
    pub oldest: Option<Time>,
}

/// Done and failed jobs of one UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCounts {
    pub done: u64,
    pub failed: u64,
}

/// Checks a payload or an output.
pub(crate) fn document(pointer: &str, document: &RawValue) -> Result<(), Problem> {
    size_within(pointer, document, MAX_DOCUMENT)?;
    json::check(document.get())
        .map_err(|fault| Problem::invalid(format!("{pointer}{}", fault.pointer), fault.detail))
}

/// What a job says of how far it is must be small: it is written again and again.
pub(crate) fn check_progress(progress: &RawValue) -> Result<(), Problem> {
    size_within("/progress", progress, MAX_PROGRESS)?;
    document("/progress", progress)
}

pub(crate) fn size_within(pointer: &str, document: &RawValue, most: usize) -> Result<(), Problem> {
    let bytes = document.get().len();
    if bytes > most {
        return Err(Problem::invalid(
            pointer,
            format!("has {bytes} bytes, and {most} are the most"),
        ));
    }
    Ok(())
}

pub(crate) fn in_range<T: PartialOrd + fmt::Display>(
    value: T,
    low: T,
    high: T,
) -> Result<(), String> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(format!("must be {low} to {high}, it is {value}"))
}

/// An error as it is kept: of bounded length and without NUL, which no two engines store alike.
pub(crate) fn error_text(text: &str) -> String {
    let text = match text.char_indices().nth(ERROR_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

pub(crate) fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("`{}` is JSON")
}

/// Checks a worker's name.
pub(crate) fn worker(pointer: &str, worker: &str) -> Result<(), Problem> {
    name::check(worker, ID_MAX)
        .map_err(|detail| Problem::invalid(pointer, format!("`{}` {detail}", clip(worker))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_kept_short_and_without_nul() {
        assert_eq!(error_text("a\0b"), "a\u{fffd}b");
        assert_eq!(
            error_text(&"x".repeat(10_000)).chars().count(),
            ERROR_MAX + 1
        );
    }

    #[test]
    fn a_claimed_job_shows_its_token_to_its_worker_and_not_to_the_log() {
        let job = Job {
            tenant: "default".into(),
            id: "1".to_owned(),
            kind: "t".to_owned(),
            queue: "q".to_owned(),
            status: Status::Running,
            payload: RawValue::from_string("{\"n\": 1.10}".to_owned()).unwrap(),
            priority: 0,
            run_at: Time::EPOCH,
            attempts: 1,
            max_attempts: 3,
            timeout_seconds: None,
            idempotency_key: None,
            locked_at: None,
            locked_by: None,
            last_error: None,
            event_id: None,
            created_at: Time::EPOCH,
            updated_at: Time::EPOCH,
            started_at: None,
            finished_at: None,
            output: None,
            followed: None,
            reserved: None,
        };
        let claimed = ClaimedJob {
            job,
            lease_token: "secret".to_owned(),
            lease_expires_at: Time::EPOCH,
        };
        assert!(!format!("{claimed:?}").contains("secret"));
        let json = serde_json::to_string(&claimed).unwrap();
        assert!(
            json.contains(r#""payload":{"n": 1.10}"#) && json.contains(r#""lease_token":"secret""#)
        );
    }
}
