//! What the operator sets.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// How often agents are told to ask.
    pub agents_ask_every: Duration,
    /// How long a change of another process can stay unnoticed if every hint is lost.
    pub poll_interval: Duration,
}

impl Default for FleetSettings {
    fn default() -> Self {
        FleetSettings {
            agents_ask_every: Duration::from_secs(15),
            poll_interval: Duration::from_secs(5),
        }
    }
}
