//! Triggers, and one with its next firings, its schedules and what it did last.

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::{Problem, Scope, Time};
use tidewire_http::{ApiError, Path, Query};
use tidewire_triggers::{
    Execution, ExecutionQuery, Page as At, Trigger, TriggerEdit, TriggerQuery, TriggerStatus,
    TriggerType,
};

use super::ROWS;
use crate::{
    Dashboard,
    door::Viewer,
    form::Form,
    frame::{self, Page, token},
    parts::{self, Field, chosen, facts, state},
    sign_in::done,
    time,
};

const PATH: &str = "/ui/triggers";
const TYPES: [&str; 5] = [
    "webhook",
    "time_scheduled",
    "cron_scheduled",
    "interval_scheduled",
    "event",
];
/// Firings that a page looks ahead.
const AHEAD: u32 = 5;
/// Executions that a trigger's page shows.
const LATEST: u32 = 10;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route(PATH, get(list))
        .route("/ui/triggers/{id}", get(show))
        .route("/ui/triggers/{id}/test", post(test))
        .route("/ui/triggers/{id}/status", post(switch))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(rename = "type", deserialize_with = "chosen")]
    kind: Option<TriggerType>,
    #[serde(deserialize_with = "chosen")]
    status: Option<TriggerStatus>,
    #[serde(deserialize_with = "chosen")]
    page: Option<u64>,
}

async fn list(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(wanted): Query<Wanted>,
) -> Result<Page, ApiError> {
    let at = At::of(wanted.page, Some(ROWS))?;
    let query = TriggerQuery {
        kind: wanted.kind,
        status: wanted.status,
    };
    let triggers = &dashboard.rooms().triggers;
    let (found, pagination) = triggers.list(viewer.tenant(), query, at).await?;
    let kind = wanted.kind.map(TriggerType::as_str);
    let status = wanted.status.map(TriggerStatus::as_str);
    let set = [("type", kind), ("status", status)];
    let is_filtered = set.iter().any(|(_, value)| value.is_some());
    let (visit, now) = (&viewer.visit, viewer.visit.now);
    let body = html! {
        (parts::title("Triggers", "Rules that fire: by webhook, by the clock or for events."))
        (parts::filters(PATH, &[
            Field::Choice("type", "Type", kind, &TYPES),
            Field::Choice("status", "Status", status, &["active", "inactive"]),
        ]))
        div #live data-live="triggers" {
            @if found.is_empty() {
                @if is_filtered || at.number > 1 { (parts::nothing(PATH)) }
                @else { (parts::empty(visit, "No trigger yet", "Have a job made every minute:", "triggers create --name heartbeat --every 1m --job echo")) }
            } @else {
                (parts::table(&["Name", "Status", "Type", "Next run", "Changed"], html! {
                    @for trigger in &found {
                        tr data-row=(trigger.id) {
                            td { a href={ (PATH) "/" (trigger.id) } { (trigger.name) } }
                            td { (state(trigger.status.as_str())) }
                            td { (trigger.kind.as_str()) }
                            td { (time::maybe(trigger.next_scheduled_run, now)) }
                            td { (time::at(trigger.updated_at, now)) }
                        }
                    }
                }))
                (parts::numbered(PATH, &set, pagination))
            }
        }
    };
    Ok(frame::page(&viewer, PATH, "Triggers", body))
}

async fn show(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Page, ApiError> {
    let triggers = &dashboard.rooms().triggers;
    let tenant = viewer.tenant();
    let trigger = triggers.get(tenant, &id).await?;
    let ahead = match trigger.kind.is_scheduled() && trigger.status == TriggerStatus::Active {
        true => {
            triggers
                .preview_stored(tenant, &id, None, Some(AHEAD))
                .await?
        }
        false => Vec::new(),
    };
    let query = ExecutionQuery {
        trigger_id: Some(id),
        ..ExecutionQuery::default()
    };
    let first = At::of(None, Some(LATEST))?;
    let (latest, _) = triggers.executions(tenant, query, first).await?;
    let now = viewer.visit.now;
    // Secrets are masked by its own serialisation.
    let config = to_raw_value(&trigger.config)
        .map_err(|error| Problem::new(tidewire_core::Kind::Internal, error.to_string()))?;
    let webhook = format!("{}/v1/webhook/{}", viewer.visit.base, trigger.id);
    let body = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(PATH) { "Triggers" } }
        (parts::title(&trigger.name, "A trigger, when it fires and what it did."))
        div #live data-live="triggers" {
            div.head-line {
                (state(trigger.status.as_str()))
                @if viewer.may(Scope::Write) { (switches(&viewer, &trigger)) }
            }
            (facts(&[
                ("Id", html! { code { (trigger.id) } }),
                ("Type", html! { (trigger.kind.as_str()) }),
                ("Next run", time::maybe(trigger.next_scheduled_run, now)),
                ("Made", time::at(trigger.created_at, now)),
                ("Changed", time::at(trigger.updated_at, now)),
            ]))
            @if trigger.kind == TriggerType::Webhook {
                section.panel { h2 { "Call it" } (parts::command(&format!("curl {webhook} --json '{{}}'"))) }
            }
            @if trigger.kind.is_scheduled() { (next_runs(&ahead, &trigger, now)) }
            section.panel {
                h2 { "Executions" }
                @if latest.is_empty() { p.dim { "It has not fired yet." } }
                @else {
                    (rows(&latest, now))
                    p { a href={ "/ui/executions?trigger_id=" (trigger.id) } { "All of its executions" } }
                }
            }
        }
        @if viewer.may(Scope::Write) { (test_form(&viewer, &trigger)) }
        section.panel { h2 { "Config" } (parts::json(&config)) }
    };
    Ok(frame::page(&viewer, PATH, &trigger.name, body))
}

fn next_runs(ahead: &[Time], trigger: &Trigger, now: Time) -> Markup {
    html! {
        section.panel {
            h2 { "Next runs" }
            @if trigger.status == TriggerStatus::Inactive { p.dim { "None: it is inactive." } }
            @else if ahead.is_empty() { p.dim { "None: its time is over." } }
            @else { ol.runs { @for run in ahead { li { (time::at(*run, now)) } } } }
        }
    }
}

fn switches(viewer: &Viewer, trigger: &Trigger) -> Markup {
    let (to, text) = match trigger.status {
        TriggerStatus::Active => ("inactive", "Deactivate"),
        TriggerStatus::Inactive => ("active", "Activate"),
    };
    html! {
        div.actions {
            a.button href="#test" { "Test…" }
            form method="post" action={ (PATH) "/" (trigger.id) "/status" } {
                (token(&viewer.visit))
                button type="submit" name="status" value=(to) { (text) }
            }
        }
    }
}

fn test_form(viewer: &Viewer, trigger: &Trigger) -> Markup {
    html! {
        section.panel #test aria-labelledby="test-title" {
            h2 #test-title { "Test" }
            p.dim { "Fires once, now, whatever its own time is. The execution is marked as a test." }
            form.stack method="post" action={ (PATH) "/" (trigger.id) "/test" } {
                (token(&viewer.visit))
                label for="payload" { "Payload, as JSON; the config's own if it is empty" }
                textarea #payload name="payload" rows="5" spellcheck="false" placeholder="{}" {}
                button.main type="submit" { "Fire a test" }
            }
        }
    }
}

/// Executions as a table.
pub(super) fn rows(executions: &[Execution], now: Time) -> Markup {
    parts::table(
        &[
            "Execution",
            "Status",
            "Fired",
            "Source",
            "Attempts",
            "Answer",
            "Error",
        ],
        html! {
            @for execution in executions {
                tr data-row=(execution.id) {
                    td { (parts::link("/ui/executions/", &execution.id)) }
                    td { (state(execution.execution_status.as_str())) @if execution.is_test_run { " " (parts::badge("off", "test")) } }
                    td { (time::at(execution.fired_at, now)) }
                    td { (execution.source.as_str()) }
                    td.number { (execution.attempts.len()) }
                    td.number { @match execution.attempts.last().and_then(|last| last.response_status) {
                        Some(status) => (status),
                        None => span.none { "–" },
                    } }
                    td.long { (parts::or_none(execution.error_message.as_deref())) }
                }
            }
        },
    )
}

async fn test(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let payload = form.get("payload").map(payload).transpose()?;
    let triggers = &dashboard.rooms().triggers;
    let tenant = &viewer.principal.tenant;
    let set_off = triggers.test(tenant, &id, payload, 0).await?;
    done(
        &viewer,
        &format!("/ui/executions/{}", set_off.execution_id),
        "tested",
    )
}

fn payload(text: &str) -> Result<Box<RawValue>, Problem> {
    let parsed = RawValue::from_string(text.to_owned());
    let payload = parsed.map_err(|error| Problem::invalid("payload", error.to_string()))?;
    tidewire_core::json::check(payload.get())
        .map_err(|fault| Problem::invalid(format!("payload{}", fault.pointer), fault.detail))?;
    Ok(payload)
}

async fn switch(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Write)?;
    let status = form.get("status").unwrap_or_default();
    let status: TriggerStatus = status
        .parse()
        .map_err(|why: String| Problem::invalid("status", why))?;
    let edit = TriggerEdit {
        status: Some(status),
        ..TriggerEdit::default()
    };
    let tenant = &viewer.principal.tenant;
    let trigger = dashboard.rooms().triggers.update(tenant, &id, edit).await?;
    let said = match status {
        TriggerStatus::Active => "activated",
        TriggerStatus::Inactive => "deactivated",
    };
    done(&viewer, &format!("{PATH}/{}", trigger.id), said)
}
