//! Turns: asked for, looked at, cancelled.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_access::{Request as Keyed, Service as Access};
use tidewire_core::{Problem, Scope, name, page};
use tidewire_http::{
    ApiError, Caller, DEFAULT_BODY_LIMIT, IdempotencyKey, Json, Path, Query, answers, body,
    json_type, parse,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Accepted, NewTurn, OnBusy, Threads, Turn, TurnStatus};

const LIST: &str = "turns";
/// Characters of why a turn is cancelled.
const MAX_REASON: usize = 512;

#[derive(Clone)]
struct Api {
    threads: Threads,
    access: Access,
}

pub(super) fn accepting(threads: Threads, access: Access) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(accept))
        .with_state(Api { threads, access })
}

pub(super) fn routes(threads: Threads) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(cancel))
        .routes(routes!(list))
        .routes(routes!(get))
        .with_state(threads)
}

/// A turn to be run.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewTurn, example = json!({"thread_id": "support-42", "input": "Where is my order?"}))]
#[serde(deny_unknown_fields)]
struct AcceptBody {
    /// Made on first use; made up if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    thread_id: Option<String>,
    /// The same turn of a thread is accepted once. Made up if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    turn_id: Option<String>,
    /// What the agent is asked: any JSON, at most 256 KiB.
    #[schema(value_type = serde_json::Value)]
    input: Box<RawValue>,
    /// The queue of agents that it is for; `default` if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    agent: Option<String>,
    /// What is done if a turn of the thread is open; `enqueue` if it is missing.
    #[serde(default)]
    on_busy: OnBusy,
}

impl From<AcceptBody> for NewTurn {
    fn from(body: AcceptBody) -> Self {
        NewTurn {
            thread_id: body.thread_id,
            turn_id: body.turn_id,
            input: body.input,
            agent: body.agent,
            on_busy: body.on_busy,
        }
    }
}

/// Ask an agent for a turn.
///
/// The turn is recorded, its `turn.started` appended and its job of type `agent.turn` queued, behind
/// the open turns of its thread. The same `turn_id` again is answered as at first, with 200, whatever
/// has become of the turn. The header `Idempotency-Key` does the same for a turn without an id, and
/// marks the answer by the header `Idempotent-Replayed`.
#[utoipa::path(
    post, path = "/v1/turns", tag = "threads", operation_id = "acceptTurn",
    params(("Idempotency-Key" = Option<String>, Header, description = "1–255 visible ASCII characters")),
    request_body(content = AcceptBody, content_type = "application/json"),
    responses(
        (status = 202, description = "accepted: an agent will run it", body = Accepted),
        (status = 200, description = "it was accepted before: the first answer", body = Accepted),
        answers::Conflict,
        answers::KeyReused,
    )
)]
async fn accept(
    State(api): State<Api>,
    Caller(principal): Caller,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    json_type(request.headers())?;
    let bytes = body(request, DEFAULT_BODY_LIMIT).await?;
    let turn = NewTurn::from(parse::<AcceptBody>(&bytes)?);
    let tenant = principal.tenant;
    let Some(key) = key else {
        let accepted = api.threads.accept(&tenant, turn).await?;
        let status = StatusCode::from_u16(accepted.status_code()).unwrap_or(StatusCode::ACCEPTED);
        return Ok((status, Json(accepted)).into_response());
    };
    let request = Keyed {
        tenant: &tenant,
        route: "turns.accept",
        key: Some(&key),
        body: &bytes,
    };
    let keys = api.access.request_keys();
    let answered = api.threads.accept_once(keys, request, &key, turn).await?;
    Ok(answered.into_response())
}

/// Which turn is meant, and why.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    thread_id: String,
    /// For who reads the thread.
    #[schema(min_length = 1, max_length = 512)]
    reason: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct CancelledTurn {
    thread_id: String,
    turn_id: String,
    status: TurnStatus,
    /// Of its `turn.cancelled`.
    #[schema(required)]
    seq: Option<u64>,
}

/// Cancel a turn.
///
/// Its `turn.cancelled` is appended once, its agent's lease is lost, and the next turn of its thread
/// goes on. A turn that has ended otherwise stays as it is: 409.
#[utoipa::path(
    post, path = "/v1/turns/{turn_id}/cancel", tag = "threads", operation_id = "cancelTurn",
    params(("turn_id" = String, Path, description = "the turn's id")),
    request_body(content = CancelBody, content_type = "application/json"),
    responses(
        (status = 202, description = "it is cancelled, now or before", body = CancelledTurn),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn cancel(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Path(turn_id): Path<String>,
    Json(body): Json<CancelBody>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    if let Some(reason) = &body.reason {
        let checked = name::check_text(reason, MAX_REASON);
        checked.map_err(|why| Problem::invalid("/reason", why))?;
    }
    let reason = body.reason.as_deref();
    let turn = threads
        .cancel(&principal.tenant, &body.thread_id, &turn_id, reason)
        .await?;
    let cancelled = CancelledTurn {
        thread_id: turn.thread_id,
        turn_id: turn.turn_id,
        status: turn.status,
        seq: turn.ended_seq,
    };
    Ok((StatusCode::ACCEPTED, Json(cancelled)).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Turns in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct TurnPage {
    turns: Vec<Turn>,
    /// Send it as `cursor` for the next page; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List a thread's turns, newest first.
#[utoipa::path(
    get, path = "/v1/threads/{id}/turns", tag = "threads", operation_id = "listTurns",
    params(("id" = String, Path, description = "the thread's id"), ListQuery),
    responses((status = 200, description = "a page of turns", body = TurnPage), answers::NotFound)
)]
async fn list(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<TurnPage>, ApiError> {
    principal.require_on_thread(Scope::Read, &id)?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.map(|cursor| page::key(LIST, &cursor));
    let before = before.transpose()?;
    let (turns, next) = threads
        .turns(&principal.tenant, &id, before.as_deref(), limit)
        .await?;
    Ok(Json(TurnPage {
        turns,
        next_cursor: next.map(|key| page::cursor(LIST, &key)),
    }))
}

/// Read one turn.
#[utoipa::path(
    get, path = "/v1/threads/{id}/turns/{turn_id}", tag = "threads", operation_id = "getTurn",
    params(
        ("id" = String, Path, description = "the thread's id"),
        ("turn_id" = String, Path, description = "the turn's id"),
    ),
    responses((status = 200, description = "the turn", body = Turn), answers::NotFound)
)]
async fn get(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Path((id, turn_id)): Path<(String, String)>,
) -> Result<Json<Turn>, ApiError> {
    principal.require_on_thread(Scope::Read, &id)?;
    Ok(Json(threads.turn(&principal.tenant, &id, &turn_id).await?))
}
