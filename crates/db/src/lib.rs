//! The store's seam: connections, the dialect, the migrator, transactions and the writers.
//!
//! There are two doors to writing. A [`Lane`] takes typed operations one by one and applies what
//! has gathered as one batch ([`Batch`]); [`Db::transact`] runs any other closure in a transaction
//! of its own. On SQLite one task owns the writing connection: a round of all lanes is one
//! transaction and one fsync, and closures run between rounds. On PostgreSQL and MySQL each
//! [`Batch::WRITER`] has a task that writes rounds, closures run beside them, and any number of
//! processes share the store: batches hold the locks that their operations name ([`Batch::lock`])
//! and whatever the engine gave up on is run again. Nothing is answered before its commit is
//! durable. Reads go past the writers through [`Db::read`].
//!
//! Capabilities see [`Tx`], [`Reader`], [`Sql`] and [`Row`], never a driver's type. What differs
//! between engines is named in [`Dialect`]; no rule anywhere asks which engine it runs on.

mod args;
mod bind;
mod database;
mod dialect;
mod error;
mod hints;
mod lane;
mod migrate;
mod round;
mod row;
mod server;
mod session;
mod sql;
mod sqlite;
mod tx;
mod url;
mod writer;

pub use args::Arg;
pub use database::{Db, Options};
pub use dialect::{Column, Dialect, JsonRows};
pub use error::{Error, Result};
pub use hints::{Hint, Hints, Keep, Reach};
pub use lane::{Batch, Lane};
pub use migrate::{Migration, MigrationReport};
pub use row::Row;
pub use sql::Sql;
pub use tx::{Query, Reader, Tx};
pub use url::{ServerUrl, StoreUrl};

/// What a boxed closure of [`Db::transact`] returns.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;

/// HELP texts of this room's metrics.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        "tidewire_store_batch_size",
        "rows of one group commit, by lane"
    );
    describe_histogram!(
        "tidewire_store_batch_seconds",
        Unit::Seconds,
        "time from taking a batch up to its durable commit, by lane"
    );
    describe_counter!(
        "tidewire_store_retries_total",
        "transactions that were run again, after a deadlock or because another process came in between, by label"
    );
    describe_gauge!(
        "tidewire_store_waiting_rooms",
        "locks that somebody else holds and operations of this process wait for"
    );
}
