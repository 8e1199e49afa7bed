//! Jobs that were claimed for somebody who has gone away.

use std::{sync::Arc, time::Duration};

use tidewire_core::{Clock, Time};
use tidewire_db::Lane;
use tokio::time::Instant;

use super::{Report, Reports, Says};
use crate::{
    lease::{self, Proof},
    model::{ClaimedJob, Job},
};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// A job that was handed to a worker.
#[derive(Debug)]
pub(crate) struct Grant {
    pub job: Job,
    /// Of the claim; see [`crate::lease`].
    pub secret: Arc<str>,
    pub expires_at: Time,
}

impl Grant {
    pub(crate) fn into_claimed(self) -> ClaimedJob {
        ClaimedJob {
            lease_token: lease::token(&self.secret, &self.job.id),
            lease_expires_at: self.expires_at,
            job: self.job,
        }
    }

    /// Only what names it: the payload need not wait for a store that is away.
    fn release(self) -> Report {
        Report {
            tenant: self.job.tenant,
            id: self.job.id.into(),
            proof: Proof::Secret(self.secret),
            says: Says::Release(None),
            wants_job: false,
            claimed: None,
        }
    }
}

/// Jobs that were claimed. Until they are taken, dropping them gives them back: that happens when
/// the one who asked has gone away before the answer was there, and when the connection to the store
/// broke while the claim was being committed, which may have arrived or not.
#[derive(Default)]
pub(crate) struct Claimed {
    grants: Vec<Grant>,
    home: Option<Home>,
}

/// Where claimed jobs go back to.
#[derive(Clone)]
pub(crate) struct Home {
    pub reports: Lane<Reports>,
    pub clock: Clock,
}

impl Claimed {
    pub(super) fn new(grants: Vec<Grant>, home: Home) -> Self {
        Claimed {
            grants,
            home: Some(home),
        }
    }

    pub(crate) fn take(mut self) -> Vec<Grant> {
        std::mem::take(&mut self.grants)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let grants = std::mem::take(&mut self.grants);
        let (Some(home), Ok(runtime)) = (self.home.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let Some(expires_at) = grants.iter().map(|grant| grant.expires_at).max() else {
            return;
        };
        let end = Instant::now() + expires_at.since(home.clock.now());
        let back = grants.into_iter().map(Grant::release).collect();
        runtime.spawn(give_back(home.reports, back, end));
    }
}

/// Tries until the leases have run out, and with them the need. What is refused is somebody else's,
/// or was never committed.
async fn give_back(reports: Lane<Reports>, back: Vec<Report>, end: Instant) {
    let mut pause = RETRY_FIRST;
    loop {
        let Err(error) = reports.submit(back.clone()).await else {
            return;
        };
        let again = Instant::now() + pause;
        if !error.is_unavailable() || again >= end {
            tracing::warn!(%error, jobs = back.len(), "jobs that nobody took were left to their leases");
            return;
        }
        tokio::time::sleep_until(again).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}
