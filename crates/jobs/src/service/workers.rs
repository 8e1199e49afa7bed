//! What workers ask for, and what they say of the jobs that they hold.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Jobs;
use crate::{
    Error,
    board::{Filter, Waiter},
    bus::Wanted,
    lanes::{Claim, Claimed, Grant, PickUp, Refused, Report, Reported, Says},
    lease::Proof,
    model::{ClaimedJob, Job, check_progress, document, error_text},
};

/// What a worker asks for.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub filter: Filter,
    /// The worker's name, as `locked_by` shows it.
    pub worker: String,
    /// 1 to 500.
    pub limit: u32,
    /// How long to wait for the first job.
    pub wait: Duration,
    /// The server's setting without it.
    pub lease: Option<Duration>,
}

impl Jobs {
    /// Claims jobs that are due, waiting for the first one if there is none. For workers elsewhere:
    /// those of the server's own types are left out.
    pub async fn claim(&self, request: ClaimRequest) -> Result<Vec<ClaimedJob>, Error> {
        let end = Instant::now() + request.wait;
        let lease = request.lease.unwrap_or_else(|| self.settings().lease);
        let mut filter = request.filter;
        for kind in filter.types.iter().flatten() {
            self.check_open("/types", kind)?;
        }
        filter.except.clone_from(self.inner.room.followers.own());
        let filter = Arc::new(filter);
        let worker: Arc<str> = request.worker.into();
        let waiter = self.waiter(&filter, &worker);
        let clock = &self.inner.room.clock;
        loop {
            let poll = self.settings().poll_interval;
            let due = tokio::select! {
                due = waiter.due(clock, Some(end), poll) => due,
                () = self.inner.shutdown.cancelled() => false,
            };
            if !due {
                return Ok(Vec::new());
            }
            let granted = self
                .claim_now(&filter, &worker, request.limit, lease)
                .await?
                .take();
            if !granted.is_empty() || Instant::now() >= end {
                return Ok(granted.into_iter().map(Grant::into_claimed).collect());
            }
        }
    }

    pub(crate) async fn claim_now(
        &self,
        filter: &Arc<Filter>,
        worker: &Arc<str>,
        limit: u32,
        lease: Duration,
    ) -> Result<Claimed, Error> {
        let claim = Claim {
            filter: Arc::clone(filter),
            worker: Arc::clone(worker),
            limit,
            lease,
        };
        Ok(self.inner.claims.submit(claim).await?)
    }

    /// Claims those of these jobs that are as a bus has said, due or not. The others are somebody
    /// else's, are over, or will be found when they are due.
    pub(crate) async fn pick_up(
        &self,
        filter: &Arc<Filter>,
        worker: &Arc<str>,
        wanted: Vec<Wanted>,
        lease: Duration,
    ) -> Result<Claimed, Error> {
        let pick_up = PickUp {
            filter: Arc::clone(filter),
            worker: Arc::clone(worker),
            wanted,
            lease,
        };
        Ok(self.inner.pick_ups.submit(pick_up).await?)
    }

    pub(crate) fn waiter(&self, filter: &Arc<Filter>, worker: &Arc<str>) -> Waiter {
        let (filter, worker) = (Arc::clone(filter), Arc::clone(worker));
        self.inner.room.board.waiter(filter, worker)
    }

    /// Says that a worker still has a job, until when it wants it, and how far it is.
    pub async fn heartbeat(
        &self,
        tenant: &Arc<str>,
        id: &str,
        token: String,
        lease: Option<Duration>,
        progress: Option<Box<RawValue>>,
    ) -> Result<Job, Error> {
        if let Some(progress) = &progress {
            check_progress(progress)?;
        }
        let lease = lease.unwrap_or_else(|| self.settings().lease);
        let says = Says::Extend { lease, progress };
        self.report_job(tenant, id, token, says).await
    }

    /// Ends a job well. Once its claim is over, by this report or otherwise, it answers with the job as
    /// it is, and changes nothing; so do [`Jobs::fail`] and [`Jobs::release`].
    pub async fn complete(
        &self,
        tenant: &Arc<str>,
        id: &str,
        token: String,
        output: Option<Box<RawValue>>,
    ) -> Result<Job, Error> {
        if let Some(output) = &output {
            document("/output", output)?;
        }
        let output = output.filter(|output| output.get() != "null");
        let says = Says::Complete { output, note: None };
        self.report_job(tenant, id, token, says).await
    }

    /// Ends an attempt badly: the job is tried again after `retry_in` (the backoff without it),
    /// unless its attempts are used up or it is `permanent`.
    pub async fn fail(
        &self,
        tenant: &Arc<str>,
        id: &str,
        token: String,
        error: &str,
        retry_in: Option<Duration>,
        permanent: bool,
    ) -> Result<Job, Error> {
        let says = Says::Fail {
            error: error_text(error),
            retry_in,
            permanent,
            note: None,
        };
        self.report_job(tenant, id, token, says).await
    }

    /// Gives a job back unfinished: pending at once, and the attempt does not count.
    pub async fn release(&self, tenant: &Arc<str>, id: &str, token: String) -> Result<Job, Error> {
        self.report_job(tenant, id, token, Says::Release(None))
            .await
    }

    async fn report_job(
        &self,
        tenant: &Arc<str>,
        id: &str,
        token: String,
        says: Says,
    ) -> Result<Job, Error> {
        let report = Report {
            tenant: Arc::clone(tenant),
            id: id.into(),
            proof: Proof::Token(token),
            says,
            wants_job: true,
            claimed: None,
        };
        let reported = self.report(vec![report]).await?.pop();
        match reported {
            Some(Ok(Some(job))) => Ok(*job),
            Some(Err(Refused::Lost(why))) => Err(Error::LeaseLost {
                id: id.to_owned(),
                why,
            }),
            Some(Ok(None) | Err(Refused::Unknown)) | None => Err(Error::NoSuchJob(id.to_owned())),
        }
    }

    /// Hands reports in together; each is answered in its place.
    pub(crate) async fn report(&self, reports: Vec<Report>) -> Result<Vec<Reported>, Error> {
        Ok(self.inner.reports.submit(reports).await?)
    }
}
