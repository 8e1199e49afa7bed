//! The role that syncs: runs the jobs of type `site.sync`, in slots of its own, so that other jobs do
//! not wait for other people's servers.

use std::{sync::Arc, time::Instant};

use tidewire_core::name;
use tidewire_db::BoxFuture;
use tidewire_jobs::{Failure, JobContext, Output, Processor, Processors, Worker, WorkerOptions};
use tokio::time::Duration;
use url::Url;

use crate::{
    Error, SYNC, Sites,
    metrics::{self, InFlight},
    model::{Report, SyncOutput, SyncPayload},
    service::{Inner, covered},
    source::{Resource, Source},
    store::{ResourceRow, SiteRow},
    sync::{Ended, Hold, Run, SourceFault, fault::Why},
};

/// When a sync comes again whose site is another's at the moment.
const BUSY: Duration = Duration::from_millis(300);
/// What is waited at most because a source wants to be left alone.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Makes the role; of `options` all holds but the concurrency, which is that of the sites' settings.
#[must_use]
pub fn sync_worker(sites: &Sites, options: WorkerOptions) -> Worker {
    let inner = Arc::clone(&sites.inner);
    let options = WorkerOptions {
        concurrency: inner.settings.concurrency,
        ..options
    };
    let jobs = inner.jobs.clone();
    let mut processors = Processors::new();
    processors.register(SYNC, Syncing { inner });
    Worker::new(jobs, processors, options)
}

struct Syncing {
    inner: Arc<Inner>,
}

impl Processor for Syncing {
    fn process(&self, job: JobContext) -> BoxFuture<'_, Result<Output, Failure>> {
        Box::pin(async move {
            let _running = InFlight::sync();
            let ended = tokio::select! {
                biased;
                () = job.lost().cancelled() => Err(Failure::new("the job is not this attempt's any more")),
                ended = Box::pin(self.inner.sync(&job)) => ended,
            };
            metrics::synced(if ended.is_ok() { "done" } else { "ended_early" });
            self.inner.ended.notify_waiters();
            ended
        })
    }
}

/// A site that a job has in its hands.
struct InHand<'a> {
    job: &'a JobContext,
    hold: Arc<Hold>,
    row: SiteRow,
    source: Arc<Source>,
}

impl Inner {
    async fn sync(self: &Arc<Self>, job: &JobContext) -> Result<Output, Failure> {
        let payload: SyncPayload = job.payload()?;
        let site = &payload.site_id;
        // Not every engine compares an id with what cannot be one.
        name::check(site, name::ID_MAX).map_err(lasting)?;
        let taken = self.take(job.tenant(), site, &job.job().id).await;
        let (hold, row) = taken.map_err(|ended| failure(site, ended))?;
        let synced = self.sync_held(job, &hold, row, &payload).await;
        self.let_go(&hold).await;
        Output::json(&synced?)
    }

    async fn sync_held(
        self: &Arc<Self>,
        job: &JobContext,
        hold: &Arc<Hold>,
        row: SiteRow,
        payload: &SyncPayload,
    ) -> Result<SyncOutput, Failure> {
        let source = self.source(&row.site.kind).map_err(lasting)?;
        let resources = wanted(&source, payload)?;
        let in_hand = InHand {
            job,
            hold: Arc::clone(hold),
            row,
            source: Arc::clone(&source),
        };
        let until = Instant::now() + self.settings.turn;
        let mut output = SyncOutput::default();
        for resource in &resources {
            let report = self.sync_list(&in_hand, resource, until, &output).await?;
            output.syncs.push(report);
        }
        Ok(output)
    }

    async fn sync_list(
        self: &Arc<Self>,
        in_hand: &InHand<'_>,
        resource: &Arc<Resource>,
        until: Instant,
        before: &SyncOutput,
    ) -> Result<Report, Failure> {
        let InHand {
            job,
            hold,
            row,
            source,
        } = in_hand;
        let (tenant, site) = (job.tenant(), &*hold.site);
        let known = self
            .store
            .resources(&mut self.db.read(), tenant, site)
            .await;
        let known = known.map_err(|error| failure(site, error.into()))?;
        let known = known.into_iter().find(|row| row.resource == resource.name);
        let known = known.unwrap_or_else(|| ResourceRow {
            resource: resource.name.clone(),
            ..ResourceRow::default()
        });
        if let Some(report) = covered(&known, job.job().created_at) {
            return Ok(report);
        }
        let base = Url::parse(&row.site.base_url).map_err(lasting)?;
        let key = self
            .keys
            .open(tenant, site, &row.sealed_key)
            .map_err(lasting)?;
        let asker = self.asker(source, site, base, &key);
        let tell = |report: Report| -> BoxFuture<'_, ()> {
            let mut said = before.clone();
            said.syncs.push(report);
            Box::pin(async move { job.progress(&said).await })
        };
        let run = Run {
            inner: self,
            hold,
            asker: &asker,
            resource,
            until,
            tell: &tell,
        };
        match Box::pin(run.run(&known)).await {
            Ok(report) => {
                tracing::info!(
                    site,
                    resource = resource.name,
                    pages = report.pages,
                    fetched = report.fetched,
                    inserted = report.inserted,
                    skipped = report.skipped,
                    "synced"
                );
                Ok(report)
            }
            Err(Ended::Source(fault)) => {
                tracing::warn!(site, %fault, "a sync ended early");
                if let Err(error) = self.note(hold, resource, &fault).await {
                    tracing::warn!(site, %error, "why a sync ended early was not noted");
                }
                Err(failure(site, fault.into()))
            }
            Err(ended) => Err(failure(site, ended)),
        }
    }
}

/// The lists that a job is for, in their order.
fn wanted(source: &Source, payload: &SyncPayload) -> Result<Vec<Arc<Resource>>, Failure> {
    let Some(names) = &payload.resources else {
        return Ok(source.resources.clone());
    };
    let named = names.iter().map(|name| {
        let resource = source.resource(name).cloned();
        resource.ok_or_else(|| {
            lasting(Error::NoSuchResource {
                site: payload.site_id.clone(),
                resource: name.clone(),
                known: source.names().join(", "),
            })
        })
    });
    named.collect()
}

fn lasting(error: impl std::fmt::Display) -> Failure {
    Failure::new(error).permanent()
}

/// What is said of an attempt that ended early.
fn failure(site: &str, ended: Ended) -> Failure {
    match ended {
        Ended::Busy | Ended::Lost => Failure::not_now(ended, BUSY),
        Ended::Turn => Failure::not_now(ended, Duration::ZERO),
        Ended::Gone => lasting(Error::NoSuchSite(site.to_owned())),
        Ended::Stopped { .. } => lasting(ended),
        Ended::Source(fault) => of_source(&fault),
        Ended::Store(error) => {
            // Its words are the driver's, and jobs are shown.
            tracing::warn!(site, %error, "a sync could not be written");
            Failure::new("the store could not take it: the server's log has more")
        }
    }
}

fn of_source(fault: &SourceFault) -> Failure {
    match &fault.why {
        Why::Passing(_) => Failure::new(fault),
        Why::TooMany(_, wait) => {
            let wait = wait.unwrap_or(Duration::from_secs(1)).min(LONGEST_WAIT);
            Failure::not_now(fault, wait)
        }
        Why::Refused(_) | Why::Misplaced(_) | Why::Lasting(_) | Why::Forbidden(_) => lasting(fault),
    }
}
