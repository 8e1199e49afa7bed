//! What triggers' firings did, and one looked into: what was sent, how it was signed, what was
//! answered and how long it took.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;
use tidewire_core::{Scope, Time};
use tidewire_http::{ApiError, Path, Query};
use tidewire_triggers::{
    Execution, ExecutionAttempt, ExecutionQuery, ExecutionStatus, Page as At, RetentionStatus,
    Sent, Source,
};

use super::{ROWS, triggers::rows};
use crate::{
    Dashboard,
    door::Viewer,
    frame::{self, Page},
    parts::{self, Field, chosen, facts, filled, or_none, state},
    sign_in::done,
    time,
};

const PATH: &str = "/ui/executions";

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(list))
        .route("/ui/executions/{id}", get(show))
        .route("/ui/executions/{id}/retry", post(retry))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "filled")]
    trigger_id: Option<String>,
    #[serde(deserialize_with = "chosen")]
    status: Option<ExecutionStatus>,
    #[serde(deserialize_with = "chosen")]
    source: Option<Source>,
    #[serde(deserialize_with = "chosen")]
    kept: Option<RetentionStatus>,
    #[serde(deserialize_with = "chosen")]
    page: Option<u64>,
}

async fn list(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    let at = At::of(wanted.page, Some(ROWS))?;
    let query = ExecutionQuery {
        trigger_id: wanted.trigger_id.clone(),
        execution_status: wanted.status,
        source: wanted.source,
        retention_status: wanted.kept,
        is_test_run: None,
    };
    let triggers = &dashboard.rooms().triggers;
    let (found, pagination) = triggers.executions(viewer.tenant(), query, at).await?;
    let trigger = wanted.trigger_id.as_deref();
    let status = wanted.status.map(ExecutionStatus::as_str);
    let source = wanted.source.map(Source::as_str);
    let kept = wanted.kept.map(RetentionStatus::as_str);
    let set = [
        ("trigger_id", trigger),
        ("status", status),
        ("source", source),
        ("kept", kept),
    ];
    let is_filtered = set.iter().any(|(_, value)| value.is_some());
    let visit = &viewer.visit;
    let body = html! {
        (parts::title("Executions", "What each firing of a trigger did."))
        (parts::filters(PATH, &[
            Field::Text("trigger_id", "Trigger's id", trigger),
            Field::Choice("status", "Status", status, &["pending", "success", "failure"]),
            Field::Choice("source", "Source", source, &["webhook", "scheduler", "event", "manual-test"]),
            Field::Choice("kept", "Kept as", kept, &["active", "archived"]),
        ]))
        div #live data-live="executions" {
            @if found.is_empty() {
                @if is_filtered || at.number > 1 { (parts::nothing(PATH)) }
                @else { (parts::empty(visit, "Nothing has fired yet", "Or what has fired is archived by now. Make a trigger that calls you:", "triggers create --name orders --event-type 'order.*' --endpoint https://example.com/hook")) }
            } @else {
                (rows(&found, visit.now))
                (parts::numbered(PATH, &set, pagination))
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Executions", body))
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Page, ApiError> {
    let triggers = &dashboard.rooms().triggers;
    let execution = triggers.execution(viewer.tenant(), &id).await?;
    let sent = triggers.sent(&execution).await?;
    let now = viewer.visit.now;
    let path = format!("{PATH}/{}", execution.id);
    let failed = execution.execution_status == ExecutionStatus::Failure;
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" {
            a href=(PATH) { "Executions" }
            @if let Some(trigger) = &execution.trigger_id { " of " a href={ "/ui/triggers/" (trigger) } { "its trigger" } }
        }
        (parts::title("Execution", "One firing of a trigger."))
        div #live data-live="executions" {
            div.head-line {
                span {
                    (state(execution.execution_status.as_str()))
                    @if execution.is_test_run { " " (parts::badge("off", "test")) }
                    @if execution.retention_status == RetentionStatus::Archived { " " (parts::badge("off", "archived")) }
                }
                @if failed && viewer.may(Scope::Write) {
                    div.actions { (parts::action(&viewer, &format!("{path}/retry"), "main", "Try again")) }
                }
            }
            @if let Some(error) = &execution.error_message { p.wrong { (error) } }
            (facts(&[
                ("Id", html! { code { (execution.id) } }),
                ("Trigger", match &execution.trigger_id { Some(id) => parts::link("/ui/triggers/", id), None => or_none(None) }),
                ("Type", html! { (execution.trigger_type.as_str()) }),
                ("Source", html! { (execution.source.as_str()) }),
                ("Fired", time::at(execution.fired_at, now)),
                ("Job", match &execution.job_id { Some(id) => parts::link("/ui/jobs/", id), None => or_none(None) }),
            ]))
            (timings(&execution, now))
            @match &sent {
                Some(sent) => (inspector(&execution, sent)),
                None => section.panel { h2 { "Payload" } (parts::json(&execution.payload)) },
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Execution", body))
}

fn timings(execution: &Execution, now: Time) -> Markup {
    let took = |attempt: &ExecutionAttempt| attempt.duration_ms.unwrap_or(0);
    let longest = execution
        .attempts
        .iter()
        .map(took)
        .max()
        .unwrap_or(0)
        .max(1);
    html! {
        section.panel {
            h2 { "Attempts" }
            @if execution.attempts.is_empty() { p.dim { "None was recorded: it waits for a worker, or makes a job." } }
            @else {
                (parts::table(&["Attempt", "Answer", "Begun", "Took", "", "Error"], html! {
                    @for attempt in &execution.attempts {
                        tr {
                            td.number { (attempt.attempt) }
                            td { (answer_badge(attempt)) }
                            td { (time::at(attempt.started_at, now)) }
                            td.number { (time::span(Duration::from_millis(took(attempt)))) }
                            td.measure { progress max=(longest) value=(took(attempt)) aria-label={ "how long attempt " (attempt.attempt) " took" } {} }
                            td.long { (or_none(attempt.error.as_deref())) }
                        }
                    }
                }))
            }
        }
    }
}

fn answer_badge(attempt: &ExecutionAttempt) -> Markup {
    match attempt.response_status {
        Some(status) => {
            let class = if (200..300).contains(&status) {
                "ok"
            } else {
                "bad"
            };
            parts::badge(class, &status.to_string())
        }
        None => parts::badge("bad", "no answer"),
    }
}

/// The request beside the answer.
fn inspector(execution: &Execution, sent: &Sent) -> Markup {
    html! {
        div.pair {
            section.panel aria-labelledby="request" {
                h2 #request { "Request" }
                p.long { strong { (sent.method) } " " code { (sent.url) } }
                dl.headers {
                    @for (name, value) in &sent.headers { dt { (name) } dd { (value) } }
                }
                @match &sent.body {
                    Some(body) => (parts::json(body)),
                    None => p.dim { "Without a body, as " (sent.method) " has none." },
                }
                h3 { "Signature" }
                @if sent.signed.is_empty() { p.dim { "Not signed: the config has no secret, or nothing was sent yet." } }
                @else {
                    (parts::table(&["Attempt", "webhook-timestamp", "webhook-signature"], html! {
                        @for signed in &sent.signed {
                            tr { td.number { (signed.attempt) } td.number { (signed.timestamp) } td { code { (signed.signature) } } }
                        }
                    }))
                    p.dim { "Of each signature its beginning: HMAC-SHA256 of " code { "id.timestamp.body" } ", as Standard Webhooks has it." }
                }
            }
            section.panel aria-labelledby="answer" {
                h2 #answer { "Answer" }
                @match execution.attempts.last() {
                    None => p.dim { "Nothing was sent yet." },
                    Some(last) => {
                        p { "To attempt " (last.attempt) ": " (answer_badge(last)) }
                        @match last.response_body.as_deref().filter(|body| !body.is_empty()) {
                            Some(body) => pre.json tabindex="0" { code { (body) } },
                            None => p.dim { "Without a body." },
                        }
                    },
                }
            }
        }
    }
}

async fn retry(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let triggers = &dashboard.rooms().triggers;
    let tenant = &viewer.principal.tenant;
    let execution = triggers.retry_execution(tenant, &id).await?;
    done(
        &viewer,
        &format!("{PATH}/{}", execution.id),
        "retried-execution",
    )
}
