//! The one layer that every request passes: request id, panics, problem bodies, metrics, access log
//! and, in open mode, the check of the host. One layer instead of a stack of eight, because each
//! layer of the router costs an allocation and an indirect call per request.
//!
//! The router gives every (route, method) an instance of its own, which therefore looks up its
//! metrics once and keeps the handles.

use std::{
    any::Any,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, HttpBody as _},
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use pin_project_lite::pin_project;
use tidewire_core::{Clock, Kind, Problem};
use tower::{Layer, Service};
use tracing::{Level, Span};

use crate::{ApiError, Origin, host, metrics::Endpoint, problem, request_id::RequestId};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ACCESS: &str = "tidewire::access";

/// What a client that went away before its answer is counted as; nginx coined it.
const CLIENT_CLOSED: u16 = 499;

#[derive(Debug)]
pub(crate) struct Settings {
    pub clock: Clock,
    pub loopback_hosts_only: bool,
    /// Web pages that may call the API.
    pub origins: Vec<Origin>,
    /// Routes whose paths no log shows.
    pub secret_routes: &'static [&'static str],
}

#[derive(Clone)]
pub(crate) struct Outer(pub Arc<Settings>);

impl<S> Layer<S> for Outer {
    type Service = OuterService<S>;

    fn layer(&self, inner: S) -> OuterService<S> {
        OuterService {
            inner,
            settings: Arc::clone(&self.0),
            endpoint: Arc::default(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct OuterService<S> {
    inner: S,
    settings: Arc<Settings>,
    /// Known from the first request on, which carries the route's path.
    endpoint: Arc<OnceLock<Endpoint>>,
}

impl<S> Service<Request> for OuterService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Running<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        let id = RequestId::of(&request, &self.settings.clock);
        let endpoint = self.endpoint.get_or_init(|| {
            let path = request.extensions().get::<MatchedPath>();
            Endpoint::new(path, self.settings.secret_routes)
        });
        let logged = if endpoint.is_quiet() {
            tracing::enabled!(target: ACCESS, Level::DEBUG)
        } else {
            tracing::enabled!(target: ACCESS, Level::INFO)
        };
        // It puts the id into every line that the request causes. At the level of errors, so that no
        // filter that lets a line through hides its id.
        let span = tracing::error_span!("request", request_id = id.as_str());
        let exchange = Exchange {
            started,
            endpoint: Arc::clone(&self.endpoint),
            method: request.method().clone(),
            uri: logged.then(|| request.uri().clone()),
            id: id.clone(),
            heavy: request.version() < Version::HTTP_2 && is_heavy(request.body()),
        };
        let mut running = Running {
            inner: None,
            early: None,
            exchange: Some(exchange),
            span,
        };
        if self.settings.loopback_hosts_only
            && let Err(problem) = host::check(&request, &self.settings.origins)
        {
            running.early = Some(problem);
            return running;
        }
        request.extensions_mut().insert(id);
        let entered = running.span.enter();
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(request)));
        drop(entered);
        match inner {
            Ok(inner) => running.inner = Some(inner),
            Err(panic) => running.early = Some(panicked(&*panic)),
        }
        running
    }
}

pin_project! {
    /// A request on its way. Dropped before its answer, it counts as closed by the client.
    pub(crate) struct Running<F> {
        #[pin]
        inner: Option<F>,
        early: Option<Problem>,
        exchange: Option<Exchange>,
        span: Span,
    }

    impl<F> PinnedDrop for Running<F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(exchange) = this.project().exchange.take() {
                exchange.record(CLIENT_CLOSED);
            }
        }
    }
}

impl<F> Future for Running<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut response = match (this.early.take(), this.inner.as_mut().as_pin_mut()) {
            (None, Some(inner)) => {
                let entered = this.span.enter();
                let polled = catch_unwind(AssertUnwindSafe(|| inner.poll(cx)));
                drop(entered);
                match polled {
                    Ok(Poll::Pending) => return Poll::Pending,
                    Ok(Poll::Ready(Ok(response))) => response,
                    Ok(Poll::Ready(Err(never))) => match never {},
                    Err(panic) => {
                        // What the handler held may panic again while it is dropped.
                        let _ = catch_unwind(AssertUnwindSafe(|| this.inner.set(None)));
                        ApiError(panicked(&*panic)).into_response()
                    }
                }
            }
            (Some(problem), _) => ApiError(problem).into_response(),
            // Polled again after it was ready, which is against the contract of futures.
            (None, None) => return Poll::Pending,
        };
        if let Some(exchange) = this.exchange.take() {
            exchange.finish(&mut response);
        }
        Poll::Ready(Ok(response))
    }
}

/// What the end of a request needs to know of its start.
struct Exchange {
    started: Instant,
    endpoint: Arc<OnceLock<Endpoint>>,
    method: Method,
    /// Kept only where the access log is written.
    uri: Option<Uri>,
    id: RequestId,
    /// Its body may not have been read when the answer is there.
    heavy: bool,
}

/// Larger bodies are not here yet when a handler begins; hyper reads about so much at a time.
const LIGHT: u64 = 8192;

fn is_heavy(body: &Body) -> bool {
    let size = body.size_hint().upper();
    size.is_none_or(|most| most > LIGHT)
}

/// Answers that need no body to be given.
fn is_early(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 404 | 405 | 413 | 415)
}

impl Exchange {
    fn finish(self, response: &mut Response) {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            if problem.kind == Kind::Internal {
                let route = self.endpoint.get().map_or("", Endpoint::route);
                let request_id = self.id.as_str();
                tracing::error!(request_id, route, detail = problem.detail, "internal error");
            }
            problem::render(response, &problem, self.id.as_str());
        }
        let status = response.status();
        let headers = response.headers_mut();
        if headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
        {
            headers.insert(
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            );
            headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        headers.insert(X_REQUEST_ID, self.id.header());
        if self.heavy && is_early(status) {
            // The connection ends, as what is left of the body is not read; said aloud, or the
            // client would send its next request into the void.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.record(status.as_u16());
    }

    fn record(&self, status: u16) {
        let Some(endpoint) = self.endpoint.get() else {
            return;
        };
        let took = self.started.elapsed();
        endpoint.record(&self.method, status, took);
        let Some(uri) = &self.uri else { return };
        let duration_ms = took.as_secs_f64() * 1e3;
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: ACCESS,
                    $level,
                    method = self.method.as_str(),
                    path = endpoint.shown(uri.path()),
                    route = endpoint.route(),
                    status,
                    duration_ms,
                    request_id = self.id.as_str(),
                    "request"
                )
            };
        }
        if endpoint.is_quiet() {
            line!(Level::DEBUG);
        } else {
            line!(Level::INFO);
        }
    }
}

/// The text goes to the log alone, like that of every internal problem.
fn panicked(panic: &(dyn Any + Send)) -> Problem {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    Problem::new(Kind::Internal, format!("the handler panicked: {text}"))
}
