//! An answer that is handed on as it comes.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep_until};

use crate::{
    BadAnswer, Error, Phase, Request, Target,
    client::{Asked, Deadline},
    connection::{Connection, body_fault},
    pool::Pool,
};

/// The head of an answer, and its body to be read.
#[non_exhaustive]
pub struct Opened {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Streamed,
}

/// A body on its way. It fails at the deadline of its request, and beyond its cap: what was cut would otherwise look
/// whole. Dropped, it takes its connection with it.
pub struct Streamed {
    incoming: Incoming,
    connection: Option<Connection>,
    target: Target,
    pool: Arc<Pool>,
    deadline: Deadline,
    over: Pin<Box<Sleep>>,
    cap: usize,
    left: usize,
    failed: bool,
}

impl Opened {
    pub(crate) fn new(request: &Request, asked: Asked, pool: Arc<Pool>) -> Result<Self, Error> {
        let (_, cap, _) = request.wants();
        let (parts, incoming) = asked.head.response.into_parts();
        let body = Streamed {
            target: request.target().clone(),
            pool,
            over: Box::pin(sleep_until(asked.deadline.at)),
            deadline: asked.deadline,
            cap,
            left: cap,
            failed: false,
            connection: Some(asked.connection),
            incoming,
        };
        if body.incoming.size_hint().lower() > cap as u64 {
            return Err(body.too_long());
        }
        Ok(Opened {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }
}

impl Streamed {
    fn bad(&self, why: BadAnswer) -> Error {
        Error::BadAnswer {
            host: self.target.host().to_string(),
            why,
        }
    }

    fn too_long(&self) -> Error {
        self.bad(BadAnswer::TooLong { cap: self.cap })
    }

    fn fail(&mut self, error: Error) -> Option<Result<Frame<Bytes>, Error>> {
        self.failed = true;
        // Shared or not, nobody knows what is still on its way over it.
        if let Some(Connection::Trunk(trunk)) = self.connection.take() {
            self.pool.forget(self.target.origin(), &trunk);
        }
        Some(Err(error))
    }

    /// Whoever asks next may have the connection.
    fn end(&mut self) {
        if let Some(Connection::Line(mut line)) = self.connection.take() {
            let (pool, target) = (Arc::clone(&self.pool), self.target.clone());
            tokio::spawn(async move {
                if line.is_ready_soon().await {
                    pool.give_back(target.origin(), line);
                }
            });
        }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if this.failed {
            return Poll::Ready(None);
        }
        if this.over.as_mut().poll(cx).is_ready() {
            let error = Error::Timeout {
                phase: Phase::Body,
                after: this.deadline.after,
            };
            return Poll::Ready(this.fail(error));
        }
        let frame = ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        Poll::Ready(match frame {
            None => {
                this.end();
                None
            }
            Some(Err(error)) => {
                let why = this
                    .connection
                    .as_ref()
                    .map_or(BadAnswer::Cut, |connection| body_fault(&error, connection));
                let error = this.bad(why);
                this.fail(error)
            }
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, Bytes::len);
                match this.left.checked_sub(size) {
                    Some(left) => {
                        this.left = left;
                        Some(Ok(frame))
                    }
                    None => {
                        let error = this.too_long();
                        this.fail(error)
                    }
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Whoever reads by the announced length does not ask for the end.
impl Drop for Streamed {
    fn drop(&mut self) {
        if !self.failed && self.incoming.is_end_stream() {
            self.end();
        }
    }
}

/// Headers may hold secrets.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
