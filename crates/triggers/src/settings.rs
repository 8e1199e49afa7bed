//! What the operator sets.

use std::time::Duration;

use crate::retry::RetryPolicy;

/// Settings of triggers and executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerSettings {
    /// Of deliveries whose trigger does not say otherwise.
    pub retry: RetryPolicy,
    /// For how long an execution that has ended is active, from its firing; then it is archived.
    pub active_for: Duration,
    /// For how long it is kept in all.
    pub keep_for: Duration,
    /// How long anything can stay unnoticed if every wake-up is lost.
    pub poll_interval: Duration,
    /// Firings a second of one event trigger; what comes faster waits its turn.
    pub event_rate: u32,
    /// Whether firings are relayed to a job bus besides the store.
    pub relayed: bool,
}

impl Default for TriggerSettings {
    fn default() -> Self {
        TriggerSettings {
            retry: RetryPolicy::default(),
            active_for: Duration::from_hours(2),
            keep_for: Duration::from_hours(48),
            poll_interval: Duration::from_secs(5),
            event_rate: 100,
            relayed: false,
        }
    }
}
