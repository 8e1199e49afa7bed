//! A person at the dashboard, in a real browser: what `dashboard.mjs` does, beside a server that this
//! side starts, feeds and restarts when it is asked to.
//!
//! Needs Node, Chromium and the folder that `TIDEWIRE_TEST_PLAYWRIGHT` names, and runs with
//! `TIDEWIRE_TEST_FULL=1` alone. Pictures are left in the folder that `TIDEWIRE_TEST_SHOTS` names.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
};

use axum::{Router, http::StatusCode, routing};
use serde_json::{Value, json};
use tidewire_testkit::{Answer, TestApp, eventually};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    sites::{self, Builder},
    support::{House, PATIENCE, Server, full, lasting_address},
};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/browser/dashboard.mjs"
);

const OPERATOR: &str = "an-operators-key";

/// The script, and what it asks for.
struct Person {
    child: Child,
    asks: mpsc::UnboundedReceiver<String>,
    answer: ChildStdin,
}

impl Person {
    fn sits_down(folder: &str, url: &str, [program, operator]: [&str; 2]) -> Self {
        let mut child = Command::new("node")
            .args([SCRIPT, folder, url, program, operator])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let answer = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (asked, asks) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = asked.send(line);
            }
        });
        Person {
            child,
            asks,
            answer,
        }
    }

    /// The next wish; none when it is done.
    async fn wish(&mut self) -> Option<String> {
        let asked = tokio::time::timeout(PATIENCE * 5, self.asks.recv()).await;
        asked.expect("it asks or ends")
    }

    fn tell(&mut self) {
        self.answer.write_all(b"done\n").expect("it listens");
    }

    fn left_content(mut self) {
        let status = self.child.wait().expect("it has ended");
        assert!(status.success(), "it was not content: {status}");
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A tenant's own program.
struct Program {
    key: String,
}

impl Program {
    async fn posts(&self, server: &Server, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", server.url());
        let request = server.client.post(url).bearer_auth(&self.key).json(body);
        TestApp::send(request).await
    }

    async fn makes(&self, server: &Server, path: &str, body: &Value) -> Value {
        let answer = self.posts(server, path, body).await;
        assert!((200..300).contains(&answer.status), "{}", answer.text);
        answer.json()
    }

    async fn says(&self, server: &Server, text: &str) {
        let delta = json!({"type": "message.delta", "turn_id": "turn-1", "payload": {"message_id": "m1", "delta": text}});
        self.makes(server, "/v1/threads/support/events", &delta)
            .await;
    }
}

/// Takes deliveries, and refuses some.
async fn receiver() -> String {
    let app = Router::new()
        .route("/orders", routing::post(|| async { "{\"ok\":true}" }))
        .route(
            "/billing",
            routing::post(|| async { (StatusCode::BAD_REQUEST, "no such customer") }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// What there is to see, and the ids by which the person finds it.
async fn furnished(server: &Server, program: &Program) -> Vec<(&'static str, String)> {
    let id = |made: &Value, name: &str| made[name].as_str().expect("an id").to_owned();
    let hook = receiver().await;
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let trigger = |name: &str, kind: &str, more: Value| {
        let mut config = json!({"secret": secret});
        let members = more.as_object().expect("an object").clone();
        config.as_object_mut().expect("one").extend(members);
        json!({"name": name, "type": kind, "config": config})
    };
    let to_orders = json!({"event_type": "order.*", "endpoint": format!("{hook}/orders")});
    let nightly = json!({"cron": "0 2 * * *", "timezone": "Europe/Berlin", "endpoint": format!("{hook}/orders")});
    let billing = json!({"endpoint": format!("{hook}/billing"), "headers": {"authorization": "Bearer a-long-secret-of-ours"}});
    let path = "/v1/triggers";
    let by_event = trigger("Orders to the warehouse", "event", to_orders);
    program.makes(server, path, &by_event).await;
    let by_clock = trigger("Nightly report", "cron_scheduled", nightly);
    let by_clock = program.makes(server, path, &by_clock).await;
    let by_hook = trigger("Payments to billing", "webhook", billing);
    let by_hook = program.makes(server, path, &by_hook).await;
    let mut event = String::new();
    for n in 0..60 {
        let kind = ["order.created", "order.paid", "user.signed-up"][n % 3];
        let items: Vec<_> = (0..=n % 4)
            .map(|k| json!({"sku": format!("T-{k}"), "count": k + 1}))
            .collect();
        let fact = json!({"type": kind, "stream": if n % 3 == 2 { "users" } else { "orders" }, "subject": format!("user-{}", n % 7),
            "source": "shop", "payload": {"order": 1000 + n, "total": "19.90", "items": items}});
        event = id(&program.makes(server, "/v1/events", &fact).await, "id");
    }
    for n in 0..24 {
        let job = json!({"type": "echo", "payload": {"n": n}});
        program.makes(server, "/v1/jobs", &job).await;
    }
    for (queue, count) in [("mail", 9), ("reports", 3), ("thumbnails", 6)] {
        for n in 0..count {
            let job = json!({"type": format!("{queue}.make"), "queue": queue, "payload": {"n": n}});
            program.makes(server, "/v1/jobs", &job).await;
        }
    }
    let failing =
        json!({"type": "fail", "payload": {"times": 1}, "max_attempts": 1, "queue": "default"});
    let failing = program.makes(server, "/v1/jobs", &failing).await;
    let called = format!("/v1/webhook/{}", id(&by_hook, "id"));
    let called = program.makes(server, &called, &json!({"paid": 12})).await;
    let turn =
        json!({"thread_id": "support", "turn_id": "turn-1", "input": "Where is my order 1004?"});
    program.makes(server, "/v1/turns", &turn).await;
    let tool = json!([
        {"type": "tool.call.started", "turn_id": "turn-1", "payload": {"tool_call_id": "c1", "name": "find_order"}},
        {"type": "tool.call.args.delta", "turn_id": "turn-1", "payload": {"tool_call_id": "c1", "delta": "{\"order\": 1004}"}},
        {"type": "tool.call.completed", "turn_id": "turn-1", "payload": {"tool_call_id": "c1", "result": {"status": "shipped", "carrier": "DHL"}}},
    ]);
    let path = "/v1/threads/support/events";
    program.makes(server, path, &tool).await;
    program.says(server, "It is on its way: ").await;
    let all = json!({"stream": "users"});
    program.makes(server, "/v1/archives", &all).await;
    let archive = eventually("there is an archive", || async {
        let url = format!("{}/v1/archives", server.url());
        let request = server.client.get(url).bearer_auth(&program.key);
        let list = TestApp::send(request).await.json();
        list["archives"][0]["archive_id"]
            .as_str()
            .map(str::to_owned)
    })
    .await;
    vec![
        ("event", event),
        ("job", id(&failing, "id")),
        ("trigger", id(&by_clock, "id")),
        ("tested", id(&by_hook, "id")),
        ("execution", id(&called, "execution_id")),
        ("archive", archive),
    ]
}

/// What the operator sees besides: agents that drift, and a site. Its id.
async fn operated(server: &Server, builder: &Builder) -> String {
    let push = |url: &str, note: &str| json!({"config": {"url": url}, "note": note});
    let first = push("https://example.com/", "the first");
    let second = push("https://example.org/", "elsewhere");
    let tried = |version: u32, state: &str, error: Option<&str>| json!({"version": version, "state": state, "error": error});
    for agent in ["edge-1", "edge-2", "edge-3"] {
        let body =
            json!({"agent_id": agent, "name": format!("the {agent}"), "labels": {"region": "eu"}});
        server.post("/v1/fleet/register", &body).await.expect(201);
    }
    server.post("/v1/fleet/config", &first).await.expect(201);
    for agent in ["edge-1", "edge-2"] {
        let path = format!("/v1/fleet/agents/{agent}/status");
        let applied = tried(1, "applied", None);
        server.post(&path, &applied).await.expect(204);
    }
    server.post("/v1/fleet/config", &second).await.expect(201);
    let refused = tried(2, "failed", Some("`https` wants a certificate"));
    let path = "/v1/fleet/agents/edge-2/status";
    server.post(path, &refused).await.expect(204);
    let shop = builder.site(30, 60).await;
    sites::register(server, builder, &shop).await;
    shop.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_finds_the_way_through_every_page() {
    if !full() {
        return;
    }
    let Some(folder) = std::env::var_os("TIDEWIRE_TEST_PLAYWRIGHT") else {
        assert!(
            std::env::var_os("TIDEWIRE_TEST_REQUIRE_ENGINES").is_none(),
            "TIDEWIRE_TEST_PLAYWRIGHT names no folder with playwright-core and axe-core"
        );
        eprintln!("left out: TIDEWIRE_TEST_PLAYWRIGHT names no folder with playwright-core");
        return;
    };
    let folder = folder.into_string().expect("text");
    let address = lasting_address();
    let house = House::new().with_admin(OPERATOR).with(&[
        "--addr",
        &address,
        "--allow-subnet",
        "127.0.0.0/8",
    ]);
    let mut server = house.start();
    let made = server.post("/v1/tenants", &json!({"name": "acme"})).await;
    let program = Program {
        key: made.expect(201).json()["api_key"]
            .as_str()
            .expect("a key")
            .to_owned(),
    };
    let builder = Builder::start("");
    let mut known = furnished(&server, &program).await;
    known.push(("site", operated(&server, &builder).await));
    let known: Value = known.into_iter().collect();
    let keys = [program.key.as_str(), OPERATOR];
    let mut person = Person::sits_down(&folder, &server.url(), keys);
    while let Some(wish) = person.wish().await {
        match wish.as_str() {
            "what is there" => {
                let line = format!("{known}\n");
                let told = person.answer.write_all(line.as_bytes());
                told.expect("it listens");
                continue;
            }
            "say more" => program.says(&server, "it comes tomorrow. ").await,
            "restart" => {
                server.stop().await;
                server = house.start();
            }
            "end the turn" => {
                let end = json!({"type": "turn.completed", "turn_id": "turn-1"});
                let path = "/v1/threads/support/events";
                program.makes(&server, path, &end).await;
            }
            other => panic!("{other}"),
        }
        person.tell();
    }
    person.left_content();
    server.stop().await;
}
