//! What an operator may set about sites.

use std::time::Duration;

use tidewire_core::backoff::Backoff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteSettings {
    /// Syncs that this process runs at once.
    pub concurrency: usize,
    /// Requests at once that this process sends to one host.
    pub per_host: usize,
    /// How long a sync that was asked for in a request is waited for.
    pub wait: Duration,
    /// How long a sync runs before others have their turn.
    pub turn: Duration,
    /// How long a site stays a sync's of which nothing is heard.
    pub lease: Duration,
    /// What is waited before a page is asked for again.
    pub backoff: Backoff,
    /// How often a page is asked for before the sync has failed.
    pub tries: u32,
}

impl Default for SiteSettings {
    fn default() -> Self {
        SiteSettings {
            concurrency: 32,
            per_host: 4,
            wait: Duration::from_mins(10),
            turn: Duration::from_mins(1),
            lease: Duration::from_mins(2),
            backoff: Backoff {
                base: Duration::from_millis(100),
                cap: Duration::from_secs(10),
            },
            tries: 8,
        }
    }
}
