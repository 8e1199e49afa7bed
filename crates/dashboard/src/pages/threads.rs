//! Agents' conversations, and one as it is written.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use maud::{Markup, html};
use serde::Deserialize;
use tidewire_core::{Principal, Scope, Time, page};
use tidewire_http::{
    ApiError, Path, Query,
    sse::{self, LastEventId},
};
use tidewire_threads::{ThreadStatus, Turn};
use tokio::time::sleep;

use super::{ROWS, behind, transcript::Transcript};
use crate::{
    Dashboard,
    door::Viewer,
    form::Form,
    frame::{self, Page, token},
    parts::{self, count, escaped, facts, filled, or_none, state},
    session::Session,
    sign_in::{done, missing},
    time,
};

const LIST: &str = "threads page";
const PATH: &str = "/ui/threads";
/// Events that a page shows of a thread: its last ones, unless others are asked for.
const SHOWN: u32 = 400;
/// Turns that a page lists.
const TURNS: u32 = 20;
/// For so long a stream waits before it looks whether it may go on.
const WAIT: Duration = Duration::from_secs(10);
/// What comes within this time is sent at once.
const GATHER: Duration = Duration::from_millis(60);

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(list))
        .route("/ui/threads/{id}", get(show))
        .route("/ui/threads/{id}/cancel", post(cancel))
        .route("/ui/live/threads/{id}", get(follow))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "filled")]
    thread: Option<String>,
    #[serde(deserialize_with = "filled")]
    cursor: Option<String>,
}

async fn list(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    let threads = &dashboard.rooms().threads;
    let tenant = &viewer.principal.tenant;
    let (found, next) = match &wanted.thread {
        Some(thread) => match threads.thread(tenant, thread).await {
            Ok(thread) => (vec![thread], None),
            Err(tidewire_threads::Error::NoSuchThread(_)) => (Vec::new(), None),
            Err(error) => return Err(error.into()),
        },
        None => {
            let before = behind(LIST, wanted.cursor.as_deref())?;
            threads.threads(tenant, before.as_deref(), ROWS).await?
        }
    };
    let next = next.map(|key| page::cursor(LIST, &key));
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        (parts::title("Threads", "Agents' conversations, as they are written."))
        (parts::filters(PATH, &[parts::Field::Text("thread", "Thread's id", wanted.thread.as_deref())]))
        div #live data-live="threads" {
            @if found.is_empty() {
                @if wanted.thread.is_some() { (parts::nothing(PATH)) }
                @else { (parts::empty(visit, "No thread yet", "Start `tidewire reference-agent`, an agent to try things with, and ask it something:", "turns start 'Hello there' --follow")) }
            } @else {
                (parts::table(&["Thread", "Status", "Events", "Last", "Begun"], html! {
                    @for thread in &found {
                        tr data-row=(thread.thread_id) {
                            td { a href={ (PATH) "/" (escaped(&thread.thread_id)) } { (thread.thread_id) } }
                            td { (status(thread.status)) }
                            td.number { (count(thread.last_seq)) }
                            td { (time::at(thread.updated_at, now)) }
                            td { (time::at(thread.created_at, now)) }
                        }
                    }
                }))
                (parts::pager(PATH, &[], next.as_deref()))
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Threads", body))
}

fn status(status: ThreadStatus) -> Markup {
    match status {
        ThreadStatus::Active => parts::badge("ok", "active"),
        ThreadStatus::Idle => parts::badge("off", "idle"),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct From {
    /// Events behind this one.
    from: Option<u64>,
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(wanted): Query<From>,
) -> Result<Page, ApiError> {
    let threads = &dashboard.rooms().threads;
    let tenant = &viewer.principal.tenant;
    let thread = threads.thread(tenant, &id).await?;
    let (turns, _) = threads.turns(tenant, &id, None, TURNS).await?;
    let last = thread.last_seq.saturating_sub(u64::from(SHOWN));
    let from = wanted.from.unwrap_or(last);
    let span = (from, SHOWN);
    let events = threads
        .events(tenant, &id, None, span, Duration::ZERO)
        .await?;
    let mut transcript = Transcript::behind(from);
    transcript.hear(&events);
    let now = viewer.visit.now;
    let at_end = transcript.last >= thread.last_seq;
    let path = format!("{PATH}/{}", escaped(&id));
    let stream = at_end.then(|| {
        format!(
            "/ui/live/threads/{}?from={from}&seen={}",
            escaped(&id),
            transcript.last
        )
    });
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(PATH) { "Threads" } }
        (parts::title(&thread.thread_id, "A thread, as its agents write it."))
        (facts(&[
            ("Status", status(thread.status)),
            ("Events", html! { (count(thread.last_seq)) }),
            ("Begun", time::at(thread.created_at, now)),
            ("Last event", time::at(thread.updated_at, now)),
            ("Archives", html! { a href={ "/ui/archives?stream=" (escaped(&format!("{}{id}", tidewire_threads::NAMESPACE))) } { "of this thread" } }),
        ]))
        div #live data-live="threads" {
            details open[turns.iter().any(|turn| !turn.status.is_terminal())] {
                summary { "Turns" }
                (turn_rows(&viewer, &turns, &path, now))
            }
        }
        div.head-line {
            h2 { "Transcript" }
            @if at_end { span.live-state data-thread-state role="status" {} }
        }
        @if from > 0 { p { a href={ (path) "?from=" (from.saturating_sub(SHOWN.into())) } { "Earlier" } } }
        @if transcript.is_empty() { p.dim data-thread-empty { "Nothing has been said yet." } }
        div.transcript role="log" aria-label="Transcript" data-thread=[stream] { (transcript.whole(now)) }
        @if !at_end { p { a href={ (path) "?from=" (transcript.last) } { "Later" } " · " a href=(path) { "The end, live" } } }
    };
    Ok(frame::page(&viewer, PATH, &thread.thread_id, body))
}

fn turn_rows(viewer: &Viewer, turns: &[Turn], path: &str, now: Time) -> Markup {
    parts::table(
        &["Turn", "Status", "Agent", "Job", "Made", "Error", ""],
        html! {
            @for turn in turns {
                tr data-row=(turn.turn_id) {
                    td { code { (turn.turn_id) } }
                    td { (state(turn.status.as_str())) }
                    td { (or_none(turn.agent.as_deref())) }
                    td { @match &turn.job_id { Some(job) => (parts::link("/ui/jobs/", job)), None => (or_none(None)) } }
                    td { (time::at(turn.created_at, now)) }
                    td.long { (or_none(turn.error.as_deref())) }
                    td.act { @if !turn.status.is_terminal() && viewer.may(Scope::Write) {
                        form method="post" action={ (path) "/cancel" } {
                            (token(&viewer.visit))
                            button.danger type="submit" name="turn" value=(turn.turn_id) { "Cancel" span.unseen { " " (turn.turn_id) } }
                        }
                    } }
                }
            }
        },
    )
}

async fn cancel(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let turn = form.get("turn").ok_or_else(|| missing("turn"))?;
    let tenant = &viewer.principal.tenant;
    let threads = &dashboard.rooms().threads;
    threads.cancel(tenant, &id, turn, None).await?;
    done(
        &viewer,
        &format!("{PATH}/{}", escaped(&id)),
        "cancelled-turn",
    )
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Where the page's transcript begins.
    from: u64,
    /// The last event that the page was made with.
    seen: u64,
    /// The last that it was sent since.
    last: Option<u64>,
}

/// The pieces of a transcript that change from here on.
async fn follow(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
    Query(Seen { from, seen, last }): Query<Seen>,
    LastEventId(sent): LastEventId,
) -> Result<Response, ApiError> {
    let sent = sent.and_then(|sent| sent.parse().ok());
    let seen = sent.or(last).unwrap_or(seen);
    let mut ear = Ear {
        dashboard: dashboard.clone(),
        session: viewer.visit.session,
        thread: id,
        transcript: Transcript::behind(from),
    };
    ear.catch_up(&viewer.principal, seen).await?;
    let frames = stream::unfold(ear, |mut ear| async move {
        let frame = ear.next().await?;
        Some((frame, ear))
    });
    Ok(sse::response(frames, &dashboard.inner.shutdown))
}

/// Somebody who listens to a thread.
struct Ear {
    dashboard: Dashboard,
    session: Option<Session>,
    thread: String,
    transcript: Transcript,
}

impl Ear {
    /// Hears what the page has already.
    async fn catch_up(&mut self, principal: &Principal, seen: u64) -> Result<(), ApiError> {
        while self.transcript.last < seen {
            let before = self.transcript.last;
            self.hear(principal, Duration::ZERO, seen).await?;
            if self.transcript.last == before {
                break;
            }
        }
        let now = self.dashboard.rooms().clock.now();
        let _known = self.transcript.changed(now);
        Ok(())
    }

    async fn hear(
        &mut self,
        principal: &Principal,
        wait: Duration,
        until: u64,
    ) -> Result<(), ApiError> {
        let threads = &self.dashboard.rooms().threads;
        let after = self.transcript.last;
        let most = u32::try_from(until - after).unwrap_or(SHOWN).min(SHOWN);
        let heard = threads.events(&principal.tenant, &self.thread, None, (after, most), wait);
        self.transcript.hear(&heard.await?);
        Ok(())
    }

    /// The next frame; none once the session is over or the thread cannot be read.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let principal = self.dashboard.still(self.session.as_ref()).await?;
            self.hear(&principal, WAIT, u64::MAX).await.ok()?;
            let now = self.dashboard.rooms().clock.now();
            if let Some(pieces) = self.transcript.changed(now) {
                let (id, pieces) = (self.transcript.last.to_string(), pieces.into_string());
                let mut frame = BytesMut::new();
                sse::frame(&mut frame, Some(&id), Some("pieces"), pieces.as_bytes());
                sleep(GATHER).await;
                return Some(frame.freeze());
            }
        }
    }
}
