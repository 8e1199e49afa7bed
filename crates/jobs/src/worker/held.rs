//! What this worker holds, for its heartbeats.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::model::ClaimedJob;

/// A job in this worker's hands.
pub(super) struct Holding {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub token: String,
    /// Fired when the job is not this worker's any more.
    pub lost: CancellationToken,
    since: Instant,
}

#[derive(Default)]
pub(super) struct Held {
    /// By the job's id, which is unique across tenants.
    jobs: Mutex<HashMap<Arc<str>, Arc<Holding>>>,
}

impl Held {
    pub(super) fn add(&self, claimed: &ClaimedJob) -> Arc<Holding> {
        let holding = Arc::new(Holding {
            tenant: Arc::clone(&claimed.job.tenant),
            id: claimed.job.id.as_str().into(),
            token: claimed.lease_token.clone(),
            lost: CancellationToken::new(),
            since: Instant::now(),
        });
        // One that expired here, unnoticed, and came back is another holding of the same job.
        self.lock()
            .insert(Arc::clone(&holding.id), Arc::clone(&holding));
        holding
    }

    pub(super) fn remove(&self, holding: &Holding) {
        let mut jobs = self.lock();
        if jobs
            .get(&holding.id)
            .is_some_and(|held| held.token == holding.token)
        {
            jobs.remove(&holding.id);
        }
    }

    pub(super) fn contains(&self, holding: &Holding) -> bool {
        self.lock()
            .get(&holding.id)
            .is_some_and(|held| held.token == holding.token)
    }

    pub(super) fn lose(&self, id: &str) {
        if let Some(holding) = self.lock().get(id) {
            holding.lost.cancel();
        }
    }

    /// What has been held for at least so long.
    pub(super) fn since(&self, least: Duration) -> Vec<Arc<Holding>> {
        let jobs = self.lock();
        let old = jobs
            .values()
            .filter(|holding| holding.since.elapsed() >= least);
        old.map(Arc::clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Holding>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
