//! The routes of an agent, with the paths of the source design.

use axum::extract::State;
use tidewire_http::Json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Agent, Shown};

#[must_use]
pub fn routes(agent: Agent) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(state))
        .with_state(agent)
}

/// How the agent is.
#[utoipa::path(
    get, path = "/state", tag = "fleet agent", operation_id = "agentState",
    responses((status = 200, description = "what it has, and how it gets on with whom", body = Shown))
)]
async fn state(State(agent): State<Agent>) -> Json<Shown> {
    Json(agent.shown())
}
