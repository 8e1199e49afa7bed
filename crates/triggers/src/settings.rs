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

/// Neither period of retention may be shorter or longer.
const KEPT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(24 * 3650));

impl TriggerSettings {
    /// What makes no sense about these settings, in words for who set them.
    pub fn check(&self) -> Result<(), String> {
        let periods = [
            ("executions-active-for", self.active_for),
            ("executions-keep-for", self.keep_for),
        ];
        for (name, period) in periods {
            if !(KEPT.0..=KEPT.1).contains(&period) {
                return Err(format!(
                    "--{name} `{}` must be {} to {}",
                    duration::format(period),
                    duration::format(KEPT.0),
                    duration::format(KEPT.1)
                ));
            }
        }
        if self.keep_for < self.active_for {
            let active = duration::format(self.active_for);
            return Err(format!(
                "--executions-keep-for `{}` counts from the firing and is shorter than --executions-active-for `{active}`: make it {active} or longer",
                duration::format(self.keep_for)
            ));
        }
        if self.retry.base > self.retry.cap {
            return Err(format!(
                "--retry-base `{}` is longer than --retry-cap `{}`, which no wait exceeds: make the cap at least as long",
                duration::format(self.retry.base),
                duration::format(self.retry.cap)
            ));
        }
        if self.retry.max_attempts == 0 {
            return Err(
                "--retry-max-attempts `0` would deliver nothing: make it 1 or more".to_owned(),
            );
        }
        if self.event_rate == 0 {
            return Err("an event trigger may fire `0` times a second, so it never would: make it 1 or more".to_owned());
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
    fn the_defaults_make_sense() {
        TriggerSettings::default().check().unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_value() {
        let with = |edit: fn(&mut TriggerSettings)| {
            let mut settings = TriggerSettings::default();
            edit(&mut settings);
            settings.check().unwrap_err()
        };
        let hour = Duration::from_hours(1);
        for (error, named) in [
            (
                with(|s| s.keep_for = Duration::from_hours(1)),
                ["--executions-keep-for `1h`", "2h"],
            ),
            (
                with(|s| s.active_for = Duration::ZERO),
                ["--executions-active-for `0s`", "100ms"],
            ),
            (
                with(|s| s.keep_for = Duration::MAX),
                ["--executions-keep-for", "3650d"],
            ),
            (
                with(|s| s.retry.cap = Duration::from_secs(1)),
                ["--retry-base `5s`", "`1s`"],
            ),
            (
                with(|s| s.retry.max_attempts = 0),
                ["--retry-max-attempts", "1 or more"],
            ),
            (with(|s| s.event_rate = 0), ["event trigger", "`0`"]),
        ] {
            assert!(named.iter().all(|part| error.contains(part)), "{error}");
        }
        let equal = TriggerSettings {
            active_for: hour,
            keep_for: hour,
            ..TriggerSettings::default()
        };
        equal.check().unwrap();
    }
}
