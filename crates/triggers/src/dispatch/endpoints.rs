//! The endpoints that are not well, as every process can tell: the dispatching ones write what their
//! circuits say, here it is read.

use std::time::Duration;

use serde::Serialize;
use tidewire_core::Time;

use crate::{CircuitState, Error, Triggers};

/// A worker writes its circuits again after this time; what has not been written for three times as
/// long is that of a worker that is gone.
pub(super) const REFRESH: Duration = Duration::from_secs(30);
const STALE: Duration = Duration::from_secs(90);

/// Endpoints that are listed at most.
const MOST: u32 = 1_000;

/// An endpoint whose circuit is not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EndpointState {
    /// Its URL without the query.
    pub endpoint: String,
    pub circuit: CircuitState,
    /// Failures in a row that opened it.
    pub failures: u32,
    /// When an open circuit lets a probe through.
    #[schema(required)]
    pub retry_at: Option<Time>,
    /// The worker that says so.
    pub worker: String,
    /// When it last said so.
    pub updated_at: Time,
}

/// Rows that were last written before this are of nobody any more.
pub(super) fn stale(now: Time) -> Time {
    now.minus(STALE)
}

impl Triggers {
    /// The tenant's endpoints whose circuits are open or half open; one that is well is not listed.
    /// Of several workers, the one that wrote last is heard.
    pub async fn endpoints(&self, tenant: &str) -> Result<Vec<EndpointState>, Error> {
        let since = stale(self.inner.fire.clock.now());
        let store = &self.inner.store;
        Ok(store
            .circuits(&mut self.inner.db.read(), tenant, since, MOST)
            .await?)
    }
}
