//! As much of a server as an operator asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tidewire_client::{Client, Retry};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

/// No lease of it ever runs out.
pub struct Server {
    shared: Arc<Shared>,
    url: String,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<Inner>,
    revision: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    /// Threads with their open turns.
    turns: BTreeMap<String, String>,
    /// Workers with their threads.
    leases: BTreeMap<String, Option<String>>,
    made: usize,
    renewals: usize,
    requests: usize,
    is_away: bool,
    refused: usize,
    count: usize,
}

impl Server {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            revision: watch::Sender::new(1),
        });
        let routes = Router::new()
            .route("/v1/agents/demand", get(demand))
            .route("/v1/agents/leases", post(hold))
            .route("/v1/agents/leases/release", post(release))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Server { shared, url, task }
    }

    pub fn client(&self) -> Client {
        let client = Client::builder(&self.url).retry(Retry::none());
        client.build().unwrap()
    }

    /// A thread that has none gets a turn.
    pub fn turn(&self, thread: &str) {
        self.change(|state| {
            state.count += 1;
            let turn = format!("turn-{}", state.count);
            state.turns.insert(thread.to_owned(), turn);
        });
    }

    pub fn end(&self, thread: &str) {
        self.change(|state| drop(state.turns.remove(thread)));
    }

    pub fn forget(&self, worker: &str) {
        self.change(|state| drop(state.leases.remove(worker)));
    }

    pub fn bind(&self, worker: &str, thread: &str) {
        self.change(|state| {
            let thread = Some(thread.to_owned());
            state.leases.insert(worker.to_owned(), thread);
        });
    }

    pub fn leave(&self) {
        self.change(|state| state.is_away = true);
    }

    pub fn come_back(&self) {
        self.change(|state| state.is_away = false);
    }

    pub fn holders(&self) -> Vec<String> {
        self.shared.state().leases.keys().cloned().collect()
    }

    /// Leases that were made.
    pub fn made(&self) -> usize {
        self.shared.state().made
    }

    pub fn renewals(&self) -> usize {
        self.shared.state().renewals
    }

    /// Requests about leases.
    pub fn requests(&self) -> usize {
        self.shared.state().requests
    }

    /// Requests while it was away.
    pub fn refused(&self) -> usize {
        self.shared.state().refused
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.shared.state());
        self.shared.changed();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }

    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    fn is_away(&self) -> Result<(), StatusCode> {
        let mut state = self.state();
        state.refused += usize::from(state.is_away);
        match state.is_away {
            true => Err(StatusCode::SERVICE_UNAVAILABLE),
            false => Ok(()),
        }
    }
}

type Answer = Result<Json<Value>, StatusCode>;
type Asked = Query<BTreeMap<String, String>>;

async fn demand(State(shared): State<Arc<Shared>>, Query(asked): Asked) -> Answer {
    shared.is_away()?;
    let mut revision = shared.revision.subscribe();
    let number = |name: &str| asked.get(name).and_then(|text| text.parse().ok());
    if let Some(seen) = number("revision") {
        let wait = Duration::from_secs(number("wait_seconds").unwrap_or(0));
        // Either there is another one, or the time is over.
        let _ = timeout(wait, revision.wait_for(|now| *now != seen)).await;
        shared.is_away()?;
    }
    let revision = *revision.borrow();
    let state = shared.state();
    let threads = state.turns.iter().map(|(thread, turn)| {
        let holder = state
            .leases
            .iter()
            .find(|(_, has)| has.as_ref() == Some(thread));
        json!({
            "tenant_id": "default", "thread_id": thread, "agent": null, "turn_id": turn,
            "status": "accepted", "since": "2026-01-31T12:00:00.000000Z", "worker": null,
            "leased_by": holder.map(|(worker, _)| worker),
            "leased_until": holder.map(|_| "2199-01-31T12:00:00.000000Z"),
        })
    });
    let threads: Vec<_> = threads.collect();
    Ok(Json(
        json!({"revision": revision.to_string(), "threads": threads}),
    ))
}

async fn hold(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Answer {
    shared.is_away()?;
    let mut state = shared.state();
    state.requests += 1;
    let asked = body["leases"].as_array().unwrap();
    if asked.iter().any(|it| it["thread_id"] == "bad") {
        return Err(StatusCode::BAD_REQUEST);
    }
    let mut answers = Vec::new();
    let mut changes = false;
    for one in asked {
        let worker = one["worker"].as_str().unwrap().to_owned();
        let wants = one["thread_id"].as_str().map(str::to_owned);
        let has = state.leases.get(&worker).cloned();
        let taken = state
            .leases
            .iter()
            .any(|(other, thread)| *other != worker && thread.is_some() && *thread == wants);
        let mut answer = json!({"tenant_id": "default", "worker": worker, "status": "held"});
        if taken {
            answer["status"] = "refused".into();
            answers.push(answer);
            continue;
        }
        match &has {
            Some(_) => state.renewals += 1,
            None => {
                state.made += 1;
                answer["api_key"] = format!("key of {worker}").into();
            }
        }
        let thread = has.clone().flatten().or(wants);
        changes |= has.as_ref() != Some(&thread);
        answer["thread_id"] = thread.clone().into();
        state.leases.insert(worker, thread);
        answers.push(answer);
    }
    drop(state);
    if changes {
        shared.changed();
    }
    Ok(Json(json!({"leases": answers})))
}

async fn release(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> Answer {
    shared.is_away()?;
    let mut state = shared.state();
    state.requests += 1;
    let asked = body["leases"].as_array().unwrap();
    let mut answers = Vec::new();
    for one in asked {
        let worker = one["worker"].as_str().unwrap();
        let thread = state.leases.get(worker).cloned();
        let has_turn = thread
            .clone()
            .flatten()
            .is_some_and(|thread| state.turns.contains_key(&thread));
        let status = match thread {
            None => "unknown",
            Some(_) if has_turn && one["lost"] != true => "busy",
            Some(_) => {
                state.leases.remove(worker);
                "released"
            }
        };
        answers.push(json!({"tenant_id": "default", "worker": worker, "status": status}));
    }
    drop(state);
    shared.changed();
    Ok(Json(json!({"leases": answers})))
}
