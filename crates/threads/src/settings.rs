//! What an operator may set about threads.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct ThreadSettings {
    /// A thread without an open turn is idle when nothing has come for so long. It is kept with the
    /// thread when that is made.
    pub idle_timeout: Duration,
    /// For how long a turn is kept for the agent that ran the thread's last one. Zero: for nobody.
    pub affinity: Duration,
    /// How long an event can stay unnoticed by a follower if every wake-up is lost.
    pub poll_interval: Duration,
}

impl Default for ThreadSettings {
    fn default() -> Self {
        ThreadSettings {
            idle_timeout: Duration::from_mins(30),
            affinity: Duration::from_secs(2),
            poll_interval: Duration::from_secs(5),
        }
    }
}
