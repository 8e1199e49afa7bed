//! Events of threads: appended, read, followed.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewire_core::{Problem, Scope, name};
use tidewire_http::{
    ApiError, Caller, Capped, DEFAULT_BODY_LIMIT, Json, Path, Query, answers, body, json_type,
    parse, sse,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::require_speaker;
use crate::{Error, NewThreadEvent, Stored, ThreadEvent, Threads};

/// Events in one request.
const MAX_BATCH: usize = 1000;
const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 5000;
/// Seconds that an answer may wait for the first event.
const MAX_WAIT: u64 = 60;

pub(super) fn appending(threads: Threads) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(append))
        .with_state(threads)
}

pub(super) fn following(threads: Threads) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(stream))
        .with_state(threads)
}

/// One event or several.
#[derive(utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used: the body is parsed by its first character"
)]
#[serde(untagged)]
enum ThreadAppendBody {
    One(Box<NewThreadEvent>),
    Many(Vec<NewThreadEvent>),
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum ThreadAppendAnswer {
    One(Stored),
    Many(Vec<Stored>),
}

/// Append one event to a thread, or an array of at most 1,000 (8 MiB): whole or not at all.
///
/// For agents; the thread is made on first use, and so is a turn that is named. Answered once the
/// commit is durable. An event that says that a turn has ended ends it, and its job; a second one is a
/// 409. Whatever else comes late is appended, and leaves the turn as it is.
#[utoipa::path(
    post, path = "/v1/threads/{id}/events", tag = "threads", operation_id = "appendThreadEvents",
    params(("id" = String, Path, description = "the thread's id: 1–128 characters of `[A-Za-z0-9._:-]`")),
    request_body(content = ThreadAppendBody, content_type = "application/json"),
    responses(
        (status = 201, description = "stored; an array for an array", body = ThreadAppendAnswer),
        answers::Conflict,
    )
)]
async fn append(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    require_speaker(&principal, &id)?;
    json_type(request.headers())?;
    name::check(&id, name::ID_MAX).map_err(|why| Problem::invalid("id", why))?;
    let bytes = body(request, DEFAULT_BODY_LIMIT).await?;
    let is_array = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_array {
        let Capped(events) = parse::<Capped<NewThreadEvent, MAX_BATCH>>(&bytes)?;
        let stored = threads.append(&principal.tenant, &id, events).await?;
        return Ok((StatusCode::CREATED, Json(ThreadAppendAnswer::Many(stored))).into_response());
    }
    let event = parse::<NewThreadEvent>(&bytes)?;
    event.check(&id)?;
    let stored = threads.append(&principal.tenant, &id, vec![event]).await?;
    let answer = match <[Stored; 1]>::try_from(stored) {
        Ok([one]) => ThreadAppendAnswer::One(one),
        Err(all) => ThreadAppendAnswer::Many(all),
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only events behind this `seq`; 0 if it is missing.
    from_seq: Option<u64>,
    /// Events in an answer: 1 to 5,000, 500 if it is missing; 8 MiB of payloads end it too.
    #[param(minimum = 1, maximum = 5000)]
    limit: Option<u32>,
    /// Only events of this turn.
    turn_id: Option<String>,
    /// Seconds to wait for the first event if there is none: at most 60, 0 if it is missing.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ThreadEventPage {
    events: Vec<ThreadEvent>,
    /// Send it as `from_seq` to go on: the last event's `seq`, or what was asked behind.
    next_from_seq: u64,
}

/// Read a thread's events, in their order.
///
/// With `wait` the answer is held until there is one (long-poll).
#[utoipa::path(
    get, path = "/v1/threads/{id}/events", tag = "threads", operation_id = "listThreadEvents",
    params(("id" = String, Path, description = "the thread's id"), ListQuery),
    responses((status = 200, description = "events, oldest first", body = ThreadEventPage), answers::NotFound)
)]
async fn list(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ThreadEventPage>, ApiError> {
    principal.require_on_thread(Scope::Read, &id)?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let text = format!("is {limit}: 1 to {MAX_LIMIT}");
        return Err(Problem::invalid("limit", text).into());
    }
    let wait = query.wait.unwrap_or(0);
    if wait > MAX_WAIT {
        let text = format!("is {wait}: 0 to {MAX_WAIT} seconds");
        return Err(Problem::invalid("wait", text).into());
    }
    name::check_filters([("turn_id", query.turn_id.as_deref(), name::ID_MAX)])?;
    let from = query.from_seq.unwrap_or(0);
    let events = threads
        .events(
            &principal.tenant,
            &id,
            query.turn_id.as_deref(),
            (from, limit),
            Duration::from_secs(wait),
        )
        .await?;
    Ok(Json(ThreadEventPage {
        next_from_seq: events.last().map_or(from, |last| last.seq),
        events,
    }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// Start behind this `seq`; 0, the start, if it is missing. `Last-Event-ID` goes before it. What is
    /// beyond the thread's end is refused.
    #[param(value_type = Option<u64>)]
    after_seq: Option<String>,
    /// Only events of this turn, up to its end.
    turn_id: Option<String>,
}

/// Follow a thread: history, then live, as server-sent events.
///
/// Frames have `id:` (the `seq`, for `Last-Event-ID`), `event:` (the type) and `data:` (the event),
/// without a gap or a repeat; `: keepalive` every 15 s. With `turn_id` it ends behind the event that ends
/// the turn, with `data: [DONE]`; without, it stays open.
#[utoipa::path(
    get, path = "/v1/threads/{id}/events/stream", tag = "threads", operation_id = "streamThreadEvents",
    params(
        ("id" = String, Path, description = "the thread's id"),
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "the `seq` to go on behind"),
    ),
    responses(
        (status = 200, description = "a stream of frames", body = sse::ServerSentEvent, content_type = "text/event-stream"),
        answers::NotFound,
    )
)]
async fn stream(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    sse::LastEventId(last): sse::LastEventId,
    Query(query): Query<StreamQuery>,
) -> Result<Response, ApiError> {
    principal.require_on_thread(Scope::Read, &id)?;
    let (place, start) = match last {
        Some(last) => ("Last-Event-ID", Some(last)),
        None => ("after_seq", query.after_seq),
    };
    let after = start.map_or(Ok(0), |text| seq(place, &text))?;
    name::check_filters([("turn_id", query.turn_id.as_deref(), name::ID_MAX)])?;
    let stream = threads
        .stream(&principal.tenant, &id, query.turn_id, after)
        .await
        .map_err(|error| match error {
            Error::BeyondEnd { .. } => Problem::invalid(place, error.to_string()),
            error => error.into(),
        })?;
    Ok(sse::response(stream, threads.shutdown()))
}

fn seq(place: &str, text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| {
        let text = tidewire_core::problem::clip(text);
        Problem::invalid(place, format!("`{text}` is no `seq`: a number from 0 on"))
    })
}
