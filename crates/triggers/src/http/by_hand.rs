//! Test runs: one firing, whatever the trigger's own time is.

use axum::extract::{Request, State};
use http::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tidewire_core::{Problem, Scope};
use tidewire_http::{
    ApiError, Caller, DEFAULT_BODY_LIMIT, Json, Path, answers, body, media_type, parse,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Depth, JSON, present};
use crate::{SetOff, TriggerConfig, TriggerType, Triggers};

pub(super) fn routes() -> OpenApiRouter<Triggers> {
    OpenApiRouter::new()
        .routes(routes!(test_config))
        .routes(routes!(test))
}

/// What a test delivers.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[schema(as = TestTrigger)]
#[serde(deny_unknown_fields)]
struct TestBody {
    /// Any JSON, at most 256 KiB; the config's payload if it is missing, and `{}` without one.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
}

/// A trigger that is not stored, and what its test delivers.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = TestConfig, example = json!({
    "type": "webhook",
    "config": {"endpoint": "https://hooks.example/in"},
    "payload": {"id": 1},
}))]
#[serde(deny_unknown_fields)]
struct TestConfigBody {
    #[serde(rename = "type")]
    kind: TriggerType,
    #[schema(value_type = TriggerConfig)]
    config: Box<RawValue>,
    /// Any JSON, at most 256 KiB; the config's payload if it is missing, and `{}` without one.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
}

/// What a test set off.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = TestRun)]
struct TestRun {
    execution_id: String,
    job_id: String,
}

impl From<SetOff> for TestRun {
    fn from(set_off: SetOff) -> Self {
        TestRun {
            execution_id: set_off.execution_id,
            job_id: set_off.job_id,
        }
    }
}

type Accepted = (StatusCode, Json<TestRun>);

fn accepted(set_off: SetOff) -> Accepted {
    (StatusCode::ACCEPTED, Json(set_off.into()))
}

/// Fire a trigger once, as a test.
///
/// Exactly one job; its execution has `is_test_run`, and no schedule knows of it. An inactive
/// trigger can be tested too.
#[utoipa::path(
    post, path = "/v1/triggers/{id}/test", tag = "triggers", operation_id = "testTrigger",
    params(
        ("id" = String, Path, description = "the trigger's id"),
        ("x-tidewire-depth" = Option<u32>, Header, minimum = 0, maximum = 15, description = "as the delivery had it that led here"),
    ),
    request_body(content = Option<TestBody>, content_type = "application/json"),
    responses(
        (status = 202, description = "what was set off", body = TestRun),
        answers::NotFound,
    )
)]
async fn test(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Depth(depth): Depth,
    request: Request,
) -> Result<Accepted, ApiError> {
    principal.require(Scope::Write)?;
    let asked = optional::<TestBody>(request).await?;
    let tested = triggers.test(&principal.tenant, &id, asked.payload, depth);
    Ok(accepted(tested.await?))
}

/// Fire a trigger once that is not stored, as a test.
///
/// Its execution has no `trigger_id`.
#[utoipa::path(
    post, path = "/v1/triggers/test", tag = "triggers", operation_id = "testConfig",
    params(
        ("x-tidewire-depth" = Option<u32>, Header, minimum = 0, maximum = 15, description = "as the delivery had it that led here"),
    ),
    request_body(content = TestConfigBody, content_type = "application/json"),
    responses((status = 202, description = "what was set off", body = TestRun))
)]
async fn test_config(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Depth(depth): Depth,
    Json(asked): Json<TestConfigBody>,
) -> Result<Accepted, ApiError> {
    principal.require(Scope::Write)?;
    let TestConfigBody {
        kind,
        config,
        payload,
    } = asked;
    let tested = triggers.test_config(&principal.tenant, kind, config, payload, depth);
    Ok(accepted(tested.await?))
}

/// A body that may be missing, as `curl -X POST` sends none.
async fn optional<T: Default + DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let headers = request.headers().clone();
    let bytes = body(request, DEFAULT_BODY_LIMIT).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    media_type(&headers, &[JSON])?;
    parse(&bytes)
}
