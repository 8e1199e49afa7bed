//! The protocol of workers in any language: claim, heartbeat, complete, fail, release.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{
    Principal, Problem, Scope,
    name::{self, ID_MAX, TYPE_MAX},
};
use tidewire_http::{ApiError, Caller, Capped, Json, Path, answers};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::seconds;
use crate::{
    ClaimRequest, ClaimedJob, Filter, Job, Jobs,
    model::{self, MAX_CLAIM, MAX_LEASE_SECONDS, MAX_RETRY_SECONDS},
};

/// Names that one claim may list.
const MOST_NAMES: usize = 100;
const MOST_WAIT_SECONDS: u32 = 60;

pub(super) fn routes() -> OpenApiRouter<Jobs> {
    OpenApiRouter::new()
        .routes(routes!(claim))
        .routes(routes!(heartbeat))
        .routes(routes!(complete))
        .routes(routes!(fail))
        .routes(routes!(release))
}

/// What a worker asks for.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = ClaimJobs)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    /// The worker's name, as `locked_by` shows it: 1–128 characters of `[A-Za-z0-9._:-]`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    worker: String,
    /// Only these types; all if it is missing.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 100)]
    types: Option<Capped<String, MOST_NAMES>>,
    /// Only these queues; all if it is missing.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 100)]
    queues: Option<Capped<String, MOST_NAMES>>,
    /// How many jobs at most; 1 if it is missing.
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// How long to hold the request until a job is due; 0 if it is missing.
    #[schema(minimum = 0, maximum = 60)]
    wait_seconds: Option<u32>,
    /// How long the claim is good without a heartbeat; the server's setting if it is missing.
    #[schema(minimum = 1, maximum = 3600)]
    lease_seconds: Option<u32>,
}

impl ClaimBody {
    /// An instance of an agent claims what is kept for it, by the name that it was given.
    fn check(self, principal: Principal) -> Result<ClaimRequest, Problem> {
        model::worker("/worker", &self.worker)?;
        let limit = self.limit.unwrap_or(1);
        model::in_range(limit, 1, MAX_CLAIM)
            .map_err(|detail| Problem::invalid("/limit", detail))?;
        let wait = self.wait_seconds.unwrap_or(0);
        Ok(ClaimRequest {
            filter: Filter {
                tenant: Some(principal.tenant),
                types: names("/types", self.types, TYPE_MAX)?,
                queues: names("/queues", self.queues, ID_MAX)?,
                except: BTreeSet::new(),
                own: principal.bound.is_some(),
            },
            worker: match principal.bound {
                Some(bound) => bound.worker.to_string(),
                None => self.worker,
            },
            limit,
            wait: seconds("/wait_seconds", wait, 0, MOST_WAIT_SECONDS)?,
            lease: lease(self.lease_seconds)?,
        })
    }
}

fn names(
    pointer: &str,
    names: Option<Capped<String, MOST_NAMES>>,
    longest: usize,
) -> Result<Option<BTreeSet<Arc<str>>>, Problem> {
    let Some(Capped(names)) = names else {
        return Ok(None);
    };
    if names.is_empty() {
        let text = "is empty, and nothing could be claimed: leave it out for all, or name some";
        return Err(Problem::invalid(pointer, text));
    }
    for (place, one) in names.iter().enumerate() {
        name::check(one, longest)
            .map_err(|detail| Problem::invalid(format!("{pointer}/{place}"), detail))?;
    }
    Ok(Some(names.into_iter().map(Arc::from).collect()))
}

fn lease(asked: Option<u32>) -> Result<Option<Duration>, Problem> {
    asked
        .map(|asked| seconds("/lease_seconds", asked, 1, MAX_LEASE_SECONDS))
        .transpose()
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ClaimedJobs)]
struct Claimed {
    jobs: Vec<ClaimedJob>,
}

/// Claim jobs that are due.
///
/// Held open up to `wait_seconds` until there is one; empty if none came. The most urgent come
/// first: by `priority`, then by `run_at`. With the key of an agent's instance it is the turns of the
/// instance's own thread, under the instance's own name.
#[utoipa::path(
    post, path = "/v1/jobs/claim", tag = "workers", operation_id = "claimJobs",
    request_body(content = ClaimBody, content_type = "application/json"),
    responses((status = 200, description = "the jobs, each with its lease", body = Claimed))
)]
async fn claim(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Json(body): Json<ClaimBody>,
) -> Result<Json<Claimed>, ApiError> {
    if principal.bound.is_none() {
        principal.require(Scope::Worker)?;
    }
    let request = body.check(principal)?;
    Ok(Json(Claimed {
        jobs: jobs.claim(request).await?,
    }))
}

/// A sign of life.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = HeartbeatJob)]
#[serde(deny_unknown_fields)]
struct HeartbeatBody {
    lease_token: String,
    /// How long the claim is good from now on; the server's setting if it is missing.
    #[schema(minimum = 1, maximum = 3600)]
    lease_seconds: Option<u32>,
    /// How far it is: any JSON of at most 4 KiB, shown with the job. What was said before stays if
    /// it is missing.
    #[schema(value_type = Option<serde_json::Value>)]
    progress: Option<Box<RawValue>>,
}

/// Say that a job is still being worked on, and how far it is.
///
/// A 409 means that it is not this worker's any more (it was cancelled, taken over, or has run
/// longer than its timeout): stop working on it.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/heartbeat", tag = "workers", operation_id = "heartbeatJob",
    params(("id" = String, Path, description = "the job's id")),
    request_body(content = HeartbeatBody, content_type = "application/json"),
    responses(
        (status = 200, description = "the job", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn heartbeat(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Json(body): Json<HeartbeatBody>,
) -> Result<Json<Job>, ApiError> {
    principal.require_worker()?;
    let lease = lease(body.lease_seconds)?;
    Ok(Json(
        jobs.heartbeat(
            &principal.tenant,
            &id,
            body.lease_token,
            lease,
            body.progress,
        )
        .await?,
    ))
}

/// A job that went well.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = CompleteJob)]
#[serde(deny_unknown_fields)]
struct CompleteBody {
    lease_token: String,
    /// Any JSON, at most 256 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    output: Option<Box<RawValue>>,
}

/// End a job well.
///
/// A 409 means that the lease is lost; nothing changed. A lease that ran out is still good as long
/// as nobody took the job over. Once the attempt has ended, saying so again is answered with the job
/// as it is.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/complete", tag = "workers", operation_id = "completeJob",
    params(("id" = String, Path, description = "the job's id")),
    request_body(content = CompleteBody, content_type = "application/json"),
    responses(
        (status = 200, description = "the job", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn complete(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Json(body): Json<CompleteBody>,
) -> Result<Json<Job>, ApiError> {
    principal.require_worker()?;
    Ok(Json(
        jobs.complete(&principal.tenant, &id, body.lease_token, body.output)
            .await?,
    ))
}

/// An attempt that went badly.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = FailJob)]
#[serde(deny_unknown_fields)]
struct FailBody {
    lease_token: String,
    /// Kept as `last_error` and in the log of attempts; the first 8,192 characters of it.
    error: String,
    /// When to try again; after the backoff if it is missing.
    #[schema(minimum = 0, maximum = 31536000)]
    retry_in_seconds: Option<u32>,
    /// Trying again is of no use: the job has failed.
    permanent: Option<bool>,
}

/// End an attempt badly.
///
/// The job is tried again after `retry_in_seconds` (after 2 s · 2^(n−1) ± 20 %, at most an hour,
/// without it), unless its attempts are used up or it is `permanent`. Once the attempt has ended,
/// saying so again is answered with the job as it is.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/fail", tag = "workers", operation_id = "failJob",
    params(("id" = String, Path, description = "the job's id")),
    request_body(content = FailBody, content_type = "application/json"),
    responses(
        (status = 200, description = "the job", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn fail(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Json(body): Json<FailBody>,
) -> Result<Json<Job>, ApiError> {
    principal.require_worker()?;
    let retry_in = body
        .retry_in_seconds
        .map(|asked| seconds("/retry_in_seconds", asked, 0, MAX_RETRY_SECONDS))
        .transpose()?;
    let permanent = body.permanent.unwrap_or(false);
    let failed = jobs.fail(
        &principal.tenant,
        &id,
        body.lease_token,
        &body.error,
        retry_in,
        permanent,
    );
    Ok(Json(failed.await?))
}

/// A job that is given back.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = ReleaseJob)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    lease_token: String,
}

/// Give a job back unfinished.
///
/// It is pending again at once, in its old place, and the attempt does not count.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/release", tag = "workers", operation_id = "releaseJob",
    params(("id" = String, Path, description = "the job's id")),
    request_body(content = ReleaseBody, content_type = "application/json"),
    responses(
        (status = 200, description = "the job", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn release(
    State(jobs): State<Jobs>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Json(body): Json<ReleaseBody>,
) -> Result<Json<Job>, ApiError> {
    principal.require_worker()?;
    Ok(Json(
        jobs.release(&principal.tenant, &id, body.lease_token)
            .await?,
    ))
}
