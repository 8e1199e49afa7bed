//! Triggers and what they set off.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;

use super::{empty_object, named::named};

named! {
    /// What makes a trigger fire.
    pub enum TriggerType {
        Webhook = "webhook",
        TimeScheduled = "time_scheduled",
        CronScheduled = "cron_scheduled",
        IntervalScheduled = "interval_scheduled",
        Event = "event",
    }
}

impl TriggerType {
    /// Whether it fires by the clock.
    #[must_use]
    pub fn is_scheduled(self) -> bool {
        matches!(
            self,
            TriggerType::TimeScheduled
                | TriggerType::CronScheduled
                | TriggerType::IntervalScheduled
        )
    }
}

named! {
    pub enum TriggerStatus {
        Active = "active",
        /// It does not fire.
        Inactive = "inactive",
    }
}

named! {
    pub enum ScheduleStatus {
        Pending = "pending",
        Processing = "processing",
        Completed = "completed",
        Cancelled = "cancelled",
    }
}

named! {
    pub enum ExecutionStatus {
        Pending = "pending",
        Success = "success",
        Failure = "failure",
    }
}

named! {
    /// What set an execution off.
    pub enum Source {
        Webhook = "webhook",
        Scheduler = "scheduler",
        ManualTest = "manual-test",
        Event = "event",
    }
}

named! {
    /// Where an execution is kept.
    pub enum RetentionStatus {
        Active = "active",
        Archived = "archived",
    }
}

/// A trigger to be made.
#[derive(Clone, Serialize)]
pub struct NewTrigger {
    pub name: String,
    #[serde(rename = "type")]
    pub trigger_type: TriggerType,
    /// As the API describes it for the type.
    pub config: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TriggerStatus>,
    /// Makes it safe to ask again: within 24 hours the same request is answered with the first
    /// trigger.
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

impl NewTrigger {
    /// The config from anything that serialises.
    pub fn new<T: Serialize + ?Sized>(
        name: impl Into<String>,
        trigger_type: TriggerType,
        config: &T,
    ) -> Result<Self, serde_json::Error> {
        Ok(NewTrigger {
            name: name.into(),
            trigger_type,
            config: to_raw_value(config)?,
            status: None,
            idempotency_key: None,
        })
    }

    #[must_use]
    pub fn status(mut self, status: TriggerStatus) -> Self {
        self.status = Some(status);
        self
    }

    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// What is to be changed of a trigger; what is `None` stays.
#[derive(Clone, Default, Serialize)]
pub struct TriggerEdit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TriggerStatus>,
    /// Takes the place of the whole config. A secret that is left as it was shown stays what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<RawValue>>,
}

// A config to be sent may hold secrets, which stay out of logs, also by accident.
impl fmt::Debug for NewTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTrigger")
            .field("name", &self.name)
            .field("trigger_type", &self.trigger_type)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TriggerEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TriggerEdit")
            .field("name", &self.name)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trigger {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(rename = "type")]
    pub trigger_type: TriggerType,
    pub status: TriggerStatus,
    /// Its secrets are masked.
    #[serde(default = "empty_object")]
    pub config: Box<RawValue>,
    /// Where a webhook is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// When it fires next, if it fires by the clock and is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_scheduled_run: Option<Time>,
    #[serde(default)]
    pub created_at: Option<Time>,
    #[serde(default)]
    pub updated_at: Option<Time>,
}

/// One occurrence of a trigger that fires by the clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Schedule {
    pub id: String,
    pub fire_at: Time,
    pub status: ScheduleStatus,
    #[serde(default)]
    pub attempt_count: u32,
    #[serde(default)]
    pub last_attempt_at: Option<Time>,
}

/// What a test or a webhook's call set off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetOff {
    /// Of a webhook's call; it is the execution's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    pub execution_id: String,
    pub job_id: String,
}

/// What one firing did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Execution {
    pub id: String,
    /// `None` for a test of a trigger that is not stored.
    #[serde(default)]
    pub trigger_id: Option<String>,
    pub trigger_type: TriggerType,
    #[serde(default)]
    pub fired_at: Option<Time>,
    #[serde(default = "empty_object")]
    pub payload: Box<RawValue>,
    pub source: Source,
    pub execution_status: ExecutionStatus,
    #[serde(default)]
    pub error_message: Option<String>,
    pub retention_status: RetentionStatus,
    #[serde(default)]
    pub is_test_run: bool,
    #[serde(default)]
    pub job_id: Option<String>,
    /// Oldest first.
    #[serde(default)]
    pub attempts: Vec<ExecutionAttempt>,
    #[serde(default)]
    pub created_at: Option<Time>,
}

/// One try to deliver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecutionAttempt {
    pub attempt: u32,
    #[serde(default)]
    pub started_at: Option<Time>,
    #[serde(default)]
    pub duration_ms: Option<u64>,
    #[serde(default)]
    pub response_status: Option<u16>,
    /// The beginning of the answer's body.
    #[serde(default)]
    pub response_body: Option<String>,
    #[serde(default)]
    pub error: Option<String>,
}

/// The executions of the last hours in numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecutionSummary {
    pub hours: u32,
    #[serde(default)]
    pub from: Option<Time>,
    pub total: u64,
    pub by_status: ExecutionCounts,
    #[serde(default)]
    pub test_runs: u64,
    /// The busiest first.
    #[serde(default)]
    pub triggers: Vec<TriggerSummary>,
    /// Triggers that have fired and are not listed.
    #[serde(default)]
    pub triggers_not_listed: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ExecutionCounts {
    #[serde(default)]
    pub pending: u64,
    #[serde(default)]
    pub success: u64,
    #[serde(default)]
    pub failure: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriggerSummary {
    #[serde(default)]
    pub trigger_id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(flatten)]
    pub by_status: ExecutionCounts,
    #[serde(default)]
    pub total: u64,
    #[serde(default)]
    pub test_runs: u64,
}

/// An endpoint to which nothing is sent for now, or only probes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndpointState {
    pub endpoint: String,
    /// `open` or `half_open`.
    pub circuit: String,
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub retry_at: Option<Time>,
    #[serde(default)]
    pub worker: String,
    #[serde(default)]
    pub updated_at: Option<Time>,
}

/// Which page of a list that has numbered ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageNumber {
    /// Counts from 1.
    pub page: Option<u64>,
    /// Items a page, at most 500.
    pub limit: Option<u32>,
}

/// One page of a list that has numbered ones, newest first.
#[derive(Clone, Debug)]
pub struct Numbered<T> {
    pub items: Vec<T>,
    pub pagination: Pagination,
}

impl<T> Numbered<T> {
    /// The number of the page behind this one.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let Pagination {
            current_page,
            total_pages,
            ..
        } = self.pagination;
        (current_page < total_pages).then_some(current_page + 1)
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pagination {
    pub current_page: u64,
    pub page_size: u32,
    pub total_pages: u64,
    pub total_records: u64,
}

#[derive(Deserialize)]
pub(crate) struct TriggersPage {
    pub triggers: Vec<Trigger>,
    pub pagination: Pagination,
}

#[derive(Deserialize)]
pub(crate) struct SchedulesPage {
    pub schedules: Vec<Schedule>,
    pub pagination: Pagination,
}

#[derive(Deserialize)]
pub(crate) struct ExecutionsPage {
    pub events: Vec<Execution>,
    pub pagination: Pagination,
}

#[derive(Deserialize)]
pub(crate) struct EndpointsList {
    pub endpoints: Vec<EndpointState>,
}

#[derive(Deserialize)]
pub(crate) struct Runs {
    pub runs: Vec<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_keeps_its_text_and_stays_out_of_debug_output() {
        let trigger: Trigger = serde_json::from_str(
            r#"{"id":"1","type":"lunar","status":"active","config":{"payload": 1.10},"a_new_field":1}"#,
        )
        .unwrap();
        assert_eq!(trigger.trigger_type, TriggerType::Unknown);
        assert_eq!(trigger.config.get(), r#"{"payload": 1.10}"#);
        let config = serde_json::json!({"endpoint": "http://a", "secret": "hunter2"});
        let new = NewTrigger::new("n", TriggerType::Webhook, &config).unwrap();
        assert!(!format!("{new:?}").contains("hunter2"));
        assert_eq!(
            serde_json::to_string(&new.idempotency_key("k")).unwrap(),
            r#"{"name":"n","type":"webhook","config":{"endpoint":"http://a","secret":"hunter2"}}"#
        );
    }

    #[test]
    fn numbered_pages_end() {
        let page = |current_page, total_pages| Numbered {
            items: vec![()],
            pagination: Pagination {
                current_page,
                page_size: 1,
                total_pages,
                total_records: total_pages,
            },
        };
        assert_eq!(page(1, 2).next(), Some(2));
        assert_eq!(page(2, 2).next(), None);
        assert_eq!(page(1, 0).next(), None);
    }
}
