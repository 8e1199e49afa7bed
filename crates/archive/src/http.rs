//! The routes of archives.

mod threads;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tidewire_core::{Problem, Scope, Time, name, page};
use tidewire_http::{ApiError, Caller, Json, Path, Query, answers};
use tidewire_jobs::Job;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Archives, Error, RestoreRequest, RunRequest, VerifyRequest,
    model::{Archive, CONTENT_ENCODING, CONTENT_TYPE},
    worker::{RESTORE, RUN, VERIFY},
};

const LIST: &str = "archives";

/// The routes of archives.
#[must_use]
pub fn routes(archives: Archives) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get))
        .routes(routes!(verify))
        .routes(routes!(restore))
        .merge(threads::routes())
        .with_state(archives)
}

/// An archive as it is shown.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Archive)]
struct ArchiveView {
    archive_id: String,
    stream: String,
    /// The thread that the stream is; null for other streams.
    #[schema(required)]
    thread_id: Option<String>,
    from_seq: u64,
    to_seq: u64,
    /// Where the object is, below its bucket or folder.
    object_key: String,
    /// Its companion for query engines, if it has one.
    #[schema(required)]
    parquet_key: Option<String>,
    /// Of what is in it.
    #[schema(example = "application/x-ndjson")]
    content_type: &'static str,
    #[schema(example = "gzip")]
    content_encoding: &'static str,
    event_count: u64,
    /// Of the object, as its checksum.
    bytes: u64,
    sha256: String,
    created_at: Time,
}

impl Archives {
    fn shown(&self, archive: Archive) -> ArchiveView {
        let objects = self.objects();
        ArchiveView {
            thread_id: archive.thread_id().map(str::to_owned),
            parquet_key: archive.parquet_key().map(|key| objects.full_key(&key)),
            object_key: objects.full_key(&archive.object_key),
            archive_id: archive.id,
            stream: archive.stream,
            from_seq: archive.from_seq,
            to_seq: archive.to_seq,
            content_type: CONTENT_TYPE,
            content_encoding: CONTENT_ENCODING,
            event_count: archive.event_count,
            bytes: archive.bytes,
            sha256: archive.sha256,
            created_at: archive.created_at,
        }
    }
}

/// Archive streams: one, a thread, or all.
///
/// Each stream is archived from where it was archived last, in ranges of at most a million events. With
/// `trim` what is archived leaves the database and is read from the archives: no answer changes by it. The
/// job has the type `archive.run`; what it has done is its output. A range that would leave a hole is a 409,
/// and so is one beyond the stream's end.
#[utoipa::path(
    post, path = "/v1/archives", tag = "archives", operation_id = "createArchives",
    request_body(content = RunRequest, content_type = "application/json"),
    responses(
        (status = 202, description = "the job that does it", body = Job),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn create(
    State(archives): State<Archives>,
    Caller(principal): Caller,
    Json(request): Json<RunRequest>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let tenant = &principal.tenant;
    archives.check(tenant, &request.check()?).await?;
    let made = archives.enqueue(tenant, RUN, &request, None).await?;
    Ok((StatusCode::ACCEPTED, Json(made.job)).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only archives of this stream.
    stream: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Archives in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ArchivePage {
    archives: Vec<ArchiveView>,
    /// Send it as `cursor` for the next page; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List archives, newest first.
#[utoipa::path(
    get, path = "/v1/archives", tag = "archives", operation_id = "listArchives",
    params(ListQuery),
    responses((status = 200, description = "a page of archives", body = ArchivePage))
)]
async fn list(
    State(archives): State<Archives>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ArchivePage>, ApiError> {
    principal.require(Scope::Read)?;
    let limit = page::limit(query.limit)?;
    let tenant = &principal.tenant;
    let Some(stream) = query.stream else {
        let before = query.cursor.map(|cursor| page::key(LIST, &cursor));
        let before = before.transpose()?;
        let (found, next) = archives.list(tenant, before.as_deref(), limit).await?;
        return Ok(Json(shown(&archives, LIST, found, next)));
    };
    name::check(&stream, name::ID_MAX + tidewire_threads::NAMESPACE.len())
        .map_err(|why| Problem::invalid("stream", why))?;
    Ok(Json(
        of_stream(&archives, (tenant, &stream), query.cursor, limit).await?,
    ))
}

const OF_STREAM: &str = "archives of a stream";

async fn of_stream(
    archives: &Archives,
    key: (&str, &str),
    cursor: Option<String>,
    limit: u32,
) -> Result<ArchivePage, ApiError> {
    let before = cursor
        .map(|cursor| {
            let key = page::key(OF_STREAM, &cursor)?;
            key.parse::<u64>()
                .map_err(|_| Problem::invalid("cursor", "is not a `next_cursor` of this list"))
        })
        .transpose()?;
    let (found, next) = archives.list_of_stream(key, before, limit).await?;
    Ok(shown(archives, OF_STREAM, found, next))
}

fn shown(
    archives: &Archives,
    list: &str,
    found: Vec<Archive>,
    next: Option<String>,
) -> ArchivePage {
    ArchivePage {
        archives: found
            .into_iter()
            .map(|archive| archives.shown(archive))
            .collect(),
        next_cursor: next.map(|key| page::cursor(list, &key)),
    }
}

/// An object as it is stored, as descriptions have it.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its schema is used: objects are streamed")]
struct ArchiveObject(Vec<u8>);

/// Download an archive: the object as it is stored, gzipped JSON Lines.
#[utoipa::path(
    get, path = "/v1/archives/{archive_id}", tag = "archives", operation_id = "getArchive",
    params(
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
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    principal.require(Scope::Read)?;
    let archive = archives.get(&principal.tenant, &id).await?;
    download(&archives, &archive, &headers).await
}

async fn download(
    archives: &Archives,
    archive: &Archive,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let etag = format!("\"{}\"", archive.sha256);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let (bytes, content) = archives
        .objects()
        .get(&archive.object_key)
        .await
        .map_err(Error::from)?;
    let name = format!(
        "attachment; filename=\"{}-{}-{}.jsonl.gz\"",
        archive
            .thread_id()
            .unwrap_or(&archive.stream)
            .replace(':', "-"),
        archive.from_seq,
        archive.to_seq
    );
    let mut response = Response::new(Body::from_stream(content));
    let headers = response.headers_mut();
    for (header, text) in [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::ETAG, etag),
        (header::CONTENT_DISPOSITION, name),
    ] {
        // Digits and names of the API's alphabet.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header, value);
        }
    }
    Ok(response)
}

/// Check every archive of every tenant, and look for objects that nobody knows (scope admin).
///
/// The job has the type `archive.verify`; its output says what is wrong, and with `repair` what was mended.
#[utoipa::path(
    post, path = "/v1/archives/verify", tag = "archives", operation_id = "verifyArchives",
    request_body(content = VerifyRequest, content_type = "application/json"),
    responses((status = 202, description = "the job that does it", body = Job))
)]
async fn verify(
    State(archives): State<Archives>,
    Caller(principal): Caller,
    Json(request): Json<VerifyRequest>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Admin)?;
    let tenant = &principal.tenant;
    let made = archives.enqueue(tenant, VERIFY, &request, None).await?;
    Ok((StatusCode::ACCEPTED, Json(made.job)).into_response())
}

/// Put trimmed events back into the database, from a place of a stream on.
///
/// The archives stay as they are. The job has the type `archive.restore`.
#[utoipa::path(
    post, path = "/v1/archives/restore", tag = "archives", operation_id = "restoreArchives",
    request_body(content = RestoreRequest, content_type = "application/json"),
    responses(
        (status = 202, description = "the job that does it", body = Job),
        answers::NotFound,
    )
)]
async fn restore(
    State(archives): State<Archives>,
    Caller(principal): Caller,
    Json(request): Json<RestoreRequest>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let tenant = &principal.tenant;
    let (stream, _) = request.check()?;
    if archives.end((tenant, &stream)).await? == 0 {
        return Err(Error::NoSuchStream(stream).into());
    }
    let made = archives.enqueue(tenant, RESTORE, &request, None).await?;
    Ok((StatusCode::ACCEPTED, Json(made.job)).into_response())
}
