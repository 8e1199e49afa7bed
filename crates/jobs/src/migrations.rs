//! The tables of jobs. See [`crate::store`] for what each is for.

use tidewire_db::Migration;

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0003_jobs",
    up: &[
        // The payload comes last: a long one continues on other pages, and what stands behind it
        // could only be read by walking them.
        //
        // No index has a column, in its key or in its condition, that a job's life changes: a row is
        // updated three times, and PostgreSQL spares its indexes only then.
        "CREATE TABLE jobs (
            tenant {id} NOT NULL,
            id {id} NOT NULL,
            type {id} NOT NULL,
            queue {id} NOT NULL,
            status {id} NOT NULL,
            priority {int} NOT NULL,
            run_at {time} NOT NULL,
            attempts {int} NOT NULL,
            max_attempts {int} NOT NULL,
            budget {int} NOT NULL,
            timeout_seconds {int},
            idempotency_key {key},
            event_id {id},
            followed_by {id},
            followed_as {text},
            reserved_for {id},
            reserved_until {time},
            locked_at {time},
            locked_by {id},
            lease_secret {id},
            created_at {time} NOT NULL,
            updated_at {time} NOT NULL,
            started_at {time},
            finished_at {time},
            last_error {text},
            payload {json} NOT NULL,
            PRIMARY KEY (tenant, id)
        ) {churning}",
        "CREATE UNIQUE INDEX jobs_idempotency_key ON jobs (tenant, idempotency_key)
            {where idempotency_key IS NOT NULL}",
        "CREATE TABLE job_given_up (
            tenant {id} NOT NULL,
            status {id} NOT NULL,
            id {id} NOT NULL,
            type {id} NOT NULL,
            queue {id} NOT NULL,
            PRIMARY KEY (tenant, status, id)
        ) {clustered}",
        "CREATE TABLE job_queue (
            tenant {id} NOT NULL,
            queue {id} NOT NULL,
            type {id} NOT NULL,
            priority {int} NOT NULL,
            run_at {time} NOT NULL,
            id {id} NOT NULL,
            PRIMARY KEY (tenant, queue, type, priority, run_at, id)
        ) {churning}",
        "CREATE TABLE job_reservations (
            tenant {id} NOT NULL,
            worker {id} NOT NULL,
            queue {id} NOT NULL,
            type {id} NOT NULL,
            priority {int} NOT NULL,
            run_at {time} NOT NULL,
            id {id} NOT NULL,
            held_until {time} NOT NULL,
            PRIMARY KEY (tenant, worker, queue, type, priority, run_at, id)
        ) {churning}",
        // No index on expires_at: every heartbeat would move an entry of it, and the table holds
        // only what runs. The queue leads, so that a limit is one range to count.
        "CREATE TABLE job_leases (
            tenant {id} NOT NULL,
            queue {id} NOT NULL,
            id {id} NOT NULL,
            secret {id} NOT NULL,
            expires_at {time} NOT NULL,
            PRIMARY KEY (tenant, queue, id)
        ) {churning}",
        "CREATE TABLE job_limits (
            tenant {id} NOT NULL,
            queue {id} NOT NULL,
            PRIMARY KEY (tenant, queue)
        ) {clustered}",
        "CREATE TABLE job_attempts (
            tenant {id} NOT NULL,
            job_id {id} NOT NULL,
            attempt {int} NOT NULL,
            started_at {time},
            finished_at {time},
            outcome {id} NOT NULL,
            error {text},
            worker {id},
            PRIMARY KEY (tenant, job_id, attempt)
        ) {clustered}",
        "CREATE TABLE job_results (
            tenant {id} NOT NULL,
            job_id {id} NOT NULL,
            started_at {time},
            finished_at {time} NOT NULL,
            output_json {json} NOT NULL,
            PRIMARY KEY (tenant, job_id)
        ) {clustered}",
        "CREATE TABLE job_progress (
            tenant {id} NOT NULL,
            job_id {id} NOT NULL,
            said_at {time} NOT NULL,
            progress {json} NOT NULL,
            PRIMARY KEY (tenant, job_id)
        ) {churning}",
        "CREATE TABLE job_count_deltas (
            tenant {id} NOT NULL,
            id {id} NOT NULL,
            day {id} NOT NULL,
            jobs_done {int} NOT NULL,
            jobs_failed {int} NOT NULL,
            PRIMARY KEY (tenant, id)
        ) {churning}",
        "CREATE TABLE metrics_daily (
            tenant {id} NOT NULL,
            day {id} NOT NULL,
            jobs_done {int} NOT NULL,
            jobs_failed {int} NOT NULL,
            PRIMARY KEY (tenant, day)
        ) {clustered}",
    ],
}];
