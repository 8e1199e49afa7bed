//! The tables of sites. See [`crate::store`] for what each is for.

use tidewire_db::Migration;

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0007_sites",
    up: &[
        "CREATE TABLE sites (
            tenant {id} NOT NULL,
            site_id {id} NOT NULL,
            id {id} NOT NULL,
            kind {id} NOT NULL,
            state {id} NOT NULL,
            created_at {time} NOT NULL,
            updated_at {time} NOT NULL,
            base_url {text} NOT NULL,
            sealed_key {text} NOT NULL,
            name {text},
            state_reason {text},
            PRIMARY KEY (tenant, site_id)
        ) {clustered}",
        "CREATE UNIQUE INDEX sites_by_age ON sites (tenant, id)",
        "CREATE TABLE site_leases (
            tenant {id} NOT NULL,
            site_id {id} NOT NULL,
            job_id {id} NOT NULL,
            token {id} NOT NULL,
            until {time} NOT NULL,
            PRIMARY KEY (tenant, site_id)
        ) {churning}",
        // `mark` is how far is known, `progress` where the window is that is being read.
        "CREATE TABLE site_resources (
            tenant {id} NOT NULL,
            site_id {id} NOT NULL,
            resource {id} NOT NULL,
            mark {int},
            started_at {time},
            finished_at {time},
            progress {text},
            report {text},
            error {text},
            PRIMARY KEY (tenant, site_id, resource)
        ) {churning}",
        "CREATE TABLE touches (
            tenant {id} NOT NULL,
            subject {key} NOT NULL,
            occurred_at {time} NOT NULL,
            pos {int} NOT NULL,
            event_id {id} NOT NULL,
            utm_source {text} NOT NULL,
            PRIMARY KEY (tenant, subject, occurred_at, pos)
        ) {clustered}",
    ],
}];
