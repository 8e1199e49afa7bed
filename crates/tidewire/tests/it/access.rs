//! Who may do what: the operator, tenants that do not see each other, keys with scopes, and the
//! server without a key that only its own machine reaches.

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::{Answer, Engine, TestApp, eventually, every_engine};

use crate::support::{House, Server, assert_problem};

const ADMIN: &str = "the-operators-key-0123456789";

/// A caller with a key of their own, or none.
struct Caller<'s> {
    server: &'s Server,
    key: Option<String>,
}

impl Caller<'_> {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self
            .server
            .client
            .request(method, format!("{}{path}", self.server.url()));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        TestApp::send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        TestApp::send(self.request(Method::POST, path).json(body)).await
    }
}

async fn keyed(engine: Engine) -> Server {
    House::on(engine).await.with_admin(ADMIN).start()
}

fn caller(server: &Server, key: impl Into<Option<String>>) -> Caller<'_> {
    Caller {
        server,
        key: key.into(),
    }
}

/// A tenant's id and a caller with its first key.
async fn tenant<'s>(server: &'s Server, name: &str) -> (String, Caller<'s>) {
    let made = server
        .post("/v1/tenants", &json!({"name": name}))
        .await
        .expect(201)
        .json();
    let id = made["id"].as_str().expect("an id").to_owned();
    let key = made["api_key"].as_str().expect("a key").to_owned();
    (id, caller(server, key))
}

/// Another key of the tenant with these scopes.
async fn key<'s>(server: &'s Server, tenant: &str, scopes: &[&str]) -> (String, Caller<'s>) {
    let path = format!("/v1/tenants/{tenant}/keys");
    let made = server
        .post(&path, &json!({"scopes": scopes}))
        .await
        .expect(201)
        .json();
    let id = made["id"].as_str().expect("an id").to_owned();
    let key = made["api_key"].as_str().expect("a key").to_owned();
    (id, caller(server, key))
}

#[tokio::test]
async fn without_a_key_only_the_outside_is_seen() {
    let server = keyed(Engine::Sqlite).await;
    let nobody = caller(&server, None);
    for path in ["/health", "/ready", "/metrics", "/openapi.json", "/docs/"] {
        nobody.get(path).await.expect(200);
    }
    let wrong = [
        caller(&server, None),
        caller(&server, "wrong".to_owned()),
        caller(&server, format!("{ADMIN}x")),
        caller(
            &server,
            "tw_0123456789abcdef0123456789abcdef0123456789a".to_owned(),
        ),
    ];
    for stranger in &wrong {
        for path in [
            "/v1/events",
            "/v1/jobs",
            "/v1/tenants",
            "/v1/analytics/summary",
            "/events",
            "/v1/events/tail",
        ] {
            let answer = stranger.get(path).await.expect(401);
            assert_problem(&answer);
            assert!(
                answer.headers.contains_key("www-authenticate"),
                "{:?}",
                answer.headers
            );
        }
        for path in ["/v1/events", "/v1/jobs", "/v1/jobs/claim"] {
            let answer = stranger
                .post(path, &json!({"type": "a", "worker": "w"}))
                .await
                .expect(401);
            assert_problem(&answer);
        }
    }
    assert!(server.list("/v1/events", "events").await.is_empty());
    // Both headers are taken.
    let request = server
        .client
        .get(format!("{}/v1/events", server.url()))
        .header("x-api-key", ADMIN);
    TestApp::send(request).await.expect(200);
    server.stop().await;
}

#[every_engine]
async fn tenants_do_not_see_each_other(engine: Engine) {
    let server = keyed(engine).await;
    let (_, ours) = tenant(&server, "ours").await;
    let (_, theirs) = tenant(&server, "theirs").await;
    let event = json!({"type": "secret", "stream": "s", "dedupe_key": "k", "payload": "ours"});
    let made = ours.post("/v1/events", &event).await.expect(201).json();
    let event_path = format!("/v1/events/{}", made["id"].as_str().expect("an id"));
    ours.get(&event_path).await.expect(200);

    // The same key and stream of another tenant are others.
    let event = json!({"type": "open", "stream": "s", "dedupe_key": "k", "payload": "theirs"});
    let made = theirs.post("/v1/events", &event).await.expect(201).json();
    assert_eq!(
        (&made["seq"], &made["duplicated"]),
        (&json!(1), &json!(false))
    );
    let answer = theirs.get(&event_path).await.expect(404);
    assert_problem(&answer);
    let seen = theirs.get("/v1/events").await.expect(200).json();
    assert_eq!(seen["events"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(seen["events"][0]["type"], "open");
    let after = made["id"].as_str().expect("an id");
    let tail = theirs
        .request(Method::GET, "/v1/events/tail?after=0")
        .send();
    let mut tail = tail.await.expect("it answers");
    // A tail of theirs that has their event has passed by ours, which was stored before.
    let mut text = String::new();
    while !text.contains(after) {
        let chunk = tail
            .chunk()
            .await
            .expect("it streams")
            .expect("it does not end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(!text.contains("secret"), "{text}");

    let body = json!({"type": "by.hand", "idempotency_key": "k"});
    let job = ours.post("/v1/jobs", &body).await.expect(201).json();
    let id = job["id"].as_str().expect("an id");
    theirs.get(&format!("/v1/jobs/{id}")).await.expect(404);
    for (action, body) in [
        ("cancel", json!({})),
        ("retry", json!({})),
        ("heartbeat", json!({"lease_token": "t"})),
        ("complete", json!({"lease_token": "t"})),
        ("fail", json!({"lease_token": "t", "error": "e"})),
    ] {
        let answer = theirs.post(&format!("/v1/jobs/{id}/{action}"), &body).await;
        assert_problem(&answer.expect(404));
    }
    let claim = json!({"worker": "w", "types": ["by.hand"]});
    let claimed = theirs
        .post("/v1/jobs/claim", &claim)
        .await
        .expect(200)
        .json();
    assert_eq!(claimed["jobs"], json!([]));
    theirs.post("/v1/jobs/retry", &json!({})).await.expect(200);
    let theirs_own = theirs.post("/v1/jobs", &body).await.expect(201).json();
    assert_ne!(theirs_own["id"], job["id"]);
    let same = ours.get(&format!("/v1/jobs/{id}")).await.expect(200).json();
    assert_eq!(
        (&same["status"], &same["attempts"]),
        (&json!("pending"), &json!(0))
    );
    let counted = theirs.get("/v1/analytics/summary").await.expect(200).json();
    assert_eq!(counted["events_received"], 1);
    server.stop().await;
}

#[every_engine]
async fn a_key_does_what_its_scopes_say(engine: Engine) {
    let server = keyed(engine).await;
    let (tenant, _) = tenant(&server, "scoped").await;
    let (_, reader) = key(&server, &tenant, &["read"]).await;
    let (_, writer) = key(&server, &tenant, &["write"]).await;
    let (_, worker) = key(&server, &tenant, &["worker"]).await;
    let event = json!({"type": "a"});
    let job = json!({"type": "by.hand"});
    let claim = json!({"worker": "w", "types": ["by.hand"]});
    let id = writer.post("/v1/jobs", &job).await.expect(201).json()["id"].clone();
    let id = id.as_str().expect("an id");
    let table = [
        ("GET", "/v1/events".to_owned(), None, [200, 403, 403]),
        (
            "POST",
            "/v1/events".to_owned(),
            Some(&event),
            [403, 201, 403],
        ),
        ("GET", "/v1/jobs".to_owned(), None, [200, 403, 403]),
        ("POST", "/v1/jobs".to_owned(), Some(&job), [403, 201, 403]),
        (
            "GET",
            "/v1/analytics/summary".to_owned(),
            None,
            [200, 403, 403],
        ),
        (
            "POST",
            "/v1/jobs/claim".to_owned(),
            Some(&claim),
            [403, 403, 200],
        ),
        (
            "POST",
            format!("/v1/jobs/{id}/cancel"),
            None,
            [403, 200, 403],
        ),
        ("GET", "/v1/tenants".to_owned(), None, [403, 403, 403]),
        (
            "POST",
            format!("/v1/tenants/{tenant}/keys"),
            None,
            [403, 403, 403],
        ),
    ];
    for (method, path, body, statuses) in table {
        let method: Method = method.parse().expect("a method");
        for (who, status) in [&reader, &writer, &worker].into_iter().zip(statuses) {
            let mut request = who.request(method.clone(), &path);
            if method == Method::POST {
                request = request.json(body.unwrap_or(&json!({})));
            }
            let answer = TestApp::send(request).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
            if status == 403 {
                assert_problem(&answer);
            }
        }
    }
    server.stop().await;
}

#[every_engine]
async fn the_operator_acts_on_any_tenant_and_nobody_else_does(engine: Engine) {
    let server = keyed(engine).await;
    let (id, ours) = tenant(&server, "ours").await;
    let event = json!({"type": "by.the.operator"});
    let request = server
        .request(Method::POST, "/v1/events")
        .header("x-tenant", &id);
    TestApp::send(request.json(&event)).await.expect(201);
    let seen = ours.get("/v1/events").await.expect(200).json();
    assert_eq!(seen["events"][0]["type"], "by.the.operator");
    assert!(
        server.list("/v1/events", "events").await.is_empty(),
        "the operator's own is `default`"
    );
    let request = ours
        .request(Method::GET, "/v1/events")
        .header("x-tenant", "default");
    assert_problem(&TestApp::send(request).await.expect(403));
    let request = server
        .request(Method::GET, "/v1/events")
        .header("x-tenant", "nobody");
    assert_problem(&TestApp::send(request).await.expect(404));
    server.stop().await;
}

#[every_engine]
async fn a_revoked_key_is_no_key_and_secrets_are_shown_once(engine: Engine) {
    let server = House::on(engine)
        .await
        .with_admin(ADMIN)
        .with(&["--log-level", "debug"])
        .start();
    let (tenant, first) = tenant(&server, "rotating").await;
    let (key_id, second) = key(&server, &tenant, &["read", "write"]).await;
    second.get("/v1/events").await.expect(200);
    let path = format!("/v1/tenants/{tenant}/keys");
    // Noted a moment after the use, off its path.
    eventually("the use of the key is noted", || async {
        let keys = server.list(&path, "keys").await;
        let used = keys.iter().find(|key| key["id"] == key_id.as_str());
        used.expect("it is listed")["last_used_at"]
            .is_string()
            .then_some(())
    })
    .await;
    let listed = server.get(&path).await.expect(200).text;
    let request = server.request(Method::DELETE, &format!("{path}/{key_id}"));
    TestApp::send(request).await.expect(204);
    assert_problem(&second.get("/v1/events").await.expect(401));
    first.get("/v1/events").await.expect(200);

    // It stays revoked over a restart, and the others stay good.
    let house = server.house.clone();
    let (first, second) = (first.key.clone(), second.key.clone());
    let log = server.stop().await;
    let secrets = [first.as_deref(), second.as_deref(), Some(ADMIN)];
    let shown = |text: &str| secrets.iter().flatten().any(|secret| text.contains(secret));
    assert!(!shown(&listed), "{listed}");
    assert!(log.contains("/v1/events") && !shown(&log), "{log}");
    let server = house.start();
    caller(&server, second).get("/v1/events").await.expect(401);
    caller(&server, first).get("/v1/events").await.expect(200);
    server.stop().await;
}

#[tokio::test]
async fn an_open_server_answers_only_to_names_of_its_own_machine() {
    let server = House::new().start();
    let port = server.address.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "app.localhost"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let request = server
                .request(Method::GET, "/v1/events")
                .header("host", &host);
            TestApp::send(request).await.expect(200);
        }
    }
    for host in [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "192.168.0.1",
        "0.0.0.0",
    ] {
        for path in ["/v1/events", "/v1/tenants", "/", "/health", "/docs/"] {
            let request = server.request(Method::GET, path).header("host", host);
            assert_problem(&TestApp::send(request).await.expect(403));
        }
        let request = server
            .request(Method::POST, "/v1/events")
            .header("host", host);
        TestApp::send(request.json(&json!({"type": "a"})))
            .await
            .expect(403);
    }
    assert!(server.list("/v1/events", "events").await.is_empty());
    server.stop().await;
    // With a key the name does not matter: the key protects.
    let server = keyed(Engine::Sqlite).await;
    let request = server
        .request(Method::GET, "/v1/events")
        .header("host", "tide.example");
    TestApp::send(request).await.expect(200);
    server.stop().await;
}

/// A page that a person has open in a browser must not write to a server on their machine.
#[tokio::test]
async fn an_open_server_does_nothing_for_foreign_web_pages() {
    let house = House::new();
    let server = house.start();
    let event = json!({"type": "from.a.page"});
    let from = |server: &Server, origin: &str| {
        let request = server.request(Method::POST, "/v1/events");
        TestApp::send(request.header("origin", origin).json(&event))
    };
    for origin in [
        "https://evil.example",
        "http://localhost.evil.example",
        "null",
    ] {
        assert_problem(&from(&server, origin).await.expect(403));
    }
    assert!(server.list("/v1/events", "events").await.is_empty());
    from(&server, "http://localhost:3000").await.expect(201);
    server.stop().await;
    let server = house
        .with(&["--cors-origins", "https://app.example"])
        .start();
    let answer = from(&server, "https://app.example").await.expect(201);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://app.example"
    );
    assert_problem(&from(&server, "https://evil.example").await.expect(403));
    server.stop().await;
}

#[test]
fn without_a_key_the_server_does_not_listen_to_the_world() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        let house = House::new().with(&["--addr", address]);
        let ended = house.refused().expect(64);
        let line = ended.error();
        assert!(
            line.contains(address) && line.contains("--admin-key"),
            "{line}"
        );
        assert!(!house.path().join("data").exists(), "nothing was made");
    }
    // `:PORT` alone is loopback without a key, everywhere with one.
    let open = House::new().with(&["--addr", ":0"]).start();
    assert!(open.address.ip().is_loopback());
    let closed = House::new()
        .with_admin(ADMIN)
        .with(&["--addr", ":0"])
        .start();
    assert!(closed.address.ip().is_unspecified());
}
