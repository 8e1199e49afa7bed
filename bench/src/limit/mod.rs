//! The bare limits: what is left when everything that makes Tidewire useful is taken away.
//!
//! `server` is axum in front of a group commit into Tidewire's tables and indexes, nothing else: no validation, no
//! tenants, no dedupe answers, no logs. `bare` is SQLite alone. Neither is a product; they bound what one could be.

pub mod bare;
mod schema;
pub mod server;
mod writer;
