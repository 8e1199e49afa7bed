//! One connection, in either version of HTTP, and what its failures mean.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
};

use crate::{BadAnswer, TlsProblem, tls};

/// The head of an answer, and a piece of its body: no more than this is held by a connection.
const LARGEST_HEAD: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;

/// What a peer may send on an HTTP/2 stream, and on all of a connection's, before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A path that has gone silent under an HTTP/2 connection would swallow everything that is sent on it.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// After an answer has ended the connection is ready at once, unless the request has not been read to its end.
const READY_WITHIN: Duration = Duration::from_millis(100);

pub(crate) type Body = Full<Bytes>;

pub(crate) enum Connection {
    Line(Line),
    Trunk(Arc<Trunk>),
}

/// HTTP/1.1: one request after the other.
pub(crate) struct Line {
    sender: http1::SendRequest<Body>,
    _task: Task,
}

/// HTTP/2: many at once.
pub(crate) struct Trunk {
    sender: http2::SendRequest<Body>,
    _task: Task,
}

/// What moves a connection's bytes. It ends with whoever holds the connection, so that a request that is given up leaves
/// no socket behind.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// The connection was over before anything of the request was sent: another one may be tried.
    Unsent(hyper::Error),
    Failed(hyper::Error),
}

impl Connection {
    pub async fn open_line<S>(stream: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(LARGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .handshake(TokioIo::new(stream))
            .await?;
        // Its failures reach whoever waits for an answer; without one, nobody misses it.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection::Line(Line {
            sender,
            _task: Task(task.abort_handle()),
        }))
    }

    pub async fn open_trunk<S>(stream: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(LARGEST_HEAD as u32)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .handshake(TokioIo::new(stream))
            .await?;
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection::Trunk(Arc::new(Trunk {
            sender,
            _task: Task(task.abort_handle()),
        })))
    }

    pub fn is_trunk(&self) -> bool {
        matches!(self, Connection::Trunk(_))
    }

    pub async fn exchange(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let answered = match self {
            Connection::Line(line) => line.sender.try_send_request(request).await,
            Connection::Trunk(trunk) => trunk.sender.clone().try_send_request(request).await,
        };
        answered.map_err(|mut failure| match failure.take_message() {
            Some(_) => Failure::Unsent(failure.into_error()),
            None => Failure::Failed(failure.into_error()),
        })
    }
}

impl Line {
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether another request can follow the one whose answer has just ended.
    pub async fn is_ready_soon(&mut self) -> bool {
        if self.sender.is_ready() {
            return true;
        }
        matches!(
            tokio::time::timeout(READY_WITHIN, self.sender.ready()).await,
            Ok(Ok(()))
        )
    }
}

impl Trunk {
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// What a failure before or in the head of an answer means.
pub(crate) enum Fault {
    Answer(BadAnswer),
    /// TLS 1.3 lets a client speak before the server has judged its certificate.
    Tls(TlsProblem),
}

pub(crate) fn head_fault(error: &hyper::Error, connection: &Connection, reused: bool) -> Fault {
    let fault = if error.is_parse_too_large() {
        BadAnswer::HeadTooLarge
    } else if error.is_parse() {
        BadAnswer::NotHttp
    } else if let Some(problem) = io_error(error).and_then(tls::rustls_error) {
        return Fault::Tls(tls::of_rustls(problem));
    } else if connection.is_trunk() {
        BadAnswer::Stream
    } else {
        BadAnswer::Closed { reused }
    };
    Fault::Answer(fault)
}

/// What a failure in the body of an answer means.
pub(crate) fn body_fault(error: &hyper::Error, connection: &Connection) -> BadAnswer {
    let kind = io_error(error).map(io::Error::kind);
    match kind {
        _ if connection.is_trunk() => BadAnswer::Stream,
        // A length of a chunk that is no number, and the like.
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => BadAnswer::NotHttp,
        _ => BadAnswer::Cut,
    }
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}
