//! A worker of a fleet: it works by the config that its agent gives it, and calls the URL in it when it
//! is hit. It keeps nothing: after a restart it has no config until the agent brings one.

mod http;
mod target;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tidewire_core::{Clock, Problem, Time};
use tidewire_http::Health;
use tidewire_outbound::{Client, Opened, Request};

use crate::{Keys, masked::masked};

pub use http::routes;

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Who may give it a config.
    pub keys: Keys,
    /// Bytes of an answer that are handed on.
    pub answer_cap: usize,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        WorkerOptions {
            keys: Keys::default(),
            answer_cap: 16 << 20,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    client: Client,
    options: WorkerOptions,
    health: Health,
    started_at: Time,
    /// Swapped whole: a hit goes by the one config or by the other.
    applied: RwLock<Option<Arc<Applied>>>,
    hits: AtomicU64,
    failures: AtomicU64,
}

/// A config, made ready.
struct Applied {
    version: u64,
    config: Value,
    at: Time,
    request: Request,
}

/// How it is, for `GET /state`.
#[derive(Serialize, utoipa::ToSchema)]
struct State {
    /// The version that it works by; null until its agent has given it one.
    #[schema(required)]
    version: Option<u64>,
    /// What headers carry of credentials is masked.
    #[schema(required, value_type = Option<Object>)]
    config: Option<Value>,
    #[schema(required)]
    applied_at: Option<Time>,
    started_at: Time,
    /// Hits since its start.
    hits: u64,
    /// Hits whose target gave no answer.
    failures: u64,
}

impl Worker {
    /// `client` is under the address policy that holds for targets.
    #[must_use]
    pub fn new(clock: Clock, client: Client, options: WorkerOptions, health: Health) -> Self {
        let started_at = clock.now();
        Worker {
            inner: Arc::new(Inner {
                clock,
                client,
                options,
                health,
                started_at,
                applied: RwLock::default(),
                hits: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            }),
        }
    }

    /// Works by this config from now on, or says why it cannot and goes on as it was.
    fn apply(&self, version: u64, config: &RawValue) -> Result<(), Problem> {
        let inner = &self.inner;
        let request = target::read(config, inner.client.policy())?;
        let applied = Applied {
            version,
            config: masked(config),
            at: inner.clock.now(),
            request: request.answer_cap(inner.options.answer_cap),
        };
        *inner
            .applied
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(applied));
        // Ready is who has something to work by.
        inner.health.set_ready(true);
        tracing::info!(version, "works by another config");
        Ok(())
    }

    fn applied(&self) -> Option<Arc<Applied>> {
        let applied = self.inner.applied.read();
        applied.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls the target. None: there is no config yet.
    async fn hit(&self) -> Option<Result<Opened, tidewire_outbound::Error>> {
        let request = self.applied()?.request.clone();
        self.inner.hits.fetch_add(1, Ordering::Relaxed);
        let opened = self.inner.client.open(request).await;
        if opened.is_err() {
            self.inner.failures.fetch_add(1, Ordering::Relaxed);
        }
        Some(opened)
    }

    fn state(&self) -> State {
        let (applied, inner) = (self.applied(), &self.inner);
        State {
            version: applied.as_ref().map(|applied| applied.version),
            config: applied.as_ref().map(|applied| applied.config.clone()),
            applied_at: applied.map(|applied| applied.at),
            started_at: inner.started_at,
            hits: inner.hits.load(Ordering::Relaxed),
            failures: inner.failures.load(Ordering::Relaxed),
        }
    }
}
