//! What tests read and change behind the rooms' backs.

pub(crate) const EXECUTIONS: &str =
    "SELECT trigger_id, trigger_type, source, execution_status, job_id FROM executions";
pub(crate) const COUNT_EXECUTIONS: &str = "SELECT count(*) FROM executions
    WHERE tenant = ? AND trigger_id = coalesce(?, trigger_id)";
pub(crate) const SPANS: &str = "SELECT config_id FROM trigger_spans";

/// A log that was restored from an older copy.
pub(crate) const LOSE_EVENTS: &str = "DELETE FROM events WHERE pos > 10";

/// The document is text on one engine and has a type of its own on another.
pub(crate) const SPOIL_CONFIG: &str = "UPDATE trigger_configs SET config = '{\"event_type\": 1}'
    WHERE CAST(config AS CHAR(1000)) LIKE '%spoilt%'";

/// The log's first event again, as its second, without a word to anybody.
pub(crate) const COPY_EVENT: &str =
    "INSERT INTO events (tenant, pos, id, stream, seq, type, payload, occurred_at, created_at)
    SELECT tenant, 2, id, stream, 2, type, payload, occurred_at, created_at FROM events";
pub(crate) const COPY_EVENT_LATE: &str =
    "INSERT INTO events (tenant, pos, id, stream, seq, type, payload, occurred_at, created_at)
    SELECT tenant, 2, 'late', stream, 2, type, '2', occurred_at, created_at FROM events WHERE pos = 1";

/// What an append for a tenant takes first.
pub(crate) fn lock_of(tenant: &str, lock: &str) -> String {
    format!("SELECT name FROM write_locks WHERE name = 'events/{tenant}'{lock}")
}

pub(crate) fn count_of(table: &str) -> String {
    format!("SELECT count(*) FROM {table}")
}
