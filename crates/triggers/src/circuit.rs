//! What stands before each endpoint, so that a dead or a slow one costs the others nothing: a circuit breaker, a limit of
//! requests at once and a limit of requests a second. All of it pure: time is passed in, nothing waits.
//!
//! ```text
//!            `failures` in a row                    the pause is over
//!  closed ───────────────────────────────▶ open ───────────────────────▶ half open
//!     ▲                                      ▲                               │  │
//!     │                                      └── a probe fails: twice the ───┘  │
//!     └────────────────────────────────────────  pause, up to a cap            │
//!                 probes succeed: all is forgotten ────────────────────────────┘
//! ```
//!
//! The clock is the wall's, and so may be set back. Whatever waits then waits from the new time on, not until the old one
//! comes again.

mod gate;
mod rate;

use std::time::Duration;

use serde::Serialize;
use tidewire_core::{Time, backoff::Backoff};

pub use gate::{Gate, GateSettings, GateView, Permit, Wait};
pub use rate::{Rate, RateLimit, Turns};

/// When a circuit opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time; each time that its probes fail twice as long.
    pub pause: Duration,
    pub max_pause: Duration,
    /// Requests at once while it is half open.
    pub probes: u32,
    /// Successes in a row that close it.
    pub successes: u32,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        CircuitSettings {
            failures: 5,
            pause: Duration::from_secs(10),
            max_pause: Duration::from_secs(300),
            probes: 1,
            successes: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Requests pass.
    Closed,
    /// None passes.
    Open,
    /// A few pass, to see whether the endpoint is back.
    HalfOpen,
}

impl CircuitState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::HalfOpen => "half_open",
        }
    }
}

impl std::str::FromStr for CircuitState {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [
            CircuitState::Closed,
            CircuitState::Open,
            CircuitState::HalfOpen,
        ]
        .into_iter()
        .find(|state| state.as_str() == name)
        .ok_or_else(|| format!("`{name}` is no state of a circuit"))
    }
}

#[derive(Clone, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        since: Time,
        pause: Duration,
    },
    HalfOpen {
        /// Probes that are under way.
        probes: u32,
        successes: u32,
    },
}

/// The breaker of one endpoint.
#[derive(Clone, Debug)]
pub struct Circuit {
    settings: CircuitSettings,
    state: State,
    /// How often it has opened since it was last closed.
    opened: u32,
    /// Counts the changes of state: an outcome of an earlier state says nothing about this one.
    epoch: u64,
}

/// That a request may go, and in which state it was allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    epoch: u64,
}

impl Circuit {
    #[must_use]
    pub fn new(settings: CircuitSettings) -> Self {
        Circuit {
            settings,
            state: State::Closed { failures: 0 },
            opened: 0,
            epoch: 0,
        }
    }

    /// Whether a request may go now. If not, how long until it is worth asking again; `None` while probes are under way.
    pub(crate) fn ask(&mut self, now: Time) -> Result<(), Option<Duration>> {
        if let State::Open { since, pause } = &mut self.state {
            if now < *since {
                *since = now;
            }
            let left = pause.saturating_sub(now.since(*since));
            if !left.is_zero() {
                return Err(Some(left));
            }
            self.go_to(State::HalfOpen {
                probes: 0,
                successes: 0,
            });
        }
        match &self.state {
            State::HalfOpen { probes, .. } if *probes >= self.settings.probes.max(1) => Err(None),
            _ => Ok(()),
        }
    }

    /// Lets a request go, after [`Circuit::ask`] has said so.
    pub(crate) fn pass(&mut self) -> Pass {
        if let State::HalfOpen { probes, .. } = &mut self.state {
            *probes += 1;
        }
        Pass { epoch: self.epoch }
    }

    /// The request has ended well, badly, or (`None`) in a way that says nothing.
    pub(crate) fn done(&mut self, pass: Pass, good: Option<bool>, now: Time) {
        if pass.epoch != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => match good {
                Some(true) => *failures = 0,
                Some(false) => {
                    *failures += 1;
                    if *failures >= self.settings.failures.max(1) {
                        self.open(now);
                    }
                }
                None => {}
            },
            State::HalfOpen { probes, successes } => {
                *probes -= 1;
                match good {
                    Some(true) => {
                        *successes += 1;
                        if *successes >= self.settings.successes.max(1) {
                            self.opened = 0;
                            self.go_to(State::Closed { failures: 0 });
                        }
                    }
                    Some(false) => self.open(now),
                    None => {}
                }
            }
            // Nothing passes an open circuit, so nothing of its epoch ends.
            State::Open { .. } => {}
        }
    }

    fn open(&mut self, now: Time) {
        self.opened = self.opened.saturating_add(1);
        let backoff = Backoff {
            base: self.settings.pause,
            cap: self.settings.max_pause,
        };
        let pause = backoff.delay(self.opened, 0.5);
        self.go_to(State::Open { since: now, pause });
    }

    fn go_to(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }

    #[must_use]
    pub fn state(&self) -> CircuitState {
        match self.state {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Failures in a row, as long as it is closed.
    pub(crate) fn failures(&self) -> u32 {
        match self.state {
            State::Closed { failures } => failures,
            _ => self.settings.failures,
        }
    }

    /// When its pause ends, if it is open.
    pub(crate) fn opens_again_at(&self) -> Option<Time> {
        match self.state {
            State::Open { since, pause } => Some(since.plus(pause)),
            _ => None,
        }
    }

    /// Whether it knows nothing that a new one would not know.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0 })
    }
}
