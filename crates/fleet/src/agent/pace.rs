//! How the controller and the worker are, each by itself, and when each is asked again.

use std::time::Duration;

use serde::Serialize;
use tidewire_client::Error;
use tidewire_core::{Time, backoff::Backoff, clock};

/// What a target waits after its first failure.
const BASE: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Pace {
    ok: bool,
    last_success_at: Option<Time>,
    failures: u32,
    next_attempt_at: Option<Time>,
    error: Option<String>,
}

/// How it is, as the state shows it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TargetState {
    /// Whether the last attempt went well.
    ok: bool,
    #[schema(required)]
    last_success_at: Option<Time>,
    /// Failures in a row.
    failures: u32,
    #[schema(required)]
    next_attempt_at: Option<Time>,
    /// What the last failure was.
    #[schema(required)]
    error: Option<String>,
}

impl Pace {
    pub fn went_well(&mut self, now: Time, next: Duration) {
        *self = Pace {
            ok: true,
            last_success_at: Some(now),
            failures: 0,
            next_attempt_at: Some(now.plus(next)),
            error: None,
        };
    }

    /// How long to wait. Refused for its key an agent slows down: it would be refused again, and it
    /// must never stop serving for that.
    pub fn failed(&mut self, now: Time, error: &Error, cap: Duration, slow: Duration) -> Duration {
        self.ok = false;
        self.failures = self.failures.saturating_add(1);
        let wait = if matches!(error.status(), Some(401 | 403)) {
            slow
        } else {
            let backoff = Backoff {
                base: BASE.min(cap),
                cap,
            };
            let own = backoff.delay(self.failures, clock::random_fraction());
            let asked = error.retry_after().unwrap_or_default();
            own.max(asked.min(cap))
        };
        self.next_attempt_at = Some(now.plus(wait));
        self.error = Some(error.to_string());
        wait
    }

    pub fn shown(&self) -> TargetState {
        TargetState {
            ok: self.ok,
            last_success_at: self.last_success_at,
            failures: self.failures,
            next_attempt_at: self.next_attempt_at,
            error: self.error.clone(),
        }
    }
}

/// About so long, so that many do not come at once.
pub(crate) fn about(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.1 * clock::random_fraction())
}
