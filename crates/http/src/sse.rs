//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). A frame
//! is built once, as bytes that every subscriber shares; a subscriber costs its stream, one timer
//! and one place in the shutdown's list, but neither a task nor a channel.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, extract::FromRequestParts, response::Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http::{HeaderValue, header, request::Parts};
use http_body::Frame;
use pin_project_lite::pin_project;
use tidewire_core::Problem;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{ApiError, endless::Endless};

/// How long a stream is silent before a comment says that it lives.
pub const KEEPALIVE: Duration = Duration::from_secs(15);

const COMMENT: Bytes = Bytes::from_static(b": keepalive\n\n");

/// One frame, as descriptions have it.
#[derive(utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used: frames are written as bytes"
)]
pub struct ServerSentEvent {
    /// Where to go on, for `Last-Event-ID`.
    id: Option<String>,
    /// The event's type.
    event: Option<String>,
    /// The event, as JSON.
    data: String,
}

/// Appends one frame. `id` and `event` must not contain line breaks (ids, positions and event
/// types never do); `data` may, and its lines come back joined by `\n`.
pub fn frame(buffer: &mut BytesMut, id: Option<&str>, event: Option<&str>, data: &[u8]) {
    buffer.reserve(data.len() + id.map_or(0, str::len) + event.map_or(0, str::len) + 24);
    for (name, value) in [("id: ", id), ("event: ", event)] {
        let Some(value) = value else { continue };
        debug_assert!(
            !value.contains(['\n', '\r', '\0']),
            "a line break in a field would forge a frame"
        );
        buffer.put_slice(name.as_bytes());
        buffer.put_slice(value.as_bytes());
        buffer.put_u8(b'\n');
    }
    let mut rest = data;
    loop {
        buffer.put_slice(b"data: ");
        let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
            break;
        };
        buffer.put_slice(&rest[..end]);
        buffer.put_u8(b'\n');
        let width = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + width..];
    }
    buffer.put_slice(rest);
    buffer.put_slice(b"\n\n");
}

/// An answer that sends each item as it is, `: keepalive` after 15 s of silence, and ends when the
/// stream ends or `shutdown` is cancelled: a server that stops must not wait for endless streams.
pub fn response<S>(stream: S, shutdown: &CancellationToken) -> Response
where
    S: Stream<Item = Bytes> + Send + 'static,
{
    let body = Body::new(Frames {
        stream,
        shutdown: shutdown.clone().cancelled_owned(),
        keepalive: sleep_until(Instant::now() + KEEPALIVE),
        last: Instant::now(),
        ended: false,
    });
    let mut response = Response::new(body);
    response.extensions_mut().insert(Endless);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-transform"),
    );
    // nginx and others hold back what they take for an ordinary answer.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pin_project! {
    struct Frames<S> {
        #[pin]
        stream: S,
        #[pin]
        shutdown: WaitForCancellationFutureOwned,
        #[pin]
        keepalive: Sleep,
        last: Instant,
        ended: bool,
    }
}

impl<S: Stream<Item = Bytes>> http_body::Body for Frames<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut this = self.project();
        if *this.ended || this.shutdown.poll(cx).is_ready() {
            *this.ended = true;
            return Poll::Ready(None);
        }
        match this.stream.poll_next(cx) {
            Poll::Ready(Some(frame)) => {
                *this.last = Instant::now();
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            Poll::Ready(None) => {
                *this.ended = true;
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        // The timer is not moved by each frame: it looks at the last one when it fires.
        loop {
            ready!(this.keepalive.as_mut().poll(cx));
            let now = Instant::now();
            let due = *this.last + KEEPALIVE;
            if due <= now {
                *this.last = now;
                this.keepalive.as_mut().reset(now + KEEPALIVE);
                return Poll::Ready(Some(Ok(Frame::data(COMMENT))));
            }
            this.keepalive.as_mut().reset(due);
        }
    }
}

/// The header `Last-Event-ID`: where a client that lost its connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastEventId(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get("last-event-id") else {
            return Ok(LastEventId(None));
        };
        // Browsers send UTF-8 here, which is beyond what `to_str` reads.
        let id = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Problem::invalid("Last-Event-ID", "is not UTF-8"))?;
        Ok(LastEventId((!id.is_empty()).then(|| id.to_owned())))
    }
}
