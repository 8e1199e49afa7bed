//! A small gateway that keeps one thread's events as the service does: in their order, once for each
//! `event_id`, with the turn's status in every answer.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing,
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

use super::HANG;
use crate::support::{self, Server, cut_off, problem};

#[derive(Clone)]
pub struct Gateway {
    pub kept: Arc<Mutex<Kept>>,
    /// Each request with events takes one.
    pub may_answer: Arc<Semaphore>,
    pub due: Arc<Notify>,
    pub changed: Arc<Notify>,
}

#[derive(Default)]
pub struct Kept {
    pub pending: VecDeque<Value>,
    pub claims: Vec<Value>,
    pub events: Vec<Value>,
    /// The event ids of each request.
    pub requests: Vec<Vec<String>>,
    /// What is said of jobs but heartbeats.
    pub ends: Vec<(String, Value)>,
    /// The next answers to events: kept, and said otherwise.
    pub faults: VecDeque<Fault>,
    pub beats: u32,
    pub status: Option<&'static str>,
}

pub enum Fault {
    /// The events are stored, and the answer gets lost.
    Lost,
    Refused(u16),
}

impl Gateway {
    pub fn new() -> Self {
        Gateway {
            kept: Arc::default(),
            may_answer: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            due: Arc::default(),
            changed: Arc::default(),
        }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        let found = look(&mut self.kept.lock().unwrap());
        self.changed.notify_waiters();
        found
    }

    /// Waits until something is so.
    pub async fn until<T>(&self, what: &str, look: impl Fn(&Kept) -> Option<T>) -> T {
        let found = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = look(&self.kept.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        timeout(HANG, found)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"))
    }

    pub async fn end(&self) -> (String, Value) {
        self.until("the turn's job ends", |kept| kept.ends.first().cloned())
            .await
    }

    pub fn turn(&self, input: Value) {
        self.with(|kept| {
            kept.status = Some("running");
            kept.pending.push_back(json!({
                "id": "j", "type": "agent.turn", "queue": "default", "status": "running", "attempts": 2,
                "payload": {"thread_id": "t", "turn_id": "u", "input": input, "seq": 1},
                "max_attempts": 3, "lease_token": "token",
                "locked_at": "2026-01-01T00:00:00Z", "lease_expires_at": "2026-01-01T00:00:30Z",
            }));
        });
        self.due.notify_one();
    }

    pub async fn serve(&self) -> Server {
        let routes = Router::new()
            .route("/v1/jobs/claim", routing::post(claim))
            .route("/v1/jobs/{id}/{action}", routing::post(act))
            .route("/v1/threads/{id}/events", routing::post(append))
            .with_state(self.clone());
        Server::start(routes).await
    }

    pub fn types(&self) -> Vec<String> {
        self.with(|kept| {
            let name = |event: &Value| event["type"].as_str().unwrap().to_owned();
            kept.events.iter().map(name).collect()
        })
    }
}

async fn claim(State(gateway): State<Gateway>, Json(request): Json<Value>) -> Response {
    gateway.with(|kept| kept.claims.push(request));
    loop {
        let due = gateway.due.notified();
        if let Some(job) = gateway.with(|kept| kept.pending.pop_front()) {
            return support::json(json!({ "jobs": [job] }));
        }
        due.await;
    }
}

async fn act(
    State(gateway): State<Gateway>,
    Path((_, action)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    assert_eq!(body["lease_token"], "token");
    let is_cancelled = gateway.with(|kept| {
        match action.as_str() {
            "heartbeat" => kept.beats += 1,
            _ => kept.ends.push((action.clone(), body)),
        }
        kept.status == Some("cancelled")
    });
    if is_cancelled {
        return problem(409, "the lease is lost");
    }
    support::json(json!({"id": "j", "type": "agent.turn", "status": "done"}))
}

async fn append(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Json(events): Json<Vec<Value>>,
) -> Response {
    assert_eq!(id, "t");
    gateway.with(|kept| {
        let ids = events
            .iter()
            .map(|event| event["event_id"].as_str().unwrap().to_owned());
        kept.requests.push(ids.collect());
    });
    gateway.may_answer.acquire().await.unwrap().forget();
    gateway.with(|kept| {
        let fault = kept.faults.pop_front();
        if let Some(Fault::Refused(status)) = fault {
            return problem(status, "no");
        }
        let mut answers = Vec::new();
        for event in events {
            let is_same = |known: &Value| known["event_id"] == event["event_id"];
            let known = kept.events.iter().position(is_same);
            let ends_turn = event["type"] == "turn.completed";
            if known.is_none() {
                if ends_turn && kept.status != Some("running") {
                    return problem(409, "the turn has ended");
                }
                kept.events.push(event.clone());
            }
            if ends_turn {
                kept.status = Some("completed");
            }
            answers.push(json!({
                "event_id": event["event_id"], "seq": known.map_or(kept.events.len(), |at| at + 1),
                "duplicated": known.is_some(), "turn_status": kept.status,
            }));
        }
        match fault {
            Some(Fault::Lost) => cut_off("application/json", "[".to_owned()),
            _ => support::json(Value::from(answers)),
        }
    })
}
