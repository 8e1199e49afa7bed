//! Rates that may change while the server runs.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::Rate;

/// Shared by all who go by them. Zero is as the server was started.
#[derive(Debug, Default)]
pub(crate) struct LiveRates {
    event: AtomicU32,
    endpoint: AtomicU32,
}

impl LiveRates {
    pub fn set(&self, event: Option<u32>, endpoint: Option<u32>) {
        self.event.store(event.unwrap_or(0), Ordering::Relaxed);
        self.endpoint
            .store(endpoint.unwrap_or(0), Ordering::Relaxed);
    }

    /// Firings of one event trigger.
    pub fn event(&self, started: u32) -> Rate {
        match self.event.load(Ordering::Relaxed) {
            0 => a_second(started),
            count => a_second(count),
        }
    }

    /// Requests to one endpoint.
    pub fn endpoint(&self, started: Option<Rate>) -> Option<Rate> {
        match self.endpoint.load(Ordering::Relaxed) {
            0 => started,
            count => Some(a_second(count)),
        }
    }
}

fn a_second(count: u32) -> Rate {
    Rate {
        count,
        per: Duration::from_secs(1),
        burst: count,
    }
}
