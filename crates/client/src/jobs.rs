//! Jobs: enqueue and look after them, and the protocol by which a worker takes and ends them.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    ClaimedJob, Client, Job, JobStatus, NewJob, Page, Pages, Result,
    model::{self, Claimed, JobsPage, Retried},
    retry::Repeat,
    transport::Call,
};

/// Which jobs a list shows; a field that is `None` does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    pub status: Option<JobStatus>,
    pub job_type: Option<String>,
    pub queue: Option<String>,
    /// Jobs a page, at most 500.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

/// What a worker asks for.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimRequest {
    /// The worker's name, as `locked_by` shows it.
    pub worker: String,
    /// Only these types; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Only these queues; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How long the server may hold the request until a job is due, at most 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u64>,
}

pub struct Jobs<'c>(pub(crate) &'c Client);

impl<'c> Jobs<'c> {
    /// Enqueues a job; returns after it is durable. Repeated on a lost answer only if it has an
    /// `idempotency_key`.
    pub async fn enqueue(&self, job: &NewJob) -> Result<Job> {
        let call = Call::post(self.0.url(&["v1", "jobs"])?, job)?;
        self.0
            .send(call, Repeat::keyed(job.idempotency_key.is_some()))
            .await
    }

    /// A job with its `attempts_log`.
    pub async fn get(&self, id: &str) -> Result<Job> {
        self.0
            .send(Call::get(self.0.url(&["v1", "jobs", id])?), Repeat::Always)
            .await
    }

    /// One page, newest first.
    pub async fn list(&self, query: &JobQuery) -> Result<Page<Job>> {
        let mut url = self.0.url(&["v1", "jobs"])?;
        model::asked(
            &mut url,
            &[
                ("status", query.status.map(JobStatus::as_str)),
                ("type", query.job_type.as_deref()),
                ("queue", query.queue.as_deref()),
            ],
        );
        model::paged(&mut url, query.limit, query.cursor.as_deref());
        let page: JobsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.jobs,
            next_cursor: page.next_cursor,
        })
    }

    /// The whole list, page by page.
    #[must_use]
    pub fn pages(&self, query: JobQuery) -> Pages<'c, Job> {
        let client = self.0;
        Pages::new(query.cursor.clone(), move |cursor| {
            let query = JobQuery {
                cursor,
                ..query.clone()
            };
            async move { client.jobs().list(&query).await }
        })
    }

    /// Cancels a pending or running job; a running one's worker loses its lease.
    pub async fn cancel(&self, id: &str) -> Result<Job> {
        self.act(id, "cancel", &Empty {}).await
    }

    /// Puts a failed or cancelled job back into its queue.
    pub async fn retry(&self, id: &str) -> Result<Job> {
        self.act(id, "retry", &Empty {}).await
    }

    /// Puts all failed jobs back, or those of a type or queue; returns how many.
    pub async fn retry_all(&self, job_type: Option<&str>, queue: Option<&str>) -> Result<u64> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
            job_type: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            queue: Option<&'a str>,
        }
        let call = Call::post(
            self.0.url(&["v1", "jobs", "retry"])?,
            &Body { job_type, queue },
        )?;
        let answer: Retried = self.0.send(call, Repeat::WhileRefused).await?;
        Ok(answer.retried)
    }

    /// Takes jobs that are due; waits for the first one up to `wait_seconds`.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>> {
        let mut call = Call::post(self.0.url(&["v1", "jobs", "claim"])?, request)?;
        call.held = Duration::from_secs(request.wait_seconds.unwrap_or(0));
        let claimed: Claimed = self.0.send(call, Repeat::WhileRefused).await?;
        Ok(claimed.jobs)
    }

    /// Says that the worker still has the job, and how far it is. A 409 means that it has not: stop working on it.
    pub async fn heartbeat(
        &self,
        id: &str,
        lease_token: &str,
        lease_seconds: Option<u64>,
        progress: Option<&RawValue>,
    ) -> Result<Job> {
        #[derive(Serialize)]
        struct Body<'a> {
            lease_token: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            lease_seconds: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            progress: Option<&'a RawValue>,
        }
        let call = Call::post(
            self.0.url(&["v1", "jobs", id, "heartbeat"])?,
            &Body {
                lease_token,
                lease_seconds,
                progress,
            },
        )?;
        self.0.send(call, Repeat::Always).await
    }

    /// Ends a job well. A 409 means that the lease was lost; a second try, after an answer that got
    /// lost, is answered with the job as it is.
    pub async fn complete(
        &self,
        id: &str,
        lease_token: &str,
        output: Option<&RawValue>,
    ) -> Result<Job> {
        #[derive(Serialize)]
        struct Body<'a> {
            lease_token: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            output: Option<&'a RawValue>,
        }
        self.act(
            id,
            "complete",
            &Body {
                lease_token,
                output,
            },
        )
        .await
    }

    /// Ends an attempt badly. The job is tried again after `retry_in` (the queue's backoff without
    /// it), unless its attempts are used up or `permanent` says that it is of no use.
    pub async fn fail(
        &self,
        id: &str,
        lease_token: &str,
        error: &str,
        retry_in: Option<Duration>,
        permanent: bool,
    ) -> Result<Job> {
        #[derive(Serialize)]
        struct Body<'a> {
            lease_token: &'a str,
            error: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            retry_in_seconds: Option<u64>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            permanent: bool,
        }
        // Whole seconds, rounded up: too late is fine, too early is what was not asked for.
        let retry_in_seconds =
            retry_in.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self.act(
            id,
            "fail",
            &Body {
                lease_token,
                error,
                retry_in_seconds,
                permanent,
            },
        )
        .await
    }

    /// Gives a job back unfinished: it is pending again at once, and the attempt does not count.
    pub async fn release(&self, id: &str, lease_token: &str) -> Result<Job> {
        #[derive(Serialize)]
        struct Body<'a> {
            lease_token: &'a str,
        }
        self.act(id, "release", &Body { lease_token }).await
    }

    async fn act<T: Serialize>(&self, id: &str, action: &str, body: &T) -> Result<Job> {
        let call = Call::post(self.0.url(&["v1", "jobs", id, action])?, body)?;
        self.0.send(call, Repeat::WhileRefused).await
    }
}

#[derive(Serialize)]
struct Empty {}
