//! How much to claim ahead of what runs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::model::MAX_CLAIM;

/// Work of this much time is claimed ahead of the free slots; more would only keep it from others.
const AHEAD: Duration = Duration::from_millis(20);

/// Two claims' worth: while one is on its way, the other keeps the slots busy.
const MOST: usize = 2 * MAX_CLAIM as usize;

/// How long attempts take, smoothed, to claim just enough ahead.
#[derive(Default)]
pub(super) struct Pace {
    /// Zero before the first.
    micros: AtomicU64,
}

impl Pace {
    pub(super) fn ran(&self, took: Duration) {
        let took = u64::try_from(took.as_micros())
            .unwrap_or(u64::MAX / 8)
            .max(1);
        let before = self.micros.load(Ordering::Relaxed);
        // Two that end at once may lose one figure of many.
        let smoothed = if before == 0 {
            took
        } else {
            (before * 7).saturating_add(took) / 8
        };
        self.micros.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Jobs to hold besides those that run.
    pub(super) fn ahead(&self, concurrency: usize) -> usize {
        match self.micros.load(Ordering::Relaxed) {
            0 => concurrency.min(MOST),
            micros => {
                let ahead = u64::try_from(AHEAD.as_micros()).unwrap_or(u64::MAX);
                let jobs = (concurrency as u64).saturating_mul(ahead) / micros;
                usize::try_from(jobs).unwrap_or(MOST).min(MOST)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_claimed_ahead_of_slow_jobs() {
        let pace = Pace::default();
        assert_eq!(pace.ahead(64), 64);
        pace.ran(Duration::from_micros(5));
        assert_eq!(pace.ahead(64), MOST);
        for _ in 0..100 {
            pace.ran(Duration::from_secs(10));
        }
        assert_eq!(pace.ahead(64), 0);
    }
}
