//! A table that a test's follower writes into.

use tidewire_db::Migration;

pub(crate) const STEPS: Migration = Migration {
    id: "9999_steps",
    up: &[
        "CREATE TABLE steps (id {id} NOT NULL, job {id} NOT NULL, told {text} NOT NULL, PRIMARY KEY (id))",
    ],
};

pub(crate) const INSERT_STEP: &str = "INSERT INTO steps (id, job, told) VALUES (?, ?, ?)";
pub(crate) const STEPS_OF: &str = "SELECT told FROM steps WHERE job = ? ORDER BY id";
