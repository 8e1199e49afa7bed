//! Answers without an end. hyper keeps two buffers of 8 KiB and all that it needs for a next request
//! for every connection, also for one that does nothing any more but send a stream, and there may be
//! many thousands of those. So behind the head of such an answer (HTTP/1.1 alone) the connection is
//! taken out of hyper's hands, and its stream is sent from here: a socket and a body.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{Method, Request, Response, Version};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::linger::Lingering;

/// On an answer whose body has no end of its own.
#[derive(Clone, Copy)]
pub(crate) struct Endless;

/// Where a connection's endless body waits to be taken over.
#[derive(Default)]
pub(crate) struct Handover {
    body: Mutex<Option<Body>>,
    is_due: AtomicBool,
}

/// Whether the answer to a request may be taken over: framed in chunks, on a connection of its own.
pub(crate) fn may_be_taken<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11 && request.method() == Method::GET
}

impl Handover {
    /// Keeps the body of an endless answer, and leaves one in its place that waits.
    pub(crate) fn keep(self: &Arc<Self>, response: Response<Body>) -> Response<Body> {
        if response.extensions().get::<Endless>().is_none() {
            return response;
        }
        response.map(|body| {
            *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
            Body::new(Awaiting(Arc::clone(self)))
        })
    }

    /// The body, once hyper has come to the point of sending it: all that is before it is on its
    /// way, if nothing is held back.
    pub(crate) fn take_due(&self) -> Option<Body> {
        if !self.is_due.load(Ordering::Relaxed) {
            return None;
        }
        self.body
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

struct Awaiting(Arc<Handover>);

impl HttpBody for Awaiting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.is_due.store(true, Ordering::Relaxed);
        // Whoever drives the connection looks at it now.
        Poll::Pending
    }
}

/// Sends a body in chunks (RFC 9112, section 7.1) until it ends, which is when the server stops, or
/// until the client has left.
pub(crate) async fn send(mut stream: TcpStream, body: Body, stop: CancellationToken) {
    let (mut reading, mut writing) = stream.split();
    let left = async {
        // What it might still ask for could not be answered: it is thrown away.
        let mut scratch = [0; 64];
        while matches!(reading.read(&mut scratch).await, Ok(1..)) {}
    };
    let sending = async {
        let mut body = body;
        while let Some(frame) = body.frame().await {
            // A body that fails is broken off, and the client sees that it has no end.
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            let size = format!("{:x}\r\n", data.len());
            let mut chunk = Buf::chain(size.as_bytes(), data).chain(&b"\r\n"[..]);
            writing.write_all_buf(&mut chunk).await?;
        }
        writing.write_all(b"0\r\n\r\n").await
    };
    let sent = tokio::select! {
        sent = sending => sent,
        () = left => return,
    };
    match sent {
        // Its end is nothing that the client was told of before: it may have sent something.
        Ok(()) => drop(Lingering::new(stream, stop).shutdown().await),
        Err(error) => tracing::debug!(%error, "connection ended"),
    }
}
