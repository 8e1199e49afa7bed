//! What this worker holds, for its heartbeats.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{board::LaneKey, model::ClaimedJob, state::State};

/// A job in this worker's hands.
pub(super) struct Holding {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub token: String,
    /// The job as it was claimed.
    pub claimed: Arc<State>,
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
        let state = Arc::new(state(claimed));
        let holding = Arc::new(Holding {
            tenant: Arc::clone(&state.lane.tenant),
            id: Arc::clone(&state.id),
            token: claimed.lease_token.clone(),
            claimed: state,
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

fn state(claimed: &ClaimedJob) -> State {
    let job = &claimed.job;
    State {
        id: job.id.as_str().into(),
        lane: LaneKey::new(
            Arc::clone(&job.tenant),
            job.queue.as_str(),
            job.kind.as_str(),
            job.priority,
        ),
        status: job.status,
        run_at: job.run_at,
        attempts: job.attempts,
        max_attempts: job.max_attempts,
        // Not in the claim, and of use to failures only.
        budget: job.max_attempts,
        timeout: job
            .timeout_seconds
            .map(|seconds| Duration::from_secs(seconds.into())),
        token: Some(claimed.lease_token.clone()),
        locked_at: job.locked_at,
        locked_by: job.locked_by.clone(),
        started_at: job.started_at,
        finished_at: job.finished_at,
        last_error: job.last_error.clone(),
    }
}
