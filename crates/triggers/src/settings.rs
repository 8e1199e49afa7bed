//! What the operator sets.

use std::time::Duration;

use tidewire_core::duration;

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

impl TriggerSettings {
    /// What makes no sense about these settings taken together, in words for who set them.
    pub fn check(&self) -> Result<(), String> {
        if self.keep_for < self.active_for {
            let active = duration::format(self.active_for);
            return Err(format!(
                "--executions-keep-for `{}` counts from the firing and is shorter than --executions-active-for `{active}`: make it {active} or longer",
                duration::format(self.keep_for)
            ));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_kept_for_as_long_as_it_is_active() {
        let hour = Duration::from_hours(1);
        let with = |active_for, keep_for| TriggerSettings {
            active_for,
            keep_for,
            ..TriggerSettings::default()
        };
        TriggerSettings::default().check().unwrap();
        with(hour, hour).check().unwrap();
        let bad = with(2 * hour, hour).check().unwrap_err();
        let named = [
            "--executions-keep-for `1h`",
            "--executions-active-for `2h`",
            "make it 2h or longer",
        ];
        assert!(named.iter().all(|part| bad.contains(part)), "{bad}");
    }
}
