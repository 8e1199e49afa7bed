//! What tests start: a store that goes away with them, servers, and an API on a free port. Real
//! engines and real sockets, no mocks. Development only.
//!
//! # One scenario, every engine
//!
//! A scenario that is about the store is written once, and becomes a test for each engine:
//!
//! ```
//! use tidewire_testkit::{Engine, TestStore, every_engine};
//! # const MIGRATIONS: &[tidewire_db::Migration] = &[];
//!
//! #[every_engine]
//! async fn a_note_is_kept(engine: Engine) {
//!     let store = TestStore::on(engine, MIGRATIONS).await;
//!     let store = store.reopen(MIGRATIONS).await;
//!     store.db.ping().await.unwrap();
//! }
//! ```
//!
//! The tests are called `a_note_is_kept::sqlite`, `a_note_is_kept::postgres` and
//! `a_note_is_kept::mysql`, so `cargo test postgres` runs one engine's. From `#[tokio::test]` it is
//! three words: the attribute, the parameter, and handing it to whatever opens the store. As with
//! `#[tokio::test]` the scenario has a thread of its own; `#[every_engine(multi_thread)]` gives it
//! several. What has a reason to leave engines out names those that it is for:
//! `#[every_engine(servers)]` for several processes on one store, `#[every_engine(postgres)]` for
//! what only one of them has.
//!
//! An engine that this machine does not have is left out with one line for each test program, and
//! its tests pass; with `TIDEWIRE_TEST_REQUIRE_ENGINES=1`, which `cargo xtask test` sets, they fail.
//!
//! # Faults
//!
//! - [`servers::Server`]: a server of the test's own, to stop, kill and start again;
//!   [`TestStore::on_server`] opens a store on it.
//! - [`Proxy`]: a way to a server that can be cut, held and closed; [`TestStore::through`] opens a
//!   store's database by it.
//! - [`servers::pgbouncer`]: PgBouncer in transaction mode; [`TestStore::pooled`] opens a store's
//!   database through it.
//! - [`TestStore::second`]: the same database once more, as another process has it.

mod app;
mod proxy;
mod run;
pub mod servers;
mod store;

pub use app::{Answer, TestApp};
pub use proxy::Proxy;
pub use run::{Threads, run_on};
pub use store::TestStore;
pub use tidewire_testkit_macros::every_engine;
pub use tidewire_testservers::Engine;

use std::{future::Future, time::Duration};

/// Asks again and again until `check` gives a value; panics with `what` when half a minute is over.
/// For effects that have no signal a test can wait on.
pub async fn eventually<T, F>(what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let patience = Duration::from_secs(30);
    let polled = tokio::time::timeout(patience, async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    polled
        .await
        .unwrap_or_else(|_| panic!("not within {patience:?}: {what}"))
}
