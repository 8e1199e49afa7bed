//! The log, and one event.

use axum::{Router, extract::State, routing::get};
use maud::html;
use serde::Deserialize;
use tidewire_core::{Problem, name, page};
use tidewire_events::{Event, Filter};
use tidewire_http::{ApiError, Path, Query};

use super::{ROWS, behind};
use crate::{
    Dashboard,
    door::Viewer,
    frame::{self, Page},
    parts::{self, Field, escaped, facts, filled, or_none},
    time,
};

const LIST: &str = "log";
const PATH: &str = "/ui/log";

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(list))
        .route("/ui/log/{id}", get(show))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(rename = "type", deserialize_with = "filled")]
    kind: Option<String>,
    #[serde(deserialize_with = "filled")]
    stream: Option<String>,
    #[serde(deserialize_with = "filled")]
    subject: Option<String>,
    #[serde(deserialize_with = "filled")]
    source: Option<String>,
    #[serde(deserialize_with = "filled")]
    cursor: Option<String>,
}

async fn list(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    name::check_filters([
        ("type", wanted.kind.as_deref(), name::TYPE_MAX),
        ("stream", wanted.stream.as_deref(), name::ID_MAX + 16),
    ])?;
    let before = behind(LIST, wanted.cursor.as_deref())?;
    let before = before.map(|key| key.parse::<u64>()).transpose();
    let before = before.map_err(|_| Problem::invalid("cursor", "is not one of this list"))?;
    let filter = Filter {
        kind: wanted.kind.clone(),
        stream: wanted.stream.clone(),
        subject: wanted.subject.clone(),
        source: wanted.source.clone(),
        ..Filter::default()
    };
    let tenant = &viewer.principal.tenant;
    let found = dashboard
        .rooms()
        .events
        .list(tenant, &filter, before, ROWS)
        .await?;
    let set = [
        ("type", wanted.kind.as_deref()),
        ("stream", wanted.stream.as_deref()),
        ("subject", wanted.subject.as_deref()),
        ("source", wanted.source.as_deref()),
    ];
    let is_filtered = set.iter().any(|(_, value)| value.is_some());
    let next = found.next.map(|pos| page::cursor(LIST, &pos.to_string()));
    // An older page does not change.
    let live = before.is_none().then_some("log");
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        (parts::title("Log", "Every event, newest first."))
        (parts::filters(PATH, &[
            Field::Text("type", "Type", wanted.kind.as_deref()),
            Field::Text("stream", "Stream", wanted.stream.as_deref()),
            Field::Text("subject", "Subject", wanted.subject.as_deref()),
            Field::Text("source", "Source", wanted.source.as_deref()),
        ]))
        div #live data-live=[live] {
            @if found.events.is_empty() && next.is_none() {
                @if is_filtered { (parts::nothing(PATH)) }
                @else { (parts::empty(visit, "No event yet", "Store the first one:", "events append user.signed-up --payload '{\"plan\":\"free\"}' --subject ann")) }
            } @else {
                (parts::table(&["Stored", "Type", "Stream", "Seq", "Subject", "Payload"], html! {
                    @for event in &found.events {
                        tr data-row=(event.id) {
                            td { (time::at(event.created_at, now)) }
                            td { a href={ "/ui/log/" (event.id) } { (event.kind) } }
                            td { a href={ (PATH) "?stream=" (escaped(&event.stream)) } { (event.stream) } }
                            td.number { (event.seq) }
                            td { (or_none(event.subject.as_deref())) }
                            td { (parts::glimpse(&event.payload)) }
                        }
                    }
                }))
                (parts::pager(PATH, &set, next.as_deref()))
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Log", body))
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Page, ApiError> {
    let event = dashboard.rooms().events.get(viewer.tenant(), &id).await?;
    let now = viewer.visit.now;
    let narrowed = |name: &str, value: &str| {
        html! { a href={ (PATH) "?" (name) "=" (escaped(value)) } { (value) } }
    };
    let maybe = |name: &str, value: &Option<String>| match value {
        Some(value) => narrowed(name, value),
        None => or_none(None),
    };
    let Event {
        kind,
        stream,
        subject,
        dedupe_key,
        source,
        ..
    } = &event;
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(PATH) { "Log" } }
        (parts::title(kind, "An event of the log."))
        (facts(&[
            ("Id", html! { code { (event.id) } }),
            ("Type", narrowed("type", kind)),
            ("Stream", narrowed("stream", stream)),
            ("Seq", html! { (event.seq) }),
            ("Subject", maybe("subject", subject)),
            ("Source", maybe("source", source)),
            ("Dedupe key", or_none(dedupe_key.as_deref())),
            ("Happened", time::at(event.occurred_at, now)),
            ("Stored", time::at(event.created_at, now)),
        ]))
        section.panel { h2 { "Payload" } (parts::json(&event.payload)) }
    };
    Ok(frame::page(&viewer, PATH, kind, body))
}
