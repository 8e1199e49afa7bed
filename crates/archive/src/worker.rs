//! What runs in the background: the jobs by which archives are made, checked and put back, and the
//! archiver that makes such jobs on a schedule.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::value::to_raw_value;
use tidewire_access::PageOf;
use tidewire_core::{Time, duration};
use tidewire_jobs::{Enqueued, Failure, JobContext, NewJob, Output, Processors};
use tokio_util::sync::CancellationToken;

use crate::{Archives, Error, RestoreRequest, RunRequest, VerifyRequest, metrics, progress::Meter};

pub const RUN: &str = "archive.run";
pub const VERIFY: &str = "archive.verify";
pub const RESTORE: &str = "archive.restore";

/// A day, which is the longest that an attempt may run; the next goes on where it was.
const TIMEOUT: Duration = Duration::from_hours(24);
const ATTEMPTS: u32 = 10;
/// How often readers are told of what came back.
const SETTLE_EVERY: Duration = Duration::from_secs(30);
/// How often a job tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Archives {
    /// Adds the processors of this room.
    pub fn register(&self, processors: &mut Processors) {
        let archives = self.clone();
        processors.register(RUN, move |job| {
            let archives = archives.clone();
            async move { archives.do_run(job).await }
        });
        let archives = self.clone();
        processors.register(VERIFY, move |job| {
            let archives = archives.clone();
            async move { archives.do_verify(job).await }
        });
        let archives = self.clone();
        processors.register(RESTORE, move |job| {
            let archives = archives.clone();
            async move { archives.do_restore(job).await }
        });
    }

    async fn do_run(&self, job: JobContext) -> Result<Output, Failure> {
        let wanted = job.payload::<RunRequest>()?.check().map_err(permanent)?;
        let meter = Arc::default();
        let tenant = Arc::clone(job.tenant());
        let running = Box::pin(self.run(&tenant, &wanted, &meter));
        told(&job, &meter, RUN, running).await
    }

    async fn do_verify(&self, job: JobContext) -> Result<Output, Failure> {
        let VerifyRequest { repair } = job.payload()?;
        let meter = Arc::default();
        told(&job, &meter, VERIFY, Box::pin(self.verify(repair, &meter))).await
    }

    async fn do_restore(&self, job: JobContext) -> Result<Output, Failure> {
        let (stream, from) = job
            .payload::<RestoreRequest>()?
            .check()
            .map_err(permanent)?;
        let meter = Arc::<Meter>::default();
        let tenant = Arc::clone(job.tenant());
        let restoring = Box::pin(self.restore(&tenant, &stream, from, &meter));
        told(&job, &meter, RESTORE, restoring).await
    }

    /// Makes a job of this room's.
    pub(crate) async fn enqueue(
        &self,
        tenant: &Arc<str>,
        kind: &str,
        payload: &impl Serialize,
        once: Option<String>,
    ) -> Result<Enqueued, Error> {
        let broken = |error: serde_json::Error| tidewire_db::Error::Broken(error.to_string());
        let mut job = NewJob::new(kind)
            .payload(to_raw_value(payload).map_err(broken)?)
            .timeout(TIMEOUT)
            .max_attempts(ATTEMPTS);
        if let Some(key) = once {
            job = job.idempotency_key(key);
        }
        Ok(self.inner.jobs.enqueue(tenant, job).await?)
    }

    /// The role of the archiver: looks for what is old enough at each tick, and tells readers of what came
    /// back. Any number of processes may do it.
    pub async fn keep_archiving(&self, stop: CancellationToken) {
        let schedule = async {
            let Some(age) = self.inner.settings.older_than else {
                return std::future::pending().await;
            };
            loop {
                if let Err(error) = self.tick(age).await {
                    tracing::warn!(%error, "what is old was not looked for, it will be tried again");
                }
                tokio::time::sleep(self.inner.settings.every).await;
            }
        };
        let settle = async {
            loop {
                tokio::time::sleep(SETTLE_EVERY).await;
                if let Err(error) = self.settle().await {
                    tracing::warn!(%error, "readers were not told of restored events, it will be tried again");
                }
            }
        };
        let both = Box::pin(async {
            let _: ((), ()) = tokio::join!(schedule, settle);
        });
        stop.run_until_cancelled(both).await;
    }

    /// Makes a job for every tenant that has something so old, once a tick however many processes do.
    pub(crate) async fn tick(&self, age: Duration) -> Result<(), Error> {
        let settings = &self.inner.settings;
        let now = self.inner.clock.now();
        let tick = now.micros()
            / i64::try_from(settings.every.as_micros())
                .unwrap_or(i64::MAX)
                .max(1);
        let request = RunRequest {
            all: true,
            older_than: Some(duration::format(age)),
            trim: settings.trim,
            gather: true,
            ..RunRequest::default()
        };
        let mut cursor = None;
        loop {
            let page = PageOf {
                limit: None,
                cursor,
            };
            let tenants = self.inner.access.tenants(&page).await;
            let tenants = tenants.map_err(tidewire_core::Problem::from)?;
            for tenant in &tenants.items {
                let tenant = tenant.id.as_str().into();
                if self.has_old(&tenant, now.minus(age)).await? {
                    let once = Some(format!("archive/{tick}"));
                    self.enqueue(&tenant, RUN, &request, once).await?;
                }
            }
            cursor = tenants.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether the oldest event of a tenant that is in the store was there by then.
    async fn has_old(&self, tenant: &Arc<str>, by: Time) -> Result<bool, Error> {
        let oldest = self.inner.events.oldest_stored(tenant).await?;
        Ok(oldest.is_some_and(|at| at <= by))
    }
}

/// What was asked for, while how far it is is told now and then and at its end.
async fn told<T: Serialize>(
    job: &JobContext,
    meter: &Meter,
    kind: &'static str,
    mut work: impl Future<Output = Result<T, Error>> + Unpin,
) -> Result<Output, Failure> {
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            // What was begun is left as it is, and goes on with the next attempt.
            () = job.lost().cancelled() => return Err(Failure::new("the job is another worker's")),
            () = tokio::time::sleep(TELL_EVERY) => job.progress(&meter.shown()).await,
        }
    };
    job.progress(&meter.shown()).await;
    match done {
        Ok(report) => Output::json(&report),
        Err(error) => {
            metrics::failed(kind);
            Err(match error.is_permanent() {
                true => Failure::new(error).permanent(),
                false => Failure::new(error),
            })
        }
    }
}

fn permanent(problem: tidewire_core::Problem) -> Failure {
    Failure::new(format!("the payload does not fit: {}", problem.detail)).permanent()
}
