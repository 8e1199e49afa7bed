//! A stream of server-sent events that connects again by itself. Whoever uses it says from where:
//! it knows connections and waits, and nothing of what the frames mean.

use std::{fmt, time::Duration};

use bytes::Bytes;
use reqwest::{Response, Url};
use tidewire_core::{backoff::Backoff, clock};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Client, Error, Result, TransportError,
    error::shown,
    retry::Repeat,
    sse::{self, Frame},
    transport::transport,
};

/// The server sends a keepalive every 15 s: after three missed ones the connection is dead.
const SILENCE: Duration = Duration::from_secs(50);
const RECONNECT: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(10),
};
const LONGEST_WAIT: Duration = Duration::from_secs(300);

type Notice = Box<dyn FnMut(&Error, Duration) + Send>;

/// The first connection is tried as often as the client's [`Retry`](crate::Retry) says; after that
/// it reconnects for as long as the server does not refuse (401, 403, 400 …).
pub(crate) struct Live {
    client: Client,
    connection: Option<Connection>,
    was_connected: bool,
    /// Connections in a row that brought nothing.
    failures: u32,
    retry_hint: Option<Duration>,
    resume_at: Option<Instant>,
    on_disconnect: Option<Notice>,
}

struct Connection {
    response: Response,
    reader: sse::Reader,
    url: Url,
}

impl Live {
    pub fn new(client: Client) -> Self {
        Live {
            client,
            connection: None,
            was_connected: false,
            failures: 0,
            retry_hint: None,
            resume_at: None,
            on_disconnect: None,
        }
    }

    pub fn on_disconnect(&mut self, notice: impl FnMut(&Error, Duration) + Send + 'static) {
        self.on_disconnect = Some(Box::new(notice));
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Returns when the next connection may be tried.
    pub async fn rest(&mut self) {
        if let Some(at) = self.resume_at {
            sleep_until(at).await;
            self.resume_at = None;
        }
    }

    pub async fn connect(&mut self, url: Url, last_event_id: Option<&str>) -> Result<()> {
        let response = self.client.open(&url, last_event_id).await?;
        self.connection = Some(Connection {
            response,
            reader: sse::Reader::default(),
            url,
        });
        self.was_connected = true;
        Ok(())
    }

    /// The next whole frame of what has come; `None` asks for [`more`](Live::more).
    pub fn frame(&mut self) -> Result<Option<Frame>> {
        let Some(Connection { reader, url, .. }) = &mut self.connection else {
            return Ok(None);
        };
        let frame = reader.next().map_err(|broken| unreadable(url, &broken))?;
        self.retry_hint = reader.retry().or(self.retry_hint);
        Ok(frame)
    }

    /// Waits until more has come. Nothing is lost if the future is dropped.
    pub async fn more(&mut self) -> Result<()> {
        let Some(Connection {
            response,
            reader,
            url,
        }) = &mut self.connection
        else {
            return Ok(());
        };
        let chunk: Option<Bytes> = timeout(SILENCE, response.chunk())
            .await
            .map_err(|_| Error::Transport(Box::new(TransportError::timeout(url, SILENCE))))?
            .map_err(|error| transport(url, error))?;
        let chunk = chunk.ok_or_else(|| Error::Transport(Box::new(TransportError::ended(url))))?;
        reader.push(chunk);
        Ok(())
    }

    /// The position behind the last whole frame of this connection.
    pub fn last_id(&self) -> Option<&str> {
        self.connection.as_ref()?.reader.last_id()
    }

    /// Reads what a frame holds; having been of use, the connection counts as a good one.
    pub fn read<T: serde::de::DeserializeOwned>(&mut self, frame: &Frame) -> Result<T> {
        let read = serde_json::from_str(&frame.data);
        match (read, &self.connection) {
            (Ok(value), _) => {
                self.failures = 0;
                Ok(value)
            }
            (Err(error), Some(connection)) => Err(unreadable(&connection.url, &error)),
            (Err(error), None) => Err(Error::Request(error.to_string())),
        }
    }

    /// Ends the connection and sets when to connect again; `false` if that is of no use.
    pub fn pause(&mut self, error: &Error) -> bool {
        self.connection = None;
        self.failures = self.failures.saturating_add(1);
        let wait = if self.was_connected {
            let own = RECONNECT.delay(self.failures, clock::random_fraction());
            let asked = error.retry_after().or(self.retry_hint).unwrap_or_default();
            error
                .is_transient()
                .then_some(own.max(asked).min(LONGEST_WAIT))
        } else {
            self.client.retry.wait(error, Repeat::Always, self.failures)
        };
        let Some(wait) = wait else { return false };
        tracing::debug!(%error, wait_ms = wait.as_millis(), "the stream is not connected");
        if let Some(notice) = self.on_disconnect.as_mut().filter(|_| self.was_connected) {
            notice(error, wait);
        }
        self.resume_at = Some(Instant::now() + wait);
        true
    }
}

fn unreadable(url: &Url, why: &dyn fmt::Display) -> Error {
    Error::Answer {
        url: shown(url),
        status: 200,
        detail: why.to_string(),
    }
}
