//! Agents' instances against a whole server. What the key of one opens: of all routes that the API
//! describes, those of its own thread and of the jobs that are kept for it.

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tidewire_testkit::{
    Answer, Engine, TestApp, eventually, every_engine,
    servers::{Redis, ServerOptions},
};

use crate::support::{House, Server};

const ADMIN: &str = "the-operators-key-0123456789";

/// For every instance.
const CLAIM: (&str, &str) = ("post", "/v1/jobs/claim");

/// For one that has a thread, besides.
const JOBS: [(&str, &str); 4] = [
    ("post", "/v1/jobs/{id}/heartbeat"),
    ("post", "/v1/jobs/{id}/complete"),
    ("post", "/v1/jobs/{id}/fail"),
    ("post", "/v1/jobs/{id}/release"),
];

/// The same, if the thread is its own.
const THREAD: [(&str, &str); 8] = [
    ("get", "/v1/threads/{id}"),
    ("get", "/v1/threads/{id}/events"),
    ("post", "/v1/threads/{id}/events"),
    ("get", "/v1/threads/{id}/events/stream"),
    ("get", "/v1/threads/{id}/turns"),
    ("get", "/v1/threads/{id}/turns/{turn_id}"),
    ("get", "/v1/threads/{id}/archives"),
    ("get", "/v1/threads/{id}/archives/{archive_id}"),
];

/// A route that wants a key, and something that it could be asked.
struct Route {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Option<(String, Value)>,
}

impl Route {
    fn is(&self, (method, path): (&str, &str)) -> bool {
        self.method == method && self.path == path
    }

    async fn ask(&self, server: &Server, key: &str, id: &str) -> StatusCode {
        let path: Vec<_> = self
            .path
            .split('/')
            .map(|part| match part.strip_prefix('{') {
                Some("id}") => id,
                Some(_) => "1",
                None => part,
            })
            .collect();
        let method = Method::from_bytes(self.method.to_uppercase().as_bytes()).expect("a method");
        let request = server
            .client
            .request(method, format!("{}{}", server.url(), path.join("/")))
            .query(&self.query)
            .bearer_auth(key);
        let request = match &self.body {
            Some((media_type, body)) => request
                .header("content-type", media_type)
                .body(body.to_string()),
            None => request,
        };
        // The body of a stream has no end.
        request.send().await.expect("an answer").status()
    }
}

/// Something that fits a schema, as small as it can be.
fn sample(api: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let place = name.trim_start_matches('#');
        return sample(api, api.pointer(place).expect("what is referred to"));
    }
    if let Some(example) = schema.get("example").or_else(|| schema["enum"].get(0)) {
        return example.clone();
    }
    for any in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[any].as_array() {
            let first = first.iter().find(|one| one["type"] != "null");
            return sample(api, first.expect("one of them"));
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") if schema["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
        Some("string") => json!("x"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        Some("array") => match schema["minItems"].as_u64() {
            Some(1..) => json!([sample(api, &schema["items"])]),
            _ => json!([]),
        },
        _ => {
            let required = schema["required"].as_array().into_iter().flatten();
            let named = required.filter_map(Value::as_str);
            let fields =
                named.map(|name| (name.to_owned(), sample(api, &schema["properties"][name])));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

/// All routes that want a key.
async fn routes(server: &Server) -> Vec<Route> {
    let api = server.get("/openapi.json").await.expect(200).json();
    let mut routes = Vec::new();
    for (path, methods) in api["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            // What is for everybody, or for callers that somebody chose.
            let first = &operation["security"][0];
            if first.is_null() || *first == json!({}) {
                continue;
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query = parameters
                .filter(|one| one["in"] == "query" && one["required"] == true)
                .map(|one| {
                    let value = sample(&api, &one["schema"]);
                    let value = value.as_str().map_or(value.to_string(), str::to_owned);
                    (one["name"].as_str().expect("a name").to_owned(), value)
                });
            let body = operation["requestBody"]["content"].as_object();
            let body = body.and_then(|content| content.iter().next());
            routes.push(Route {
                method: method.clone(),
                path: path.clone(),
                query: query.collect(),
                body: body.map(|(kind, content)| (kind.clone(), sample(&api, &content["schema"]))),
            });
        }
    }
    routes
}

async fn instance(server: &Server, lease: Value) -> String {
    let body = json!({"leases": [lease]});
    let held = server
        .post("/v1/agents/leases", &body)
        .await
        .expect(200)
        .json();
    held["leases"][0]["api_key"]
        .as_str()
        .expect("a key")
        .to_owned()
}

#[tokio::test]
async fn an_instances_key_opens_what_it_needs_and_nothing_else() {
    let server = House::new().with_admin(ADMIN).start();
    let warm = instance(&server, json!({"worker": "warm"})).await;
    let own = instance(&server, json!({"worker": "i-1", "thread_id": "own"})).await;
    let routes = routes(&server).await;
    let described = |wanted: &(&str, &str)| routes.iter().any(|route| route.is(*wanted));
    assert!(JOBS.iter().chain(&THREAD).all(described) && described(&CLAIM));
    assert!(routes.len() > 60, "{}", routes.len());
    for route in &routes {
        let name = format!("{} {}", route.method, route.path);
        let refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED];
        let is_of = |table: &[(&str, &str)]| table.iter().any(|one| route.is(*one));
        let status = route.ask(&server, &warm, "own").await;
        match route.is(CLAIM) {
            true => assert_eq!(status, 200, "{name}"),
            false => assert_eq!(status, 403, "{name} of a warm instance"),
        }
        let status = route.ask(&server, &own, "own").await;
        if route.is(CLAIM) || is_of(&JOBS) || is_of(&THREAD) {
            assert!(!refused.contains(&status), "{name}: {status}");
        } else {
            assert_eq!(status, 403, "{name}");
        }
        if is_of(&THREAD) {
            let status = route.ask(&server, &own, "another").await;
            assert_eq!(status, 404, "{name} of another thread");
        }
    }
    // Nor may it act for another tenant.
    let request = server
        .client
        .get(format!("{}/v1/threads/own", server.url()))
        .bearer_auth(&own)
        .header("x-tenant", "default");
    assert_eq!(request.send().await.expect("an answer").status(), 403);
    // Nobody mints one by hand.
    let body = json!({"scopes": ["agent"]});
    let minted = server
        .post("/v1/tenants/default/keys", &body)
        .await
        .expect(400);
    assert!(minted.text.contains("/v1/agents/leases"), "{}", minted.text);
    server.stop().await;
}

/// What somebody with this key is answered.
async fn post(server: &Server, key: &str, path: &str, body: Value) -> Answer {
    let request = server.client.post(format!("{}{path}", server.url()));
    TestApp::send(request.bearer_auth(key).json(&body)).await
}

/// The first turn that a claim with this key is given, with its job; it waits for it.
async fn claim(server: &Server, key: &str) -> (String, Value) {
    let body = json!({"worker": "w", "types": ["agent.turn"], "wait_seconds": 30});
    let claimed = post(server, key, "/v1/jobs/claim", body).await.expect(200);
    let job = claimed.json()["jobs"][0].clone();
    let turn = job["payload"]["turn_id"].as_str().expect("a turn");
    (turn.to_owned(), job)
}

/// Turns are the store's as soon as the persister has moved them there, and not before.
#[every_engine(multi_thread, postgres)]
async fn instances_keep_their_threads_behind_a_hot_log_that_is_apart(engine: Engine) {
    let Some(redis) = Redis::start(ServerOptions::default()).await else {
        return;
    };
    let house = House::on(engine).await.with_admin(ADMIN);
    let server = house.with(&["--hot-log", redis.url()]).start();
    let key = instance(&server, json!({"worker": "i-1", "thread_id": "t"})).await;
    let ask = |turn: &str| json!({"thread_id": "t", "turn_id": turn, "input": turn});
    let demand = async |seen: &Value| {
        let seen = seen["revision"].as_str().unwrap_or("none");
        let path = format!("/v1/agents/demand?revision={seen}&wait_seconds=30");
        server.get(&path).await.expect(200).json()
    };
    let release = async |worker: &str, lost: bool| {
        let body = json!({"leases": [{"worker": worker, "lost": lost}]});
        let path = "/v1/agents/leases/release";
        let released = server.post(path, &body).await.expect(200).json();
        released["leases"][0]["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let idle = demand(&Value::Null).await;
    assert_eq!(idle["threads"], json!([]));
    server.post("/v1/turns", &ask("a")).await.expect(202);
    let busy = demand(&idle).await;
    assert_eq!(busy["threads"][0]["turn_id"], "a");
    assert_eq!(busy["threads"][0]["leased_by"], "i-1");
    assert_eq!(release("i-1", false).await, "busy");
    let (turn, job) = claim(&server, &key).await;
    assert_eq!((turn.as_str(), &job["locked_by"]), ("a", &json!("i-1")));
    let said = json!([
        {"type": "message.delta", "turn_id": "a", "payload": {"message_id": "m", "delta": "x"}},
        {"type": "turn.completed", "turn_id": "a"},
    ]);
    post(&server, &key, "/v1/threads/t/events", said)
        .await
        .expect(201);
    eventually("nothing to be done", || async {
        let now = server.get("/v1/agents/demand").await.expect(200).json();
        (now["threads"] == json!([])).then_some(())
    })
    .await;
    // The next one sticks too, and is handed over when its instance is lost.
    server.post("/v1/turns", &ask("b")).await.expect(202);
    let (turn, _) = claim(&server, &key).await;
    assert_eq!(turn, "b");
    assert_eq!(release("i-1", true).await, "released");
    let heir = instance(&server, json!({"worker": "i-2", "thread_id": "t"})).await;
    let (turn, job) = claim(&server, &heir).await;
    assert_eq!((turn.as_str(), &job["attempts"]), ("b", &json!(2)));
    let said = json!({"type": "turn.completed", "turn_id": "b"});
    post(&server, &heir, "/v1/threads/t/events", said)
        .await
        .expect(201);
    eventually("the lease to be idle", || async {
        (release("i-2", false).await == "released").then_some(())
    })
    .await;
    let path = "/v1/threads/t/events";
    let events = server.get(path).await.expect(200).json();
    let starts = |turn: &str| {
        let events = events["events"].as_array().into_iter().flatten();
        events
            .filter(|event| event["type"] == "turn.started" && event["turn_id"] == turn)
            .count()
    };
    assert_eq!((starts("a"), starts("b")), (1, 2), "{events:#}");
    server.stop().await;
}
