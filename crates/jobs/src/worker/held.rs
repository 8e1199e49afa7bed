//! What this worker holds, for its heartbeats.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    board::LaneKey,
    lanes::{Grant, Report, Says},
    lease::Proof,
    state::State,
};

/// A job in this worker's hands.
pub(super) struct Holding {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    secret: Arc<str>,
    /// The job as it was claimed.
    pub claimed: Arc<State>,
    /// Fired when the job is not this worker's any more.
    pub lost: CancellationToken,
    since: Instant,
    /// When it last said how far it is.
    said: Mutex<Option<Instant>>,
}

#[derive(Default)]
pub(super) struct Held {
    /// By the job's id, which is unique across tenants.
    jobs: Mutex<HashMap<Arc<str>, Arc<Holding>>>,
}

impl Held {
    pub(super) fn add(&self, granted: &[Grant]) -> Vec<Arc<Holding>> {
        let holdings: Vec<_> = granted
            .iter()
            .map(|grant| Arc::new(Holding::new(grant)))
            .collect();
        let mut jobs = self.lock();
        for holding in &holdings {
            // One that expired here, unnoticed, and came back is another holding of the same job.
            jobs.insert(Arc::clone(&holding.id), Arc::clone(holding));
        }
        holdings
    }

    /// Forgets these; how many they are.
    pub(super) fn remove<'h>(&self, holdings: impl IntoIterator<Item = &'h Arc<Holding>>) -> usize {
        let mut jobs = self.lock();
        let mut count = 0;
        for holding in holdings {
            count += 1;
            if jobs
                .get(&holding.id)
                .is_some_and(|held| Arc::ptr_eq(held, holding))
            {
                jobs.remove(&holding.id);
            }
        }
        count
    }

    pub(super) fn contains(&self, holding: &Arc<Holding>) -> bool {
        self.lock()
            .get(&holding.id)
            .is_some_and(|held| Arc::ptr_eq(held, holding))
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

impl Holding {
    fn new(grant: &Grant) -> Self {
        let state = Arc::new(state(grant));
        Holding {
            tenant: Arc::clone(&state.lane.tenant),
            id: Arc::clone(&state.id),
            secret: Arc::clone(&grant.secret),
            claimed: state,
            lost: CancellationToken::new(),
            since: Instant::now(),
            said: Mutex::default(),
        }
    }

    /// Whether it has said nothing for so long; it says something now.
    pub(super) fn may_say(&self, every: Duration) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let may = said.is_none_or(|last| last.elapsed() >= every);
        if may {
            *said = Some(Instant::now());
        }
        may
    }

    pub(super) fn report(&self, says: Says) -> Report {
        Report {
            tenant: Arc::clone(&self.tenant),
            id: Arc::clone(&self.id),
            proof: Proof::Secret(Arc::clone(&self.secret)),
            says,
            wants_job: false,
            claimed: Some(Arc::clone(&self.claimed)),
        }
    }
}

fn state(grant: &Grant) -> State {
    let job = &grant.job;
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
        secret: Some(Arc::clone(&grant.secret)),
        locked_at: job.locked_at,
        locked_by: job.locked_by.as_deref().map(Arc::from),
        started_at: job.started_at,
        finished_at: job.finished_at,
        last_error: job.last_error.clone(),
        followed: job.followed.clone(),
        reserved: None,
    }
}
