//! What is repeated, and what must not be.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{Router, http::HeaderMap, routing};
use tidewire_client::{Client, Error, NewEvent, Retry, TransportKind};

use crate::support::{Server, cut_off, json, problem};

fn appended() -> serde_json::Value {
    serde_json::json!({
        "id": "01J00000000000000000000001", "stream": "default", "seq": 1,
        "created_at": "2026-01-01T00:00:00Z", "duplicated": false,
    })
}

/// A server whose appends answer one thing first and are good afterwards.
async fn flaky(first: fn() -> axum::response::Response) -> (Server, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let append = move || async move {
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => first(),
            _ => json(appended()),
        }
    };
    (
        Server::start(Router::new().route("/v1/events", routing::post(append))).await,
        asked,
    )
}

#[tokio::test]
async fn a_busy_server_is_asked_again_after_what_it_said() {
    let (server, asked) = flaky(|| problem(503, "the store is full")).await;
    let stored = server
        .client()
        .events()
        .append(&NewEvent::new("t"))
        .await
        .unwrap();
    assert_eq!((stored.seq, asked.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_with_a_key() {
    let (server, asked) = flaky(|| cut_off("application/json", "{\"id\"".to_owned())).await;
    let error = server
        .client()
        .events()
        .append(&NewEvent::new("t"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Transport(e) if e.kind == TransportKind::Broken),
        "{error}"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let (server, asked) = flaky(|| cut_off("application/json", "{\"id\"".to_owned())).await;
    server
        .client()
        .events()
        .append(&NewEvent::new("t").dedupe_key("k"))
        .await
        .unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_no_is_told_with_its_reason_and_not_repeated() {
    let (server, asked) = flaky(|| problem(400, "/type: is empty")).await;
    let error = server
        .client()
        .events()
        .append(&NewEvent::new("").dedupe_key("k"))
        .await
        .unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(error.status(), Some(400));
    assert_eq!(
        error.to_string(),
        "a title (status 400): /type: is empty (request id r-1)"
    );
}

#[tokio::test]
async fn nobody_there_says_what_to_do() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::builder(&url).retry(Retry::none()).build().unwrap();
    let error = client.health().await.unwrap_err().to_string();
    assert!(
        error.contains("connection refused") && error.contains("`tidewire serve`"),
        "{error}"
    );
    assert!(error.contains(&url), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_well_is_an_answer() {
    let answers = |body: serde_json::Value| {
        routing::get(|| async { (axum::http::StatusCode::SERVICE_UNAVAILABLE, json(body)) })
    };
    let health = serde_json::json!({"status": "failing", "checks": {"store": "read-only"}});
    let ready = serde_json::json!({
        "status": "not ready", "checks": {"store": "ok"}, "info": {"store_engine": "sqlite"}});
    let routes = Router::new()
        .route("/health", answers(health))
        .route("/ready", answers(ready));
    let server = Server::start(routes).await;
    let client = server.client();
    let health = client.health().await.unwrap();
    assert!(!health.is_ok());
    assert_eq!(health.checks["store"], "read-only");
    let health = client.ready().await.unwrap();
    assert_eq!((health.is_ok(), &*health.status), (false, "not ready"));
    assert_eq!(health.info["store_engine"], "sqlite");
}

#[tokio::test]
async fn the_key_is_shown_to_the_server_and_a_foreign_page_is_named_so() {
    let routes = Router::new().route(
        "/v1/jobs/{id}",
        routing::get(|headers: HeaderMap| async move {
            assert_eq!(headers["authorization"], "Bearer tw_test");
            axum::response::Html("<h1>it works</h1>")
        }),
    );
    let error = Server::start(routes)
        .await
        .client()
        .jobs()
        .get("x")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("not one of a tidewire server"),
        "{error}"
    );
}
