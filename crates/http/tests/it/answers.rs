//! What every answer has: a request id, a problem's shape, the right methods and hosts.

use std::sync::Mutex;

use axum::body::Body;
use http::{Method, Request};
use serde_json::Value;
use tidewire_http::{AppService, Config};

use crate::sample::{Answer, app, get, request, send, service};

async fn ask(service: &AppService, method: Method, uri: &str) -> Answer {
    send(service, request(method, uri).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_others_are_replaced() {
    let service = service();
    let with = |id: Vec<u8>| {
        send(
            &service,
            request(Method::GET, "/v1/whoami")
                .header("x-request-id", id)
                .body(Body::empty())
                .unwrap(),
        )
    };
    let long = vec![b'x'; 128];
    for good in [b"abc-123~".to_vec(), long] {
        let answer = with(good.clone()).await;
        assert_eq!(answer.header("x-request-id").as_bytes(), good);
        assert_eq!(answer.json()[0].as_str().unwrap().as_bytes(), good);
    }
    for bad in [
        vec![b'x'; 129],
        b"a b".to_vec(),
        b"".to_vec(),
        "é".as_bytes().to_vec(),
    ] {
        let answer = with(bad.clone()).await;
        assert!(
            tidewire_core::ids::is_id(answer.header("x-request-id")),
            "{bad:?}"
        );
        assert_eq!(answer.json()[0], answer.header("x-request-id"));
    }
    let (first, second) = (
        get(&service, "/nowhere").await,
        get(&service, "/nowhere").await,
    );
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

/// What is left of a large body is not read, so the connection cannot serve another request.
#[tokio::test]
async fn an_answer_before_a_large_body_ends_its_connection() {
    let service = service();
    let ask = |uri, size| {
        let request = request(Method::POST, uri).header("content-type", "application/json");
        send(
            &service,
            request.body(Body::from(vec![b'x'; size])).unwrap(),
        )
    };
    for (uri, size, closes) in [
        ("/nowhere", 100_000, true),
        ("/nowhere", 10, false),
        ("/v1/events", (8 << 20) + 1, true),
        // Read to its end, and refused for what it says.
        ("/v1/events", 100_000, false),
    ] {
        let answer = ask(uri, size).await;
        let connection = answer.headers.get("connection");
        assert_eq!(
            connection.is_some_and(|value| value == "close"),
            closes,
            "{uri} {size}"
        );
    }
}

#[tokio::test]
async fn problems_have_their_headers_and_hide_what_is_internal() {
    let service = service();
    assert_eq!(get(&service, "/v1/events/unknown").await.problem().0, 404);
    let busy = get(&service, "/v1/events/busy").await;
    assert_eq!((busy.problem().0, busy.header("retry-after")), (503, "2"));
    let broken = get(&service, "/v1/events/broken").await;
    assert_eq!(broken.problem().0, 500);
    assert!(!String::from_utf8_lossy(&broken.body).contains("SELECT"));
    let unknown = send(
        &service,
        Request::get("/v1/whoami").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(
        (unknown.problem().0, unknown.header("www-authenticate")),
        (401, "Bearer")
    );
}

/// The log of the whole process; a test finds its own lines by its request id.
struct Log;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was logged about one request: in the line itself, or by the span around it.
fn logged(request_id: &str) -> Vec<Value> {
    let text = String::from_utf8(LINES.lock().unwrap().clone()).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let about = |line: &Value| {
        line["fields"]["request_id"] == request_id || line["span"]["request_id"] == request_id
    };
    lines.filter(about).collect()
}

#[tokio::test]
async fn a_panic_is_a_500_that_only_the_log_explains() {
    tracing_subscriber::fmt().json().with_writer(|| Log).init();
    let service = service();
    let ask = |path: &str, id: &str| {
        let request = request(Method::GET, path).header("x-request-id", id);
        send(&service, request.body(Body::empty()).unwrap())
    };
    let answer = ask("/v1/events/panic?key=hidden", "panics").await;
    assert_eq!(answer.problem().0, 500);
    assert!(!String::from_utf8_lossy(&answer.body).contains("42"));
    assert_eq!(
        ask("/v1/events/fine", "fine").await.status,
        200,
        "the server goes on"
    );
    assert_eq!(ask("/health", "probe").await.status, 200);

    let lines = logged("panics");
    let [handler, error, access] = lines.as_slice() else {
        panic!("{lines:#?}")
    };
    assert_eq!(handler["fields"]["message"], "reading");
    assert_eq!(error["level"], "ERROR");
    assert_eq!(
        error["fields"]["detail"],
        "the handler panicked: the secret is 42"
    );
    assert_eq!(
        (&access["target"], &access["level"]),
        (&"tidewire::access".into(), &"INFO".into())
    );
    let fields = &access["fields"];
    assert_eq!(fields["method"], "GET");
    assert_eq!(fields["path"], "/v1/events/panic");
    assert_eq!(fields["route"], "/v1/events/{id}");
    assert_eq!(fields["status"], 500);
    assert!(fields["duration_ms"].is_f64());
    assert!(
        !format!("{lines:?}").contains("hidden"),
        "queries are not logged"
    );
    assert_eq!(logged("fine").last().unwrap()["fields"]["status"], 200);
    assert_eq!(ask("/v1/confided/hunter2", "hook").await.status, 200);
    let lines = logged("hook");
    assert_eq!(lines[0]["fields"]["path"], "/v1/confided/{secret}");
    assert!(
        !format!("{lines:?}").contains("hunter2"),
        "the route is shown in place of a secret path"
    );
    assert_eq!(
        logged("probe"),
        [Value::Null; 0],
        "probes are logged at debug"
    );
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_and_head_is_get() {
    let service = service();
    assert_eq!(
        ask(&service, Method::GET, "/v1/nothing").await.problem().0,
        404
    );
    assert_eq!(ask(&service, Method::POST, "/").await.problem().0, 404);
    for method in [
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::from_bytes(b"BREW").unwrap(),
    ] {
        let answer = ask(&service, method, "/v1/events").await;
        assert_eq!(answer.problem().0, 405);
        let mut allowed: Vec<_> = answer.header("allow").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    }
    for path in [
        "/v1/events",
        "/v1/events/unknown",
        "/health",
        "/openapi.json",
    ] {
        let (get, head) = (
            get(&service, path).await,
            ask(&service, Method::HEAD, path).await,
        );
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        assert_eq!(
            head.header("content-length"),
            get.body.len().to_string(),
            "{path}"
        );
        assert!(head.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn old_paths_reach_the_same_routes() {
    let service = service();
    assert_eq!(get(&service, "/events?limit=3").await.json()["limit"], 3);
    assert_eq!(get(&service, "/events/abc").await.json(), "abc");
    let answer = crate::sample::post(&service, "/events", r#"{"name":"a"}"#).await;
    assert_eq!(answer.status, 200);
    assert_eq!(get(&service, "/eventsx").await.problem().0, 404);
}

#[tokio::test]
async fn in_open_mode_only_loopback_hosts_are_answered() {
    let service = app(Config {
        loopback_hosts_only: true,
        ..Config::default()
    })
    .build()
    .unwrap();
    let with_host = |host: Option<&str>, uri: &str| {
        let mut builder = request(Method::GET, uri);
        if let Some(host) = host {
            builder = builder.header("host", host);
        }
        send(&service, builder.body(Body::empty()).unwrap())
    };
    for host in ["localhost:8080", "127.0.0.1", "[::1]:8080"] {
        assert_eq!(
            with_host(Some(host), "/v1/events").await.status,
            200,
            "{host}"
        );
    }
    // HTTP/2 names the host in the target.
    assert_eq!(
        with_host(None, "http://localhost:8080/v1/events")
            .await
            .status,
        200
    );
    for (host, uri) in [
        (Some("evil.example"), "/v1/events"),
        (Some("evil.example:8080"), "/health"),
        (Some("evil.example"), "/nowhere"),
        (None, "/v1/events"),
        (None, "http://evil.example/v1/events"),
        (Some("localhost"), "http://evil.example/v1/events"),
        (Some("evil.example"), "http://localhost/v1/events"),
    ] {
        let (status, _, detail) = with_host(host, uri).await.problem();
        assert_eq!(status, 403, "{host:?} {uri}");
        assert!(
            detail.contains("DNS rebinding") && detail.contains("key"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn in_open_mode_foreign_pages_cannot_send_what_needs_no_leave() {
    let service = app(Config {
        loopback_hosts_only: true,
        cors_origins: vec!["https://app.example".parse().unwrap()],
        ..Config::default()
    })
    .build()
    .unwrap();
    let from = |origin: &'static str| {
        let builder = request(Method::GET, "/v1/events").header("host", "localhost:8080");
        send(
            &service,
            builder
                .header("origin", origin)
                .body(Body::empty())
                .unwrap(),
        )
    };
    for origin in [
        "http://localhost:8080",
        "http://127.0.0.1",
        "https://app.example",
    ] {
        assert_eq!(from(origin).await.status, 200, "{origin}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
    ] {
        let (status, _, detail) = from(origin).await.problem();
        assert_eq!(status, 403, "{origin}");
        assert!(detail.contains("--cors-origins"), "{detail}");
    }
}

#[tokio::test]
async fn pages_from_listed_origins_may_call_and_others_may_not() {
    let origins = vec!["https://app.example".parse().unwrap()];
    let service = app(Config {
        cors_origins: origins,
        ..Config::default()
    })
    .build()
    .unwrap();
    let preflight = |origin: &str| {
        let request = Request::options("/v1/events")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-api-key,content-type");
        send(&service, request.body(Body::empty()).unwrap())
    };
    let answer = preflight("https://app.example").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("x-api-key")
    );
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(
        preflight("https://evil.example")
            .await
            .header("access-control-allow-origin"),
        ""
    );
    // A page can read an error, too.
    let request =
        request(Method::GET, "/v1/events/unknown").header("origin", "https://app.example");
    let answer = send(&service, request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (
            answer.problem().0,
            answer.header("access-control-allow-origin")
        ),
        (404, "https://app.example")
    );
    for wrong in [
        "",
        "app.example",
        "https://app.example/",
        "https://a/b",
        "https://",
        "a b",
    ] {
        assert!(wrong.parse::<tidewire_http::Origin>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn pages_are_not_sniffed_or_framed() {
    let service = service();
    let page = get(&service, "/v1/page").await;
    assert_eq!(
        (
            page.header("x-content-type-options"),
            page.header("x-frame-options")
        ),
        ("nosniff", "DENY")
    );
    assert_eq!(
        get(&service, "/v1/events")
            .await
            .header("x-content-type-options"),
        ""
    );
}
