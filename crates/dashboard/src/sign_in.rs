//! Coming and going: signing in with a key, signing out, and the choices that a person makes for all
//! pages.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderValue, header};
use maud::html;
use serde::Deserialize;
use tidewire_access::{Error as AccessError, PageOf};
use tidewire_core::{Kind, Problem, Scope};
use tidewire_http::{ApiError, Query};

use crate::{
    Dashboard,
    door::{Viewer, Visit},
    form::{Form, SAID, set_cookie},
    frame::{self, Page, THEME, Theme, token},
    parts::{self, filled},
    session::COOKIE,
};

/// A year.
const THEME_KEPT: u64 = 31_536_000;
/// How long what was said waits for its page.
const SAID_KEPT: u64 = 30;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/ui/sign-in", get(show).post(sign_in))
        .route("/ui/sign-out", post(sign_out))
        .route("/ui/theme", post(theme))
        .route("/ui/tenants", get(tenants).post(choose))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default, deserialize_with = "filled")]
    back: Option<String>,
}

async fn show(visit: Visit, Query(wish): Query<Wish>) -> Response {
    if visit.caller.is_some() {
        return Redirect::to(&local(wish.back.as_deref())).into_response();
    }
    page(&visit, wish.back.as_deref(), None).into_response()
}

fn page(visit: &Visit, back: Option<&str>, wrong: Option<&str>) -> Page {
    let body = html! {
        div.sign-in {
            h1 { "Sign in" }
            p.dim { "With an API key of this server. It needs the scope " code { "read" } " to look and " code { "write" } " to act." }
            @if let Some(wrong) = wrong { p.wrong #wrong role="alert" { (wrong) } }
            form method="post" action="/ui/sign-in" {
                (token(visit))
                @if let Some(back) = back { input type="hidden" name="back" value=(back); }
                label for="key" { "API key" }
                input #key type="password" name="key" required autofocus autocomplete="current-password"
                    spellcheck="false" aria-describedby=[wrong.map(|_| "wrong")] aria-invalid=[wrong.map(|_| "true")];
                button.main type="submit" { "Sign in" }
            }
            details {
                summary { "Where do I get a key?" }
                p { "The operator's own is " code { "--admin-key" } " of " code { "tidewire serve" } ". With it, a tenant and its first key are made by:" }
                (parts::command(&format!("tidewire tenants create acme --server {} --api-key \"$ADMIN_KEY\"", visit.base)))
            }
        }
    };
    frame::bare(visit, "Sign in", body)
}

async fn sign_in(
    State(dashboard): State<Dashboard>,
    visit: Visit,
    form: Form,
) -> Result<Response, ApiError> {
    let back = form.get("back");
    let key = form.get("key").unwrap_or_default();
    // Nobody finds a minted key by trying.
    let guessed = !key.starts_with("tw_");
    let attempts = &dashboard.inner.attempts;
    if guessed {
        attempts.check()?;
    }
    let sessions = &dashboard.inner.sessions;
    let access = &dashboard.rooms().access;
    let wrong = |status: http::StatusCode, why: &str| {
        Ok((status, page(&visit, back, Some(why))).into_response())
    };
    let (principal, handle) = match access.sign_in(key, &sessions.secret()?).await {
        Ok(known) => known,
        Err(AccessError::Store(error)) => return Err(error.into()),
        Err(_) => {
            if guessed {
                attempts.failed();
            }
            let why = "This key is not valid: it is misspelt or was revoked.";
            return wrong(http::StatusCode::UNAUTHORIZED, why);
        }
    };
    if principal.require(Scope::Read).is_err() {
        let why = "This key may not read: sign in with one that has the scope read.";
        return wrong(http::StatusCode::FORBIDDEN, why);
    }
    let cookie = sessions.begin(handle, None)?;
    let age = sessions.lifetime().as_secs();
    let cookie = set_cookie(COOKIE, &cookie, Some(age), visit.secure)?;
    Ok(with_cookie(Redirect::to(&local(back)), cookie))
}

async fn sign_out(visit: Visit) -> Result<Response, ApiError> {
    let cookie = set_cookie(COOKIE, "", Some(0), visit.secure)?;
    Ok(with_cookie(Redirect::to("/ui/sign-in"), cookie))
}

async fn theme(visit: Visit, form: Form) -> Result<Response, ApiError> {
    let theme = Theme::of(form.get("theme"));
    let cookie = set_cookie(THEME, theme.as_str(), Some(THEME_KEPT), visit.secure)?;
    Ok(with_cookie(Redirect::to(&local(form.get("back"))), cookie))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default, deserialize_with = "filled")]
    cursor: Option<String>,
}

/// Which tenants there are, for whoever may act for any.
async fn tenants(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(list): Query<List>,
) -> Result<Page, ApiError> {
    viewer.principal.require(Scope::Admin)?;
    let page = PageOf {
        limit: None,
        cursor: list.cursor,
    };
    let found = dashboard.rooms().access.tenants(&page).await?;
    let visit = &viewer.visit;
    let body = html! {
        (parts::title("Tenants", "Whose events, jobs and threads the pages show."))
        form method="post" action="/ui/tenants" {
            (token(visit))
            (parts::table(&["Name", "Id", "Made", ""], html! {
                @for tenant in &found.items {
                    tr {
                        td { (tenant.name) }
                        td { code { (tenant.id) } }
                        td { (crate::time::at(tenant.created_at, visit.now)) }
                        td.act {
                            @if *tenant.id == *viewer.principal.tenant { (parts::badge("ok", "chosen")) }
                            @else { button type="submit" name="tenant" value=(tenant.id) { "Choose" span.unseen { " " (tenant.name) } } }
                        }
                    }
                }
            }))
        }
        (parts::pager("/ui/tenants", &[], found.next.as_deref()))
        p.dim { "Another one is made by:" }
        (parts::command(&visit.command("tenants create acme")))
    };
    Ok(frame::page(&viewer, "", "Tenants", body))
}

async fn choose(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    form: Form,
) -> Result<Response, ApiError> {
    viewer.principal.require(Scope::Admin)?;
    let tenant = form.get("tenant").unwrap_or_default();
    let Dashboard { inner } = &dashboard;
    let cookie = match &viewer.visit.session {
        Some(session) => {
            let access = &inner.rooms.access;
            let resumed = access.resume(&session.handle, session.secret(), Some(tenant));
            resumed.await?;
            inner.sessions.moved(session, tenant)?
        }
        None => {
            let open = tidewire_access::KeyHandle::OPEN;
            let secret = inner.sessions.secret()?;
            let resumed = inner.rooms.access.resume(&open, &secret, Some(tenant));
            resumed.await?;
            inner.sessions.begin(open, Some(tenant))?
        }
    };
    let age = inner.sessions.lifetime().as_secs();
    let cookie = set_cookie(COOKIE, &cookie, Some(age), viewer.visit.secure)?;
    let mut response = with_cookie(Redirect::to("/"), cookie);
    let said = set_cookie(SAID, "moved", Some(SAID_KEPT), viewer.visit.secure)?;
    response.headers_mut().append(header::SET_COOKIE, said);
    Ok(response)
}

/// On to a page, which says what was done.
pub(crate) fn done(viewer: &Viewer, to: &str, said: &str) -> Result<Response, ApiError> {
    let said = set_cookie(SAID, said, Some(SAID_KEPT), viewer.visit.secure)?;
    Ok(with_cookie(Redirect::to(to), said))
}

fn with_cookie(answer: Redirect, cookie: HeaderValue) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// A page of this server, wherever somebody wanted to be led.
fn local(back: Option<&str>) -> String {
    let is_local = |path: &&str| {
        let after = path.strip_prefix('/').unwrap_or("/");
        !after.starts_with(['/', '\\']) && path.bytes().all(|byte| byte.is_ascii_graphic())
    };
    back.filter(is_local).unwrap_or("/").to_owned()
}

/// The problem of a form without one of its fields.
pub(crate) fn missing(field: &str) -> Problem {
    Problem::new(Kind::Invalid, format!("the field `{field}` is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_server() {
        assert_eq!(
            local(Some("/ui/jobs?status=failed")),
            "/ui/jobs?status=failed"
        );
        for foreign in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/a b",
            "/x\r\nset-cookie: a=b",
        ] {
            assert_eq!(local(Some(foreign)), "/", "{foreign}");
        }
        assert_eq!(local(None), "/");
    }
}
