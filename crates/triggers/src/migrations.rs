//! The tables of triggers. See [`crate::store`] for what each is for.

use tidewire_db::Migration;

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0004_triggers",
    up: &[
        "CREATE TABLE triggers (
            tenant {id} NOT NULL,
            id {id} NOT NULL,
            name {key} NOT NULL,
            type {id} NOT NULL,
            status {id} NOT NULL,
            config_id {id} NOT NULL,
            from_pos {int} NOT NULL,
            saved_at {time} NOT NULL,
            fired_until {time},
            next_run {time},
            created_at {time} NOT NULL,
            updated_at {time} NOT NULL,
            PRIMARY KEY (tenant, id)
        ) {churning}",
        // A webhook's URL has the id alone.
        "CREATE UNIQUE INDEX triggers_by_id ON triggers (id)",
        "CREATE INDEX triggers_by_type ON triggers (type, tenant, id)",
        // As it was sent: PostgreSQL's documents have other digits and spaces when they come back, and a
        // config that was good might not be any more.
        "CREATE TABLE trigger_configs (
            tenant {id} NOT NULL,
            id {id} NOT NULL,
            trigger_id {id},
            type {id} NOT NULL,
            created_at {time} NOT NULL,
            retired_at {time},
            config {text} NOT NULL,
            PRIMARY KEY (tenant, id)
        )",
        "CREATE INDEX trigger_configs_retired ON trigger_configs (retired_at, tenant, id)
            {where retired_at IS NOT NULL}",
        "CREATE TABLE trigger_schedules (
            tenant {id} NOT NULL,
            trigger_id {id} NOT NULL,
            fire_at {time} NOT NULL,
            id {id} NOT NULL,
            status {id} NOT NULL,
            attempt_count {int} NOT NULL,
            last_attempt_at {time},
            created_at {time} NOT NULL,
            updated_at {time} NOT NULL,
            PRIMARY KEY (tenant, trigger_id, fire_at)
        ) {churning}",
        "CREATE TABLE trigger_due (
            fire_at {time} NOT NULL,
            tenant {id} NOT NULL,
            trigger_id {id} NOT NULL,
            PRIMARY KEY (fire_at, tenant, trigger_id)
        ) {churning}",
        "CREATE TABLE executions (
            tenant {id} NOT NULL,
            id {id} NOT NULL,
            trigger_id {id},
            trigger_type {id} NOT NULL,
            config_id {id} NOT NULL,
            source {id} NOT NULL,
            execution_status {id} NOT NULL,
            is_test_run {int} NOT NULL,
            job_id {id} NOT NULL,
            scheduled_for {time},
            fired_at {time} NOT NULL,
            updated_at {time} NOT NULL,
            error_message {text},
            PRIMARY KEY (tenant, id)
        ) {churning}",
        "CREATE INDEX executions_by_trigger ON executions (tenant, trigger_id, id)",
        "CREATE TABLE executions_archive (
            tenant {id} NOT NULL,
            id {id} NOT NULL,
            trigger_id {id},
            trigger_type {id} NOT NULL,
            config_id {id} NOT NULL,
            source {id} NOT NULL,
            execution_status {id} NOT NULL,
            is_test_run {int} NOT NULL,
            job_id {id} NOT NULL,
            scheduled_for {time},
            fired_at {time} NOT NULL,
            updated_at {time} NOT NULL,
            error_message {text},
            PRIMARY KEY (tenant, id)
        ) {clustered}",
        "CREATE INDEX executions_archive_by_trigger ON executions_archive (tenant, trigger_id, id)",
        "CREATE TABLE execution_attempts (
            tenant {id} NOT NULL,
            execution_id {id} NOT NULL,
            attempt {int} NOT NULL,
            started_at {time} NOT NULL,
            duration_ms {int},
            response_status {int},
            response_body {text},
            error {text},
            PRIMARY KEY (tenant, execution_id, attempt)
        ) {clustered}",
        // An execution has one job and a job, which names its execution in `event_id`, one execution: a
        // table of these pairs would be a row more to write with each firing, and to delete.
        "CREATE VIEW idempotency_keys AS
            SELECT tenant, job_id, id AS event_id, fired_at AS created_at FROM executions
            UNION ALL
            SELECT tenant, job_id, id AS event_id, fired_at AS created_at FROM executions_archive",
        "CREATE TABLE trigger_outbox (
            shard {int} NOT NULL,
            id {id} NOT NULL,
            tenant {id} NOT NULL,
            trigger_id {id},
            trigger_type {id} NOT NULL,
            source {id} NOT NULL,
            fired_at {time} NOT NULL,
            job_id {id} NOT NULL,
            PRIMARY KEY (shard, id, tenant)
        ) {churning}",
        "CREATE TABLE trigger_relays (
            shard {int} NOT NULL PRIMARY KEY,
            holder {id},
            free_from {time} NOT NULL
        ) {churning}",
        "CREATE TABLE trigger_cursors (
            tenant {id} NOT NULL PRIMARY KEY,
            pos {int} NOT NULL,
            within {id},
            updated_at {time} NOT NULL
        ) {churning}",
        "CREATE TABLE trigger_spans (
            tenant {id} NOT NULL,
            config_id {id} NOT NULL,
            trigger_id {id} NOT NULL,
            from_pos {int} NOT NULL,
            until_pos {int} NOT NULL,
            PRIMARY KEY (tenant, config_id)
        ) {churning}",
        // An endpoint is longer than an index takes: its hash stands for it.
        "CREATE TABLE endpoint_circuits (
            tenant {id} NOT NULL,
            hash {bytes} NOT NULL,
            endpoint {text} NOT NULL,
            state {id} NOT NULL,
            failures {int} NOT NULL,
            retry_at {time},
            worker {id} NOT NULL,
            updated_at {time} NOT NULL,
            PRIMARY KEY (tenant, hash)
        ) {clustered}",
    ],
}];
