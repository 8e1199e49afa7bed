//! Agents: they register, say how a version went, and are listed.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewire_core::{Kind, Problem, Scope};
use tidewire_http::{ApiError, Caller, Json, Operator, Optional, Path, Query, answers};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Addressed, Api, require_reader};
use crate::{
    Labels, Registration, Report,
    model::{Agent, AttemptState},
    service::PageOf,
};

pub(super) fn routes(api: Arc<Api>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(list))
        .routes(routes!(report))
        .routes(routes!(forget))
        .with_state(api)
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[schema(as = NewFleetAgent)]
#[serde(deny_unknown_fields)]
struct RegisterBody {
    /// The id that it was given before; a new one is made if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    agent_id: Option<String>,
    /// What people call it.
    name: Option<String>,
    /// What versions may ask for, such as `{"region": "eu"}`.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: Option<Labels>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Registered {
    agent_id: String,
    /// Where it asks for its config.
    poll_url: String,
    /// How often it should.
    poll_interval_seconds: u64,
}

/// Register an agent.
///
/// An agent that names itself keeps its id, and its name and labels become what it says now.
#[utoipa::path(
    post, path = "/v1/fleet/register", tag = "fleet", operation_id = "registerAgent",
    request_body = RegisterBody,
    responses((status = 201, description = "it is known", body = Registered))
)]
async fn register(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
    Addressed(addressed): Addressed,
    Optional(body): Optional<RegisterBody>,
) -> Result<(StatusCode, Json<Registered>), ApiError> {
    principal.require(Scope::Fleet)?;
    let body = body.unwrap_or_default();
    let registration = Registration {
        agent_id: body.agent_id,
        name: body.name,
        labels: body.labels.unwrap_or_default(),
    };
    let base = api.public_url.clone().or(addressed).ok_or_else(|| {
        Problem::new(
            Kind::Malformed,
            "the request does not say where it was sent to: send the header Host",
        )
    })?;
    let agent_id = api.fleet.register(&principal.tenant, registration).await?;
    let every = api.fleet.settings().agents_ask_every;
    let registered = Registered {
        poll_url: base.join(&format!("/v1/fleet/config?agent_id={agent_id}")),
        poll_interval_seconds: every.as_secs().max(1),
        agent_id: agent_id.to_string(),
    };
    Ok((StatusCode::CREATED, Json(registered)))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AgentsQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// List the servers of Tidewire, whose live settings are a config too, and not the agents.
    servers: Option<bool>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct AgentList {
    agents: Vec<Agent>,
    /// Send it as `cursor` for the next page; null at the end.
    next_cursor: Option<String>,
}

/// List agents, those first that registered last.
#[utoipa::path(
    get, path = "/v1/fleet/agents", tag = "fleet", operation_id = "listAgents",
    params(AgentsQuery),
    responses((status = 200, description = "a page of agents", body = AgentList))
)]
async fn list(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
    Query(query): Query<AgentsQuery>,
) -> Result<Json<AgentList>, ApiError> {
    require_reader(&principal)?;
    let page = PageOf {
        limit: query.limit,
        cursor: query.cursor,
    };
    let servers = query.servers.unwrap_or_default();
    let listed = api.fleet.agents(&principal.tenant, servers, &page);
    let (agents, next_cursor) = listed.await?;
    Ok(Json(AgentList {
        agents,
        next_cursor,
    }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = AgentStatus)]
#[serde(deny_unknown_fields)]
struct StatusBody {
    #[schema(minimum = 1)]
    version: u64,
    state: AttemptState,
    /// Why it failed.
    error: Option<String>,
}

/// Say how a version went.
#[utoipa::path(
    post, path = "/v1/fleet/agents/{id}/status", tag = "fleet", operation_id = "reportStatus",
    params(("id" = String, Path, description = "the agent's id")),
    request_body = StatusBody,
    responses((status = 204, description = "it is noted"), answers::NotFound)
)]
async fn report(
    State(api): State<Arc<Api>>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Json(body): Json<StatusBody>,
) -> Result<StatusCode, ApiError> {
    principal.require(Scope::Fleet)?;
    let report = Report {
        version: body.version,
        state: body.state,
        error: body.error,
    };
    api.fleet.report(&principal.tenant, &id, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forget an agent that is gone for good.
///
/// Should it ask again all the same, it registers, and is who it was.
#[utoipa::path(
    delete, path = "/v1/fleet/agents/{id}", tag = "fleet", operation_id = "forgetAgent",
    params(("id" = String, Path, description = "the agent's id")),
    responses((status = 204, description = "it is forgotten"), answers::NotFound)
)]
async fn forget(
    Operator(principal): Operator,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.fleet.forget(&principal.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
