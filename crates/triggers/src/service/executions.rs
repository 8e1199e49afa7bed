//! Executions as people read them, and the one thing that they can do about one: try it again.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tidewire_core::ids;

use super::{Inner, Triggers};
use crate::{
    Error,
    model::{Execution, ExecutionStatus, Page, Pagination, RetentionStatus, Source},
    store::{ExecutionEntry, ExecutionFilter},
    summary::{self, ExecutionSummary},
};

/// Which executions a list shows; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct ExecutionQuery {
    pub trigger_id: Option<String>,
    pub execution_status: Option<ExecutionStatus>,
    pub source: Option<Source>,
    /// The active ones without it.
    pub retention_status: Option<RetentionStatus>,
    pub is_test_run: Option<bool>,
}

impl Triggers {
    /// A page of executions, newest first. Of an answer's body it shows the first 1,000 characters.
    pub async fn executions(
        &self,
        tenant: &str,
        query: ExecutionQuery,
        page: Page,
    ) -> Result<(Vec<Execution>, Pagination), Error> {
        if query
            .trigger_id
            .as_deref()
            .is_some_and(|id| !ids::is_id(id))
        {
            return Ok((Vec::new(), Pagination::of(page, 0)));
        }
        let filter = ExecutionFilter {
            trigger_id: query.trigger_id.as_deref(),
            status: query.execution_status,
            source: query.source,
            is_test_run: query.is_test_run,
            retention: query.retention_status.unwrap_or(RetentionStatus::Active),
            now: self.inner.fire.clock.now(),
        };
        let Inner { store, db, .. } = &*self.inner;
        let (entries, count) = store
            .list_executions(&mut db.read(), tenant, &filter, page)
            .await?;
        let executions = self.whole(tenant, entries, false).await?;
        Ok((executions, Pagination::of(page, count)))
    }

    /// An execution, active or archived.
    pub async fn execution(&self, tenant: &str, id: &str) -> Result<Execution, Error> {
        let entry = self.entry(tenant, id).await?;
        let mut whole = self.whole(tenant, vec![entry], true).await?;
        whole
            .pop()
            .ok_or_else(|| Error::NoSuchExecution(id.to_owned()))
    }

    /// How the executions of the last `hours` (48 without it) stand, active and archived ones.
    pub async fn execution_summary(
        &self,
        tenant: &str,
        hours: Option<u32>,
    ) -> Result<ExecutionSummary, Error> {
        let hours = summary::hours(hours)?;
        let Inner {
            store, db, fire, ..
        } = &*self.inner;
        let now = fire.clock.now();
        let from = now.minus(Duration::from_hours(hours.into()));
        let span = (from, now);
        let triggers = store.summarise(&mut db.read(), tenant, span).await?;
        let mut summary = summary::of(hours, from, triggers);
        let listed: Vec<_> = summary
            .triggers
            .iter()
            .filter_map(|trigger| trigger.trigger_id.as_deref())
            .collect();
        let mut names = store.names(&mut db.read(), tenant, &listed).await?;
        for trigger in &mut summary.triggers {
            trigger.name = trigger.trigger_id.as_ref().and_then(|id| names.remove(id));
        }
        Ok(summary)
    }

    /// Tries a failed execution again, with the config of its firing, as often as at first; an
    /// archived one becomes active again. The same as retrying its job: what comes back with the job
    /// is its follower's to do.
    pub async fn retry_execution(&self, tenant: &Arc<str>, id: &str) -> Result<Execution, Error> {
        let entry = self.entry(tenant, id).await?;
        let refused = |why: String| Error::NotRetriable {
            id: id.to_owned(),
            why,
        };
        let job = entry.job_id;
        match entry.status {
            ExecutionStatus::Failure => {}
            ExecutionStatus::Pending => {
                let why = format!("it has not ended, and its job `{job}` goes on by itself");
                return Err(refused(why));
            }
            ExecutionStatus::Success => {
                return Err(refused(
                    "it has succeeded: fire the trigger anew".to_owned(),
                ));
            }
        }
        let (jobs, of_tenant, of_job) = (
            self.inner.fire.jobs.clone(),
            Arc::clone(tenant),
            job.clone(),
        );
        let retried = self.inner.db.transact("executions.retry", move |tx| {
            let (jobs, tenant, job) = (jobs.clone(), Arc::clone(&of_tenant), of_job.clone());
            Box::pin(async move { jobs.retry_in(tx, &tenant, &job).await })
        });
        match retried.await {
            Ok(_) => self.execution(tenant, id).await,
            Err(tidewire_jobs::Error::NoSuchJob(_)) => {
                Err(refused(format!("its job `{job}` is gone")))
            }
            // Somebody else was faster.
            Err(tidewire_jobs::Error::WrongState { status, .. }) => {
                Err(refused(format!("its job `{job}` is {status} already")))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn entry(&self, tenant: &str, id: &str) -> Result<ExecutionEntry, Error> {
        let unknown = || Error::NoSuchExecution(id.to_owned());
        if !ids::is_id(id) {
            return Err(unknown());
        }
        let Inner {
            store, db, fire, ..
        } = &*self.inner;
        let now = fire.clock.now();
        let entry = store.execution(&mut db.read(), (tenant, id), now).await?;
        entry.ok_or_else(unknown)
    }

    /// Adds what is kept elsewhere: the payloads, which are the jobs', and the attempts.
    async fn whole(
        &self,
        tenant: &str,
        entries: Vec<ExecutionEntry>,
        with_bodies: bool,
    ) -> Result<Vec<Execution>, Error> {
        let Inner {
            store, db, fire, ..
        } = &*self.inner;
        let ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let jobs: Vec<_> = entries.iter().map(|entry| entry.job_id.as_str()).collect();
        let mut attempts = store
            .attempts(&mut db.read(), tenant, &ids, with_bodies)
            .await?;
        let jobs = fire.jobs.find(tenant, &jobs).await?;
        let tenant: Arc<str> = tenant.into();
        let whole = entries.into_iter().zip(jobs).map(|(entry, job)| {
            let attempts = attempts.remove(&entry.id).unwrap_or_default();
            let (job_id, payload) = match job {
                Some(job) => (Some(entry.job_id), job.payload),
                // Deleted in between, or by other hands than ours.
                None => (None, RawValue::NULL.to_owned()),
            };
            Execution {
                tenant: Arc::clone(&tenant),
                id: entry.id,
                trigger_id: entry.trigger_id,
                trigger_type: entry.kind,
                fired_at: entry.fired_at,
                payload,
                source: entry.source,
                execution_status: entry.status,
                error_message: entry.error,
                retention_status: entry.retention,
                is_test_run: entry.is_test_run,
                job_id,
                attempts,
                created_at: entry.fired_at,
            }
        });
        Ok(whole.collect())
    }
}

#[cfg(test)]
pub(crate) mod tests;
