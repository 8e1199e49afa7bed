//! The tables of this room.

use tidewire_db::Migration;

/// `api_keys_hash` leads with the hash, because a key finds its tenant and not the other way round;
/// every other key starts with the tenant. The sweep of `request_keys` goes tenant by tenant for
/// the same reason. `request_keys` keeps answers of many kilobytes, so its rows do not live in the
/// key, and the answer is text and not a document: it is given again byte by byte.
/// `worker`, `thread_id` and `expires_at` are of instances' keys alone; see [`crate::InstanceKey`].
pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0001_access",
    up: &[
        "CREATE TABLE tenants (
            id {id} NOT NULL PRIMARY KEY,
            name {text} NOT NULL,
            created_at {time} NOT NULL) {clustered}",
        "CREATE TABLE api_keys (
            tenant {id} NOT NULL,
            id {id} NOT NULL,
            hash {bytes} NOT NULL,
            scopes {id} NOT NULL,
            created_at {time} NOT NULL,
            last_used_at {time},
            worker {id},
            thread_id {id},
            expires_at {time},
            PRIMARY KEY (tenant, id)) {clustered}",
        "CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash)",
        "CREATE TABLE request_keys (
            tenant {id} NOT NULL,
            route {id} NOT NULL,
            key_hash {bytes} NOT NULL,
            body_hash {bytes} NOT NULL,
            status {int} NOT NULL,
            answer {text} NOT NULL,
            created_at {time} NOT NULL,
            PRIMARY KEY (tenant, route, key_hash))",
        "CREATE INDEX request_keys_age ON request_keys (tenant, created_at)",
    ],
}];
