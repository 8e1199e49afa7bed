//! What the operator may change while the server runs.

use std::{collections::BTreeMap, time::Duration};

use tidewire_core::backoff::Backoff;

const DAY: Duration = Duration::from_hours(24);

/// Live settings: the service reads them anew for each decision, from a `watch` channel that the
/// composition root fills.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// How many jobs of a queue may run at once, counted for each tenant apart. A queue that is
    /// not named has no limit.
    pub queue_limits: BTreeMap<String, u32>,
    /// How long a claim is good for where the worker does not say.
    pub lease: Duration,
    /// How long anything can stay unnoticed if every wake-up is lost.
    pub poll_interval: Duration,
    /// How long a failed attempt waits where the processor does not say.
    pub backoff: Backoff,
    /// How long an attempt may run where the job does not say.
    pub timeout: Duration,
    /// How long finished jobs are kept, by the way in which they finished.
    pub keep_done: Duration,
    pub keep_failed: Duration,
    pub keep_cancelled: Duration,
}

impl Default for JobSettings {
    fn default() -> Self {
        JobSettings {
            queue_limits: BTreeMap::new(),
            lease: Duration::from_mins(1),
            poll_interval: Duration::from_secs(5),
            backoff: Backoff {
                base: Duration::from_secs(2),
                cap: Duration::from_hours(1),
            },
            timeout: Duration::from_hours(1),
            keep_done: 7 * DAY,
            keep_failed: 7 * DAY,
            keep_cancelled: 7 * DAY,
        }
    }
}
