//! Clients that send what no client should: every route of `/openapi.json` is given nonsense, and
//! near-sense made from its own description. Never a 5xx, always a problem that says what is wrong,
//! nothing stored of what was refused, nobody else hurt.

mod make;

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use make::{Hostile, Operation};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tidewire_testkit::{Answer, Engine, TestApp, every_engine, servers};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};

use crate::support::{House, Server, assert_problem, full};

/// Streams never end by themselves: their head is all that is looked at.
const ENDLESS: &str = "text/event-stream";

mod no_request_breaks_a_route_or_is_half_taken {
    use super::{Engine, breaks_nothing};

    #[test]
    fn sqlite() {
        breaks_nothing(Engine::Sqlite);
    }

    #[test]
    fn postgres() {
        breaks_nothing(Engine::Postgres);
    }

    #[test]
    fn mysql() {
        breaks_nothing(Engine::MySql);
    }
}

fn breaks_nothing(engine: Engine) {
    if !servers::is_there(engine) {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    let house = runtime.block_on(House::on(engine));
    let server = house.with(&["--log-level", "error"]).start();
    let known = runtime.block_on(known_ids(&server));
    let document = runtime.block_on(description(&server));
    let operations = make::operations(&document);
    assert!(operations.len() > 10, "the description has routes");
    let before = RefCell::new(runtime.block_on(heads(&server)));
    for operation in &operations {
        let mut runner = TestRunner::new(Config {
            cases: if full() { 600 } else { 60 },
            failure_persistence: None,
            ..Config::default()
        });
        let strategy = make::hostile(operation, &document, &known);
        let tried = runner.run(&strategy, |hostile| {
            runtime
                .block_on(throw(&server, operation, &hostile, &before))
                .map_err(TestCaseError::fail)
        });
        if let Err(error) = tried {
            panic!("{} {}: {error}", operation.method, operation.path);
        }
    }
    let log = runtime.block_on(server.stop());
    assert!(!log.contains("panicked"), "{log}");
}

/// Sends one request; what is wrong with its answer or its effect.
async fn throw(
    server: &Server,
    operation: &Operation,
    hostile: &Hostile,
    before: &RefCell<Value>,
) -> Result<(), String> {
    let mut request = server.request(operation.method.clone(), &hostile.target);
    for (name, value) in &hostile.headers {
        request = request.header(name, value);
    }
    if let Some(body) = &hostile.body {
        request = request.body(body.clone());
    }
    let answer = head_and_body(request).await?;
    let shown = || format!("answered {} {}", answer.status, answer.text);
    // Where another server is asked, its absence is an answer like others.
    let is_elsewhere = answer.status == 502 && operation.answers.contains(&502);
    if answer.status >= 500 && !is_elsewhere {
        return Err(shown());
    }
    if !operation.answers.contains(&answer.status) {
        return Err(format!("undeclared: {}", shown()));
    }
    let after = heads(server).await;
    let before = before.replace(after.clone());
    if answer.status >= 400 {
        problem(&answer)?;
        if before != after {
            return Err(format!("{}, and stored {before} -> {after}", shown()));
        }
    }
    Ok(())
}

async fn head_and_body(request: reqwest::RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let endless = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(ENDLESS.as_bytes()));
    let text = if endless {
        String::new()
    } else {
        response
            .text()
            .await
            .map_err(|error| format!("{error:?}"))?
    };
    Ok(Answer {
        status,
        headers,
        text,
    })
}

/// As [`assert_problem`], for a runner that shrinks what fails.
fn problem(answer: &Answer) -> Result<(), String> {
    std::panic::catch_unwind(|| assert_problem(answer)).map_err(|_| {
        let Answer {
            status,
            headers,
            text,
        } = answer;
        format!("not a problem: {status} {headers:?} {text}")
    })
}

/// The newest of everything that a POST could have stored.
async fn heads(server: &Server) -> Value {
    let mut heads = json!({});
    for list in ["events", "jobs", "tenants"] {
        let page = server.get(&format!("/v1/{list}?limit=1")).await;
        heads[list] = page.expect(200).json()[list][0]["id"].clone();
    }
    heads
}

async fn description(server: &Server) -> Value {
    server.get("/openapi.json").await.expect(200).json()
}

/// Ids that exist, so that requests get past "there is no such thing".
async fn known_ids(server: &Server) -> Vec<String> {
    let mut known = vec!["default".to_owned()];
    for (path, body) in [
        ("/v1/events", json!({"type": "known"})),
        // Nobody works on it, so it stays as it is.
        ("/v1/jobs", json!({"type": "known.by-nobody"})),
        ("/v1/tenants", json!({"name": "known"})),
    ] {
        let made = server.post(path, &body).await.expect(201).json();
        known.push(made["id"].as_str().expect("an id").to_owned());
    }
    known
}

/// Bodies that have broken servers before, at every route that takes JSON.
#[every_engine]
async fn infamous_bodies_are_refused_everywhere(engine: Engine) {
    let server = House::on(engine).await.start();
    known_ids(&server).await;
    let document = description(&server).await;
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    let million = format!("[{}0]", "0,".repeat(1_000_000));
    let million_objects = format!("[{}{{}}]", "{},".repeat(1_000_000));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("half an object", br#"{"type":"#.to_vec()),
        ("a stray comma", br#"{"type":"a",}"#.to_vec()),
        ("two documents", br#"{"type":"a"} {"type":"b"}"#.to_vec()),
        ("single quotes", b"{'type':'a'}".to_vec()),
        ("NaN", br#"{"type":"a","payload":NaN}"#.to_vec()),
        ("a bare word", b"undefined".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{\"type\":\"a\"}".to_vec()),
        ("invalid UTF-8", b"{\"type\":\"a\",\"payload\":\"\xff\xfe\"}".to_vec()),
        ("an overlong NUL", b"{\"type\":\"a\",\"payload\":\"\xc0\x80\"}".to_vec()),
        ("half a character", b"{\"type\":\"a\",\"payload\":\"\xe2\x82\"}".to_vec()),
        ("a raw NUL", b"{\"type\":\"a\",\"payload\":\"\0\"}".to_vec()),
        ("UTF-16", b"{\0\"\0t\0\"\0:\x001\0}\0".to_vec()),
        ("deep arrays", deep("[", "]").into()),
        ("deep objects", deep("{\"a\":", "}").into()),
        ("arrays without an end", "[".repeat(1_000_000).into()),
        ("a million numbers", million.into()),
        ("a million objects", million_objects.into()),
        ("9 MiB of a string", format!("\"{}\"", "a".repeat(9 << 20)).into()),
        ("9 MiB of nothing", vec![b' '; 9 << 20]),
        ("an unknown field", br#"{"no such field":1}"#.to_vec()),
        ("a field twice", br#"{"type":"a","type":"b","name":"a","name":"b","worker":"a","worker":"b","lease_token":"a","lease_token":"b","scopes":["read"],"scopes":["write"]}"#.to_vec()),
        ("a word for all", b"\"text\"".to_vec()),
        ("a number for all", b"1e999999".to_vec()),
    ];
    let before = heads(&server).await;
    for operation in make::operations(&document) {
        if !operation.takes_a_body {
            continue;
        }
        let path = operation.path_with("default");
        for (what, body) in &bodies {
            let request = server
                .request(operation.method.clone(), &path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.clone());
            let answer = TestApp::send(request).await;
            let shown = format!(
                "{} {path}: {what}: {} {}",
                operation.method, answer.status, answer.text
            );
            assert!((400..500).contains(&answer.status), "{shown}");
            assert_problem(&answer);
            assert!(
                answer.text.len() < 16_384,
                "{what}: the answer has {} bytes",
                answer.text.len()
            );
        }
        for media_type in [
            "text/plain",
            "application/xml",
            "application/json; charset=utf-16",
            "json",
            "",
        ] {
            let request = server
                .request(operation.method.clone(), &path)
                .header(header::CONTENT_TYPE, media_type)
                .body("{}");
            let answer = TestApp::send(request).await;
            assert!(
                matches!(answer.status, 404 | 415),
                "{path}: {media_type}: {} {}",
                answer.status,
                answer.text
            );
            assert_problem(&answer);
        }
    }
    assert_eq!(before, heads(&server).await);
    server.stop().await;
}

#[every_engine]
async fn what_is_wrong_is_named_with_its_place(engine: Engine) {
    let server = House::on(engine).await.start();
    for (path, body, pointer) in [
        ("/v1/events", r#"{"type":"a","typ":"b"}"#, "/typ"),
        ("/v1/events", r#"[{"type":"a"},{}]"#, "/1"),
        ("/v1/events", r#"{"type":"a b"}"#, "/type"),
        ("/v1/events", r#"{"type":7}"#, "/type"),
        (
            "/v1/events",
            r#"[{"type":"a"},{"type":"b","stream":"no/slash"}]"#,
            "/1/stream",
        ),
        (
            "/v1/events",
            r#"{"type":"a","subject":"\u0000"}"#,
            "/subject",
        ),
        (
            "/v1/events",
            r#"{"type":"a","payload":{"x":["\u0000"]}}"#,
            "/payload/x/0",
        ),
        (
            "/v1/events",
            r#"{"type":"a","payload":[1e400]}"#,
            "/payload/0",
        ),
        (
            "/v1/events",
            r#"{"type":"a","payload":"\ud800"}"#,
            "/payload",
        ),
        (
            "/v1/events",
            r#"{"type":"a","occurred_at":"yesterday"}"#,
            "/occurred_at",
        ),
        ("/v1/jobs", r#"{"type":"a","priorty":1}"#, "/priorty"),
        ("/v1/jobs", r#"{"payload":1}"#, ""),
        (
            "/v1/jobs",
            r#"{"type":"a","max_attempts":0}"#,
            "/max_attempts",
        ),
        (
            "/v1/jobs",
            r#"{"type":"a","max_attempts":101}"#,
            "/max_attempts",
        ),
        (
            "/v1/jobs",
            r#"{"type":"a","payload":{"n":[1,"\u0000"]}}"#,
            "/payload/n/1",
        ),
        ("/v1/jobs", r#"{"type":"a","run_at":"soon"}"#, "/run_at"),
        ("/v1/jobs", r#"{"type":"a","queue":""}"#, "/queue"),
        ("/v1/jobs/retry", r#"{"type":"ü"}"#, "/type"),
        (
            "/v1/jobs",
            r#"{"type":"a","timeout_seconds":-1}"#,
            "/timeout_seconds",
        ),
        ("/v1/jobs/claim", r#"{"types":["a"]}"#, ""),
        (
            "/v1/jobs/claim",
            r#"{"worker":"w","wait_seconds":61}"#,
            "/wait_seconds",
        ),
        ("/v1/tenants", r#"{"name":""}"#, "/name"),
    ] {
        let request = server
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let answer = TestApp::send(request).await.expect(400);
        assert_problem(&answer);
        let problem = answer.json();
        let places: BTreeSet<_> = problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|error| error["pointer"].as_str())
            .collect();
        assert!(
            places.contains(pointer),
            "{path} {body}: {places:?} lacks {pointer}: {problem}"
        );
    }
    for (path, name) in [
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=501", "limit"),
        ("/v1/events?limt=5", "limt"),
        ("/v1/events?cursor=no-cursor", "cursor"),
        ("/v1/events?from=yesterday", "from"),
        ("/v1/events?type=%C3%BC", "type"),
        ("/v1/events/tail?stream=a%20b", "stream"),
        ("/v1/jobs?queue=%C3%BC", "queue"),
        ("/v1/jobs?status=sleeping", "status"),
        ("/v1/jobs?limit=many", "limit"),
        ("/v1/analytics/summary?from=2026-13-01", "from"),
        (
            "/v1/analytics/timeseries?from=2020-01-01&to=2026-01-01",
            "from",
        ),
    ] {
        let answer = server.get(path).await.expect(400);
        assert_problem(&answer);
        assert!(answer.text.contains(name), "{path}: {}", answer.text);
    }
    assert_eq!(server.list("/v1/events", "events").await, [json!(null); 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_a_405() {
    let server = House::new().start();
    let document = description(&server).await;
    let operations = make::operations(&document);
    let taken = |path: &str, method: &Method| {
        let mut all = operations.iter();
        all.any(|operation| operation.path == path && operation.method == *method)
    };
    for operation in &operations {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            if taken(&operation.path, &method) {
                continue;
            }
            let request = server.request(method.clone(), &operation.path_with("default"));
            let answer = TestApp::send(request).await;
            assert_eq!(
                answer.status, 405,
                "{method} {}: {}",
                operation.path, answer.text
            );
            assert_problem(&answer);
            assert!(
                answer.headers.contains_key(header::ALLOW),
                "{:?}",
                answer.headers
            );
        }
    }
    for path in [
        "/v2/events",
        "/v1",
        "/v1/events/a/b",
        "//",
        "/v1/events/",
        "/.env",
    ] {
        let answer = server.get(path).await.expect(404);
        assert_problem(&answer);
    }
}

/// Half a body, half a head, and silence: others do not notice.
#[tokio::test]
async fn clients_that_stall_hurt_nobody() {
    let server = House::new().start();
    let body = json!({"type": "stalled", "payload": "x".repeat(1000)}).to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let mut stalled = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("it listens");
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            server.address,
            body.len()
        );
        let sent = if n % 2 == 0 {
            format!("{head}{first}")
        } else {
            head[..40].to_owned()
        };
        stream.write_all(sent.as_bytes()).await.expect("it reads");
        stalled.push((stream, format!("{head}{body}")[sent.len()..].to_owned()));
    }
    for n in 0..50 {
        let event = json!({"type": "quick", "payload": n});
        server.post("/v1/events", &event).await.expect(201);
    }
    server.get("/health").await.expect(200);
    assert_eq!(server.list("/v1/events", "events").await.len(), 50);
    // Who goes on after all is served; who goes away has stored nothing.
    let gone = stalled.split_off(100);
    drop(gone);
    for (mut stream, rest) in stalled {
        stream.write_all(rest.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    assert!(!rest.is_empty());
    assert_eq!(server.list("/v1/events", "events").await.len(), 150);
    server.stop().await;
}

/// What is no HTTP ends its own connection and nothing else.
#[tokio::test]
async fn noise_on_the_wire_ends_its_connection() {
    let server = House::new().start();
    let host = format!("host: {}\r\n", server.address);
    let long = "a".repeat(1 << 20);
    for noise in [
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        format!("GET /v1/events?q=\0 HTTP/1.1\r\n{host}\r\n").into(),
        format!("GET /{long} HTTP/1.1\r\n{host}\r\n").into(),
        format!("GET / HTTP/1.1\r\n{host}x: {long}\r\n\r\n").into(),
        format!("GET / HTTP/1.1\r\n{}{host}\r\n", "x: y\r\n".repeat(10_000)).into(),
        format!("POST /v1/events HTTP/1.1\r\n{host}content-type: application/json\r\ncontent-length: -1\r\n\r\n{{}}").into(),
        format!("POST /v1/events HTTP/1.1\r\n{host}content-type: application/json\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{{}}").into(),
        format!("POST /v1/events HTTP/1.1\r\n{host}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n").into(),
        format!("POST /v1/events HTTP/1.1\r\n{host}content-type: application/json\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n").into(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ] {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        // It may hang up before it has read all.
        let _ = stream.write_all(&noise).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        let _ = read.await.expect("the connection ends");
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("HTTP/1.1 2") && !answer.contains("HTTP/1.1 5"), "{answer}");
    }
    server.get("/health").await.expect(200);
    assert!(server.list("/v1/events", "events").await.is_empty());
    server.stop().await;
}
