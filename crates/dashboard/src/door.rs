//! What every page's request passes. On its way in: who looks is found out, and what would change
//! something is held to come from a form of ours. On its way out: a problem becomes a page, and the
//! headers say what a browser may do with it.

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use tidewire_access::Error as AccessError;
use tidewire_core::{Kind, Principal, Problem, Scope, Time};
use tidewire_http::{ApiError, PublicUrl, RequestId};

use crate::{
    Dashboard,
    form::{self, Form},
    frame::{self, Theme},
    session::{self, Session},
};

/// Only what we serve ourselves, nothing inline, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// One look at a page.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// Nobody, if nobody has signed in.
    pub caller: Option<Principal>,
    pub session: Option<Session>,
    /// What forms carry.
    pub token: String,
    pub theme: Theme,
    /// What the last form did.
    pub said: Option<String>,
    /// The page's path and query.
    pub here: String,
    /// Where commands reach the server.
    pub base: String,
    pub now: Time,
    /// Whether cookies may travel encrypted only.
    pub secure: bool,
    pub is_open: bool,
}

/// A look by somebody who may look.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    pub visit: Visit,
    pub principal: Principal,
}

impl Viewer {
    pub fn may(&self, scope: Scope) -> bool {
        self.principal.require(scope).is_ok()
    }

    /// Whether it may choose the tenant.
    pub fn roams(&self) -> bool {
        self.principal.scopes.has(Scope::Admin)
    }

    pub fn tenant(&self) -> &str {
        &self.principal.tenant
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let visit = parts.extensions.get::<Visit>().cloned();
        visit
            .ok_or_else(|| Problem::new(Kind::Internal, "a page is served without its door").into())
    }
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Response;

    /// Who has not signed in is led there, and back to the page afterwards.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let visit = Visit::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        let Some(principal) = visit.caller.clone() else {
            let streams = parts
                .headers
                .get(header::ACCEPT)
                .is_some_and(|accept| accept == "text/event-stream");
            if streams {
                // A browser does not come again on its own after this.
                return Err(StatusCode::NO_CONTENT.into_response());
            }
            return Err(to_sign_in(&parts.method, &visit.here));
        };
        principal
            .require(Scope::Read)
            .map_err(|problem| ApiError(problem).into_response())?;
        Ok(Viewer { visit, principal })
    }
}

fn to_sign_in(method: &Method, here: &str) -> Response {
    if method != Method::GET || here == "/" {
        return Redirect::to("/ui/sign-in").into_response();
    }
    let back: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
    Redirect::to(&format!("/ui/sign-in?back={back}")).into_response()
}

/// The way of each request.
pub(crate) async fn pass(
    State(dashboard): State<Dashboard>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let is_page = !request.uri().path().starts_with("/ui/live/");
    let visit = match dashboard.visit(request.uri(), request.headers()).await {
        Ok(visit) => visit,
        Err(problem) => {
            let visit = Visit::blank(&dashboard, request.uri(), request.headers());
            return finish(frame::problem(&visit, &problem, id.as_ref()), &visit, false);
        }
    };
    if request.method() == Method::POST {
        match checked(&visit, request).await {
            Ok(sent) => request = sent,
            Err(problem) => {
                return finish(frame::problem(&visit, &problem, id.as_ref()), &visit, false);
            }
        }
    }
    request.extensions_mut().insert(visit.clone());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = frame::problem(&visit, &problem, id.as_ref());
    }
    // What was said is said on the next page that comes.
    let told = is_page && response.status() == StatusCode::OK;
    finish(response, &visit, told)
}

fn finish(mut response: Response, visit: &Visit, told: bool) -> Response {
    let headers = response.headers_mut();
    if told && visit.said.is_some() {
        headers.append(header::SET_COOKIE, form::unsay());
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Dashboard {
    async fn visit(&self, uri: &Uri, headers: &HeaderMap) -> Result<Visit, Problem> {
        let mut visit = Visit::blank(self, uri, headers);
        let sessions = &self.inner.sessions;
        if let Some(cookie) = form::cookie(headers, session::COOKIE) {
            visit.session = sessions.read(&cookie)?;
        }
        visit.caller = self.caller(&mut visit.session).await?;
        visit.token = sessions.token(visit.session.as_ref())?;
        Ok(visit)
    }

    /// Whose session it is. One that has ended is taken away.
    async fn caller(&self, session: &mut Option<Session>) -> Result<Option<Principal>, Problem> {
        let access = &self.rooms().access;
        if let Some(known) = session.as_ref() {
            let tenant = known.tenant.as_deref();
            match access.resume(&known.handle, known.secret(), tenant).await {
                Ok(principal) => return Ok(Some(principal)),
                Err(AccessError::Store(error)) => return Err(error.into()),
                Err(_) => *session = None,
            }
        }
        if !access.is_open() {
            return Ok(None);
        }
        match access.caller(&HeaderMap::new()).await {
            Ok(principal) => Ok(Some(principal)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Visit {
    /// Before anything is known of who looks.
    fn blank(dashboard: &Dashboard, uri: &Uri, headers: &HeaderMap) -> Self {
        let public = dashboard.inner.settings.public_url.clone();
        let base = public
            .or_else(|| PublicUrl::of_request(uri, headers))
            .map(|url| url.to_string())
            .unwrap_or_default();
        let forwarded = headers
            .get("x-forwarded-proto")
            .is_some_and(|scheme| scheme == "https");
        let here = uri.path_and_query().map_or("/", |here| here.as_str());
        Visit {
            caller: None,
            session: None,
            token: String::new(),
            theme: Theme::of(form::cookie(headers, frame::THEME).as_deref()),
            said: form::cookie(headers, form::SAID),
            here: here.to_owned(),
            // Anybody can send the header, and does no more than keep a cookie of his own off the
            // clear.
            secure: forwarded || base.starts_with("https://"),
            base,
            now: dashboard.rooms().clock.now(),
            is_open: dashboard.rooms().access.is_open(),
        }
    }
}

/// Reads a form, and refuses one that is not of ours.
async fn checked(visit: &Visit, request: Request) -> Result<Request, Problem> {
    let foreign = || {
        Problem::new(
            Kind::Forbidden,
            "the form was not sent by a page of this server, or by one that is too old: load the page again and send it once more",
        )
    };
    if !is_same_origin(request.headers()) {
        return Err(foreign());
    }
    let (mut parts, body) = request.into_parts();
    let sent = Request::from_parts(parts.clone(), body);
    let form = Form::read(sent).await?;
    if !form.has_token(&visit.token) {
        return Err(foreign());
    }
    parts.extensions.insert(form);
    Ok(Request::from_parts(parts, axum::body::Body::empty()))
}

/// What browsers say of where a request comes from. What says nothing is no browser, and needs the
/// form's token like all others.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let named = origin.split_once("://").map(|(_, host)| host);
    named.is_some() && named == host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_says_of_another_page_is_believed() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            pairs.collect::<HeaderMap>()
        };
        let host = ("host", "tide.example:1");
        for (sent, is_ours) in [
            (headers(&[host]), true),
            (headers(&[host, ("sec-fetch-site", "same-origin")]), true),
            (headers(&[host, ("sec-fetch-site", "same-site")]), false),
            (headers(&[host, ("sec-fetch-site", "cross-site")]), false),
            (headers(&[host, ("origin", "https://tide.example:1")]), true),
            (headers(&[host, ("origin", "https://evil.example")]), false),
            (headers(&[host, ("origin", "null")]), false),
        ] {
            assert_eq!(is_same_origin(&sent), is_ours, "{sent:?}");
        }
    }
}
