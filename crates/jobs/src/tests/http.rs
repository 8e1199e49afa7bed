//! The routes, over a real socket.

mod protocol;

use std::time::Duration;

use axum::Extension;
use reqwest::Method;
use serde_json::{Value, json};
use tidewire_access::{AccessConfig, Service};
use tidewire_core::{Clock, Principal, Scopes, Time};
use tidewire_db::Migration;
use tidewire_events::{Events, NewEvent};
use tidewire_testkit::{Answer, Engine, TestApp, TestStore, every_engine};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{JobSettings, Jobs};

struct House {
    app: TestApp,
    jobs: Jobs,
    events: Events,
    clock: Clock,
    _store: TestStore,
}

async fn house(engine: Engine) -> House {
    house_with(engine, "admin,read,write,worker").await
}

async fn house_with(engine: Engine, scopes: &str) -> House {
    let migrations: Vec<Migration> = [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat();
    let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
    let store = TestStore::on_with_clock(engine, &migrations, clock.clone()).await;
    let shutdown = CancellationToken::new();
    let (_, settings) = watch::channel(JobSettings::default());
    let jobs = Jobs::new(
        store.db.clone(),
        clock.clone(),
        settings,
        crate::Followers::default(),
        shutdown.clone(),
    );
    let events = Events::new(
        store.db.clone(),
        clock.clone(),
        tidewire_events::Settings::default(),
        shutdown.clone(),
    );
    let access = Service::new(store.db.clone(), clock.clone(), &AccessConfig::default());
    let routes = crate::routes(jobs.clone(), access.request_keys().clone(), events.clone());
    let principal = Principal {
        tenant: "acme".into(),
        scopes: scopes.parse::<Scopes>().unwrap(),
        key_id: None,
        bound: None,
    };
    let app = TestApp::start(shutdown, |app| {
        app.routes(routes)
            .authenticate(move |router| router.layer(Extension(principal)))
    })
    .await;
    House {
        app,
        jobs,
        events,
        clock,
        _store: store,
    }
}

impl House {
    async fn enqueue(&self, body: Value) -> Value {
        self.app.post("/v1/jobs", &body).await.expect(201).json()
    }

    async fn claim(&self) -> Value {
        let body = json!({"worker": "w-1", "limit": 10});
        let claimed = self
            .app
            .post("/v1/jobs/claim", &body)
            .await
            .expect(200)
            .json();
        assert_eq!(claimed["jobs"].as_array().unwrap().len(), 1, "{claimed}");
        claimed["jobs"][0].clone()
    }

    async fn act(&self, job: &Value, action: &str, more: Value) -> Answer {
        let mut body = json!({"lease_token": job["lease_token"]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let path = format!("/v1/jobs/{}/{action}", job["id"].as_str().unwrap());
        self.app.post(&path, &body).await
    }

    async fn get(&self, job: &Value) -> Value {
        self.app
            .get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap()))
            .await
            .expect(200)
            .json()
    }
}

#[every_engine]
async fn one_idempotency_key_in_the_body_is_one_job(engine: Engine) {
    let house = house(engine).await;
    let body = json!({"type": "t", "idempotency_key": "k"});
    let first = house.enqueue(body.clone()).await;
    let second = house.app.post("/v1/jobs", &body).await.expect(200).json();
    assert_eq!(first["id"], second["id"]);
}

#[every_engine]
async fn one_idempotency_key_in_the_header_is_one_request(engine: Engine) {
    let house = house(engine).await;
    let send = |body: Value| {
        let request = house
            .app
            .request(Method::POST, "/v1/jobs")
            .header("Idempotency-Key", "k");
        TestApp::send(request.json(&body))
    };
    let first = send(json!({"type": "t"})).await.expect(201);
    let again = send(json!({"type": "t"})).await.expect(201);
    assert_eq!(first.text, again.text);
    assert_eq!(again.headers["content-type"], "application/json");
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    send(json!({"type": "other"})).await.expect(422);
    let list = house.app.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list["jobs"].as_array().unwrap().len(), 1);
    house.claim().await;
}

#[every_engine]
async fn bad_requests_name_what_is_wrong_and_store_nothing(engine: Engine) {
    let house = house(engine).await;
    let large = "x".repeat(300_000);
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"type": "no spaces"}), "/type"),
        (json!({"type": "t", "extra": 1}), "/extra"),
        (json!({"type": "t", "priority": 1001}), "/priority"),
        (json!({"type": "t", "priority": "high"}), "/priority"),
        (json!({"type": "t", "max_attempts": 101}), "/max_attempts"),
        (json!({"type": "t", "run_at": "tomorrow"}), "/run_at"),
        (
            json!({"type": "t", "timeout_seconds": 0}),
            "/timeout_seconds",
        ),
        (
            json!({"type": "t", "idempotency_key": ""}),
            "/idempotency_key",
        ),
        (json!({"type": "t", "queue": "a/b"}), "/queue"),
        (json!({"type": "t", "payload": [large]}), "/payload"),
        (
            json!({"type": "t", "payload": {"a": "\u{0}"}}),
            "/payload/a",
        ),
    ] {
        let answer = house.app.post("/v1/jobs", &body).await.expect(400).json();
        let pointers: Vec<_> = answer["errors"].as_array().unwrap().iter().collect();
        assert!(
            pointers.iter().any(|error| error["pointer"] == pointer),
            "{pointer}: {answer}"
        );
    }
    for (body, pointer) in [
        (json!({"worker": ""}), "/worker"),
        (json!({"worker": "w", "limit": 0}), "/limit"),
        (json!({"worker": "w", "limit": 501}), "/limit"),
        (json!({"worker": "w", "wait_seconds": 61}), "/wait_seconds"),
        (
            json!({"worker": "w", "lease_seconds": 3601}),
            "/lease_seconds",
        ),
        (json!({"worker": "w", "types": []}), "/types"),
        (json!({"worker": "w", "queues": ["q", "a b"]}), "/queues/1"),
    ] {
        let answer = house
            .app
            .post("/v1/jobs/claim", &body)
            .await
            .expect(400)
            .json();
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{answer}");
    }
    for query in [
        "status=unknown",
        "limit=0",
        "limit=501",
        "cursor=x",
        "colour=red",
    ] {
        house
            .app
            .get(&format!("/v1/jobs?{query}"))
            .await
            .expect(400);
    }
    house
        .app
        .post_raw("/v1/jobs", "text/plain", "{}")
        .await
        .expect(415);
    let list = house.app.get("/v1/jobs").await.expect(200).json();
    assert_eq!(list, json!({"jobs": [], "next_cursor": null}));
}

#[every_engine]
async fn what_failed_is_retried_one_by_one_or_all_at_once(engine: Engine) {
    let house = house(engine).await;
    for kind in ["a", "a", "b"] {
        house
            .enqueue(json!({"type": kind, "max_attempts": 1}))
            .await;
        let claimed = house.claim().await;
        house
            .act(&claimed, "fail", json!({"error": "x"}))
            .await
            .expect(200);
    }
    let failed = house
        .app
        .get("/v1/jobs?status=failed&type=b")
        .await
        .expect(200)
        .json();
    let id = failed["jobs"][0]["id"].as_str().unwrap();
    let path = format!("/v1/jobs/{id}/retry");
    let retried = TestApp::send(house.app.request(Method::POST, &path))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&retried["status"], &retried["max_attempts"]),
        (&json!("pending"), &json!(2))
    );
    house.app.post(&path, &json!({})).await.expect(409);
    let retry = |body: Value| async move { house.app.post("/v1/jobs/retry", &body).await };
    assert_eq!(
        retry(json!({"type": "none"})).await.expect(200).json(),
        json!({"retried": 0})
    );
}

#[every_engine]
async fn a_bulk_retry_needs_no_body(engine: Engine) {
    let house = house(engine).await;
    house.enqueue(json!({"type": "t"})).await;
    let claimed = house.claim().await;
    house
        .act(&claimed, "fail", json!({"error": "x", "permanent": true}))
        .await
        .expect(200);
    house
        .app
        .post("/v1/jobs/retry", &json!({"status": "done"}))
        .await
        .expect(400);
    let all = house.app.request(Method::POST, "/v1/jobs/retry");
    assert_eq!(
        TestApp::send(all).await.expect(200).json(),
        json!({"retried": 1})
    );
}

#[every_engine]
async fn each_route_wants_its_scope(engine: Engine) {
    for (scopes, read, write, worker) in [
        ("read", true, false, false),
        ("write", false, true, false),
        ("worker", false, false, true),
        ("admin", true, true, true),
    ] {
        let house = house_with(engine, scopes).await;
        let of = |allowed: bool, fine: u16| if allowed { fine } else { 403 };
        let app = &house.app;
        for path in [
            "/v1/jobs",
            "/v1/analytics/summary",
            "/v1/analytics/timeseries",
        ] {
            app.get(path).await.expect(of(read, 200));
        }
        app.get("/v1/jobs/x").await.expect(of(read, 404));
        app.post("/v1/jobs", &json!({"type": "t"}))
            .await
            .expect(of(write, 201));
        app.post("/v1/jobs/x/cancel", &json!({}))
            .await
            .expect(of(write, 404));
        app.post("/v1/jobs/x/retry", &json!({}))
            .await
            .expect(of(write, 404));
        app.post("/v1/jobs/retry", &json!({}))
            .await
            .expect(of(write, 200));
        app.post("/v1/jobs/claim", &json!({"worker": "w"}))
            .await
            .expect(of(worker, 200));
        let held = json!({"lease_token": "x"});
        for action in ["heartbeat", "complete", "release"] {
            app.post(&format!("/v1/jobs/x/{action}"), &held)
                .await
                .expect(of(worker, 404));
        }
        let failed = json!({"lease_token": "x", "error": "x"});
        app.post("/v1/jobs/x/fail", &failed)
            .await
            .expect(of(worker, 404));
    }
}

#[every_engine]
async fn pages_follow_each_other(engine: Engine) {
    let house = house(engine).await;
    for _ in 0..5 {
        house.enqueue(json!({"type": "t"})).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house
            .app
            .get(&format!("/v1/jobs?limit=2{cursor}"))
            .await
            .expect(200)
            .json();
        let jobs = page["jobs"].as_array().unwrap().clone();
        seen.extend(
            jobs.into_iter()
                .map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
}

#[every_engine]
async fn days_are_counted_zeros_included(engine: Engine) {
    let house = house(engine).await;
    let tenant = "acme".into();
    for day in 0..3 {
        let payload = crate::model::empty_object();
        let event = NewEvent::new("t", payload).unwrap();
        house.events.append(&tenant, vec![event]).await.unwrap();
        house.enqueue(json!({"type": "t"})).await;
        let claimed = house.claim().await;
        if day == 1 {
            house
                .act(&claimed, "fail", json!({"error": "x", "permanent": true}))
                .await
                .expect(200);
        } else {
            house.act(&claimed, "complete", json!({})).await.expect(200);
        }
        house.clock.advance(Duration::from_hours(48));
    }
    let query = "from=2023-11-14&to=2023-11-19";
    let summary = house
        .app
        .get(&format!("/v1/analytics/summary?{query}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        summary,
        json!({"from": "2023-11-14", "to": "2023-11-19", "events_received": 3, "jobs_done": 2, "jobs_failed": 1})
    );
    let series = house
        .app
        .get(&format!("/v1/analytics/timeseries?{query}"))
        .await
        .expect(200)
        .json();
    let day = |day: &str, received: u64, done: u64, failed: u64| json!({"day": day, "events_received": received, "jobs_done": done, "jobs_failed": failed});
    assert_eq!(
        series["days"],
        json!([
            day("2023-11-14", 1, 1, 0),
            day("2023-11-15", 0, 0, 0),
            day("2023-11-16", 1, 0, 1),
            day("2023-11-17", 0, 0, 0),
            day("2023-11-18", 1, 1, 0),
            day("2023-11-19", 0, 0, 0),
        ])
    );
    let recent = house
        .app
        .get("/v1/analytics/timeseries")
        .await
        .expect(200)
        .json();
    assert_eq!(recent["days"].as_array().unwrap().len(), 30);
    for bad in [
        "from=2023-11-20&to=2023-11-19",
        "from=2020-01-01",
        "to=yesterday",
        "day=1",
    ] {
        house
            .app
            .get(&format!("/v1/analytics/summary?{bad}"))
            .await
            .expect(400);
    }
}

#[every_engine]
async fn a_stop_answers_those_who_wait(engine: Engine) {
    let house = house(engine).await;
    let body = json!({"worker": "w", "wait_seconds": 60});
    let waiting = house
        .app
        .request(Method::POST, "/v1/jobs/claim")
        .json(&body);
    let waiting = tokio::spawn(TestApp::send(waiting));
    tidewire_testkit::eventually("the claim waits", || async {
        (house.jobs.board().waiting() == 1).then_some(())
    })
    .await;
    house.app.stop().await;
    assert_eq!(
        waiting.await.unwrap().expect(200).json(),
        json!({"jobs": []})
    );
}

#[every_engine]
async fn every_answer_is_declared(engine: Engine) {
    let house = house(engine).await;
    let api = house.app.get("/openapi.json").await.expect(200).json();
    let declared = |method: &str, path: &str| -> Vec<String> {
        let operation = &api["paths"][path][method];
        let responses = operation["responses"].as_object();
        responses
            .unwrap_or_else(|| panic!("{method} {path}"))
            .keys()
            .cloned()
            .collect()
    };
    for (method, path, statuses) in [
        (
            "post",
            "/v1/jobs",
            "200 201 400 401 403 409 413 415 422 503",
        ),
        ("get", "/v1/jobs", "200 400 401 403 503"),
        ("get", "/v1/jobs/{id}", "200 400 401 403 404 503"),
        (
            "post",
            "/v1/jobs/{id}/cancel",
            "200 400 401 403 404 409 503",
        ),
        ("post", "/v1/jobs/{id}/retry", "200 400 401 403 404 409 503"),
        ("post", "/v1/jobs/retry", "200 400 401 403 413 415 503"),
        ("post", "/v1/jobs/claim", "200 400 401 403 413 415 503"),
        (
            "post",
            "/v1/jobs/{id}/heartbeat",
            "200 400 401 403 404 409 413 415 503",
        ),
        (
            "post",
            "/v1/jobs/{id}/complete",
            "200 400 401 403 404 409 413 415 503",
        ),
        (
            "post",
            "/v1/jobs/{id}/fail",
            "200 400 401 403 404 409 413 415 503",
        ),
        (
            "post",
            "/v1/jobs/{id}/release",
            "200 400 401 403 404 409 413 415 503",
        ),
        ("get", "/v1/analytics/summary", "200 400 401 403 503"),
        ("get", "/v1/analytics/timeseries", "200 400 401 403 503"),
    ] {
        let declared = declared(method, path);
        for status in statuses.split(' ') {
            assert!(
                declared.iter().any(|known| known == status),
                "{method} {path}: {status}"
            );
        }
    }
    for schema in ["Job", "NewJob", "JobDetail", "ClaimedJob", "JobStatus"] {
        assert!(
            api["components"]["schemas"].get(schema).is_some(),
            "{schema}"
        );
    }
}
