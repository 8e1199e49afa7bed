//! The catalogue's tables. See [`crate::store`] for what each is for.

use tidewire_db::Migration;

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0006_archive",
    up: &[
        "CREATE TABLE event_archives (
            tenant {id} NOT NULL,
            stream {id} NOT NULL,
            from_seq {int} NOT NULL,
            to_seq {int} NOT NULL,
            id {id} NOT NULL,
            thread_id {id},
            object_key {key} NOT NULL,
            event_count {int} NOT NULL,
            bytes {int} NOT NULL,
            sha256 {id} NOT NULL,
            line_bytes {int} NOT NULL,
            first_pos {int} NOT NULL,
            last_pos {int} NOT NULL,
            first_at {time} NOT NULL,
            last_at {time} NOT NULL,
            parquet_bytes {int},
            parquet_sha256 {id},
            cold {int} NOT NULL,
            created_at {time} NOT NULL,
            PRIMARY KEY (tenant, stream, from_seq)
        ) {clustered}",
        "CREATE UNIQUE INDEX event_archives_by_age ON event_archives (tenant, id)",
        // Whose an object is, by its name alone.
        "CREATE INDEX event_archives_by_id ON event_archives (id)",
        "CREATE INDEX event_archives_by_pos ON event_archives (tenant, cold, last_pos, first_pos)",
        "CREATE TABLE archive_marks (
            tenant {id} NOT NULL,
            stream {id} NOT NULL,
            archived_until {int} NOT NULL,
            cold_until {int} NOT NULL,
            trimmed_until {int} NOT NULL,
            restored_at {time},
            PRIMARY KEY (tenant, stream)
        ) {clustered}",
        "CREATE INDEX archive_marks_restored ON archive_marks (restored_at) {where restored_at IS NOT NULL}",
    ],
}];
