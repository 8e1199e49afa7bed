//! The log's tables.
//!
//! `events` lives in its primary key `(tenant, pos)`, which grows at its right edge. Every further
//! index costs about a third of the append rate, so there are three: the stream's order (unique:
//! it is the guard of `seq`), the type's, and the subject's where there is one (of all events, on
//! an engine that cannot leave rows out of an index). An event's id carries its `pos` and needs
//! none. `depth` is how many triggers deep an event is, and NULL for nearly all. `event_keys` is the one index with random keys; it is separate, and small, because only
//! events with a `dedupe_key` pay for it and because it outlives the events that are trimmed.

use tidewire_db::Migration;

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0002_events",
    up: &[
        "CREATE TABLE events (
            tenant {id} NOT NULL, pos {int} NOT NULL, id {id} NOT NULL,
            stream {id} NOT NULL, seq {int} NOT NULL, type {id} NOT NULL, subject {key},
            payload {json} NOT NULL, dedupe_key {key}, source {key},
            occurred_at {time} NOT NULL, created_at {time} NOT NULL, depth {int},
            PRIMARY KEY (tenant, pos)) {clustered}",
        "CREATE UNIQUE INDEX events_by_stream ON events (tenant, stream, seq)",
        "CREATE INDEX events_by_type ON events (tenant, type, pos)",
        "CREATE INDEX events_by_subject ON events (tenant, subject, pos) {where subject IS NOT NULL}",
        "CREATE TABLE event_keys (
            tenant {id} NOT NULL, hash {bytes} NOT NULL, pos {int} NOT NULL,
            stream {id} NOT NULL, seq {int} NOT NULL, created_at {time} NOT NULL,
            PRIMARY KEY (tenant, hash)) {clustered}",
        // One row a day: what was received on a day is the difference of two positions.
        "CREATE TABLE event_days (
            tenant {id} NOT NULL, day {id} NOT NULL, first_pos {int} NOT NULL,
            PRIMARY KEY (tenant, day)) {clustered}",
    ],
}];
