//! An agent of a fleet: it asks the controller for its config and gives it to its worker.
//!
//! What it has is authoritative for its worker, whatever becomes of the controller: it is kept in a
//! state file ([`file`]) and goes on from there, also after its own restart. What becomes of a config
//! is a pure state ([`kept`]): it comes (*pending*), and the worker takes it (*running*) or does not
//! (*parked*): a version that is parked is said once and not tried again, and the last good one stays.
//!
//! Controller, worker and file are three things that fail by themselves: each has a loop and a pace
//! of its own, and none waits for another.

mod controller;
mod file;
mod http;
mod kept;
mod pace;
mod worker;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use tidewire_client::{Client, Labels};
use tidewire_core::Clock;
use tidewire_http::Health;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::masked::masked;
use file::FileState;
use kept::Kept;
use pace::{Pace, TargetState};

pub use http::routes;

/// Where the controller does not say, and neither does the operator.
const INTERVAL: Duration = Duration::from_secs(15);

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Both without repeats of their own: how often is asked again is decided here.
    pub controller: Client,
    pub worker: Client,
    pub state: PathBuf,
    pub name: Option<String>,
    pub labels: Labels,
    /// Wins over the controller's.
    pub poll_interval: Option<Duration>,
    pub max_backoff: Duration,
    /// Whether it has itself told when to ask, besides asking by itself.
    pub watch: bool,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    options: AgentOptions,
    health: Health,
    state: Mutex<State>,
    /// There is something to be said to the controller, or to be asked.
    for_controller: Notify,
    /// There is something for the worker.
    for_worker: Notify,
    /// What is to be kept has changed.
    for_file: Notify,
    /// The agent has an id.
    registered: Notify,
}

struct State {
    kept: Kept,
    controller: Pace,
    worker: Pace,
    file: FileState,
    /// The revision that it was told of last.
    told: Option<u64>,
}

/// How it is, for `GET /state`.
#[derive(Serialize, utoipa::ToSchema)]
struct Shown {
    /// Null until the controller has given it one.
    #[schema(required)]
    agent_id: Option<String>,
    /// Of the config that its worker works by, as far as it knows; of the one that came last until
    /// there is one.
    #[schema(required)]
    etag: Option<String>,
    #[schema(required)]
    version: Option<u64>,
    /// What headers carry of credentials is masked.
    #[schema(required, value_type = Option<Object>)]
    config: Option<Value>,
    /// A version that came and that the worker has not answered yet.
    #[schema(required)]
    pending: Option<u64>,
    /// The version that the worker does not take.
    #[schema(required)]
    parked: Option<ParkedVersion>,
    controller: TargetState,
    worker: TargetState,
    state_file: FileState,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ParkedVersion {
    version: u64,
    error: String,
}

impl Agent {
    #[must_use]
    pub fn new(clock: Clock, options: AgentOptions, health: Health) -> Self {
        let agent = Agent {
            inner: Arc::new(Inner {
                clock,
                options,
                health,
                state: Mutex::new(State {
                    kept: Kept::default(),
                    controller: Pace::default(),
                    worker: Pace::default(),
                    file: FileState::default(),
                    told: None,
                }),
                for_controller: Notify::new(),
                for_worker: Notify::new(),
                for_file: Notify::new(),
                registered: Notify::new(),
            }),
        };
        // Controller and worker may be away for days, and nothing is wrong with the agent.
        let of = agent.clone();
        agent.inner.health.register("state_file", move || {
            let checked = of.inner.state().file.check();
            async move { checked }
        });
        agent
    }

    /// Runs until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let inner = &self.inner;
        if stop.run_until_cancelled(inner.load()).await.is_none() {
            return;
        }
        tokio::join!(
            Box::pin(inner.ask_controller(&stop)),
            Box::pin(inner.watch_controller(&stop)),
            Box::pin(inner.serve_worker(&stop)),
            Box::pin(inner.keep_file(&stop)),
        );
    }

    fn shown(&self) -> Shown {
        let state = self.inner.state();
        let kept = &state.kept;
        let held = kept.running.as_ref().or(kept.pending.as_ref());
        Shown {
            agent_id: kept.agent_id.clone(),
            etag: held.map(|held| held.etag.clone()),
            version: held.map(|held| held.version),
            config: held.map(|held| masked(&held.config)),
            pending: kept.pending.as_ref().map(|held| held.version),
            parked: kept.parked.as_ref().map(|parked| ParkedVersion {
                version: parked.version,
                error: parked.error.clone(),
            }),
            controller: state.controller.shown(),
            worker: state.worker.shown(),
            state_file: state.file.clone(),
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> Kept {
        self.state().kept.clone()
    }

    /// Takes a step; what it leads to is kept.
    fn step(&self, step: impl FnOnce(Kept) -> Kept) {
        let mut state = self.state();
        let before = state.kept.clone();
        state.kept = step(before.clone());
        if state.kept != before {
            self.for_file.notify_one();
        }
    }

    /// How often the controller is asked and the worker looked at.
    fn interval(&self) -> Duration {
        let told = || {
            let seconds = self.state().kept.poll_interval_seconds?;
            Duration::try_from_secs_f64(seconds).ok()
        };
        let set = self.options.poll_interval.or_else(told);
        set.unwrap_or(INTERVAL).max(Duration::from_millis(10))
    }
}
