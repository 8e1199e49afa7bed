//! Jobs, and one with its attempts and what can be done about it.

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;
use tidewire_core::{Scope, Time, name, page};
use tidewire_http::{ApiError, Path, Query};
use tidewire_jobs::{Attempt, JobDetail, JobFilter, Status};

use super::{ROWS, behind};
use crate::{
    Dashboard,
    door::Viewer,
    form::Form,
    frame::{self, Page},
    parts::{self, Field, chosen, escaped, facts, filled, or_none, state},
    sign_in::done,
    time,
};

const LIST: &str = "jobs page";
const PATH: &str = "/ui/jobs";
const STATUSES: [&str; 5] = ["pending", "running", "done", "failed", "cancelled"];

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(list))
        .route("/ui/jobs/retry", post(retry_all))
        .route("/ui/jobs/{id}", get(show))
        .route("/ui/jobs/{id}/retry", post(retry))
        .route("/ui/jobs/{id}/cancel", post(cancel))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "chosen")]
    status: Option<Status>,
    #[serde(rename = "type", deserialize_with = "filled")]
    kind: Option<String>,
    #[serde(deserialize_with = "filled")]
    queue: Option<String>,
    #[serde(deserialize_with = "filled")]
    cursor: Option<String>,
}

async fn list(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    let (kind, queue) = (wanted.kind.as_deref(), wanted.queue.as_deref());
    name::check_filters([
        ("type", kind, name::TYPE_MAX),
        ("queue", queue, name::ID_MAX),
    ])?;
    let before = behind(LIST, wanted.cursor.as_deref())?;
    let filter = JobFilter {
        status: wanted.status,
        kind: wanted.kind.clone(),
        queue: wanted.queue.clone(),
    };
    let jobs = &dashboard.rooms().jobs;
    let tenant = &viewer.principal.tenant;
    let found = jobs.list(tenant, &filter, before.as_deref(), ROWS).await?;
    let status = wanted.status.map(Status::as_str);
    let set = [("status", status), ("type", kind), ("queue", queue)];
    let is_filtered = set.iter().any(|(_, value)| value.is_some());
    let next = found.next.map(|id| page::cursor(LIST, &id));
    let live = before.is_none().then_some("jobs");
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        (parts::title("Jobs", "Work that is queued, done at least once and recorded."))
        (parts::filters(PATH, &[
            Field::Choice("status", "Status", status, &STATUSES),
            Field::Text("type", "Type", kind),
            Field::Text("queue", "Queue", queue),
        ]))
        div #live data-live=[live] {
            @if found.jobs.is_empty() && next.is_none() {
                @if is_filtered { (parts::nothing(PATH)) }
                @else { (parts::empty(visit, "No job yet", "Enqueue one that a built-in worker does:", "jobs enqueue echo --payload '{\"hello\":\"world\"}'")) }
            } @else {
                @if wanted.status == Some(Status::Failed) && viewer.may(Scope::Write) && !found.jobs.is_empty() {
                    (retry_button(&viewer, kind, queue))
                }
                (parts::table(&["Job", "Status", "Type", "Queue", "Attempts", "Due", "Error"], html! {
                    @for job in &found.jobs {
                        tr data-row=(job.id) {
                            td { (parts::link("/ui/jobs/", &job.id)) }
                            td { (state(job.status.as_str())) }
                            td { a href={ (PATH) "?type=" (escaped(&job.kind)) } { (job.kind) } }
                            td { a href={ (PATH) "?queue=" (escaped(&job.queue)) } { (job.queue) } }
                            td.number { (job.attempts) " of " (job.max_attempts) }
                            td { (time::at(job.run_at, now)) }
                            td.long { (or_none(job.last_error.as_deref())) }
                        }
                    }
                }))
                (parts::pager(PATH, &set, next.as_deref()))
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Jobs", body))
}

fn retry_button(viewer: &Viewer, kind: Option<&str>, queue: Option<&str>) -> Markup {
    html! {
        form.bar method="post" action="/ui/jobs/retry" {
            (frame::token(&viewer.visit))
            @if let Some(kind) = kind { input type="hidden" name="type" value=(kind); }
            @if let Some(queue) = queue { input type="hidden" name="queue" value=(queue); }
            button type="submit" { "Retry all that failed" @if kind.is_some() || queue.is_some() { " and fit the filters" } }
        }
    }
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Page, ApiError> {
    let detail = dashboard.rooms().jobs.get(viewer.tenant(), &id).await?;
    let JobDetail {
        job,
        progress,
        attempts_log,
    } = &detail;
    let now = viewer.visit.now;
    let can_retry = matches!(job.status, Status::Failed | Status::Cancelled);
    let can_cancel = matches!(job.status, Status::Pending | Status::Running);
    let path = format!("{PATH}/{}", job.id);
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(PATH) { "Jobs" } }
        (parts::title(&job.kind, "A job and its attempts."))
        div #live data-live="jobs" {
            div.head-line {
                (state(job.status.as_str()))
                @if viewer.may(Scope::Write) {
                    div.actions {
                        @if can_retry { (parts::action(&viewer, &format!("{path}/retry"), "main", "Retry")) }
                        @if can_cancel { (parts::action(&viewer, &format!("{path}/cancel"), "danger", "Cancel")) }
                    }
                }
            }
            @if let Some(error) = &job.last_error { p.wrong { (error) } }
            (facts(&[
                ("Id", html! { code { (job.id) } }),
                ("Queue", html! { a href={ (PATH) "?queue=" (escaped(&job.queue)) } { (job.queue) } }),
                ("Attempts", html! { (job.attempts) " of " (job.max_attempts) }),
                ("Priority", html! { (job.priority) }),
                ("Due", time::at(job.run_at, now)),
                ("Made", time::at(job.created_at, now)),
                ("Begun", time::maybe(job.started_at, now)),
                ("Ended", time::maybe(job.finished_at, now)),
                ("Worker", or_none(job.locked_by.as_deref())),
                ("Idempotency key", or_none(job.idempotency_key.as_deref())),
                ("Event", match &job.event_id { Some(id) => parts::link("/ui/log/", id), None => or_none(None) }),
            ]))
            section.panel { h2 { "Attempts" } (attempts(attempts_log, now)) }
            @if let Some(progress) = progress { section.panel { h2 { "Progress" } (parts::json(progress)) } }
            section.panel { h2 { "Payload" } (parts::json(&job.payload)) }
            @if let Some(output) = &job.output { section.panel { h2 { "Output" } (parts::json(output)) } }
        }
    };
    Ok(frame::page(&viewer, PATH, &job.kind, body))
}

fn attempts(log: &[Attempt], now: Time) -> Markup {
    if log.is_empty() {
        return html! { p.dim { "None has begun." } };
    }
    parts::table(
        &["Attempt", "Outcome", "Begun", "Took", "Worker", "Error"],
        html! {
            @for attempt in log {
                tr {
                    td.number { (attempt.attempt) }
                    td { (state(outcome(attempt))) }
                    td { (time::maybe(attempt.started_at, now)) }
                    td.number { @match (attempt.started_at, attempt.finished_at) {
                        (Some(from), Some(to)) => (time::span(to.since(from))),
                        _ => span.none { "–" },
                    } }
                    td { (or_none(attempt.worker.as_deref())) }
                    td.long { (or_none(attempt.error.as_deref())) }
                }
            }
        },
    )
}

fn outcome(attempt: &Attempt) -> &'static str {
    use tidewire_jobs::Outcome::{Cancelled, Done, Expired, Failed, Running};
    match attempt.outcome {
        Running => "running",
        Done => "done",
        Failed => "failed",
        Expired => "expired",
        Cancelled => "cancelled",
    }
}

async fn retry(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let tenant = &viewer.principal.tenant;
    let job = dashboard.rooms().jobs.retry(tenant, &id).await?;
    done(&viewer, &format!("{PATH}/{}", job.id), "retried")
}

async fn cancel(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let tenant = &viewer.principal.tenant;
    let job = dashboard.rooms().jobs.cancel(tenant, &id).await?;
    done(&viewer, &format!("{PATH}/{}", job.id), "cancelled")
}

async fn retry_all(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    form: Form,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let (kind, queue) = (form.get("type"), form.get("queue"));
    name::check_filters([
        ("type", kind, name::TYPE_MAX),
        ("queue", queue, name::ID_MAX),
    ])?;
    let filter = JobFilter {
        status: None,
        kind: kind.map(str::to_owned),
        queue: queue.map(str::to_owned),
    };
    let tenant = &viewer.principal.tenant;
    dashboard.rooms().jobs.retry_all(tenant, &filter).await?;
    done(&viewer, PATH, "retried-all")
}
