//! What firings did: lists, one, counts, and another try; and how the endpoints are.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidewire_core::Scope;
use tidewire_http::{ApiError, Caller, Json, Path, Query, answers};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    EndpointState, Execution, ExecutionQuery, ExecutionStatus, ExecutionSummary, Page, Pagination,
    RetentionStatus, Source, Triggers,
};

pub(super) fn routes() -> OpenApiRouter<Triggers> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(summary))
        .routes(routes!(get))
        .routes(routes!(retry))
        .routes(routes!(endpoints))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only executions of this trigger.
    trigger_id: Option<String>,
    /// Only executions that stand so.
    execution_status: Option<ExecutionStatus>,
    /// Only executions that this set off.
    source: Option<Source>,
    /// The active ones if it is missing.
    retention_status: Option<RetentionStatus>,
    /// Only test runs, or none.
    is_test_run: Option<bool>,
    /// Counts from 1.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// Executions in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ExecutionList {
    events: Vec<Execution>,
    pagination: Pagination,
}

/// List executions, newest first.
///
/// Of the body of an endpoint's answer each attempt shows the beginning; one execution, asked for by
/// its id, shows all that is kept.
#[utoipa::path(
    get, path = "/v1/executions", tag = "executions", operation_id = "listExecutions",
    params(ListQuery),
    responses((status = 200, description = "a page of executions", body = ExecutionList))
)]
async fn list(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ExecutionList>, ApiError> {
    principal.require(Scope::Read)?;
    let page = Page::of(query.page, query.limit)?;
    let filter = ExecutionQuery {
        trigger_id: query.trigger_id,
        execution_status: query.execution_status,
        source: query.source,
        retention_status: query.retention_status,
        is_test_run: query.is_test_run,
    };
    let (events, pagination) = triggers.executions(&principal.tenant, filter, page).await?;
    Ok(Json(ExecutionList { events, pagination }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SummaryQuery {
    /// How far to look back: 1 to 8,760 hours, 48 if it is missing.
    #[param(minimum = 1, maximum = 8760)]
    hours: Option<u32>,
}

/// Count the executions of the last hours, by trigger and status.
#[utoipa::path(
    get, path = "/v1/executions/summary", tag = "executions", operation_id = "summariseExecutions",
    params(SummaryQuery),
    responses((status = 200, description = "the counts", body = ExecutionSummary))
)]
async fn summary(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Query(query): Query<SummaryQuery>,
) -> Result<Json<ExecutionSummary>, ApiError> {
    principal.require(Scope::Read)?;
    let summary = triggers.execution_summary(&principal.tenant, query.hours);
    Ok(Json(summary.await?))
}

/// Read one execution, active or archived, with its attempts.
#[utoipa::path(
    get, path = "/v1/executions/{id}", tag = "executions", operation_id = "getExecution",
    params(("id" = String, Path, description = "the execution's id")),
    responses((status = 200, description = "the execution", body = Execution), answers::NotFound)
)]
async fn get(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<Execution>, ApiError> {
    principal.require(Scope::Read)?;
    Ok(Json(triggers.execution(&principal.tenant, &id).await?))
}

/// Try a failed execution again.
///
/// With the config of its firing, and as many attempts as it had at first. One that was archived is
/// active again. One that has not failed is a 409.
#[utoipa::path(
    post, path = "/v1/executions/{id}/retry", tag = "executions", operation_id = "retryExecution",
    params(("id" = String, Path, description = "the execution's id")),
    responses(
        (status = 200, description = "the execution, pending again", body = Execution),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn retry(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<Execution>, ApiError> {
    principal.require(Scope::Write)?;
    Ok(Json(
        triggers.retry_execution(&principal.tenant, &id).await?,
    ))
}

#[derive(Serialize, utoipa::ToSchema)]
struct EndpointList {
    /// At most 1,000.
    endpoints: Vec<EndpointState>,
}

/// List the endpoints that are not well: those whose circuit is open or half open.
///
/// Nothing is sent to an endpoint while its circuit is open; deliveries wait. One that is not listed
/// is well, or nothing was sent to it lately.
#[utoipa::path(
    get, path = "/v1/endpoints", tag = "executions", operation_id = "listEndpoints",
    responses((status = 200, description = "the endpoints", body = EndpointList))
)]
async fn endpoints(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
) -> Result<Json<EndpointList>, ApiError> {
    principal.require(Scope::Read)?;
    let endpoints = triggers.endpoints(&principal.tenant).await?;
    Ok(Json(EndpointList { endpoints }))
}
