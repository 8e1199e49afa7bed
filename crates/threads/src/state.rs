//! The rules of turns and threads, as pure functions.
//!
//! ```text
//!              an agent claims it,
//!              or its first event
//!  accepted ───────────────────────▶ running ──────▶ completed
//!      │                                └──────────▶ failed
//!      └────────────────────────────────┴──────────▶ cancelled
//! ```
//!
//! Terminal is terminal: whatever comes late, twice or out of order leaves an ended turn as it is.

use std::{fmt, str::FromStr, time::Duration};

use serde::Serialize;
use tidewire_core::Time;

use crate::model::ThreadStatus;

/// What has become of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TurnStatus {
    /// It is recorded, and waits for the turn before it or for an agent.
    Accepted,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl TurnStatus {
    pub const ALL: [TurnStatus; 5] = [
        TurnStatus::Accepted,
        TurnStatus::Running,
        TurnStatus::Completed,
        TurnStatus::Failed,
        TurnStatus::Cancelled,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TurnStatus::Accepted => "accepted",
            TurnStatus::Running => "running",
            TurnStatus::Completed => "completed",
            TurnStatus::Failed => "failed",
            TurnStatus::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, TurnStatus::Accepted | TurnStatus::Running)
    }
}

impl fmt::Display for TurnStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TurnStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = TurnStatus::ALL
            .into_iter()
            .find(|status| status.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not a state of turns"))
    }
}

/// The state that an event of this type says its turn has ended in.
#[must_use]
pub fn ending(kind: &str) -> Option<TurnStatus> {
    match kind {
        "turn.completed" => Some(TurnStatus::Completed),
        "turn.failed" => Some(TurnStatus::Failed),
        "turn.cancelled" => Some(TurnStatus::Cancelled),
        _ => None,
    }
}

/// The type of the event that says that a turn has ended so.
#[must_use]
pub(crate) fn ended_by(status: TurnStatus) -> &'static str {
    match status {
        TurnStatus::Completed => "turn.completed",
        TurnStatus::Failed => "turn.failed",
        TurnStatus::Accepted | TurnStatus::Running | TurnStatus::Cancelled => "turn.cancelled",
    }
}

/// A turn had ended before, and is said to end again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over(pub TurnStatus);

/// What a turn is behind an event of this type.
pub fn after(status: TurnStatus, kind: &str) -> Result<TurnStatus, Over> {
    match ending(kind) {
        Some(_) if status.is_terminal() => Err(Over(status)),
        Some(end) => Ok(end),
        // What comes late is kept, and changes nothing.
        None if status.is_terminal() => Ok(status),
        None => Ok(TurnStatus::Running),
    }
}

/// What a thread is, by its last event and whether a turn of it is open.
#[must_use]
pub(crate) fn thread(is_open: bool, last: Time, timeout: Duration, now: Time) -> ThreadStatus {
    if is_open || last.plus(timeout) > now {
        ThreadStatus::Active
    } else {
        ThreadStatus::Idle
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    const KINDS: [&str; 6] = [
        "turn.started",
        "message.delta",
        "custom",
        "turn.completed",
        "turn.failed",
        "turn.cancelled",
    ];

    proptest! {
        /// Whatever is said, in whatever order and however often: the first end stands.
        #[test]
        fn the_first_end_stands(kinds in vec(select(&KINDS[..]), 0..30)) {
            let mut status = TurnStatus::Accepted;
            let mut refused = 0;
            for kind in &kinds {
                let was = status;
                match after(status, kind) {
                    Ok(now) => {
                        prop_assert!(!was.is_terminal() || now == was);
                        prop_assert!(now != TurnStatus::Accepted);
                        status = now;
                    }
                    Err(Over(over)) => {
                        prop_assert_eq!(over, was);
                        refused += 1;
                    }
                }
            }
            let ends: Vec<_> = kinds.iter().filter_map(|kind| ending(kind)).collect();
            let expected = match (ends.first(), kinds.is_empty()) {
                (Some(end), _) => *end,
                (None, true) => TurnStatus::Accepted,
                (None, false) => TurnStatus::Running,
            };
            prop_assert_eq!(status, expected);
            prop_assert_eq!(refused, ends.len().saturating_sub(1));
        }

        /// Leaving out what comes late, or doubling it, changes no state.
        #[test]
        fn what_comes_late_or_twice_changes_nothing(
            end in select(&KINDS[3..]),
            late in vec(select(&KINDS[..]), 0..10),
        ) {
            let status = after(TurnStatus::Running, end).unwrap();
            for kind in late {
                prop_assert_eq!(after(status, kind).unwrap_or(status), status);
            }
        }
    }

    #[test]
    fn states_and_their_events_name_each_other() {
        for status in TurnStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            if status.is_terminal() {
                assert_eq!(ending(ended_by(status)), Some(status));
            }
        }
    }

    #[test]
    fn a_thread_is_idle_when_nothing_runs_and_nothing_came_for_its_time_out() {
        let (last, timeout) = (Time::from_millis(1_000), Duration::from_secs(60));
        let at = |millis| Time::from_millis(millis);
        assert_eq!(
            thread(false, last, timeout, at(60_999)),
            ThreadStatus::Active
        );
        assert_eq!(thread(false, last, timeout, at(61_000)), ThreadStatus::Idle);
        assert_eq!(
            thread(true, last, timeout, at(999_999)),
            ThreadStatus::Active
        );
    }
}
