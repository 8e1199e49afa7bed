//! What threads promise over HTTP, in memory: turns, the jobs that they are, events in their order,
//! live streams. It checks nothing and keeps nothing.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures_util::stream;
use serde_json::{Value, json};
use tidewire_core::{Clock, ids};
use tokio::{runtime::Runtime, sync::Notify};

pub struct Gateway {
    address: SocketAddr,
    shared: Shared,
    // Dropping it stops the server.
    _runtime: Runtime,
}

#[derive(Clone, Default)]
struct Shared {
    kept: Arc<Mutex<Kept>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Kept {
    threads: BTreeMap<String, Vec<Value>>,
    turns: Vec<Turn>,
    said_of_jobs: Vec<String>,
    followers: usize,
}

struct Turn {
    thread: String,
    id: String,
    input: Value,
    queue: String,
    status: &'static str,
    attempts: u32,
    lease: Option<String>,
}

impl Gateway {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("it can be");
        let runtime = Runtime::new().expect("threads");
        let shared = Shared::default();
        let routes = Router::new()
            .route("/v1/turns", post(start))
            .route("/v1/turns/{id}/cancel", post(cancel))
            .route("/v1/threads", get(threads))
            .route("/v1/threads/{id}", get(thread))
            .route("/v1/threads/{id}/turns", get(turns))
            .route("/v1/threads/{id}/events", get(page).post(append))
            .route("/v1/threads/{id}/events/stream", get(follow))
            .route("/v1/jobs/claim", post(claim))
            .route("/v1/jobs/{id}/{action}", post(act))
            .with_state(shared.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, routes).await.expect("it serves");
        });
        Gateway {
            address,
            shared,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn events(&self, thread: &str) -> Vec<Value> {
        self.shared
            .with(|kept| kept.threads.get(thread).cloned().unwrap_or_default())
    }

    pub fn append(&self, thread: &str, turn: &str, event_type: &str, payload: Value) {
        self.shared
            .with(|kept| kept.append(thread, turn, event_type, payload));
    }

    /// What was said of jobs but heartbeats.
    pub fn said_of_jobs(&self) -> Vec<String> {
        self.shared.with(|kept| kept.said_of_jobs.clone())
    }

    /// How many streams were opened.
    pub fn followers(&self) -> usize {
        self.shared.with(|kept| kept.followers)
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        let result = act(&mut self.kept.lock().expect("no panic holds it"));
        self.changed.notify_waiters();
        result
    }

    /// Waits until there is something.
    async fn until<T>(&self, mut look: impl FnMut(&mut Kept) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&mut self.kept.lock().expect("no panic holds it")) {
                return found;
            }
            changed.await;
        }
    }
}

impl Kept {
    fn turn(&mut self, thread: &str, id: &str) -> Option<&mut Turn> {
        let is_it = |turn: &&mut Turn| turn.thread == thread && turn.id == id;
        self.turns.iter_mut().find(is_it)
    }

    fn append(&mut self, thread: &str, turn: &str, event_type: &str, payload: Value) -> usize {
        let events = self.threads.entry(thread.to_owned()).or_default();
        let seq = events.len() + 1;
        events.push(json!({
            "spec_version": "agent-events/1.0", "event_id": new_id(), "thread_id": thread, "turn_id": turn,
            "seq": seq, "ts": Clock::system().now(), "type": event_type, "level": "info", "payload": payload,
        }));
        let ended = ["turn.completed", "turn.failed", "turn.cancelled"];
        if let Some(end) = ended.iter().find(|end| **end == event_type)
            && let Some(turn) = self.turn(thread, turn)
        {
            turn.status = &end[5..];
            turn.lease = None;
        }
        seq
    }
}

fn new_id() -> String {
    ids::new_id(&Clock::system())
}

fn problem(status: StatusCode) -> Response {
    let body = json!({ "title": "no", "status": status.as_u16(), "detail": "no" });
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

async fn start(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let given = |name: &str| body[name].as_str().map(str::to_owned);
    let thread = given("thread_id").unwrap_or_else(new_id);
    let id = given("turn_id").unwrap_or_else(new_id);
    let seq = shared.with(|kept| {
        kept.turns.push(Turn {
            thread: thread.clone(),
            id: id.clone(),
            input: body["input"].clone(),
            queue: given("agent").unwrap_or_else(|| "default".to_owned()),
            status: "accepted",
            attempts: 0,
            lease: None,
        });
        let payload = json!({ "input": body["input"], "agent": body["agent"], "attempt": 1 });
        kept.append(&thread, &id, "turn.started", payload)
    });
    let answer = json!({ "thread_id": thread, "turn_id": id, "status": "accepted", "seq": seq });
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

async fn cancel(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let thread = body["thread_id"].as_str().unwrap_or_default();
    let seq = shared.with(|kept| kept.append(thread, &id, "turn.cancelled", json!({})));
    let answer = json!({ "thread_id": thread, "turn_id": id, "status": "cancelled", "seq": seq });
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

fn shown(id: &str, events: &[Value]) -> Value {
    json!({ "thread_id": id, "tenant_id": "default", "status": "active", "last_seq": events.len() })
}

async fn threads(State(shared): State<Shared>) -> Response {
    let threads: Vec<_> = shared.with(|kept| {
        let threads = kept.threads.iter();
        threads.map(|(id, events)| shown(id, events)).collect()
    });
    Json(json!({ "threads": threads, "next_cursor": null })).into_response()
}

async fn thread(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let thread = shared.with(|kept| Some(shown(&id, kept.threads.get(&id)?)));
    thread.map_or_else(
        || problem(StatusCode::NOT_FOUND),
        |thread| Json(thread).into_response(),
    )
}

async fn turns(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    shared.with(|kept| {
        if !kept.threads.contains_key(&id) {
            return problem(StatusCode::NOT_FOUND);
        }
        let turns = kept.turns.iter().rev().filter(|turn| turn.thread == id);
        let turns = turns.map(|turn| {
            json!({ "turn_id": turn.id, "status": turn.status, "input": turn.input, "agent": turn.queue })
        });
        let turns: Vec<_> = turns.collect();
        Json(json!({ "turns": turns, "next_cursor": null })).into_response()
    })
}

async fn page(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let from = query["from_seq"].parse().expect("a number");
    shared.with(|kept| {
        let events = kept
            .threads
            .entry(id)
            .or_default()
            .get(from..)
            .unwrap_or_default();
        Json(json!({ "events": events })).into_response()
    })
}

async fn append(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(events): Json<Vec<Value>>,
) -> Response {
    let answers: Vec<_> = shared.with(|kept| {
        let stored = events.iter().map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default();
            let turn = text("turn_id");
            let seq = kept.append(&id, turn, text("type"), event["payload"].clone());
            let status = kept.turn(&id, turn).map(|turn| turn.status);
            json!({ "event_id": text("event_id"), "seq": seq, "duplicated": false, "turn_status": status })
        });
        stored.collect()
    });
    (StatusCode::CREATED, Json(answers)).into_response()
}

async fn follow(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let after: usize = query["after_seq"].parse().expect("a number");
    let turn = query.get("turn_id").cloned();
    shared.with(|kept| kept.followers += 1);
    let frames = stream::unfold(Some(after), move |after| {
        let (shared, id, turn) = (shared.clone(), id.clone(), turn.clone());
        async move {
            let after = after?;
            let event = shared
                .until(|kept| kept.threads.get(&id)?.get(after).cloned())
                .await;
            if turn.is_some_and(|turn| event["turn_id"] != turn) {
                return Some((String::new(), Some(after + 1)));
            }
            let name = event["type"].as_str().unwrap_or_default();
            let frame = format!("id: {}\nevent: {name}\ndata: {event}\n\n", after + 1);
            Some((frame, Some(after + 1)))
        }
    });
    let frames = futures_util::StreamExt::map(frames, Ok::<_, Infallible>);
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(frames)).into_response()
}

async fn claim(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let queues = body["queues"].as_array().cloned().unwrap_or_default();
    let job = shared.until(|kept| {
        let due = kept.turns.iter_mut().enumerate().find(|(_, turn)| {
            let is_open = ["accepted", "running"].contains(&turn.status);
            is_open && turn.lease.is_none() && queues.contains(&json!(turn.queue))
        });
        let (at, turn) = due?;
        turn.status = "running";
        turn.attempts += 1;
        turn.lease = Some(new_id());
        Some(json!({
            "id": at.to_string(), "type": "agent.turn", "queue": turn.queue, "status": "running",
            "payload": { "thread_id": turn.thread, "turn_id": turn.id, "input": turn.input, "seq": 1 },
            "attempts": turn.attempts, "max_attempts": 3, "lease_token": turn.lease,
        }))
    });
    Json(json!({ "jobs": [job.await] })).into_response()
}

async fn act(
    State(shared): State<Shared>,
    Path((id, action)): Path<(usize, String)>,
    Json(body): Json<Value>,
) -> Response {
    shared.with(|kept| {
        if action != "heartbeat" {
            kept.said_of_jobs.push(action.clone());
        }
        let turn = &mut kept.turns[id];
        let has_lease = turn.lease.as_deref() == body["lease_token"].as_str();
        // Who completes a turn that has ended says what is known.
        if !has_lease && (action != "complete" || turn.status != "completed") {
            return problem(StatusCode::CONFLICT);
        }
        if action == "release" {
            turn.lease = None;
            turn.attempts -= 1;
        }
        let job = json!({ "id": id.to_string(), "type": "agent.turn", "status": "running" });
        Json(job).into_response()
    })
}
