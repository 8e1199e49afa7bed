//! What sites count.

use tidewire_outbound::{Answer, Error};

/// HELP texts of this room's metrics.
pub fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!(
        "tidewire_site_pages_total",
        "pages of sites that were stored"
    );
    describe_counter!("tidewire_site_records_total", "records in them");
    describe_counter!(
        "tidewire_site_events_inserted_total",
        "events that were stored of them"
    );
    describe_counter!(
        "tidewire_site_events_duplicated_total",
        "events of them that were there before"
    );
    describe_counter!(
        "tidewire_site_requests_total",
        "requests to sites, by outcome: ok, refused (4xx), too_many (429), failed (5xx), unreachable"
    );
    describe_counter!(
        "tidewire_site_requests_repeated_total",
        "requests to sites that were sent again"
    );
    describe_counter!(
        "tidewire_site_syncs_total",
        "syncs that ended, by outcome: done, ended_early"
    );
    describe_counter!(
        "tidewire_attributions_corrected_total",
        "events that say what an earlier one would have said, had a touch been known"
    );
    describe_gauge!(
        "tidewire_site_requests_in_flight",
        "requests to sites that are under way"
    );
    describe_gauge!("tidewire_site_syncs_running", "syncs that are under way");
}

pub(crate) fn written(pages: u64, records: u64, inserted: u64, duplicates: u64) {
    metrics::counter!("tidewire_site_pages_total").increment(pages);
    metrics::counter!("tidewire_site_records_total").increment(records);
    metrics::counter!("tidewire_site_events_inserted_total").increment(inserted);
    metrics::counter!("tidewire_site_events_duplicated_total").increment(duplicates);
}

pub(crate) fn answered(answered: &Result<Answer, Error>) {
    let outcome = match answered.as_ref().map(|answer| answer.status.as_u16()) {
        Ok(429) => "too_many",
        Ok(400..=499) => "refused",
        Ok(500..) => "failed",
        Ok(_) => "ok",
        Err(_) => "unreachable",
    };
    metrics::counter!("tidewire_site_requests_total", "outcome" => outcome).increment(1);
}

pub(crate) fn asked_again() {
    metrics::counter!("tidewire_site_requests_repeated_total").increment(1);
}

pub(crate) fn synced(outcome: &'static str) {
    metrics::counter!("tidewire_site_syncs_total", "outcome" => outcome).increment(1);
}

pub(crate) fn corrected(events: u64) {
    metrics::counter!("tidewire_attributions_corrected_total").increment(events);
}

/// Counts as under way while it lives.
pub(crate) struct InFlight(&'static str);

impl InFlight {
    pub fn begin() -> Self {
        Self::of("tidewire_site_requests_in_flight")
    }

    pub fn sync() -> Self {
        Self::of("tidewire_site_syncs_running")
    }

    fn of(name: &'static str) -> Self {
        metrics::gauge!(name).increment(1.0);
        InFlight(name)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}
