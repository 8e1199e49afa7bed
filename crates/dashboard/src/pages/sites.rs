//! Other people's systems: how far their lists are synced.

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;
use tidewire_core::{Scope, Time, page};
use tidewire_http::{ApiError, Path, Query};
use tidewire_sites::ResourceStatus;

use super::{ROWS, behind};
use crate::{
    Dashboard,
    door::Viewer,
    frame::{self, Page},
    parts::{self, count, escaped, facts, filled, state},
    sign_in::done,
    time,
};

const LIST: &str = "sites page";
const PATH: &str = "/ui/sites";

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(list))
        .route("/ui/sites/{id}", get(show))
        .route("/ui/sites/{id}/sync/{resource}", post(sync))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "filled")]
    cursor: Option<String>,
}

async fn list(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    let before = behind(LIST, wanted.cursor.as_deref())?;
    let sites = &dashboard.rooms().sites;
    let (found, next) = sites.list(viewer.tenant(), before.as_deref(), ROWS).await?;
    let next = next.map(|key| page::cursor(LIST, &key));
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        (parts::title("Sites", "Other people's systems, synced into the log."))
        div #live data-live="sites" {
            @if found.is_empty() {
                (parts::empty(visit, "No site yet", "Start the simulator with `tidewire builder`, make a site there, and register it:", "sites add SITE --access-key KEY --base-url http://127.0.0.1:8081"))
            } @else {
                (parts::table(&["Site", "State", "Kind", "Where", "Registered"], html! {
                    @for site in &found {
                        tr data-row=(site.id) {
                            td { a href={ (PATH) "/" (escaped(&site.id)) } { (site.name.as_deref().unwrap_or(&site.id)) } }
                            td { (state(site.state.as_str())) }
                            td { (site.kind) }
                            td.long { (site.base_url) }
                            td { (time::at(site.created_at, now)) }
                        }
                    }
                }))
                (parts::pager(PATH, &[], next.as_deref()))
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Sites", body))
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Page, ApiError> {
    let detail = dashboard.rooms().sites.get(viewer.tenant(), &id).await?;
    let site = &detail.site;
    let now = viewer.visit.now;
    let name = site.name.as_deref().unwrap_or(&site.id);
    let stream = format!("{}{}", tidewire_sites::NAMESPACE, site.id);
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(PATH) { "Sites" } }
        (parts::title(name, "A site, and how far its lists are."))
        div #live data-live="sites" {
            div.head-line { (state(site.state.as_str())) }
            @if let Some(reason) = &site.state_reason { p.wrong { (reason) } }
            (facts(&[
                ("Id", html! { code { (site.id) } }),
                ("Kind", html! { (site.kind) }),
                ("Where", html! { (site.base_url) }),
                ("Registered", time::at(site.created_at, now)),
                ("Events", html! { a href={ "/ui/log?stream=" (escaped(&stream)) } { "in the log" } }),
                ("Syncs", html! { a href="/ui/jobs?type=site.sync" { "their jobs" } }),
            ]))
            @for resource in &detail.resources { (progress(&viewer, &site.id, resource, now)) }
        }
    };
    Ok(frame::page(&viewer, PATH, name, body))
}

fn progress(viewer: &Viewer, site: &str, resource: &ResourceStatus, now: Time) -> Markup {
    let report = resource.report.as_ref();
    let read = report.map_or(0, |report| report.fetched);
    let total = report.and_then(|report| report.total);
    let stands = match (resource.is_open, resource.finished_at, &resource.error) {
        (_, _, Some(_)) => "failed",
        (true, _, _) => "syncing",
        (false, Some(_), _) => "completed",
        (false, None, _) => "never synced",
    };
    let path = format!(
        "{PATH}/{}/sync/{}",
        escaped(site),
        escaped(&resource.resource)
    );
    html! {
        section.panel {
            div.head-line {
                h2 { (resource.resource) " " (state(stands)) }
                @if viewer.may(Scope::Write) { (parts::action(viewer, &path, "", "Sync now")) }
            }
            @if resource.is_open {
                @match total.filter(|total| *total > 0) {
                    Some(total) => progress max=(total) value=(read.min(total)) aria-label={ "how much of " (resource.resource) " is read" } {},
                    None => progress aria-label={ (resource.resource) " is being read" } {},
                }
            }
            @if let Some(error) = &resource.error { p.wrong { (error) } }
            @if let Some(report) = report {
                p {
                    (count(report.fetched)) " read" @if let Some(total) = total { " of " (count(total)) } ", "
                    (count(report.inserted)) " new, " (count(report.duplicates)) " known before"
                    @if report.skipped > 0 { ", " (count(report.skipped)) " skipped" }
                }
                @if let Some(why) = &report.skipped_because { p.dim { (why) } }
            }
            p.dim {
                @match (resource.started_at, resource.finished_at) {
                    (None, None) => "It was never synced.",
                    (Some(begun), None) => { "Begun " (time::at(begun, now)) },
                    (_, Some(ended)) => { "Last came to its end " (time::at(ended, now)) },
                }
            }
        }
    }
}

async fn sync(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path((id, resource)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let tenant = &viewer.principal.tenant;
    let sites = &dashboard.rooms().sites;
    sites.enqueue(tenant, &id, &resource).await?;
    done(&viewer, &format!("{PATH}/{}", escaped(&id)), "syncing")
}
