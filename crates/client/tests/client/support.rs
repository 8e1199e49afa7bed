//! A small server that says what a test wants said, over a real connection.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tidewire_client::{Client, Retry};
use tokio::{net::TcpListener, task::JoinSet};

pub struct Server {
    pub address: SocketAddr,
    // Dropping it stops the server.
    _serving: JoinSet<()>,
}

impl Server {
    pub async fn start(routes: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Server {
            address,
            _serving: serving,
        }
    }

    pub fn client(&self) -> Client {
        let quick = Retry {
            tries: 4,
            ..Retry::quick()
        };
        Client::builder(&format!("http://{}", self.address))
            .api_key("tw_test")
            .retry(quick)
            .build()
            .unwrap()
    }
}

/// A problem as the service writes it.
pub fn problem(status: u16, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank", "title": "a title", "status": status, "detail": detail, "request_id": "r-1",
        "errors": [],
    });
    (
        StatusCode::from_u16(status).unwrap(),
        [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::RETRY_AFTER, "0"),
        ],
        body.to_string(),
    )
        .into_response()
}

pub fn json(body: serde_json::Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// An answer whose connection breaks behind `text`.
pub fn cut_off(kind: &'static str, text: String) -> Response {
    // The pause lets the text go out before the connection breaks.
    let parts = futures_util::stream::unfold(Some(text), move |text| async move {
        match text {
            Some(text) => Some((Ok(text), None)),
            None => {
                tokio::task::yield_now().await;
                Some((Err(std::io::Error::other("cut")), None))
            }
        }
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(parts)).into_response()
}

/// A stream of server-sent events that breaks behind `text`.
pub fn stream(text: &str) -> Response {
    cut_off("text/event-stream", text.to_owned())
}

pub fn event(seq: u64) -> serde_json::Value {
    serde_json::json!({
        "id": format!("01J00000000000000000000{seq:03}"), "stream": "default", "seq": seq, "type": "t",
        "payload": {"n": seq}, "created_at": "2026-01-01T00:00:00.000000Z",
    })
}
