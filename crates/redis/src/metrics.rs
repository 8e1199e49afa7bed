//! What the hot log counts.

/// HELP texts of its metrics.
pub fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!(
        "tidewire_hot_log_persisted_total",
        "entries of the hot log that were moved to the store"
    );
    describe_counter!(
        "tidewire_hot_log_dead_total",
        "entries of the hot log that the store would not take, and that were put aside"
    );
    describe_gauge!(
        "tidewire_hot_log_behind",
        "entries of the hot log that are not in the store yet"
    );
}

pub(crate) fn persisted(entries: usize) {
    metrics::counter!("tidewire_hot_log_persisted_total").increment(entries as u64);
}

pub(crate) fn dead() {
    metrics::counter!("tidewire_hot_log_dead_total").increment(1);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float, and a count of entries is small"
)]
pub(crate) fn behind(entries: u64) {
    metrics::gauge!("tidewire_hot_log_behind").set(entries as f64);
}
