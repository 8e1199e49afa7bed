//! The routes of a worker, with the paths of the source design.

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequestParts, State as Shared},
    response::Response,
};
use http::{HeaderMap, HeaderName, header, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{Kind, Problem};
use tidewire_http::{ApiError, Json, answers};
use tidewire_outbound::Opened;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{State, Worker};

/// What concerns one connection alone (RFC 9110, section 7.6.1), and what is told of this one.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[must_use]
pub fn routes(worker: Worker) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(apply))
        .routes(routes!(hit))
        .routes(routes!(state))
        .with_state(worker)
}

/// Who has the worker's key. Comes before the body, so that a stranger learns nothing about bodies.
struct Agent;

impl FromRequestParts<Worker> for Agent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, worker: &Worker) -> Result<Self, ApiError> {
        worker.inner.options.keys.check(&parts.headers)?;
        Ok(Agent)
    }
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = WorkerConfig)]
#[serde(deny_unknown_fields)]
struct ApplyBody {
    version: u64,
    /// `{url, method?, headers?, timeout_seconds?}`.
    #[schema(value_type = Object)]
    config: Box<RawValue>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct AppliedBody {
    version: u64,
}

/// Work by a config.
#[utoipa::path(
    post, path = "/config", tag = "fleet worker", operation_id = "applyConfig",
    request_body(content = ApplyBody, content_type = "application/json"),
    responses(
        (status = 200, description = "the worker works by it", body = AppliedBody),
        answers::Unauthorized,
    )
)]
async fn apply(
    _: Agent,
    Shared(worker): Shared<Worker>,
    Json(body): Json<ApplyBody>,
) -> Result<Json<AppliedBody>, ApiError> {
    worker.apply(body.version, &body.config)?;
    Ok(Json(AppliedBody {
        version: body.version,
    }))
}

/// Call the configured URL, and hand its answer on.
#[utoipa::path(
    get, path = "/hit", tag = "fleet worker", operation_id = "hit",
    responses(
        (status = 200, description = "what the target answers, with its own status"),
        answers::BadGateway,
        answers::Unavailable,
    )
)]
async fn hit(Shared(worker): Shared<Worker>) -> Result<Response, ApiError> {
    match worker.hit().await {
        None => Err(Problem::new(
            Kind::Unavailable,
            "there is no config yet: the agent brings it",
        )
        .into()),
        Some(Err(error)) => Err(Problem::new(Kind::BadGateway, error.to_string()).into()),
        Some(Ok(opened)) => Ok(handed_on(opened)),
    }
}

fn handed_on(opened: Opened) -> Response {
    let Opened {
        status,
        mut headers,
        body,
        ..
    } = opened;
    drop_hop_by_hop(&mut headers);
    if body.is_end_stream() {
        // An answer to HEAD tells the length of a body that does not come.
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// How the worker is.
#[utoipa::path(
    get, path = "/state", tag = "fleet worker", operation_id = "workerState",
    responses((status = 200, description = "its config and what it did", body = State))
)]
async fn state(Shared(worker): Shared<Worker>) -> Json<State> {
    Json(worker.state())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_alone_goes_no_further() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-type", "text/plain"),
            ("etag", "\"1\""),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        drop_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-type", "etag"]);
    }
}
