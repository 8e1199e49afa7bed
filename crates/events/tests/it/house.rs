//! The log as one process serves it, and what its clients do.

use std::{sync::Arc, time::Duration};

use axum::{extract::Request, middleware};
use serde_json::Value;
use tidewire_core::{Clock, Principal, Scopes};
use tidewire_db::Db;
use tidewire_events::{ColdRange, Events, Settings};
use tidewire_testkit::{Engine, TestApp, TestStore};
use tokio_util::sync::CancellationToken;

pub struct House {
    pub app: TestApp,
    pub events: Events,
    pub store: TestStore,
}

pub async fn house(engine: Engine) -> House {
    house_at(engine, Clock::system()).await
}

pub async fn house_at(engine: Engine, clock: Clock) -> House {
    serve(TestStore::on_with_clock(engine, tidewire_events::MIGRATIONS, clock).await).await
}

pub async fn serve(store: TestStore) -> House {
    let (app, events) = process(store.db.clone(), store.clock.clone(), POLL_INTERVAL).await;
    House { app, events, store }
}

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// So long that what arrives did not wait for it.
pub const NEVER: Duration = Duration::from_secs(86_400);

/// A server on a store. Requests are those of the tenant `acme` unless `x-tenant` names another.
pub async fn process(db: Db, clock: Clock, poll_interval: Duration) -> (TestApp, Events) {
    process_with(db, clock, poll_interval, None).await
}

/// The same with a tier behind the store.
pub async fn process_with(
    db: Db,
    clock: Clock,
    poll_interval: Duration,
    cold: Option<Arc<dyn ColdRange>>,
) -> (TestApp, Events) {
    let shutdown = CancellationToken::new();
    let settings = Settings {
        poll_interval,
        ..Settings::default()
    };
    let events = Events::with_cold(db, clock, settings, cold, shutdown.clone());
    let routes = tidewire_events::routes(events.clone());
    let app = TestApp::start(shutdown, |app| {
        app.routes(routes)
            .authenticate(|router| router.layer(middleware::map_request(authenticate)))
    })
    .await;
    (app, events)
}

async fn authenticate(mut request: Request) -> Request {
    let tenant = request
        .headers()
        .get("x-tenant")
        .map_or("acme", |name| name.to_str().unwrap());
    let principal = Principal {
        tenant: tenant.into(),
        scopes: Scopes::all(),
        key_id: None,
        bound: None,
    };
    request.extensions_mut().insert(principal);
    request
}

impl House {
    pub async fn append(&self, body: Value) -> Value {
        append(&self.app, body).await
    }

    /// How many events there are.
    pub async fn count(&self) -> usize {
        list(&self.app, "").await.len()
    }
}

pub async fn append(app: &TestApp, body: Value) -> Value {
    let answer = app.post("/v1/events", &body).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json()
}

/// All pages of a list, newest first.
pub async fn list(app: &TestApp, query: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/events?limit=500&{query}{cursor}");
        let page = app.get(&path).await.expect(200).json();
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}

/// Reads whole frames off a tail.
pub struct Tail {
    response: reqwest::Response,
    buffer: String,
}

impl Tail {
    pub async fn open(app: &TestApp, query: &str, last: Option<&str>) -> Self {
        let mut request = app.request(reqwest::Method::GET, &format!("/v1/events/tail{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Self::of(request).await
    }

    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Tail {
            response,
            buffer: String::new(),
        }
    }

    /// The next event's frame: its id and its data.
    pub async fn next(&mut self) -> (String, Value) {
        let patience = Duration::from_secs(30);
        tokio::time::timeout(patience, async {
            loop {
                if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                    let frame = frame.to_owned();
                    self.buffer = rest.to_owned();
                    let field = |name: &str| {
                        frame
                            .lines()
                            .find_map(|line| line.strip_prefix(name))
                            .map(str::to_owned)
                    };
                    if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                        let data: Value = serde_json::from_str(&data).unwrap();
                        assert_eq!(field("event: ").as_deref(), data["type"].as_str());
                        return (id, data);
                    }
                    continue;
                }
                let chunk = self
                    .response
                    .chunk()
                    .await
                    .unwrap()
                    .expect("the stream stays open");
                self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        })
        .await
        .expect("a frame")
    }

    pub async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.next().await.1["payload"].as_u64().unwrap());
        }
        numbers
    }
}
