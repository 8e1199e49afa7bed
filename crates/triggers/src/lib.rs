//! Triggers: rules that make executions, by webhook, at a time, on a cron, at an interval or for an event.
//!
//! What decides is pure, with the clock passed in, and each has its own judge in the tests: what a config means, when a
//! rule fires, which events it matches, how a delivery is signed, what an answer to it means and whether an endpoint may
//! be asked at all. Around it, [`Triggers`] keeps the definitions, [`scheduler`] fires what is due, [`matcher`] follows
//! the log for event triggers, [`firing`] writes what a firing sets off, and [`Executions`] lets executions follow their jobs.

mod circuit;
mod config;
mod configs;
mod dispatch;
mod error;
mod filter;
mod firing;
mod follow;
mod http;
mod lifecycle;
mod live;
mod matcher;
mod metrics;
mod migrations;
mod model;
mod occurrence;
mod raw;
mod relay;
mod retention;
mod retry;
mod scheduler;
mod service;
mod settings;
pub mod signature;
mod store;
mod summary;

pub use self::http::{SECRET_ROUTES, public_routes, routes};
pub use circuit::{
    Circuit, CircuitSettings, CircuitState, Gate, GateSettings, GateView, Permit, Rate, RateLimit,
    Turns, Wait,
};
pub use config::{
    Action, Config, CronConfig, DEFAULT_TIMEOUT, Delivery, DeliveryConfig, Endpoint, EventConfig,
    IntervalConfig, JobConfig, JobSpec, MAX_CONFIG, MAX_PAYLOAD, Retry, RetryConfig, Rule, RunAt,
    Schema, Secret, SecretConfig, TimeConfig, TriggerConfig, WebhookConfig, mask as mask_config,
    unmask as unmask_config,
};
pub use dispatch::{DispatchSettings, DispatchWorker, EndpointState, dispatch_worker};
pub use error::Error;
pub use filter::{Facts, Filter, MAX_CONDITIONS, TypePattern};
pub use firing::{DELIVERIES, DISPATCH, FOLLOWER, MAX_DEPTH};
pub use follow::Executions;
pub use metrics::describe as describe_metrics;
pub use migrations::MIGRATIONS;
pub use model::{
    Execution, ExecutionAttempt, ExecutionStatus, MAX_NAME, Page, Pagination, RetentionStatus,
    Schedule, ScheduleStatus, Source, StoredConfig, Trigger, TriggerStatus, TriggerType,
};
pub use occurrence::{
    Cron, DEFAULT_PREVIEW, Due, GRACE, MAX_MADE_UP, MAX_PREVIEW, Misfire, Occurrences, Zone,
};
pub use retry::{Health, Outcome, RetryPolicy, Verdict};
pub use scheduler::SchedulerHealth;
pub use service::{
    Call, Checked, ExecutionQuery, NewTrigger, Sent, SetOff, Signed, TriggerEdit, TriggerQuery,
    Triggers,
};
pub use settings::TriggerSettings;
pub use summary::{
    DEFAULT_SUMMARY_HOURS, ExecutionCounts, ExecutionSummary, MAX_SUMMARY_HOURS,
    MAX_SUMMARY_TRIGGERS, TriggerSummary,
};

#[cfg(test)]
mod tests;
