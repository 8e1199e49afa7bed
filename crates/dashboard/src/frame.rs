//! What all pages have in common: the head, the way around, what was just done, and what a page looks
//! like that could not be made.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tidewire_core::{Kind, Problem};
use tidewire_http::RequestId;

use crate::{
    assets,
    door::{Viewer, Visit},
    form::TOKEN,
};

/// The cookie that keeps the choice between light and dark.
pub(crate) const THEME: &str = "tidewire-theme";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    /// As the browser has it.
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub fn of(text: Option<&str>) -> Self {
        match text {
            Some("light") => Theme::Light,
            Some("dark") => Theme::Dark,
            _ => Theme::Auto,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    fn next(self) -> Self {
        match self {
            Theme::Auto => Theme::Dark,
            Theme::Dark => Theme::Light,
            Theme::Light => Theme::Auto,
        }
    }
}

/// A page as it is answered.
pub(crate) struct Page(pub Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0.into_string()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        response
    }
}

/// The sections, as the way around lists them: path, name, the icon's lines.
const SECTIONS: [(&str, &str, &str); 9] = [
    (
        "/",
        "Overview",
        "M3 3h6v8H3zM11 3h6v5h-6zM11 10h6v7h-6zM3 13h6v4H3z",
    ),
    ("/ui/log", "Log", "M4 5h12M4 10h12M4 15h8"),
    ("/ui/jobs", "Jobs", "M4 4h12v12H4zM7 10l2.2 2.2L13.5 8"),
    (
        "/ui/triggers",
        "Triggers",
        "M11 2 4 11.5h5L8.5 18 16 8.5h-5z",
    ),
    (
        "/ui/executions",
        "Executions",
        "M17 3 9 11M17 3l-5 14-3-6-6-3z",
    ),
    ("/ui/threads", "Threads", "M3 4h14v10H9l-4 3v-3H3z"),
    (
        "/ui/sites",
        "Sites",
        "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM2.5 10h15M10 2.5c5 5 5 10 0 15M10 2.5c-5 5-5 10 0 15",
    ),
    ("/ui/archives", "Archives", "M3 4h14v4H3zM4 8v9h12V8M8 11h4"),
    (
        "/ui/fleet",
        "Fleet",
        "M3 4h14v5H3zM3 11h14v5H3zM6 6.5h.01M6 13.5h.01",
    ),
];

/// A page of a section, whose path tells which.
pub(crate) fn page(viewer: &Viewer, section: &str, title: &str, body: Markup) -> Page {
    let visit = &viewer.visit;
    let head = html! {
        header.top {
            a.brand href="/" { (mark()) span { "Tidewire" } }
            (around(section))
            (account(viewer))
        }
    };
    Page(document(
        visit,
        title,
        head,
        html! {
            @if let Some(said) = visit.said.as_deref().and_then(words) {
                p.said role="status" { (said) }
            }
            (body)
        },
    ))
}

/// A page for somebody who has not signed in.
pub(crate) fn bare(visit: &Visit, title: &str, body: Markup) -> Page {
    let head = html! {
        header.top.bare {
            a.brand href="/" { (mark()) span { "Tidewire" } }
        }
    };
    Page(document(visit, title, head, body))
}

fn document(visit: &Visit, title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(visit.theme.as_str()) {
            head {
                meta charset="utf-8";
                title { (title) " · Tidewire" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href=(assets::ICON.path()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::STYLE.path());
                script type="module" src=(assets::PAGE.path()) {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (head)
                main #main tabindex="-1" { (body) }
            }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M2 9c3.3 0 3.3-3 6.7-3s3.3 3 6.6 3 3.4-3 6.7-3" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" {}
            path d="M2 15.5c3.3 0 3.3-3 6.7-3s3.3 3 6.6 3 3.4-3 6.7-3" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" opacity=".55" {}
        }
    }
}

fn around(section: &str) -> Markup {
    html! {
        nav.around aria-label="Sections" {
            ul {
                @for (path, name, lines) in SECTIONS {
                    li {
                        a href=(path) aria-current=[(path == section).then_some("page")] {
                            svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" {
                                path d=(lines) fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" {}
                            }
                            span { (name) }
                        }
                    }
                }
            }
        }
    }
}

fn account(viewer: &Viewer) -> Markup {
    let visit = &viewer.visit;
    let next = visit.theme.next();
    html! {
        div.account {
            @if viewer.roams() {
                a.tenant href="/ui/tenants" title="Choose another tenant" {
                    span.dim { "tenant " } (viewer.tenant())
                }
            } @else {
                span.tenant { span.dim { "tenant " } (viewer.tenant()) }
            }
            form method="post" action="/ui/theme" {
                (token(visit))
                input type="hidden" name="back" value=(visit.here);
                button.quiet type="submit" name="theme" value=(next.as_str())
                    title={ "Colours: " (visit.theme.as_str()) ". Change to " (next.as_str()) } {
                    svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true" {
                        circle cx="10" cy="10" r="6.5" fill="none" stroke="currentColor" stroke-width="1.5" {}
                        path d="M10 3.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" {}
                    }
                    span.wide { (visit.theme.as_str()) }
                    span.unseen { "colours: change to " (next.as_str()) }
                }
            }
            @if visit.session.is_some() && !visit.is_open {
                form method="post" action="/ui/sign-out" {
                    (token(visit))
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
    }
}

/// The field that every form carries.
pub(crate) fn token(visit: &Visit) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(visit.token); }
}

/// What a form has done, in words. The cookie holds a name alone, so nothing that somebody else wrote
/// is ever shown.
fn words(said: &str) -> Option<&'static str> {
    Some(match said {
        "retried" => "The job is back in its queue.",
        "cancelled" => "The job is cancelled.",
        "retried-all" => "The failed jobs are back in their queues.",
        "tested" => "The test was set off: its execution is below.",
        "activated" => "The trigger is active.",
        "deactivated" => "The trigger is inactive: it does not fire.",
        "retried-execution" => "The delivery is tried again.",
        "cancelled-turn" => "The turn is cancelled.",
        "syncing" => "The sync is queued: how far it is shows below.",
        "verifying" => "The check of the archives is queued.",
        "rolled-back" => "The older configuration is offered again, as a new version.",
        "moved" => "You act for another tenant now.",
        _ => return None,
    })
}

/// What could not be done, as a page.
pub(crate) fn problem(visit: &Visit, problem: &Problem, id: Option<&RequestId>) -> Response {
    let id = id.map(RequestId::as_str).unwrap_or_default();
    let detail = match problem.kind {
        Kind::Internal => {
            tracing::error!(
                request_id = id,
                route = "dashboard",
                detail = problem.detail,
                "internal error"
            );
            "the server's log has more under this request id"
        }
        _ => problem.detail.as_str(),
    };
    let body = html! {
        div.fault {
            p.code { (problem.kind.status()) }
            h1 { (problem.kind.title()) }
            p { (detail) }
            @if problem.errors.len() > 1 {
                ul { @for error in &problem.errors { li { code { (error.pointer) } " " (error.detail) } } }
            }
            p.dim { "Request id " code { (id) } }
            p { a.button href="/" { "To the overview" } }
        }
    };
    let page = match &visit.caller {
        Some(principal) => {
            let viewer = Viewer {
                visit: visit.clone(),
                principal: principal.clone(),
            };
            page(&viewer, "", problem.kind.title(), body)
        }
        None => bare(visit, problem.kind.title(), body),
    };
    let mut response = page.into_response();
    *response.status_mut() =
        StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(after) = problem.retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Markup that plotters made.
pub(crate) fn drawn(svg: String) -> Markup {
    PreEscaped(svg)
}
