//! The bare limits: what is left when everything that makes Tidewire useful is taken away. Neither is a product; they
//! bound what one could be.
//!
//! On SQLite, `sqlite::server` is axum in front of a group commit into Tidewire's tables and indexes, nothing else: no
//! validation, no tenants, no dedupe answers, no logs; `sqlite::bare` is SQLite alone. On PostgreSQL the limits are
//! bare SQL from this process, without HTTP: see `postgres`. Deliveries have a limit of their own, `posts`, which has no
//! store at all; `hyper_posts` is the same through an HTTP library. `unchanged` answers one header.

pub mod hyper_posts;
pub mod postgres;
pub mod posts;
pub mod sqlite;
pub mod unchanged;

/// As long as a ULID and growing with time; nobody needs it to be unguessable here.
pub fn sortable_id(number: u64) -> String {
    format!("{number:026}")
}

pub fn first_id() -> u64 {
    let millis = chrono::Utc::now().timestamp_millis();
    u64::try_from(millis)
        .unwrap_or_default()
        .saturating_mul(1_000_000)
}
