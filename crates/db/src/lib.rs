//! The store's seam: connections, the dialect, the migrator, transactions and the writer.
//!
//! There are two doors to writing. A [`Lane`] takes typed operations one by one and applies what
//! has gathered as one batch ([`Batch`]); [`Db::transact`] runs any other closure in a transaction
//! of its own. On SQLite one task owns the writing connection: a round of all lanes is one
//! transaction and one fsync, and closures run between rounds. Nothing is answered before its
//! commit is durable. Reads go to a pool through [`Db::read`].
//!
//! Capabilities see [`Tx`], [`Reader`], [`Sql`] and [`Row`], never a driver's type. What differs
//! between engines is named in [`Dialect`]; no rule anywhere asks which engine it runs on.

mod args;
mod database;
mod dialect;
mod error;
mod lane;
mod migrate;
mod round;
mod row;
mod session;
mod sqlite;
mod tx;
mod url;

pub use args::Arg;
pub use database::{Db, Options};
pub use dialect::{Column, Dialect, JsonRows, Sql};
pub use error::{Error, Result};
pub use lane::{Batch, Lane};
pub use migrate::{Migration, MigrationReport};
pub use row::Row;
pub use tx::{Query, Reader, Tx};
pub use url::StoreUrl;

/// What a boxed closure of [`Db::transact`] returns.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;

/// HELP texts of this room's metrics.
pub fn describe_metrics() {
    use metrics::{Unit, describe_histogram};
    describe_histogram!(
        "tidewire_store_batch_size",
        "rows of one group commit, by lane"
    );
    describe_histogram!(
        "tidewire_store_batch_seconds",
        Unit::Seconds,
        "time from taking a batch up to its durable commit, by lane"
    );
}
