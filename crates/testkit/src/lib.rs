//! What tests start: a store in a folder that goes away with it, and an API on a free port. Real
//! engines and real sockets, no mocks. Development only.

mod app;
mod store;

pub use app::{Answer, TestApp};
pub use store::TestStore;

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
