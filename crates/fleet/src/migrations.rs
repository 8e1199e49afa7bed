//! The tables of fleets. See [`crate::store`] for what each is for.

use tidewire_db::Migration;

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0008_fleet",
    up: &[
        // The config comes last: a long one continues on other pages. It is kept as it was sent, so
        // that its tag is the same on every engine.
        "CREATE TABLE fleet_versions (
            tenant {id} NOT NULL,
            version {int} NOT NULL,
            etag {id} NOT NULL,
            labels {text} NOT NULL,
            gate {id},
            author {text} NOT NULL,
            note {text},
            rollback_of {int},
            created_at {time} NOT NULL,
            config {text} NOT NULL,
            PRIMARY KEY (tenant, version)
        ) {clustered}",
        "CREATE TABLE fleet_changes (
            tenant {id} NOT NULL,
            revision {int} NOT NULL,
            version {int},
            percent {int},
            agent_id {id},
            author {text},
            created_at {time} NOT NULL,
            PRIMARY KEY (tenant, revision)
        ) {clustered}",
        "CREATE INDEX fleet_changes_by_version ON fleet_changes (tenant, version, percent)",
        "CREATE TABLE fleet_agents (
            tenant {id} NOT NULL,
            agent_id {id} NOT NULL,
            id {id} NOT NULL,
            is_server {int} NOT NULL,
            name {text},
            labels {text} NOT NULL,
            registered_at {time} NOT NULL,
            last_seen_at {time},
            attempt_version {int},
            attempt_state {id},
            attempt_error {text},
            attempt_at {time},
            running_version {int},
            PRIMARY KEY (tenant, agent_id)
        ) {churning}",
        "CREATE UNIQUE INDEX fleet_agents_by_age ON fleet_agents (tenant, is_server, id)",
        "CREATE TABLE fleet_schemas (
            tenant {id} NOT NULL,
            saved_at {time} NOT NULL,
            json_schema {text} NOT NULL,
            PRIMARY KEY (tenant)
        ) {clustered}",
    ],
}];
