//! When triggers will fire, before anything is saved or after.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{Problem, Scope, Time};
use tidewire_http::{ApiError, Caller, Json, Path, Query, answers};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{TriggerConfig, TriggerType, Triggers};

pub(super) fn routes() -> OpenApiRouter<Triggers> {
    OpenApiRouter::new()
        .routes(routes!(preview))
        .routes(routes!(preview_stored))
}

/// A trigger that is not stored, and how far to look ahead.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = PreviewTrigger, example = json!({
    "type": "cron_scheduled",
    "config": {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "endpoint": "https://hooks.example/in"},
    "count": 3,
}))]
#[serde(deny_unknown_fields)]
struct PreviewBody {
    /// One that fires by the clock.
    #[serde(rename = "type")]
    kind: TriggerType,
    #[schema(value_type = TriggerConfig)]
    config: Box<RawValue>,
    /// Firings after this time; after now if it is missing.
    from: Option<Time>,
    /// How many firings; 5 if it is missing.
    #[schema(minimum = 1, maximum = 100)]
    count: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Preview)]
struct Runs {
    /// The next firings, the nearest first; fewer than were asked for where there are no more.
    runs: Vec<Time>,
}

/// Say when a trigger would fire.
///
/// Nothing is stored. The answer shows what a pattern means, clock changes included.
#[utoipa::path(
    post, path = "/v1/triggers/preview", tag = "triggers", operation_id = "previewTrigger",
    request_body(content = PreviewBody, content_type = "application/json"),
    responses((status = 200, description = "its next firings", body = Runs))
)]
async fn preview(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Json(asked): Json<PreviewBody>,
) -> Result<Json<Runs>, ApiError> {
    principal.require(Scope::Write)?;
    let runs = triggers
        .preview(asked.kind, &asked.config, asked.from, asked.count)
        .map_err(|error| in_body(error.into()))?;
    Ok(Json(Runs { runs }))
}

/// Parameters are named alone, fields by a pointer.
fn in_body(mut problem: Problem) -> Problem {
    let is_name = |pointer: &str| !pointer.is_empty() && !pointer.starts_with('/');
    if problem.errors.iter().any(|error| is_name(&error.pointer)) {
        problem = problem.under("/");
    }
    problem
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PreviewQuery {
    /// Firings after this time; after now if it is missing.
    from: Option<Time>,
    /// How many firings; 5 if it is missing.
    #[param(minimum = 1, maximum = 100)]
    count: Option<u32>,
}

/// Say when a stored trigger will fire, as if it were active.
#[utoipa::path(
    get, path = "/v1/triggers/{id}/preview", tag = "triggers", operation_id = "previewStoredTrigger",
    params(("id" = String, Path, description = "the trigger's id"), PreviewQuery),
    responses((status = 200, description = "its next firings", body = Runs), answers::NotFound)
)]
async fn preview_stored(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<Runs>, ApiError> {
    principal.require(Scope::Read)?;
    let runs = triggers
        .preview_stored(&principal.tenant, &id, query.from, query.count)
        .await?;
    Ok(Json(Runs { runs }))
}
