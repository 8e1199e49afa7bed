//! Puts the parts around the routes, in the one right order: rewrites, router, the outer layer,
//! CORS, authentication (not for public routes), handlers.

use std::{
    convert::Infallible,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router, body::Body, extract::Request, response::Response, routing::future::RouteFuture,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header};
use tidewire_core::{Clock, Kind, Problem, problem::clip};
use tower::Service;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    ApiError, Health, health,
    layer::{Outer, Settings},
    metrics, openapi,
    rewrite::{self, Rewrite},
};

#[derive(Clone, Debug)]
pub struct Config {
    pub clock: Clock,
    /// The open mode: no keys, so only requests to a loopback host are answered, and of web pages
    /// only those of this machine and of `cors_origins`.
    pub loopback_hosts_only: bool,
    /// Web pages that may call the API; none by default.
    pub cors_origins: Vec<Origin>,
    /// The old paths that are served too.
    pub rewrites: &'static [Rewrite],
    /// Routes whose paths are as secret as a key: the access log shows the route in their place.
    pub secret_routes: &'static [&'static str],
}

impl Default for Config {
    fn default() -> Self {
        Config {
            clock: Clock::system(),
            loopback_hosts_only: false,
            cors_origins: Vec::new(),
            rewrites: rewrite::REWRITES,
            secret_routes: &[],
        }
    }
}

/// `scheme://host[:port]`, or `*` for every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    pub(crate) fn covers(&self, origin: &HeaderValue) -> bool {
        self.0 == "*" || self.0 == origin
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_origin = |uri: Uri| {
            let bare = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/");
            uri.scheme().is_some() && uri.authority().is_some() && bare && !text.ends_with('/')
        };
        if text == "*" || text.parse().is_ok_and(is_origin) {
            // Browsers send scheme and host in lower case.
            let value = HeaderValue::from_str(&text.to_ascii_lowercase());
            return value
                .map(Origin)
                .map_err(|_| format!("`{}` is not an origin", clip(text)));
        }
        Err(format!(
            "`{}` is not an origin: write scheme://host or scheme://host:port, or *",
            clip(text)
        ))
    }
}

/// An API in the making.
pub struct App {
    config: Config,
    secured: OpenApiRouter,
    public: OpenApiRouter,
    authenticate: Box<dyn FnOnce(Router) -> Router>,
}

impl App {
    /// Also installs the process's metrics recorder, so that what is counted from here on counts.
    #[must_use]
    pub fn new(config: Config, health: Health) -> Self {
        metrics::install();
        App {
            config,
            public: health::routes(health),
            secured: OpenApiRouter::default(),
            authenticate: Box::new(|router| router),
        }
    }

    /// Adds a capability's routes; the caller of each is known.
    #[must_use]
    pub fn routes(mut self, routes: OpenApiRouter) -> Self {
        self.secured = self.secured.merge(routes);
        self
    }

    /// Adds routes that need no key.
    #[must_use]
    pub fn public(mut self, routes: OpenApiRouter) -> Self {
        self.public = self.public.merge(routes);
        self
    }

    /// How callers are told apart: wraps the routes (not the public ones) in a layer that puts the
    /// `Principal` into the request's extensions, or answers 401.
    #[must_use]
    pub fn authenticate(mut self, wrap: impl FnOnce(Router) -> Router + 'static) -> Self {
        self.authenticate = Box::new(wrap);
        self
    }

    /// The description of all routes added so far.
    #[must_use]
    pub fn openapi(&self) -> OpenApi {
        let (secured, public) = (self.secured.get_openapi(), self.public.get_openapi());
        openapi::assemble(
            secured.clone(),
            public.clone(),
            self.config.loopback_hosts_only,
        )
    }

    /// # Errors
    /// If the API's description cannot be written, which a wrong schema of a handler would cause.
    pub fn build(self) -> Result<AppService, serde_json::Error> {
        let docs = openapi::routes(&self.openapi())?;
        let App {
            config,
            secured,
            public,
            authenticate,
            ..
        } = self;
        // `with_state` makes services of handlers here and now; without, each request would, and
        // the layers below would be put around each of them anew.
        let secured = authenticate(Router::from(secured).with_state(()));
        let mut router = Router::from(public)
            .merge(docs)
            .merge(secured)
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .with_state(());
        if !config.cors_origins.is_empty() {
            router = router.layer(cors(&config.cors_origins));
        }
        let settings = Settings {
            clock: config.clock,
            loopback_hosts_only: config.loopback_hosts_only,
            origins: config.cors_origins,
            secret_routes: config.secret_routes,
        };
        Ok(AppService {
            router: router.layer(Outer(Arc::new(settings))),
            rewrites: config.rewrites,
        })
    }
}

fn cors(origins: &[Origin]) -> CorsLayer {
    let any = origins.iter().any(|Origin(value)| value == "*");
    let allowed = if any {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(|Origin(value)| value.clone()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            header::HeaderName::from_static("x-request-id"),
        ])
        .max_age(std::time::Duration::from_secs(600))
}

async fn not_found(uri: Uri) -> ApiError {
    let text = format!("there is no path `{}`: /docs lists them", clip(uri.path()));
    ApiError(Problem::new(Kind::NotFound, text))
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let text = format!(
        "`{}` does not take {}: see the header Allow for what it takes",
        clip(uri.path()),
        clip(method.as_str())
    );
    ApiError(Problem::new(Kind::MethodNotAllowed, text))
}

/// The finished API; a clone is a reference count.
#[derive(Clone)]
pub struct AppService {
    router: Router,
    rewrites: &'static [Rewrite],
}

impl<B> Service<Request<B>> for AppService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        rewrite::apply(self.rewrites, request.uri_mut());
        self.router.call(request)
    }
}
