//! Threads as a whole.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidewire_core::{Scope, page};
use tidewire_http::{ApiError, Caller, Json, Path, Query, answers};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Thread, Threads};

const LIST: &str = "threads";

pub(super) fn routes(threads: Threads) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .with_state(threads)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Threads in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ThreadPage {
    threads: Vec<Thread>,
    /// Send it as `cursor` for the next page; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List threads, newest first.
#[utoipa::path(
    get, path = "/v1/threads", tag = "threads", operation_id = "listThreads",
    params(ListQuery),
    responses((status = 200, description = "a page of threads", body = ThreadPage))
)]
async fn list(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ThreadPage>, ApiError> {
    principal.require(Scope::Read)?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.map(|cursor| page::key(LIST, &cursor));
    let before = before.transpose()?;
    let (found, next) = threads
        .threads(&principal.tenant, before.as_deref(), limit)
        .await?;
    Ok(Json(ThreadPage {
        threads: found,
        next_cursor: next.map(|key| page::cursor(LIST, &key)),
    }))
}

/// Read one thread.
#[utoipa::path(
    get, path = "/v1/threads/{id}", tag = "threads", operation_id = "getThread",
    params(("id" = String, Path, description = "the thread's id")),
    responses((status = 200, description = "the thread", body = Thread), answers::NotFound)
)]
async fn get(
    State(threads): State<Threads>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<Thread>, ApiError> {
    principal.require_on_thread(Scope::Read, &id)?;
    Ok(Json(threads.thread(&principal.tenant, &id).await?))
}
