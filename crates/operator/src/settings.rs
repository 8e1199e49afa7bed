//! What is set of an operator.

use std::time::Duration;

use crate::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub limits: Limits,
    /// How long an instance has its thread, and its key is good, without a renewal.
    pub lease: Duration,
    /// What an instance that is told to stop gets before it is killed.
    pub grace: Duration,
    /// What running turns get when the operator stops and takes its instances along; no longer than their
    /// template says.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::default(),
            lease: Duration::from_mins(1),
            grace: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}
