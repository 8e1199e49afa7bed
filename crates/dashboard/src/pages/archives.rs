//! What has grown old and is kept as objects.

use axum::{Router, extract::State, routing::get};
use maud::html;
use serde::Deserialize;
use tidewire_core::{Problem, name, page};
use tidewire_http::{ApiError, Path, Query};

use super::{ROWS, behind};
use crate::{
    Dashboard,
    door::Viewer,
    frame::{self, Page},
    parts::{self, Field, bytes, count, escaped, facts, filled},
    time,
};

const LIST: &str = "archives page";
const OF_STREAM: &str = "archives page of a stream";
const PATH: &str = "/ui/archives";

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(list))
        .route("/ui/archives/{id}", get(show))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "filled")]
    stream: Option<String>,
    #[serde(deserialize_with = "filled")]
    cursor: Option<String>,
}

async fn list(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    let archives = &dashboard.rooms().archives;
    let tenant = viewer.tenant();
    let stream = wanted.stream.as_deref();
    name::check_filters([("stream", stream, name::ID_MAX + 16)])?;
    let (found, next) = match stream {
        None => {
            let before = behind(LIST, wanted.cursor.as_deref())?;
            let (found, next) = archives.list(tenant, before.as_deref(), ROWS).await?;
            (found, next.map(|key| page::cursor(LIST, &key)))
        }
        Some(stream) => {
            let before = behind(OF_STREAM, wanted.cursor.as_deref())?;
            let before = before.map(|key| key.parse::<u64>()).transpose();
            let before =
                before.map_err(|_| Problem::invalid("cursor", "is not one of this list"))?;
            let listed = archives.list_of_stream((tenant, stream), before, ROWS);
            let (found, next) = listed.await?;
            (found, next.map(|key| page::cursor(OF_STREAM, &key)))
        }
    };
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        (parts::title("Archives", "What has grown old, in the store of objects, and read as before."))
        (parts::filters(PATH, &[Field::Text("stream", "Stream", stream)]))
        div #live data-live="archives" {
            @if found.is_empty() {
                @if stream.is_some() { (parts::nothing(PATH)) }
                @else { (parts::empty(visit, "No archive yet", "Archive every stream up to now; nothing leaves the database by it:", "archive --all")) }
            } @else {
                (parts::table(&["Archive", "Stream", "From", "To", "Events", "Size", "Made"], html! {
                    @for archive in &found {
                        tr data-row=(archive.id) {
                            td { (parts::link("/ui/archives/", &archive.id)) }
                            td { a href={ (PATH) "?stream=" (escaped(&archive.stream)) } { (archive.stream) } }
                            td.number { (count(archive.from_seq)) }
                            td.number { (count(archive.to_seq)) }
                            td.number { (count(archive.event_count)) }
                            td.number { (bytes(archive.bytes)) }
                            td { (time::at(archive.created_at, now)) }
                        }
                    }
                }))
                (parts::pager(PATH, &[("stream", stream)], next.as_deref()))
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Archives", body))
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Page, ApiError> {
    let archives = &dashboard.rooms().archives;
    let archive = archives.get(viewer.tenant(), &id).await?;
    let marks = archives.marks(viewer.tenant(), &archive.stream).await?;
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(PATH) { "Archives" } }
        (parts::title(&archive.stream, "An archive of this stream."))
        (facts(&[
            ("Id", html! { code { (archive.id) } }),
            ("Places", html! { (count(archive.from_seq)) " to " (count(archive.to_seq)) }),
            ("Events", html! { (count(archive.event_count)) }),
            ("First", time::at(archive.first_at, now)),
            ("Last", time::at(archive.last_at, now)),
            ("Object", html! { code { (archives.objects().full_key(&archive.object_key)) } }),
            ("Size", html! { (bytes(archive.bytes)) ", " (bytes(archive.line_bytes)) " unpacked" }),
            ("SHA-256", html! { code { (archive.sha256) } }),
            ("Made", time::at(archive.created_at, now)),
            ("Events", match archive.thread_id() {
                Some(thread) => html! { a href={ "/ui/threads/" (escaped(thread)) } { "the thread" } },
                None => html! { a href={ "/ui/log?stream=" (escaped(&archive.stream)) } { "in the log" } },
            }),
        ]))
        section.panel {
            h2 { "How far the stream has gone" }
            (parts::table(&["Archived up to", "Read from archives up to", "Gone from the database up to"], html! {
                tr { td.number { (count(marks.archived_until)) } td.number { (count(marks.cold_until)) } td.number { (count(marks.trimmed_until)) } }
            }))
        }
        section.panel { h2 { "Get it" } (parts::command(&visit.command(&format!("archive get {}", archive.id)))) }
    };
    Ok(frame::page(&viewer, PATH, &archive.stream, body))
}
