//! What operators see.

use metrics::{counter, describe_counter};

use crate::model::Archive;

/// An archive was sealed.
pub(crate) fn sealed(archive: &Archive) {
    counter!("tidewire_archived_events_total").increment(archive.event_count);
    let parquet = archive.parquet.as_ref().map_or(0, |parquet| parquet.bytes);
    counter!("tidewire_archived_bytes_total").increment(archive.bytes + parquet);
}

/// Events have left the database.
pub(crate) fn trimmed(events: u64) {
    counter!("tidewire_trimmed_events_total").increment(events);
}

/// Events are back in it.
pub(crate) fn restored(events: u64) {
    counter!("tidewire_restored_events_total").increment(events);
}

/// A read of archives has ended.
pub(crate) fn cold_read(is_ok: bool) {
    counter!("tidewire_cold_reads_total").increment(1);
    if !is_ok {
        counter!("tidewire_cold_read_failures_total").increment(1);
    }
}

/// Members of archives were wanted: so many were in memory, so many were not.
pub(crate) fn looked_up(known: usize, missing: usize) {
    counter!("tidewire_cold_cache_hits_total").increment(known as u64);
    counter!("tidewire_cold_cache_misses_total").increment(missing as u64);
}

/// Bytes of objects were fetched to read from them.
pub(crate) fn fetched(bytes: u64) {
    counter!("tidewire_cold_fetched_bytes_total").increment(bytes);
}

/// A job of archives has failed.
pub(crate) fn failed(kind: &'static str) {
    counter!("tidewire_archive_failures_total", "job" => kind).increment(1);
}

/// HELP texts of this room's metrics.
pub fn describe() {
    describe_counter!(
        "tidewire_archived_events_total",
        "events that were sealed in archives"
    );
    describe_counter!(
        "tidewire_archived_bytes_total",
        "bytes of the objects that were sealed, companions included"
    );
    describe_counter!(
        "tidewire_trimmed_events_total",
        "archived events that have left the database"
    );
    describe_counter!(
        "tidewire_restored_events_total",
        "events that were put back into the database"
    );
    describe_counter!(
        "tidewire_cold_reads_total",
        "reads that asked for archived events"
    );
    describe_counter!(
        "tidewire_cold_read_failures_total",
        "those of them that failed"
    );
    describe_counter!(
        "tidewire_cold_cache_hits_total",
        "members of archives that were read out of memory"
    );
    describe_counter!(
        "tidewire_cold_cache_misses_total",
        "members of archives that had to be fetched, or waited for"
    );
    describe_counter!(
        "tidewire_cold_fetched_bytes_total",
        "bytes of archives that were fetched to read from them"
    );
    describe_counter!(
        "tidewire_archive_failures_total",
        "attempts at jobs of archives that failed, by job"
    );
}
