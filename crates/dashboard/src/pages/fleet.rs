//! Agents and the configuration that reaches them: what each is offered, how its last try went, and
//! what it runs; where these differ, it drifts.

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;
use tidewire_core::{Problem, Scope, Time};
use tidewire_fleet::{Agent, AttemptState, PageOf, Version};
use tidewire_http::{ApiError, Path, Query};

use super::ROWS;
use crate::{
    Dashboard,
    door::Viewer,
    frame::{self, Page, token},
    parts::{self, Field, badge, filled, or_none},
    sign_in::done,
    time,
};

const PATH: &str = "/ui/fleet";
/// Versions that the page lists.
const VERSIONS: u32 = 20;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(show))
        .route("/ui/fleet/versions/{version}/rollback", post(roll_back))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    /// Agents, or servers of Tidewire that take their settings so.
    #[serde(deserialize_with = "filled")]
    of: Option<String>,
    #[serde(deserialize_with = "filled")]
    cursor: Option<String>,
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    let of = wanted.of.as_deref();
    let servers = match of {
        None | Some("agents") => false,
        Some("servers") => true,
        Some(_) => return Err(Problem::invalid("of", "is neither agents nor servers").into()),
    };
    let fleet = &dashboard.rooms().fleet;
    let tenant = &viewer.principal.tenant;
    let page = PageOf {
        limit: Some(ROWS),
        cursor: wanted.cursor.clone(),
    };
    let (agents, next) = fleet.agents(tenant, servers, &page).await?;
    let newest = PageOf {
        limit: Some(VERSIONS),
        cursor: None,
    };
    // Configs may hold what agents alone should know; here stand only their numbers.
    let versions = match viewer.may(Scope::Fleet) {
        true => fleet.versions(tenant, &newest).await?.0,
        false => Vec::new(),
    };
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        (parts::title("Fleet", "Agents, and the configuration that reaches them."))
        (parts::filters(PATH, &[Field::Choice("of", "Show", of.or(Some("agents")), &["agents", "servers"])]))
        div #live data-live="fleet" {
            @if agents.is_empty() {
                @if servers { (parts::nothing(PATH)) }
                @else {
                    div.empty {
                        h2 { "No agent yet" }
                        p { "Start " code { "tidewire fleet worker" } ", and an agent that brings it what you push:" }
                        (parts::command(&format!("tidewire fleet agent --controller {} --state ./agent.json", visit.base)))
                    }
                }
            } @else {
                (agent_rows(&agents, now))
                (parts::pager(PATH, &[("of", of)], next.as_deref()))
            }
            @if !versions.is_empty() { section.panel { h2 { "Versions" } (version_rows(&viewer, &versions, now)) } }
        }
    };
    Ok(frame::page(&viewer, PATH, "Fleet", body))
}

fn agent_rows(agents: &[Agent], now: Time) -> Markup {
    parts::table(
        &[
            "Agent", "State", "Offered", "Runs", "Last try", "Seen", "Labels",
        ],
        html! {
            @for agent in agents {
                tr data-row=(agent.agent_id) {
                    td { (agent.name.as_deref().unwrap_or(&agent.agent_id)) @if agent.name.is_some() { " " code.dim { (agent.agent_id) } } }
                    td { (drift(agent)) }
                    td.number { (number(agent.offered)) }
                    td.number { (number(agent.running)) }
                    td.long { @match &agent.last_attempt {
                        Some(attempt) => {
                            (attempt.version) " "
                            @match attempt.state {
                                AttemptState::Applied => (badge("ok", "applied")),
                                AttemptState::Failed => (badge("bad", "failed")),
                            }
                            @if let Some(error) = &attempt.error { p { (error) } }
                        },
                        None => (or_none(None)),
                    } }
                    td { (time::maybe(agent.last_seen_at, now)) }
                    td { @for (name, value) in &agent.labels { code { (name) "=" (value) } " " } }
                }
            }
        },
    )
}

fn number(version: Option<u64>) -> Markup {
    match version {
        Some(version) => html! { (version) },
        None => or_none(None),
    }
}

/// Whether it runs what it is offered.
fn drift(agent: &Agent) -> Markup {
    let failed = agent.last_attempt.as_ref().is_some_and(|attempt| {
        attempt.state == AttemptState::Failed && Some(attempt.version) == agent.offered
    });
    match (agent.offered, agent.running) {
        (None, _) => badge("off", "nothing offered"),
        (offered, running) if offered == running => badge("ok", "in sync"),
        _ if failed => badge("bad", "refuses it"),
        _ => badge("wait", "drifts"),
    }
}

fn version_rows(viewer: &Viewer, versions: &[Version], now: Time) -> Markup {
    parts::table(
        &["Version", "Share", "For", "Author", "Note", "Made", ""],
        html! {
            @for (place, version) in versions.iter().enumerate() {
                tr data-row={ "version-" (version.version) } {
                    td.number { (version.version) @if let Some(of) = version.rollback_of { " " (badge("off", &format!("as {of}"))) } }
                    td.number { (version.percent) " %" }
                    td { @if version.labels.is_empty() { "all" } @for (name, value) in &version.labels { code { (name) "=" (value) } " " } }
                    td { (version.author) }
                    td.long { (or_none(version.note.as_deref())) }
                    td { (time::at(version.created_at, now)) }
                    td.act { @if place > 0 && viewer.may(Scope::Admin) {
                        form method="post" action={ (PATH) "/versions/" (version.version) "/rollback" } {
                            (token(&viewer.visit))
                            button type="submit" { "Bring back" span.unseen { " version " (version.version) } }
                        }
                    } }
                }
            }
        },
    )
}

async fn roll_back(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(version): Path<u64>,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Admin)?;
    let tenant = &viewer.principal.tenant;
    let fleet = &dashboard.rooms().fleet;
    // As the API names who pushes.
    let key = viewer.principal.key_id.as_deref();
    let by = key.map_or_else(|| "operator".to_owned(), |id| format!("key {id}"));
    let by = (by, None);
    fleet.roll_back(tenant, version, None, by).await?;
    done(&viewer, PATH, "rolled-back")
}
