//! Triggers as their source design wants them: made, fired, delivered, kept for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::Uri, routing::any};
use reqwest::Method;
use serde_json::{Value, json};
use tidewire_core::Time;
use tidewire_testkit::{Engine, TestApp, eventually, every_engine};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{House, Server, assert_problem, client};

/// One request that came.
#[derive(Clone, Debug)]
struct Came {
    path: String,
    headers: HeaderMap,
    body: Value,
}

type Log = Arc<Mutex<Vec<Came>>>;

/// An endpoint that takes everything, or answers with what the path says: `/status/503`.
struct Sink {
    address: SocketAddr,
    log: Log,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(log): State<Log>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> axum::http::StatusCode {
    let status = uri.path().strip_prefix("/status/");
    let status = status.and_then(|status| status.parse().ok()).unwrap_or(200);
    log.lock().expect("no test panics with it").push(Came {
        path: uri.path().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    axum::http::StatusCode::from_u16(status).expect("a status")
}

impl Sink {
    async fn start() -> Self {
        let log = Log::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let router = Router::new()
            .fallback(any(take))
            .with_state(Arc::clone(&log));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Sink { address, log, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came to a path.
    fn came(&self, path: &str) -> Vec<Came> {
        let log = self.log.lock().expect("no test panics with it");
        log.iter()
            .filter(|came| came.path == path)
            .cloned()
            .collect()
    }
}

async fn create(server: &Server, kind: &str, config: Value) -> Value {
    let body = json!({"name": "a trigger", "type": kind, "config": config});
    server
        .post("/api/v1/triggers", &body)
        .await
        .expect(201)
        .json()
}

fn id(of: &Value) -> &str {
    of["id"].as_str().expect("an id")
}

/// An execution once it has ended.
async fn ended(server: &Server, id: &Value) -> Value {
    let path = format!("/api/v1/events/{}", id.as_str().expect("an id"));
    eventually("the execution has ended", || async {
        let execution = server.get(&path).await.expect(200).json();
        (execution["execution_status"] != "pending").then_some(execution)
    })
    .await
}

/// The executions of a trigger, as the list shows them.
async fn executions(server: &Server, query: &str) -> Vec<Value> {
    let path = format!("/v1/executions?limit=500&{query}");
    let list = server.get(&path).await.expect(200).json();
    list["events"].as_array().expect("a list").clone()
}

#[every_engine]
async fn a_trigger_is_created_and_fires(engine: Engine) {
    let (sink, server) = (Sink::start().await, House::on(engine).await.start());
    let config = json!({
        "endpoint": sink.url("/in"),
        "headers": {"x-plain": "plain", "authorization": "Bearer not-for-everybody"},
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "schema": {"type": "object", "required": ["amount"]},
    });
    let trigger = create(&server, "webhook", config).await;
    let url = trigger["webhook_url"].as_str().expect("a webhook");
    assert!(url.starts_with(&server.url()), "{url}");
    let request = client().post(url).json(&json!({"amount": 12.50}));
    let accepted = TestApp::send(request).await.expect(202).json();
    let execution = ended(&server, &accepted["execution_id"]).await;
    assert_eq!(
        (
            &execution["execution_status"],
            &execution["payload"],
            &execution["source"]
        ),
        (
            &json!("success"),
            &json!({"amount": 12.5}),
            &json!("webhook")
        )
    );
    let attempts = execution["attempts"].as_array().expect("attempts");
    assert_eq!(
        (attempts.len(), &attempts[0]["response_status"]),
        (1, &json!(200))
    );

    let came = sink.came("/in");
    assert_eq!((came.len(), &came[0].body), (1, &json!({"amount": 12.5})));
    let header = |name: &str| came[0].headers[name].to_str().expect("text");
    assert_eq!(
        (
            header("webhook-id"),
            header("x-tidewire-trigger"),
            header("x-plain")
        ),
        (id(&execution), id(&trigger), "plain")
    );
    assert_eq!(header("authorization"), "Bearer not-for-everybody");
    assert!(header("webhook-signature").starts_with("v1,"));
    server.stop().await;
}

#[every_engine]
async fn a_bad_payload_leaves_nothing(engine: Engine) {
    let (sink, server) = (Sink::start().await, House::on(engine).await.start());
    let schema = json!({"type": "object", "properties": {"amount": {"type": "number"}}});
    let config = json!({"endpoint": sink.url("/in"), "schema": schema});
    let trigger = create(&server, "webhook", config).await;
    let path = format!("/api/v1/webhook/{}", id(&trigger));
    let refused = server
        .post(&path, &json!({"amount": "much"}))
        .await
        .expect(400);
    assert_problem(&refused);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/amount");
    server.post(&path, &json!([])).await.expect(400);
    assert_eq!(executions(&server, "").await, Vec::<Value>::new());
    assert_eq!(server.list("/v1/jobs", "jobs").await, Vec::<Value>::new());
    // What comes afterwards is delivered, and what was refused is not.
    let accepted = server
        .post(&path, &json!({"amount": 1}))
        .await
        .expect(202)
        .json();
    ended(&server, &accepted["execution_id"]).await;
    assert_eq!(sink.came("/in").len(), 1);
    server.stop().await;
}

#[every_engine]
async fn a_one_shot_fires_on_time_and_once(engine: Engine) {
    let (sink, server) = (Sink::start().await, House::on(engine).await.start());
    let config = json!({"endpoint": sink.url("/once"), "delay": "1s", "payload": [1]});
    let trigger = create(&server, "time_scheduled", config).await;
    let due: Time = serde_json::from_value(trigger["next_scheduled_run"].clone()).expect("a time");
    let fired = eventually("it fires", || async {
        let query = format!("trigger_id={}", id(&trigger));
        executions(&server, &query).await.pop()
    })
    .await;
    let execution = ended(&server, &fired["id"]).await;
    assert_eq!(
        (&execution["execution_status"], &execution["source"]),
        (&json!("success"), &json!("scheduler"))
    );
    let at: Time = serde_json::from_value(execution["fired_at"].clone()).expect("a time");
    assert!(
        at >= due && at.since(due) < Duration::from_secs(10),
        "{at} for {due}"
    );
    let path = format!("/v1/triggers/{}", id(&trigger));
    let schedules = server
        .get(&format!("{path}/schedules"))
        .await
        .expect(200)
        .json();
    assert_eq!(schedules["pagination"]["total_records"], 1);
    assert_eq!(schedules["schedules"][0]["status"], "completed");
    let after = server.get(&path).await.expect(200).json();
    assert_eq!(after.get("next_scheduled_run"), None, "{after}");
    assert_eq!(sink.came("/once").len(), 1);
    server.stop().await;
}

#[every_engine]
async fn a_test_run_fires_once_and_is_no_schedule(engine: Engine) {
    let (sink, server) = (Sink::start().await, House::on(engine).await.start());
    let config = json!({"endpoint": sink.url("/test"), "cron": "0 0 1 1 *", "payload": {"a": 1}});
    let trigger = create(&server, "cron_scheduled", config).await;
    let path = format!("/api/v1/triggers/{}", id(&trigger));
    let (test, body) = (format!("{path}/test"), json!({"payload": {"b": 2}}));
    let run = server.post(&test, &body).await.expect(202).json();
    let execution = ended(&server, &run["execution_id"]).await;
    assert_eq!(
        (&execution["is_test_run"], &execution["source"]),
        (&json!(true), &json!("manual-test"))
    );
    let came = sink.came("/test");
    assert_eq!((came.len(), &came[0].body), (1, &json!({"b": 2})));
    let jobs = server.list("/v1/jobs", "jobs").await;
    assert_eq!(jobs.len(), 1);
    let schedules = server
        .get(&format!("{path}/schedules"))
        .await
        .expect(200)
        .json();
    let [only] = schedules["schedules"]
        .as_array()
        .expect("a list")
        .as_slice()
    else {
        panic!("{schedules}")
    };
    assert_eq!(
        (&only["status"], &only["fire_at"]),
        (&json!("pending"), &trigger["next_scheduled_run"])
    );
    server.stop().await;
}

#[every_engine]
async fn an_execution_is_active_then_archived_then_gone(engine: Engine) {
    let sink = Sink::start().await;
    let house = House::on(engine).await;
    let flags = [
        "--executions-active-for",
        "1s",
        "--executions-keep-for",
        "4s",
    ];
    let server = house.with(&flags).start();
    let trigger = create(&server, "webhook", json!({"endpoint": sink.url("/in")})).await;
    let path = format!("/v1/webhook/{}", id(&trigger));
    let accepted = server.post(&path, &json!({})).await.expect(202).json();
    let one = format!(
        "/v1/executions/{}",
        accepted["execution_id"].as_str().expect("an id")
    );
    let job = format!("/v1/jobs/{}", accepted["job_id"].as_str().expect("an id"));
    assert_eq!(
        server.get(&one).await.expect(200).json()["retention_status"],
        "active"
    );
    eventually("it is archived", || async {
        let archived = executions(&server, "retention_status=archived").await;
        (archived.len() == 1 && archived[0]["id"] == accepted["execution_id"]).then_some(())
    })
    .await;
    assert_eq!(executions(&server, "").await, Vec::<Value>::new());
    assert_eq!(
        server.get(&one).await.expect(200).json()["retention_status"],
        "archived"
    );
    eventually("it is gone", || async {
        (server.get(&one).await.status == 404).then_some(())
    })
    .await;
    server.get(&job).await.expect(404);
    server
        .get(&format!("/v1/triggers/{}", id(&trigger)))
        .await
        .expect(200);
    server.stop().await;
}

#[every_engine]
async fn many_fire_at_once_and_each_once(engine: Engine) {
    const MANY: usize = 150;
    let sink = Sink::start().await;
    let house = House::on(engine).await;
    let mut servers = vec![house.start()];
    if engine != Engine::Sqlite {
        servers.push(house.start());
    }
    let server = &servers[0];
    // One instant for all, far enough that the last is made before it comes.
    let now = server
        .post("/v1/events", &json!({"type": "now"}))
        .await
        .expect(201)
        .json();
    let now: Time = serde_json::from_value(now["created_at"].clone()).expect("a time");
    let run_at = now.plus(Duration::from_secs(8));
    for number in 0..MANY {
        let config =
            json!({"endpoint": sink.url("/many"), "run_at": run_at, "payload": {"n": number}});
        create(server, "time_scheduled", config).await;
    }
    let hook = create(server, "webhook", json!({"endpoint": sink.url("/hook")})).await;
    let path = format!("/v1/webhook/{}", id(&hook));
    let calls = (0..MANY).map(|number| {
        let server = &servers[number % servers.len()];
        let path = &path;
        async move { server.post(path, &json!({"n": number})).await.expect(202) }
    });
    futures_util::future::join_all(calls).await;
    for place in ["/many", "/hook"] {
        eventually(place, || async {
            (sink.came(place).len() >= MANY).then_some(())
        })
        .await;
    }
    eventually("all have ended", || async {
        executions(server, "execution_status=pending")
            .await
            .is_empty()
            .then_some(())
    })
    .await;
    let done = executions(server, "execution_status=success").await;
    assert_eq!(done.len(), 2 * MANY);
    for place in ["/many", "/hook"] {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for came in sink.came(place) {
            *counts
                .entry(came.body["n"].as_u64().expect("a number"))
                .or_default() += 1;
        }
        assert!(
            counts.len() == MANY && counts.values().all(|count| *count == 1),
            "{place}: {counts:?}"
        );
    }
    for server in servers {
        server.stop().await;
    }
}

/// A scheduler and a worker, or all of the server, end in the middle of it as by a power cut.
#[every_engine(sqlite, postgres)]
async fn a_kill_loses_no_firing_and_no_delivery(engine: Engine) {
    const MANY: usize = 200;
    let sink = Sink::start().await;
    let house = House::on(engine).await.with(&["--lease", "1s"]);
    let of = |roles: &str| house.with(&["--roles", roles]).start();
    let mut doomed = match engine {
        Engine::Sqlite => vec![house.start()],
        Engine::Postgres | Engine::MySql => vec![of("scheduler"), of("worker")],
    };
    let mut servers = match engine {
        Engine::Sqlite => Vec::new(),
        Engine::Postgres | Engine::MySql => vec![of("api"), of("scheduler"), of("worker")],
    };
    let server = servers.first().unwrap_or(&doomed[0]);
    let now = server
        .post("/v1/events", &json!({"type": "now"}))
        .await
        .expect(201)
        .json();
    let now: Time = serde_json::from_value(now["created_at"].clone()).expect("a time");
    for number in 0..MANY {
        let run_at = now.plus(Duration::from_secs(10 + number as u64 % 2));
        let config =
            json!({"endpoint": sink.url("/in"), "run_at": run_at, "payload": {"n": number}});
        create(server, "time_scheduled", config).await;
    }
    eventually("half of them have come", || async {
        (sink.came("/in").len() >= MANY / 2).then_some(())
    })
    .await;
    doomed.drain(..).for_each(Server::kill);
    if engine == Engine::Sqlite {
        servers.push(house.start());
    }
    let server = &servers[0];
    eventually("all of them have ended well", || async {
        let done = executions(server, "execution_status=success").await;
        (done.len() >= MANY).then_some(())
    })
    .await;
    let all = executions(server, "").await;
    assert_eq!(all.len(), MANY, "each is fired once");
    let numbers: BTreeSet<_> = sink
        .came("/in")
        .iter()
        .map(|came| came.body["n"].as_u64())
        .collect();
    assert_eq!(numbers.len(), MANY, "each is delivered");
    for server in servers {
        server.stop().await;
    }
}

#[every_engine]
async fn an_event_sets_its_triggers_off_once(engine: Engine) {
    let (sink, server) = (Sink::start().await, House::on(engine).await.start());
    server
        .post("/v1/events", &json!({"type": "order.created"}))
        .await
        .expect(201);
    let filter = json!({"payload": {"amount": {"$gte": 100}}});
    let config = json!({"endpoint": sink.url("/order"), "event_type": "order.*", "filter": filter});
    let trigger = create(&server, "event", config).await;
    let events = json!([
        {"type": "order.created", "payload": {"amount": 99.99}},
        {"type": "order.paid", "payload": {"amount": 100.0}, "dedupe_key": "k"},
        {"type": "other", "payload": {"amount": 100}},
    ]);
    let stored = server.post("/v1/events", &events).await.expect(201).json();
    // The same again is no new event.
    server
        .post(
            "/v1/events",
            &json!({"type": "order.paid", "payload": {"amount": 100.0}, "dedupe_key": "k"}),
        )
        .await
        .expect(200);
    let fired = eventually("it fires", || async {
        executions(&server, "source=event").await.pop()
    })
    .await;
    let execution = ended(&server, &fired["id"]).await;
    assert_eq!(execution["trigger_id"], *id(&trigger));
    let came = sink.came("/order");
    assert_eq!(came.len(), 1);
    assert_eq!(
        (&came[0].body["id"], &came[0].body["type"]),
        (&stored[1]["id"], &json!("order.paid"))
    );
    assert_eq!(executions(&server, "").await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_failed_says_why_and_is_tried_again_by_hand() {
    let (sink, server) = (Sink::start().await, House::new().start());
    let config = json!({"endpoint": sink.url("/status/404"), "retry": {"max_attempts": 3}});
    let trigger = create(&server, "webhook", config).await;
    let path = format!("/v1/webhook/{}", id(&trigger));
    let accepted = server.post(&path, &json!({})).await.expect(202).json();
    let failed = ended(&server, &accepted["execution_id"]).await;
    assert_eq!(failed["execution_status"], "failure");
    let why = failed["error_message"].as_str().expect("a reason");
    assert!(why.contains("404"), "{why}");
    assert_eq!(
        sink.came("/status/404").len(),
        1,
        "a 404 is not tried again by itself"
    );
    let one = format!("/v1/executions/{}", id(&failed));
    server
        .post(&format!("{one}/retry"), &json!({}))
        .await
        .expect(200);
    eventually("it was tried again", || async {
        let again = server.get(&one).await.expect(200).json();
        (again["execution_status"] == "failure" && again["attempts"].as_array()?.len() == 2)
            .then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn no_secret_is_logged() {
    let sink = Sink::start().await;
    let server = House::new().with(&["--log-level", "debug"]).start();
    let config = json!({
        "endpoint": sink.url("/in?token=hunter2"),
        "secret": "hunter2 hunter2 hunter2",
        "headers": {"authorization": "Bearer hunter2"},
        "payload": {"card": "hunter2"},
    });
    let trigger = create(&server, "webhook", config.clone()).await;
    let path = format!("/v1/triggers/{}", id(&trigger));
    let edit = json!({"config": trigger["config"]});
    TestApp::send(server.request(Method::PUT, &path).json(&edit))
        .await
        .expect(200);
    let run = server
        .post(&format!("{path}/test"), &json!({}))
        .await
        .expect(202)
        .json();
    let execution = ended(&server, &run["execution_id"]).await;
    assert_eq!(execution["execution_status"], "success");
    assert_eq!(
        sink.came("/in")[0].headers["authorization"],
        "Bearer hunter2"
    );
    let bad =
        json!({"name": "n", "type": "webhook", "config": {"secret": "hunter2", "endpoint": 5}});
    let refused = server.post("/v1/triggers", &bad).await.expect(400);
    assert!(!refused.text.contains("hunter2"), "{}", refused.text);
    let log = server.stop().await;
    assert!(
        log.contains("/v1/triggers") && !log.contains("hunter2"),
        "{log}"
    );
}

#[every_engine(postgres)]
async fn each_role_does_its_own(engine: Engine) {
    let sink = Sink::start().await;
    let house = House::on(engine).await;
    let of = |roles: &str| house.with(&["--roles", roles]).start();
    let (api, scheduler, worker) = (of("api"), of("scheduler"), of("worker"));
    let config = json!({"endpoint": sink.url("/in"), "delay": "100ms"});
    let timed = create(&api, "time_scheduled", config).await;
    let config = json!({"endpoint": sink.url("/in"), "event_type": "a"});
    create(&api, "event", config).await;
    api.post("/v1/events", &json!({"type": "a"}))
        .await
        .expect(201);
    eventually("both are delivered", || async {
        (executions(&api, "execution_status=success").await.len() == 2).then_some(())
    })
    .await;
    let query = format!("trigger_id={}", id(&timed));
    assert_eq!(executions(&api, &query).await.len(), 1);
    let checks =
        async |server: &Server| server.get("/health").await.expect(200).json()["checks"].clone();
    assert_eq!(checks(&scheduler).await["scheduler"], "ok");
    assert_eq!(checks(&worker).await.get("scheduler"), None);
    worker.get("/v1/triggers").await.expect(404);
    for server in [api, scheduler, worker] {
        server.stop().await;
    }
}
