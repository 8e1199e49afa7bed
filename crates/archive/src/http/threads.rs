//! The archives of one thread.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tidewire_core::{Kind, Problem, Scope, page};
use tidewire_http::{ApiError, Caller, Json, Path, Query, answers};
use tidewire_jobs::{Job, Status};
use tokio::time::{Instant, sleep};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ArchiveObject, ArchivePage, ArchiveView, download, of_stream};
use crate::{Archives, Error, RunRequest, service::stream_of, worker::RUN};

/// How long a request waits for its archive …
const PATIENCE: Duration = Duration::from_secs(25);
/// … and how often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn routes() -> OpenApiRouter<Archives> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get))
}

/// Which part of a thread.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewThreadArchive)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    /// Must not leave a hole behind what is archived already; from there on if it is missing.
    #[schema(minimum = 1)]
    from_seq: Option<u64>,
    /// The thread's end if it is missing.
    #[schema(minimum = 1)]
    to_seq: Option<u64>,
}

/// Archive a thread up to a place, or to its end.
///
/// Answered with the archive that holds the last event asked for, as soon as it is sealed, also if it was
/// before; with the job that goes on if that takes longer than a request may.
#[utoipa::path(
    post, path = "/v1/threads/{id}/archives", tag = "archives", operation_id = "archiveThread",
    params(("id" = String, Path, description = "the thread's id")),
    request_body(content = CreateBody, content_type = "application/json"),
    responses(
        (status = 200, description = "the last archive of the range", body = ArchiveView),
        (status = 202, description = "the job that does it", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn create(
    State(archives): State<Archives>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Json(body): Json<CreateBody>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let tenant = &principal.tenant;
    archives.thread_end(tenant, &id).await?;
    let stream = stream_of(&id);
    let key = (&**tenant, stream.as_str());
    let end = archives.end(key).await?;
    let to_seq = body.to_seq.unwrap_or(end);
    let request = RunRequest {
        thread_id: Some(id),
        from_seq: body.from_seq,
        // A thread of which the database has nothing yet ends nowhere.
        to_seq: body.to_seq.or(Some(end).filter(|end| *end > 0)),
        ..RunRequest::default()
    };
    archives.check(tenant, &request.check()?).await?;
    if let Some(archive) = archives.holding(key, to_seq).await? {
        return Ok(Json(archives.shown(archive)).into_response());
    }
    let job = archives.enqueue(tenant, RUN, &request, None).await?.job;
    let job = ended(&archives, tenant, job).await?;
    match (archives.holding(key, to_seq).await?, job.status) {
        (Some(archive), _) => Ok(Json(archives.shown(archive)).into_response()),
        (None, Status::Failed | Status::Cancelled) => {
            let why = job.last_error.unwrap_or_else(|| job.status.to_string());
            let text = format!("the thread was not archived: {why}");
            Err(Problem::new(Kind::Unavailable, text).into())
        }
        (None, _) => Ok((StatusCode::ACCEPTED, Json(job)).into_response()),
    }
}

/// The job at its end, or as it is when a request cannot wait any longer.
async fn ended(archives: &Archives, tenant: &Arc<str>, mut job: Job) -> Result<Job, Error> {
    let deadline = Instant::now() + PATIENCE;
    let shutdown = &archives.inner.shutdown;
    while !job.status.is_final() && Instant::now() < deadline {
        if shutdown
            .run_until_cancelled(sleep(LOOK_EVERY))
            .await
            .is_none()
        {
            break;
        }
        let found = archives.inner.jobs.find(tenant, &[&job.id]).await?;
        match found.into_iter().flatten().next() {
            Some(found) => job = found,
            None => break,
        }
    }
    Ok(job)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Archives in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// List a thread's archives, newest first.
#[utoipa::path(
    get, path = "/v1/threads/{id}/archives", tag = "archives", operation_id = "listThreadArchives",
    params(("id" = String, Path, description = "the thread's id"), ListQuery),
    responses((status = 200, description = "a page of archives", body = ArchivePage), answers::NotFound)
)]
async fn list(
    State(archives): State<Archives>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ArchivePage>, ApiError> {
    principal.require_on_thread(Scope::Read, &id)?;
    let limit = page::limit(query.limit)?;
    let tenant = &principal.tenant;
    archives.thread_end(tenant, &id).await?;
    let stream = stream_of(&id);
    Ok(Json(
        of_stream(&archives, (tenant, &stream), query.cursor, limit).await?,
    ))
}

/// Download an archive of a thread: the object as it is stored, gzipped JSON Lines.
#[utoipa::path(
    get, path = "/v1/threads/{id}/archives/{archive_id}", tag = "archives", operation_id = "getThreadArchive",
    params(
        ("id" = String, Path, description = "the thread's id"),
        ("archive_id" = String, Path, description = "the archive's id"),
        ("If-None-Match" = Option<String>, Header, description = "an `ETag` that was given before"),
    ),
    responses(
        (status = 200, description = "its bytes", body = ArchiveObject, content_type = "application/gzip"),
        (status = 304, description = "it is what the `ETag` names"),
        answers::NotFound,
    )
)]
async fn get(
    State(archives): State<Archives>,
    Caller(principal): Caller,
    Path((id, archive_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    principal.require_on_thread(Scope::Read, &id)?;
    let archive = archives.get(&principal.tenant, &archive_id).await?;
    if archive.thread_id() != Some(&id) {
        return Err(Error::NoSuchArchive(archive_id).into());
    }
    download(&archives, &archive, &headers).await
}
