//! What threads count.

use crate::TurnStatus;

/// HELP texts of this room's metrics.
pub fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!("tidewire_turns_accepted_total", "turns accepted");
    describe_counter!(
        "tidewire_turns_ended_total",
        "turns that have ended, by status"
    );
    describe_counter!("tidewire_thread_events_total", "events of threads stored");
    describe_gauge!(
        "tidewire_thread_subscribers",
        "open live streams of threads"
    );
}

pub(crate) fn accepted(turns: u64) {
    metrics::counter!("tidewire_turns_accepted_total").increment(turns);
}

pub(crate) fn ended(status: TurnStatus) {
    metrics::counter!("tidewire_turns_ended_total", "status" => status.as_str()).increment(1);
}

pub(crate) fn stored(events: u64) {
    metrics::counter!("tidewire_thread_events_total").increment(events);
}
