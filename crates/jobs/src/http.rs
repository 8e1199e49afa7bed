//! The routes of jobs and of analytics.

mod analytics;
mod protocol;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;
use tidewire_access::{Answer, Request as Keyed, RequestKeys};
use tidewire_core::{Problem, Scope, Time, name, page};
use tidewire_events::Events;
use tidewire_http::{
    ApiError, Caller, DEFAULT_BODY_LIMIT, IdempotencyKey, Json, Path, Query, answers, body,
    media_type, parse,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Job, JobDetail, JobFilter, Jobs, NewJob, Status,
    model::{self, Enqueued},
    service::cursor_id,
};

const LIST: &str = "jobs";
const JSON: &str = "application/json";

/// The routes of jobs and of analytics, which count events too.
pub fn routes(jobs: Jobs, request_keys: RequestKeys, events: Events) -> OpenApiRouter {
    let enqueueing = OpenApiRouter::new()
        .routes(routes!(enqueue))
        .with_state((jobs.clone(), request_keys));
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(retry_all))
        .routes(routes!(get))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .merge(protocol::routes())
        .with_state(jobs.clone())
        .merge(enqueueing)
        .merge(analytics::routes(jobs, events))
}

/// A job to be enqueued.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewJob)]
#[serde(deny_unknown_fields)]
struct EnqueueBody {
    /// 1–255 characters of `[A-Za-z0-9._:-]`. Workers claim by it.
    #[serde(rename = "type")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[A-Za-z0-9._:-]+$",
        example = "echo"
    )]
    kind: String,
    /// Any JSON, at most 256 KiB; `{}` if it is missing.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// 1–128 characters of `[A-Za-z0-9._:-]`; `default` if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    queue: Option<String>,
    /// The lower one runs first; 0 if it is missing.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i32>,
    /// When it is due (RFC 3339); at once if it is missing.
    run_at: Option<Time>,
    /// Attempts after which it has failed; 3 if it is missing.
    #[schema(minimum = 1, maximum = 100)]
    max_attempts: Option<u32>,
    /// 1–255 characters. A second job of the tenant with the same key is the first one, as long as
    /// that one is kept.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    /// How long an attempt may run; the server's setting if it is missing.
    #[schema(minimum = 1, maximum = 86400)]
    timeout_seconds: Option<u32>,
    /// The event that it is about: 1–128 characters of `[A-Za-z0-9._:-]`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    event_id: Option<String>,
}

/// `null` is a payload too, so a field that is there is never taken for a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl From<EnqueueBody> for NewJob {
    fn from(body: EnqueueBody) -> Self {
        let new = NewJob::new(body.kind);
        NewJob {
            queue: body.queue.unwrap_or(new.queue),
            payload: body.payload.unwrap_or(new.payload),
            priority: body.priority.unwrap_or(new.priority),
            run_at: body.run_at,
            max_attempts: body.max_attempts.unwrap_or(new.max_attempts),
            idempotency_key: body.idempotency_key,
            timeout: body
                .timeout_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
            event_id: body.event_id,
            followed: None,
            reserved: None,
            kind: new.kind,
        }
    }
}

fn status_of(enqueued: &Enqueued) -> StatusCode {
    if enqueued.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

/// Enqueue a job.
///
/// Answered once the commit is durable. `idempotency_key` says that there is to be one such job;
/// the header `Idempotency-Key` says that this is the same request as before, and gives its answer
/// again for 24 hours, marked by the header `Idempotent-Replayed`.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "enqueueJob",
    params(("Idempotency-Key" = Option<String>, Header, description = "1–255 visible ASCII characters")),
    request_body(content = EnqueueBody, content_type = "application/json"),
    responses(
        (status = 201, description = "the job", body = Job),
        (status = 200, description = "the first job with this `idempotency_key`", body = Job),
        answers::Conflict,
        answers::KeyReused,
    )
)]
async fn enqueue(
    State((jobs, request_keys)): State<(Jobs, RequestKeys)>,
    Caller(principal): Caller,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    media_type(request.headers(), &[JSON])?;
    let bytes = body(request, DEFAULT_BODY_LIMIT).await?;
    let new = NewJob::from(parse::<EnqueueBody>(&bytes)?);
    new.check()?;
    jobs.check_open("/type", &new.kind)?;
    let tenant = principal.tenant;
    let Some(key) = key else {
        let enqueued = jobs.enqueue(&tenant, new).await?;
        return Ok((status_of(&enqueued), Json(enqueued.job)).into_response());
    };
    let request = Keyed {
        tenant: &tenant,
        route: "jobs.enqueue",
        key: Some(&key),
        body: &bytes,
    };
    let (owner, new) = (tenant.clone(), [new]);
    let answered = request_keys
        .run::<Error, _>(request, move |tx| {
            let (jobs, tenant, new) = (jobs.clone(), owner.clone(), new.clone());
            Box::pin(async move {
                let mut enqueued = jobs.enqueue_in(tx, &tenant, &new).await?;
                let enqueued = enqueued.pop().ok_or_else(nothing_enqueued)?;
                let status = status_of(&enqueued).as_u16();
                Ok(Answer::new(status, &enqueued.job)?)
            })
        })
        .await?;
    Ok(answered.into_response())
}

fn nothing_enqueued() -> Error {
    tidewire_db::Error::Broken("one job was enqueued and none came back".to_owned()).into()
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only jobs in this state.
    status: Option<Status>,
    /// Only jobs of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only jobs of this queue.
    queue: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Jobs in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct JobList {
    jobs: Vec<Job>,
    /// Send it as `cursor` for the next page; null at the end. While it is not null there may be
    /// more, also behind a page that is short or empty: rare jobs are looked for piece by piece.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List jobs, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "listJobs",
    params(ListQuery),
    responses((status = 200, description = "a page of jobs", body = JobList))
)]
async fn list(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<JobList>, ApiError> {
    principal.require(Scope::Read)?;
    let limit = page::limit(query.limit)?;
    let before = query
        .cursor
        .map(|cursor| page::key(LIST, &cursor).and_then(cursor_id))
        .transpose()?;
    name::check_filters([
        ("type", query.kind.as_deref(), name::TYPE_MAX),
        ("queue", query.queue.as_deref(), name::ID_MAX),
    ])?;
    let filter = JobFilter {
        status: query.status,
        kind: query.kind,
        queue: query.queue,
    };
    let found = jobs
        .list(&principal.tenant, &filter, before.as_deref(), limit)
        .await?;
    Ok(Json(JobList {
        jobs: found.jobs,
        next_cursor: found.next.map(|id| page::cursor(LIST, &id)),
    }))
}

/// Read one job, with the log of its attempts.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "getJob",
    params(("id" = String, Path, description = "the job's id")),
    responses((status = 200, description = "the job", body = JobDetail), answers::NotFound)
)]
async fn get(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<JobDetail>, ApiError> {
    principal.require(Scope::Read)?;
    Ok(Json(jobs.get(&principal.tenant, &id).await?))
}

/// Cancel a job that is pending or running.
///
/// A running one's worker loses its lease. Cancelling a cancelled job again is a 200; one that is
/// done or failed is a 409.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancelJob",
    params(("id" = String, Path, description = "the job's id")),
    responses(
        (status = 200, description = "the job", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn cancel(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<Job>, ApiError> {
    principal.require(Scope::Write)?;
    Ok(Json(jobs.cancel(&principal.tenant, &id).await?))
}

/// Put a failed or cancelled job back into its queue.
///
/// It is due at once and gets as many attempts again as it had at first: `max_attempts` grows.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", operation_id = "retryJob",
    params(("id" = String, Path, description = "the job's id")),
    responses(
        (status = 200, description = "the job", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn retry(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<Job>, ApiError> {
    principal.require(Scope::Write)?;
    Ok(Json(jobs.retry(&principal.tenant, &id).await?))
}

/// Which failed jobs to retry; all without a field.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[schema(as = RetryJobs)]
#[serde(deny_unknown_fields)]
struct RetryAllBody {
    /// Only jobs of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only jobs of this queue.
    queue: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = RetriedJobs)]
struct Retried {
    retried: u64,
}

/// Put all failed jobs back into their queues, or those of a type or queue.
///
/// Cancelled jobs stay cancelled. It works in batches: when it is cut off, what was retried stays
/// so, and a second call does the rest.
#[utoipa::path(
    post, path = "/v1/jobs/retry", tag = "jobs", operation_id = "retryJobs",
    request_body(content = Option<RetryAllBody>, content_type = "application/json"),
    responses((status = 200, description = "how many went back", body = Retried))
)]
async fn retry_all(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    request: Request,
) -> Result<Json<Retried>, ApiError> {
    principal.require(Scope::Write)?;
    let asked = optional::<RetryAllBody>(request).await?;
    name::check_filters([
        ("/type", asked.kind.as_deref(), name::TYPE_MAX),
        ("/queue", asked.queue.as_deref(), name::ID_MAX),
    ])?;
    let filter = JobFilter {
        status: None,
        kind: asked.kind,
        queue: asked.queue,
    };
    let retried = jobs.retry_all(&principal.tenant, &filter).await?;
    Ok(Json(Retried { retried }))
}

/// A body that may be missing, as `curl -X POST` sends none.
async fn optional<T: Default + serde::de::DeserializeOwned>(
    request: Request,
) -> Result<T, Problem> {
    let headers = request.headers().clone();
    let bytes = body(request, DEFAULT_BODY_LIMIT).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    media_type(&headers, &[JSON])?;
    parse(&bytes)
}

/// Seconds of a field, checked.
fn seconds(pointer: &str, value: u32, low: u32, high: u32) -> Result<Duration, Problem> {
    model::in_range(value, low, high).map_err(|detail| Problem::invalid(pointer, detail))?;
    Ok(Duration::from_secs(value.into()))
}
