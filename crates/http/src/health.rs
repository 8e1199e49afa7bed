//! `GET /health`, `/ready` and `/metrics`. Each role registers what it depends on; the checks run
//! together when somebody asks, each under a deadline.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use http::{StatusCode, header};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Json, metrics};

/// How long one check may take before it counts as failed.
const DEADLINE: Duration = Duration::from_secs(2);

type Outcome = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Check = Arc<dyn Fn() -> Outcome + Send + Sync>;
type Fact = Arc<dyn Fn() -> String + Send + Sync>;

/// The checks of one server; clones share them.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<RwLock<Vec<(String, Check)>>>,
    facts: Arc<RwLock<BTreeMap<&'static str, Fact>>>,
    /// Whether the server wants new work: not while it starts, not while it drains.
    ready: Arc<AtomicBool>,
}

impl Health {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a dependency, or replaces the check of that name. What `check` says is wrong is shown
    /// to anyone who asks: no address, no driver's message.
    pub fn register<F, R>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let name = name.into();
        let check: Check = Arc::new(move || Box::pin(check()));
        let mut checks = self
            .checks
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        checks.retain(|(known, _)| *known != name);
        checks.push((name, check));
    }

    /// Adds what is worth knowing and neither right nor wrong. It is shown to anyone who asks.
    pub fn tell(&self, name: &'static str, fact: impl Fn() -> String + Send + Sync + 'static) {
        let mut facts = self
            .facts
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        facts.insert(name, Arc::new(fact));
    }

    /// Says whether `/ready` may answer 200: true once all roles run, false from the first sign of
    /// shutdown, so that load balancers turn away before connections are closed.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    async fn report(&self) -> HealthReport {
        let checks = self
            .checks
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let outcomes = checks.into_iter().map(|(name, check)| async move {
            let text = match tokio::time::timeout(DEADLINE, check()).await {
                Ok(Ok(())) => "ok".to_owned(),
                Ok(Err(reason)) => reason,
                Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
            };
            (name, text)
        });
        let checks: BTreeMap<_, _> = join_all(outcomes).await.into_iter().collect();
        let ok = checks.values().all(|text| text == "ok");
        let facts = self
            .facts
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        HealthReport {
            status: if ok { "ok" } else { "failing" },
            checks,
            info: facts.iter().map(|(name, fact)| (*name, fact())).collect(),
        }
    }
}

/// Each dependency by name: `ok`, or what is wrong with it.
#[derive(Serialize, utoipa::ToSchema)]
struct HealthReport {
    /// `ok`, `failing`, or for `/ready` also `not ready`.
    status: &'static str,
    checks: BTreeMap<String, String>,
    /// What is neither right nor wrong: the store's engine, for one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    info: BTreeMap<&'static str, String>,
}

impl IntoResponse for HealthReport {
    fn into_response(self) -> Response {
        let status = if self.status == "ok" {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (status, [(header::CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}

pub(crate) fn routes(health: Health) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(get_health))
        .routes(routes!(get_ready))
        .routes(routes!(get_metrics))
        .with_state(health)
}

/// Whether the process lives, and each of its dependencies.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operations",
    operation_id = "getHealth",
    responses(
        (status = 200, description = "everything is ok", body = HealthReport),
        (status = 503, description = "a dependency fails", body = HealthReport),
    )
)]
async fn get_health(State(health): State<Health>) -> Response {
    health.report().await.into_response()
}

/// Whether the process takes new work: it has started, does not drain, and nothing it needs fails.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "operations",
    operation_id = "getReady",
    responses(
        (status = 200, description = "ready", body = HealthReport),
        (status = 503, description = "starting, draining, or a dependency fails", body = HealthReport),
    )
)]
async fn get_ready(State(health): State<Health>) -> Response {
    let mut report = health.report().await;
    if report.status == "ok" && !health.ready.load(Ordering::Acquire) {
        report.status = "not ready";
    }
    report.into_response()
}

/// The process's metrics in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    operation_id = "getMetrics",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain"))
)]
async fn get_metrics() -> Response {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, TEXT)], metrics::install().render()).into_response()
}
