//! The tables of threads. See [`crate::store`] for what each is for.

use tidewire_db::Migration;

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0005_threads",
    up: &[
        "CREATE TABLE threads (
            tenant {id} NOT NULL,
            thread_id {id} NOT NULL,
            id {id} NOT NULL,
            idle_timeout_seconds {int} NOT NULL,
            created_at {time} NOT NULL,
            PRIMARY KEY (tenant, thread_id)
        ) {clustered}",
        "CREATE UNIQUE INDEX threads_by_age ON threads (tenant, id)",
        // The input comes last: a long one continues on other pages.
        "CREATE TABLE turns (
            tenant {id} NOT NULL,
            thread_id {id} NOT NULL,
            turn_id {id} NOT NULL,
            id {id} NOT NULL,
            status {id} NOT NULL,
            agent {id},
            job_id {id},
            worker {id},
            seq {int} NOT NULL,
            ended_seq {int},
            created_at {time} NOT NULL,
            started_at {time},
            finished_at {time},
            error {text},
            input {json},
            PRIMARY KEY (tenant, thread_id, turn_id)
        ) {churning}",
        "CREATE UNIQUE INDEX turns_by_age ON turns (tenant, thread_id, id)",
        "CREATE TABLE turns_open (
            tenant {id} NOT NULL,
            thread_id {id} NOT NULL,
            id {id} NOT NULL,
            turn_id {id} NOT NULL,
            job_id {id},
            waits {int} NOT NULL,
            PRIMARY KEY (tenant, thread_id, id)
        ) {churning}",
        "CREATE TABLE agent_leases (
            tenant {id} NOT NULL,
            worker {id} NOT NULL,
            agent {id},
            thread_id {id},
            key_id {id} NOT NULL,
            expires_at {time} NOT NULL,
            created_at {time} NOT NULL,
            PRIMARY KEY (tenant, worker)
        ) {churning}",
        // Of those without a thread there may be any number.
        "CREATE UNIQUE INDEX agent_leases_of_thread ON agent_leases (tenant, thread_id)",
        "CREATE UNIQUE INDEX agent_leases_by_age ON agent_leases (key_id)",
        "CREATE INDEX agent_leases_ended ON agent_leases (expires_at)",
        // Of a hot log that is apart.
        "CREATE TABLE hot_logs (
            name {id} NOT NULL,
            run {id} NOT NULL,
            generation {int} NOT NULL,
            PRIMARY KEY (name)
        ) {clustered}",
        "CREATE TABLE thread_blocks (
            tenant {id} NOT NULL,
            thread_id {id} NOT NULL,
            until_seq {int} NOT NULL,
            floor_seq {int} NOT NULL,
            generation {int} NOT NULL,
            PRIMARY KEY (tenant, thread_id)
        ) {clustered}",
        "CREATE TABLE thread_outbox (
            id {id} NOT NULL,
            tenant {id} NOT NULL,
            thread_id {id} NOT NULL,
            turn_id {id} NOT NULL,
            type {id} NOT NULL,
            payload {json} NOT NULL,
            PRIMARY KEY (id)
        ) {churning}",
    ],
}];
