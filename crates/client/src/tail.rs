//! The live log. The state is one position: that of the last event handed out. Every connection
//! starts behind it, so a broken one costs time and never an event.
//!
//! "From now" is made a position too, before the first connection: otherwise a connection that
//! breaks before its first event would lose what happened until the next one.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::{Response, Url};
use tidewire_core::{backoff::Backoff, clock};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Client, Error, Event, EventQuery, Result, Retry, TransportError, error::shown, model,
    retry::Repeat, sse, transport::transport,
};

/// The server sends a keepalive every 15 s: after three missed ones the connection is dead.
const SILENCE: Duration = Duration::from_secs(50);
const RECONNECT: Backoff = Backoff {
    base: Duration::from_millis(200),
    cap: Duration::from_secs(10),
};
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Before the first event of all: a position that every log has.
const START: &str = "0";

/// Which events to follow, and from where.
#[derive(Clone, Debug, Default)]
pub struct TailQuery {
    pub event_type: Option<String>,
    pub stream: Option<String>,
    /// An event's id, a position that [`TailEvent::position`] gave, or `0` for the start of the
    /// log. `None`: from now.
    pub after: Option<String>,
}

/// An event and the position behind it.
#[derive(Clone, Debug)]
pub struct TailEvent {
    /// What to give as [`TailQuery::after`] to go on behind this event.
    pub position: String,
    pub event: Event,
}

type Notice = Box<dyn FnMut(&Error, Duration) + Send>;

/// Follows the log. The first connection is tried as often as the client's [`Retry`] says; after
/// that it reconnects for as long as the server does not refuse (401, 403, 400 …).
pub struct Tail {
    client: Client,
    query: TailQuery,
    position: Option<String>,
    connection: Option<(Response, sse::Reader)>,
    url: Option<Url>,
    was_connected: bool,
    /// Connections in a row that brought nothing.
    failures: u32,
    retry_hint: Option<Duration>,
    resume_at: Option<Instant>,
    on_disconnect: Option<Notice>,
    ended: bool,
}

impl Tail {
    pub(crate) fn new(client: Client, query: TailQuery) -> Self {
        Tail {
            client,
            position: query.after.clone(),
            query,
            connection: None,
            url: None,
            was_connected: false,
            failures: 0,
            retry_hint: None,
            resume_at: None,
            on_disconnect: None,
            ended: false,
        }
    }

    /// Calls `notice` each time the connection is lost, with the reason and the wait until the
    /// next one.
    #[must_use]
    pub fn on_disconnect(mut self, notice: impl FnMut(&Error, Duration) + Send + 'static) -> Self {
        self.on_disconnect = Some(Box::new(notice));
        self
    }

    /// The position behind the last event that was handed out.
    #[must_use]
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Connects, if it is not connected. Events stored after this returns will be seen.
    pub async fn connect(&mut self) -> Result<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        if let Some(at) = self.resume_at {
            sleep_until(at).await;
            self.resume_at = None;
        }
        let after = match &self.position {
            Some(position) => position.clone(),
            None => newest(&self.client).await?,
        };
        self.position = Some(after.clone());
        let mut url = self.client.url(&["v1", "events", "tail"])?;
        model::asked(
            &mut url,
            &[
                ("type", self.query.event_type.as_deref()),
                ("stream", self.query.stream.as_deref()),
                ("after", Some(&after)),
            ],
        );
        let response = self.client.open(&url, Some(&after)).await?;
        self.connection = Some((response, sse::Reader::default()));
        self.url = Some(url);
        self.was_connected = true;
        Ok(())
    }

    /// The next event, however long it takes. Nothing is lost if the future is dropped. After an
    /// error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<TailEvent>> {
        while !self.ended {
            match self.step().await {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(error) => {
                    if !self.pause(&error) {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<TailEvent>> + Send {
        stream::unfold(self, |mut tail| async move {
            tail.next().await.map(|event| (event, tail))
        })
    }

    /// One event, or one step towards it.
    async fn step(&mut self) -> Result<Option<TailEvent>> {
        self.connect().await?;
        let (Some((response, reader)), Some(url)) = (&mut self.connection, &self.url) else {
            return Ok(None);
        };
        let frame = reader.next().map_err(|broken| unreadable(url, &broken))?;
        self.retry_hint = reader.retry().or(self.retry_hint);
        if let Some(id) = reader
            .last_id()
            .filter(|id| self.position.as_deref() != Some(id))
        {
            self.position = Some(id.to_owned());
        }
        let Some(frame) = frame else {
            let chunk: Option<Bytes> = timeout(SILENCE, response.chunk())
                .await
                .map_err(|_| Error::Transport(Box::new(TransportError::timeout(url, SILENCE))))?
                .map_err(|error| transport(url, error))?;
            let chunk =
                chunk.ok_or_else(|| Error::Transport(Box::new(TransportError::ended(url))))?;
            reader.push(chunk);
            return Ok(None);
        };
        let event: Event =
            serde_json::from_str(&frame.data).map_err(|error| unreadable(url, &error))?;
        self.failures = 0;
        let position = frame.last_id.unwrap_or_else(|| event.id.clone());
        self.position = Some(position.clone());
        Ok(Some(TailEvent { position, event }))
    }

    /// Sets when to connect again; `false` if that is of no use.
    fn pause(&mut self, error: &Error) -> bool {
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
        tracing::debug!(%error, wait_ms = wait.as_millis(), "the tail is not connected");
        if let Some(notice) = self.on_disconnect.as_mut().filter(|_| self.was_connected) {
            notice(error, wait);
        }
        self.resume_at = Some(Instant::now() + wait);
        true
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("query", &self.query)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// The position of the newest event: what "from now" is behind.
async fn newest(client: &Client) -> Result<String> {
    let query = EventQuery {
        limit: Some(1),
        ..EventQuery::default()
    };
    // The tail repeats what fails, and this is a part of it.
    let page = client
        .with_retry(Retry::none())
        .events()
        .list(&query)
        .await?;
    Ok(page
        .items
        .into_iter()
        .next()
        .map_or_else(|| START.to_owned(), |event| event.id))
}

fn unreadable(url: &Url, why: &dyn fmt::Display) -> Error {
    Error::Answer {
        url: shown(url),
        status: 200,
        detail: why.to_string(),
    }
}
