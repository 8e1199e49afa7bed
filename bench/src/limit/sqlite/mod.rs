//! The limits on SQLite.

pub mod bare;
mod schema;
pub mod server;
mod writer;
