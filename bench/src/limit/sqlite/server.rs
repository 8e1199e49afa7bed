//! The limit as a server: route, parse, queue, answer. It speaks enough of Tidewire's contract to take the same load.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::schema::{NewEvent, NewJob};
use super::writer::{self, Stored, Write, Writer};
use crate::limit::{first_id, sortable_id};

const BODY_LIMIT: usize = 8 << 20;

#[derive(Clone)]
struct App {
    writer: Writer,
    ids: Arc<AtomicU64>,
}

#[derive(Deserialize)]
struct EventBody<'a> {
    r#type: &'a str,
    stream: Option<&'a str>,
    subject: Option<&'a str>,
    dedupe_key: Option<&'a str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JobBody<'a> {
    r#type: &'a str,
    queue: Option<&'a str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

pub fn run(folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(folder))
}

async fn serve(folder: &Path) -> Result<()> {
    let app = App {
        writer: writer::start(folder)?,
        ids: Arc::new(AtomicU64::new(first_id())),
    };
    let router = Router::new()
        .route("/v1/events", post(append))
        .route("/v1/events/tail", get(tail))
        .route("/v1/jobs", post(enqueue))
        .route("/v1/analytics/summary", get(summary))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Without it an answer may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

async fn append(State(app): State<App>, body: Bytes) -> Response {
    let single = body.first() != Some(&b'[');
    let parsed: serde_json::Result<Vec<EventBody<'_>>> = if single {
        serde_json::from_slice(&body).map(|one| vec![one])
    } else {
        serde_json::from_slice(&body)
    };
    let events: Vec<NewEvent> = match parsed {
        Ok(events) => events
            .into_iter()
            .map(|event| app.new_event(&event))
            .collect(),
        Err(error) => return refuse(&error),
    };
    let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    let (answer, stored) = oneshot::channel();
    let Some(stored) = app.put(Write::Events(events, answer), stored).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let mut text = String::with_capacity(ids.len() * 150);
    for (seq, id) in (stored.first..).zip(&ids) {
        text.push(if text.is_empty() { '[' } else { ',' });
        let _ = write!(
            text,
            "{{\"id\":\"{id}\",\"stream\":\"default\",\"seq\":{seq},\"created_at\":\"{}\",\"duplicated\":false}}",
            stored.at
        );
    }
    let body = if single {
        text.split_off(1)
    } else {
        text + "]"
    };
    json(StatusCode::CREATED, body)
}

async fn enqueue(State(app): State<App>, body: Bytes) -> Response {
    let job: JobBody<'_> = match serde_json::from_slice(&body) {
        Ok(job) => job,
        Err(error) => return refuse(&error),
    };
    let job = NewJob {
        kind: job.r#type.to_owned(),
        queue: job.queue.unwrap_or("default").to_owned(),
        payload: raw(job.payload),
    };
    let (answer, stored) = oneshot::channel();
    match app.put(Write::Job(job, answer), stored).await {
        Some(stored) => json(
            StatusCode::CREATED,
            format!("{{\"id\":\"{}\"}}", stored.first),
        ),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn summary(State(app): State<App>) -> Response {
    let done = app.writer.jobs_done.load(Ordering::Relaxed);
    json(
        StatusCode::OK,
        format!("{{\"jobs_done\":{done},\"jobs_failed\":0}}"),
    )
}

/// From now on, in commit order: bytes that were built once.
async fn tail(State(app): State<App>) -> Response {
    let feed = app.writer.feed.subscribe();
    let frames = stream::unfold(feed, async |mut feed| {
        let frame = feed.recv().await.ok()?;
        Some((Ok::<_, Infallible>(frame), feed))
    });
    let mut response = Response::new(Body::from_stream(frames));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    response
}

impl App {
    fn new_event(&self, event: &EventBody<'_>) -> NewEvent {
        NewEvent {
            id: sortable_id(self.ids.fetch_add(1, Ordering::Relaxed)),
            kind: event.r#type.to_owned(),
            stream: event.stream.unwrap_or("default").to_owned(),
            subject: event.subject.map(str::to_owned),
            payload: raw(event.payload),
            dedupe_key: event.dedupe_key.map(str::to_owned),
        }
    }

    async fn put(&self, write: Write, stored: oneshot::Receiver<Stored>) -> Option<Stored> {
        self.writer.queue.send(write).await.ok()?;
        stored.await.ok()
    }
}

fn raw(payload: Option<&RawValue>) -> String {
    payload.map_or_else(|| "{}".to_owned(), |payload| payload.get().to_owned())
}

fn json(status: StatusCode, body: String) -> Response {
    let kind = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    (status, kind, body).into_response()
}

fn refuse(error: &serde_json::Error) -> Response {
    (StatusCode::BAD_REQUEST, error.to_string()).into_response()
}
