//! What triggers, schedules and executions are, inside and on the wire.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{Problem, Time, page::MAX_LIMIT};

use crate::config::{self, TriggerConfig};

/// Characters of a trigger's name.
pub const MAX_NAME: usize = 255;

/// An enumeration whose values have one name each, in JSON, in queries and in the store alike.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident as $schema:ident {
            // A token and no `literal`, which would hide the name from the derive of the schema.
            $( $(#[$doc:meta])* $variant:ident = $name:tt, )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[schema(as = $schema)]
        pub enum $type {
            $( $(#[$doc])* #[serde(rename = $name)] $variant, )+
        }

        impl $type {
            pub const ALL: &[$type] = &[$( $type::$variant, )+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $( $type::$variant => $name, )+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = $type::ALL.iter().find(|value| value.as_str() == text);
                found.copied().ok_or_else(|| {
                    let names: Vec<_> = $type::ALL.iter().map(|value| value.as_str()).collect();
                    let text = tidewire_core::problem::clip(text);
                    format!("`{text}` is none of {}", names.join(", "))
                })
            }
        }
    };
}

named! {
    /// What makes a trigger fire.
    pub enum TriggerType as TriggerType {
        Webhook = "webhook",
        TimeScheduled = "time_scheduled",
        CronScheduled = "cron_scheduled",
        IntervalScheduled = "interval_scheduled",
        Event = "event",
    }
}

impl TriggerType {
    /// Whether it fires by the clock, and so has schedules.
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
    pub enum TriggerStatus as TriggerStatus {
        Active = "active",
        /// It does not fire.
        Inactive = "inactive",
    }
}

named! {
    /// How far one coming occurrence of a trigger is.
    pub enum ScheduleStatus as ScheduleStatus {
        Pending = "pending",
        /// It was claimed and is being fired.
        Processing = "processing",
        /// It was fired.
        Completed = "completed",
        /// Its trigger was changed, switched off or deleted before.
        Cancelled = "cancelled",
    }
}

named! {
    /// What set an execution off.
    pub enum Source as ExecutionSource {
        Webhook = "webhook",
        Scheduler = "scheduler",
        ManualTest = "manual-test",
        Event = "event",
    }
}

named! {
    pub enum ExecutionStatus as ExecutionStatus {
        Pending = "pending",
        Success = "success",
        Failure = "failure",
    }
}

named! {
    /// Where an execution is kept.
    pub enum RetentionStatus as RetentionStatus {
        Active = "active",
        Archived = "archived",
    }
}

/// A rule that makes executions.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Trigger {
    #[serde(skip)]
    pub tenant: Arc<str>,
    pub id: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: TriggerType,
    pub status: TriggerStatus,
    /// Its secrets are masked.
    #[schema(value_type = TriggerConfig)]
    pub config: StoredConfig,
    /// Where a `webhook` is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// When it fires next, if it fires by the clock and is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_scheduled_run: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// A config as it was sent. Whoever writes it as JSON or into a log shows masks for its secrets: they leave the store by
/// no other way than [`StoredConfig::raw`].
#[derive(Clone)]
pub struct StoredConfig(Box<RawValue>);

impl StoredConfig {
    #[must_use]
    pub fn new(config: Box<RawValue>) -> Self {
        StoredConfig(config)
    }

    /// With its secrets.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.0
    }
}

impl Serialize for StoredConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        config::mask(&self.0).serialize(serializer)
    }
}

impl fmt::Debug for StoredConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(config::mask(&self.0).get())
    }
}

/// One occurrence of a trigger that fires by the clock.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Schedule {
    #[serde(skip)]
    pub tenant: Arc<str>,
    pub id: String,
    #[serde(skip)]
    pub trigger_id: String,
    pub fire_at: Time,
    pub status: ScheduleStatus,
    pub attempt_count: u32,
    #[schema(required)]
    pub last_attempt_at: Option<Time>,
}

/// What one firing did.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Execution {
    #[serde(skip)]
    pub tenant: Arc<str>,
    pub id: String,
    /// Null for a test of a trigger that is not stored. It stays after the trigger is deleted.
    #[schema(required)]
    pub trigger_id: Option<String>,
    pub trigger_type: TriggerType,
    pub fired_at: Time,
    #[schema(value_type = serde_json::Value)]
    pub payload: Box<RawValue>,
    pub source: Source,
    pub execution_status: ExecutionStatus,
    #[schema(required)]
    pub error_message: Option<String>,
    pub retention_status: RetentionStatus,
    pub is_test_run: bool,
    #[schema(required)]
    pub job_id: Option<String>,
    /// Oldest first.
    pub attempts: Vec<ExecutionAttempt>,
    pub created_at: Time,
}

/// One try to deliver.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ExecutionAttempt {
    /// Counts 1, 2, 3 … over all retries.
    pub attempt: u32,
    pub started_at: Time,
    #[schema(required)]
    pub duration_ms: Option<u64>,
    #[schema(required)]
    pub response_status: Option<u16>,
    /// The beginning of the answer's body.
    #[schema(required)]
    pub response_body: Option<String>,
    #[schema(required)]
    pub error: Option<String>,
}

/// One page of a list that is read by page numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Pagination {
    /// Counts from 1.
    pub current_page: u64,
    pub page_size: u32,
    pub total_pages: u64,
    pub total_records: u64,
}

impl Pagination {
    #[must_use]
    pub fn of(page: Page, total_records: u64) -> Self {
        Pagination {
            current_page: page.number,
            page_size: page.size,
            total_pages: total_records.div_ceil(u64::from(page.size)),
            total_records,
        }
    }
}

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Counts from 1.
    pub number: u64,
    pub size: u32,
}

impl Page {
    /// The checked `page` and `limit` of a list.
    pub fn of(page: Option<u64>, limit: Option<u32>) -> Result<Self, Problem> {
        let size = tidewire_core::page::limit(limit)?;
        let number = page.unwrap_or(1);
        // The last record of the last page can still be counted.
        if number == 0 || number > u64::MAX / u64::from(MAX_LIMIT) / 2 {
            return Err(Problem::invalid(
                "page",
                format!("counts from 1, it is {number}"),
            ));
        }
        Ok(Page { number, size })
    }

    /// How many records come before it.
    #[must_use]
    pub fn offset(self) -> u64 {
        (self.number - 1) * u64::from(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_apis() {
        assert_eq!(TriggerType::TimeScheduled.to_string(), "time_scheduled");
        assert_eq!("manual-test".parse(), Ok(Source::ManualTest));
        assert_eq!(
            serde_json::to_string(&Source::ManualTest).unwrap(),
            "\"manual-test\""
        );
        let error = "cron".parse::<TriggerType>().unwrap_err();
        assert!(
            error.contains("`cron`") && error.contains("cron_scheduled"),
            "{error}"
        );
        for kind in TriggerType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
    }

    #[test]
    fn a_trigger_never_shows_its_secret() {
        let trigger = Trigger {
            tenant: "default".into(),
            id: "1".to_owned(),
            name: "n".to_owned(),
            kind: TriggerType::Webhook,
            status: TriggerStatus::Active,
            config: StoredConfig::new(
                RawValue::from_string(
                    r#"{"endpoint":"http://a","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","payload":1.10}"#
                        .to_owned(),
                )
                .unwrap(),
            ),
            webhook_url: None,
            next_scheduled_run: None,
            created_at: Time::EPOCH,
            updated_at: Time::EPOCH,
        };
        assert!(!format!("{trigger:?}").contains("MfKQ9r8G"));
        assert_eq!(
            serde_json::to_string(&trigger).unwrap(),
            r#"{"id":"1","name":"n","type":"webhook","status":"active","config":{"endpoint":"http://a","secret":"whsec_…LaSw","payload":1.10},"created_at":"1970-01-01T00:00:00.000000Z","updated_at":"1970-01-01T00:00:00.000000Z"}"#
        );
    }

    #[test]
    fn pages_are_counted_from_one() {
        let page = Page::of(Some(3), Some(20)).unwrap();
        assert_eq!(page.offset(), 40);
        assert_eq!(
            Pagination::of(page, 41),
            Pagination {
                current_page: 3,
                page_size: 20,
                total_pages: 3,
                total_records: 41
            }
        );
        assert_eq!(
            Pagination::of(Page::of(None, None).unwrap(), 0).total_pages,
            0
        );
        assert!(Page::of(Some(0), None).is_err());
        assert!(Page::of(Some(u64::MAX), None).is_err());
        assert!(Page::of(None, Some(501)).is_err());
    }
}
