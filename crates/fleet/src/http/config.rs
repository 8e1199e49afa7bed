//! Agents ask for their config, and are told when to ask.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde::Deserialize;
use tidewire_core::{Kind, Problem, Scope};
use tidewire_http::{ApiError, Caller, Query, answers, sse};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Api;
use crate::{
    IfNoneMatch,
    offers::ConfigAnswer,
    service::{Answer, Ask, Watching},
};

/// As with other answers that are held.
const LONGEST_WAIT: u64 = 60;
const AGENT: HeaderName = HeaderName::from_static("x-agent-id");

pub(super) fn routes(api: Arc<Api>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(config))
        .routes(routes!(watch))
        .with_state(api)
}

/// `X-Agent-Id`, for who cannot change the URL.
struct AgentId(Option<String>);

impl<S: Sync> FromRequestParts<S> for AgentId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(AGENT) else {
            return Ok(AgentId(None));
        };
        let id = value
            .to_str()
            .map_err(|_| Problem::invalid("X-Agent-Id", "is no agent's id"))?;
        Ok(AgentId(Some(id.to_owned())))
    }
}

struct Known(Option<IfNoneMatch>);

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts
            .headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .peekable();
        if values.peek().is_none() {
            return Ok(Known(None));
        }
        let values = values.filter_map(|value| value.to_str().ok());
        Ok(Known(Some(IfNoneMatch::parse(values))))
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConfigQuery {
    /// Who asks (or the header `X-Agent-Id`); without it the config is the one that is for everyone.
    agent_id: Option<String>,
    /// Hold the answer so many seconds until there is a new config.
    #[param(maximum = 60)]
    wait: Option<u64>,
    /// The revision that the watch told of: an answer is never older than that.
    revision: Option<u64>,
}

/// Ask for the config.
///
/// With `If-None-Match` a config that the asker has already is a 304.
#[utoipa::path(
    get, path = "/v1/fleet/config", tag = "fleet", operation_id = "getConfig",
    params(ConfigQuery, ("If-None-Match" = Option<String>, Header, description = "the tag of the config that is there already")),
    responses(
        (status = 200, description = "the config that is offered", body = ConfigAnswer<'_>,
            headers(("ETag" = String, description = "a strong tag of this version"))),
        (status = 304, description = "it is still the one that the asker has"),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn config(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
    AgentId(from_header): AgentId,
    Known(if_none_match): Known,
    Query(query): Query<ConfigQuery>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Fleet)?;
    let wait = query.wait.unwrap_or_default();
    if wait > LONGEST_WAIT {
        let detail = format!("must be 0 to {LONGEST_WAIT}, it is {wait}");
        return Err(Problem::invalid("wait", detail).into());
    }
    let agent_id = query.agent_id.or(from_header);
    let ask = Ask {
        agent_id: agent_id.as_deref(),
        if_none_match: if_none_match.as_ref(),
        revision: query.revision,
        wait: Duration::from_secs(wait),
    };
    let (status, offer, body) = match api.fleet.config(&principal.tenant, ask).await? {
        Answer::None => {
            let text = "there is no config for this agent yet: push one with POST /v1/fleet/config";
            return Err(Problem::new(Kind::NotFound, text).into());
        }
        Answer::Unchanged(offer) => (StatusCode::NOT_MODIFIED, offer, Bytes::new()),
        Answer::Config(offer) => {
            let body = offer.body.clone();
            (StatusCode::OK, offer, body)
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, offer.etag.clone());
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if status == StatusCode::OK {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    Ok(response)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WatchQuery {
    /// Who watches (or the header `X-Agent-Id`).
    agent_id: Option<String>,
}

/// Be told when to ask.
///
/// Server-sent events: `event: fetch` at once and whenever something else is offered. They carry no
/// config: `data` has the `revision` to ask with, so that the answer is not older than the word.
#[utoipa::path(
    get, path = "/v1/fleet/watch", tag = "fleet", operation_id = "watchConfig",
    params(WatchQuery),
    responses(
        (status = 200, description = "frames for as long as the connection lasts", body = sse::ServerSentEvent,
            content_type = "text/event-stream"),
        answers::NotFound,
    )
)]
async fn watch(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
    AgentId(from_header): AgentId,
    Query(query): Query<WatchQuery>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Fleet)?;
    let agent_id = query.agent_id.or(from_header);
    let watching = api.fleet.watch(&principal.tenant, agent_id).await?;
    let frames = stream::unfold(watching, |mut watching: Watching| async move {
        let revision = watching.next().await?;
        Some((frame(revision), watching))
    });
    Ok(sse::response(frames, api.fleet.shutdown()))
}

fn frame(revision: u64) -> Bytes {
    let mut buffer = BytesMut::new();
    let (id, data) = (revision.to_string(), format!("{{\"revision\":{revision}}}"));
    sse::frame(&mut buffer, Some(&id), Some("fetch"), data.as_bytes());
    buffer.freeze()
}
