//! A fleet as processes: a controller, agents, workers, and what becomes of them when each fails.

mod members;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_testkit::{Engine, TestApp, eventually, every_engine};

use crate::support::{House, Server, lasting_address};
use members::{Member, worker};

const ADMIN: &str = "the-operators-key";
const AGENT: &str = "the-agents-key";
const WORKER: &str = "the-workers-key";

async fn known(server: &Server, id: &str) -> Value {
    let agents = server.list("/v1/fleet/agents", "agents").await;
    let known = agents.into_iter().find(|agent| agent["agent_id"] == id);
    known.expect("the controller knows it")
}

async fn push(server: &Server, url: &str) -> u64 {
    let body = json!({"config": {"url": url, "headers": {"x-token": "hunter2"}}});
    let pushed = server.post("/config", &body).await.expect(201).json();
    pushed["version"].as_u64().expect("a number")
}

/// What hits call: it says which path was called.
async fn target() -> TestApp {
    use axum::{Router, routing::get};
    let stop = tokio_util::sync::CancellationToken::new();
    TestApp::start(stop, |app| {
        let paths = Router::new()
            .route("/a", get(|| async { "this is a" }))
            .route("/b", get(|| async { "this is b" }));
        app.public(paths.into())
    })
    .await
}

#[every_engine]
async fn a_fleet_goes_on_whatever_fails(engine: Engine) {
    let target = target().await;
    let folder = TempDir::new().unwrap();
    let controller = lasting_address();
    let house = House::on(engine).await.with_admin(ADMIN);
    let house = house.with(&["--addr", &controller, "--agent-api-key", AGENT]);
    let server = house.start();
    // One agent has a key of its own, which can be revoked.
    let minted = json!({"scopes": ["fleet"]});
    let minted = server
        .post("/v1/tenants/default/keys", &minted)
        .await
        .expect(201)
        .json();
    let own = minted["api_key"].as_str().unwrap();
    let url = server.url();
    let start = |n, key, subnets| Member::start(folder.path(), n, &url, key, subnets);
    let mut all = [
        start(1, AGENT, "127.0.0.0/8,10.0.0.0/8"),
        start(2, AGENT, "127.0.0.0/8,10.0.0.0/8"),
        start(3, own, "127.0.0.0/8"),
    ];
    let empty = all[0].worker().get("/hit").await;
    empty.expect(503);
    all[0].worker().get("/ready").await.expect(503);

    // A config reaches everybody, and everybody goes by it.
    let a = push(&server, &target.url("/a")).await;
    for member in &all {
        member.runs(a).await;
        let hit = member.worker().get("/hit").await.expect(200);
        assert_eq!(hit.text, "this is a");
        let state = member.agent().state().await;
        assert_eq!(
            (&state["controller"]["ok"], &state["worker"]["ok"]),
            (&json!(true), &json!(true))
        );
        for shown in [state.to_string(), member.worker().state().await.to_string()] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        member.agent().get("/ready").await.expect(200);
    }

    // The controller is killed: all go on, an agent also after its own restart, and a worker that is
    // killed gets back what it had.
    let ids = [all[0].id().await, all[1].id().await, all[2].id().await];
    server.kill();
    all[0].agent.take().unwrap().kill();
    all[0].start_agent();
    all[1].worker.take().unwrap().kill();
    all[1].start_worker();
    for member in &all {
        member.runs(a).await;
        let hit = member.worker().get("/hit").await.expect(200);
        assert_eq!(hit.text, "this is a");
    }
    eventually("the agent says that the controller is away", async || {
        let state = all[0].agent().state().await;
        let failing = state["controller"]["ok"] == false
            && state["controller"]["failures"].as_u64() > Some(1);
        (failing && state["agent_id"] == ids[0]).then_some(())
    })
    .await;

    // It comes back, and what is pushed then arrives.
    let server = house.start();
    let b = push(&server, &target.url("/b")).await;
    for member in &all {
        member.runs(b).await;
    }
    assert_eq!(
        all[2].worker().get("/hit").await.expect(200).text,
        "this is b"
    );

    // A state file is torn: it is set aside, and the agent is a new one that goes on all the same.
    all[1].agent.take().unwrap().kill();
    let whole = std::fs::read(&all[1].state).unwrap();
    std::fs::write(&all[1].state, &whole[..whole.len() / 2]).unwrap();
    all[1].start_agent();
    all[1].runs(b).await;
    let state = all[1].agent().state().await;
    let aside = state["state_file"]["set_aside"]
        .as_str()
        .expect("it is said");
    assert_eq!(std::fs::read(aside).unwrap(), whole[..whole.len() / 2]);
    assert_ne!(all[1].id().await, ids[1]);

    // A key is revoked: its agent slows down and serves on, and nobody else notices.
    let path = format!(
        "/v1/tenants/default/keys/{}",
        minted["id"].as_str().unwrap()
    );
    let revoked = server.request(reqwest::Method::DELETE, &path);
    TestApp::send(revoked).await.expect(204);
    eventually("the agent is refused", async || {
        let state = all[2].agent().state().await;
        state["controller"]["error"]
            .as_str()
            .is_some_and(|error| error.contains("401"))
            .then_some(())
    })
    .await;
    all[2].worker.take().unwrap().kill();
    all[2].start_worker();
    all[2].runs(b).await;
    // It gets another key, and goes on as who it was.
    all[2].agent.take().unwrap().kill();
    all[2].key = AGENT.to_owned();
    all[2].start_agent();

    // A config that one worker does not take: it is parked there, and the last good one stays.
    let c = push(&server, "http://10.1.2.3/private").await;
    for member in &all[..2] {
        member.runs(c).await;
    }
    let id = all[2].id().await;
    assert_eq!(id, ids[2]);
    eventually("the controller knows who failed, and why", async || {
        let known = known(&server, &id).await;
        let attempt = &known["last_attempt"];
        let why = attempt["error"].as_str().unwrap_or_default();
        let failed = attempt["version"] == c
            && attempt["state"] == "failed"
            && why.contains("--allow-subnet");
        (failed && known["offered"] == c && known["running"] == b).then_some(())
    })
    .await;
    all[2].runs(b).await;
    let state = all[2].agent().state().await;
    assert_eq!(state["parked"]["version"], c);
    assert_eq!(
        all[2].worker().get("/hit").await.expect(200).text,
        "this is b"
    );
    let told = server.ask(&["fleet", "status"]).stdout;
    assert!(told.contains("1 failed") && told.contains(&id), "{told}");
    // Parked is parked: also a restart does not try it again, nor say so again.
    let before = known(&server, &id).await["last_attempt"]["at"].clone();
    all[2].agent.take().unwrap().kill();
    all[2].start_agent();
    all[2].runs(b).await;
    eventually("the agent has asked again", async || {
        let state = all[2].agent().state().await;
        (state["controller"]["ok"] == true && state["parked"]["version"] == c).then_some(())
    })
    .await;
    assert_eq!(known(&server, &id).await["last_attempt"]["at"], before);

    // A rollback: everybody runs it, and the status leaves no doubt.
    server.ask(&[
        "fleet",
        "rollback",
        &b.to_string(),
        "--note",
        "10.1.2.3 is private",
    ]);
    let d = c + 1;
    for member in &all {
        member.runs(d).await;
        let id = member.id().await;
        eventually("the controller knows", async || {
            let known = known(&server, &id).await;
            let attempt = &known["last_attempt"];
            let said = attempt["version"] == d
                && attempt["state"] == "applied"
                && attempt["error"].is_null();
            (said && known["offered"] == d && known["running"] == d).then_some(())
        })
        .await;
        assert_eq!(member.agent().state().await["parked"], Value::Null);
        assert_eq!(
            member.worker().get("/hit").await.expect(200).text,
            "this is b"
        );
    }
    let history = server.ask(&["fleet", "history"]).stdout;
    assert!(
        history.contains(&format!("back to {b}: 10.1.2.3 is private")),
        "{history}"
    );

    // A worker that comes back with other rules does not take what ran; one that comes back with the
    // right ones gets it again.
    all[2].worker.take().unwrap().kill();
    all[2].subnets = "none";
    all[2].start_worker();
    let standing = async |state: &str| {
        let known = known(&server, &id).await;
        let attempt = &known["last_attempt"];
        (attempt["version"] == d && attempt["state"] == state).then_some(())
    };
    eventually("it is said", async || standing("failed").await).await;
    assert_eq!(all[2].agent().state().await["parked"]["version"], d);
    all[2].worker().get("/hit").await.expect(503);
    all[2].worker.take().unwrap().kill();
    all[2].subnets = "127.0.0.0/8";
    all[2].start_worker();
    all[2].runs(d).await;
    eventually("that it works is said too", async || {
        standing("applied").await
    })
    .await;

    // Whoever is forgotten and is there all the same is known again, as who it was.
    server.ask(&["fleet", "forget", &id]);
    eventually("it is known again", async || {
        let agents = server.list("/v1/fleet/agents", "agents").await;
        let known = agents.iter().find(|agent| agent["agent_id"] == id)?;
        (known["running"] == d).then_some(())
    })
    .await;

    // In the end all is well with everybody, and everybody says so.
    for member in &all {
        eventually("all is well", async || {
            let state = member.agent().state().await;
            let well = state["controller"]["ok"] == true && state["worker"]["ok"] == true;
            let agreed = state["version"] == d && state["config"]["url"] == target.url("/b");
            let settled = state["pending"].is_null() && state["parked"].is_null();
            (well && agreed && settled && state["state_file"]["error"].is_null()).then_some(())
        })
        .await;
        let worker = member.worker().state().await;
        assert_eq!(
            (&worker["version"], &worker["config"]["url"]),
            (&json!(d), &json!(target.url("/b")))
        );
    }
}

#[tokio::test]
async fn a_worker_takes_configs_from_who_has_its_key_alone() {
    let target = target().await;
    let worker = worker("127.0.0.1:0", "127.0.0.0/8");
    let body = |version: u64, config: Value| json!({"version": version, "config": config});
    let give = async |key: Option<&str>, body: &Value| {
        let request = worker
            .client
            .post(format!("{}/config", worker.url))
            .json(body);
        TestApp::send(match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        })
        .await
    };
    let good = body(7, json!({"url": target.url("/a"), "timeout_seconds": 5}));
    give(None, &good).await.expect(401);
    give(Some("wrong"), &good).await.expect(401);
    // Two are good while one takes the other's place.
    give(Some("an-older-key"), &good).await.expect(200);
    give(Some(WORKER), &good).await.expect(200);
    for bad in [
        json!({"url": "nowhere"}),
        json!({"url": "http://192.168.0.1/"}),
        json!({}),
    ] {
        let refused = give(Some(WORKER), &body(8, bad)).await.expect(400);
        assert!(refused.text.contains("/config"), "{}", refused.text);
    }
    let state = worker.state().await;
    assert_eq!(
        (&state["version"], &state["config"]["timeout_seconds"]),
        (&json!(7), &json!(5))
    );
    // What the target says is handed on with its status; a target that says nothing is a 502.
    let nothing = body(9, json!({"url": target.url("/nothing")}));
    give(Some(WORKER), &nothing).await.expect(200);
    worker.get("/hit").await.expect(404);
    let head = json!({"url": target.url("/a"), "method": "head"});
    give(Some(WORKER), &body(10, head)).await.expect(200);
    assert_eq!(worker.get("/hit").await.expect(200).text, "");
    let gone = body(11, json!({"url": format!("http://{}/", lasting_address())}));
    give(Some(WORKER), &gone).await.expect(200);
    worker.get("/hit").await.expect(502);
    worker.get("/health").await.expect(200);
}

#[every_engine]
async fn servers_take_their_live_settings_from_the_controller(engine: Engine) {
    let server = House::on(engine).await.start();
    let enqueue = async |queue: &str| {
        let body = json!({"type": "echo", "queue": queue, "payload": queue});
        let job = server.post("/v1/jobs", &body).await.expect(201).json();
        format!("/v1/jobs/{}", job["id"].as_str().unwrap())
    };
    let status = async |path: &str| server.get(path).await.expect(200).json()["status"].clone();
    let own = async || {
        let servers = server.get("/v1/fleet/agents?servers=true").await.json();
        servers["agents"][0].clone()
    };
    let paused = "{\"queues\": {\"mail\": {\"paused\": true}}, \"log_level\": \"info\"}";
    let push = |config: &str| {
        server.ask(&["fleet", "push", config, "--label", "tidewire=server"]);
    };
    push(paused);
    eventually("the server goes by it", async || {
        (own().await["running"] == 1).then_some(())
    })
    .await;
    let (mail, other) = (enqueue("mail").await, enqueue("other").await);
    eventually("other queues go on", async || {
        (status(&other).await == "done").then_some(())
    })
    .await;
    assert_eq!(status(&mail).await, "pending");
    // It was started to warn alone.
    eventually("it says more", async || {
        server.log().contains(" INFO ").then_some(())
    })
    .await;
    // Agents have nothing to do with it, and are listed apart.
    assert_eq!(server.get("/agents").await.json()["agents"], json!([]));
    server.get("/config").await.expect(404);

    let bad = json!({"config": {"log_level": "=="}, "labels": {"tidewire": "server"}});
    server.post("/config", &bad).await.expect(400);
    push("{\"queues\": {\"mail\": {\"concurrency\": 1}}}");
    eventually("the queue goes on", async || {
        (status(&mail).await == "done").then_some(())
    })
    .await;
    eventually("it is said", async || {
        (own().await["running"] == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_may_do_what_hangs_on_the_key() {
    let house = House::new().with_admin(ADMIN);
    let house = house.with(&["--agent-api-key", &format!("{AGENT},next-key")]);
    let server = house.start();
    let config = json!({"config": {"url": "https://example.com"}});
    let as_agent = |method: reqwest::Method, path: &str, key: &str| {
        let url = format!("{}{path}", server.url());
        server.client.request(method, url).header("x-api-key", key)
    };
    use reqwest::Method;
    server.post("/config", &config).await.expect(201);
    for key in [AGENT, "next-key"] {
        TestApp::send(as_agent(Method::GET, "/config", key))
            .await
            .expect(200);
        TestApp::send(as_agent(Method::POST, "/register", key))
            .await
            .expect(201);
        for path in ["/config", "/v1/fleet/config/rollback"] {
            let request = as_agent(Method::POST, path, key).json(&config);
            TestApp::send(request).await.expect(403);
        }
    }
    TestApp::send(as_agent(Method::GET, "/config", "wrong"))
        .await
        .expect(401);
    // A tenant's own key may look, and is given no config.
    let reader = server
        .post("/v1/tenants/default/keys", &json!({"scopes": ["read"]}))
        .await
        .json();
    let reader = reader["api_key"].as_str().unwrap();
    TestApp::send(as_agent(Method::GET, "/agents", reader))
        .await
        .expect(200);
    TestApp::send(as_agent(Method::GET, "/config", reader))
        .await
        .expect(403);
}
