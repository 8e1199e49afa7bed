//! Latencies that people want to read without a calculation.

use std::time::Duration;

use metrics::{Unit, describe_histogram, histogram};

/// A latency under two names: its buckets, which can be added up over processes and times, and the
/// quantiles of the last minutes, which can be read as they stand.
pub(crate) struct Latency {
    /// Ends in `_seconds`.
    pub seconds: &'static str,
    /// Ends in `_recent`.
    pub recent: &'static str,
}

impl Latency {
    pub(crate) fn record(&self, measured: impl Iterator<Item = Duration>) {
        let mut measured = measured.peekable();
        if measured.peek().is_none() {
            return;
        }
        let (seconds, recent) = (histogram!(self.seconds), histogram!(self.recent));
        for took in measured {
            seconds.record(took);
            recent.record(took);
        }
    }

    pub(crate) fn describe(&self, meaning: &'static str) {
        describe_histogram!(self.seconds, Unit::Seconds, meaning);
        describe_histogram!(
            self.recent,
            Unit::Seconds,
            format!("{meaning}: quantiles of the last five minutes")
        );
    }
}
