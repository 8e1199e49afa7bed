//! The live log. The state is one position: that of the last event handed out. Every connection
//! starts behind it, so a broken one costs time and never an event.
//!
//! "From now" is made a position too, before the first connection: otherwise a connection that
//! breaks before its first event would lose what happened until the next one.

use std::{fmt, time::Duration};

use futures_util::{Stream, stream};

use crate::{Client, Error, Event, EventQuery, Result, Retry, live::Live, model};

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

/// Follows the log. The first connection is tried as often as the client's [`Retry`] says; after
/// that it reconnects for as long as the server does not refuse (401, 403, 400 …).
pub struct Tail {
    live: Live,
    query: TailQuery,
    position: Option<String>,
    ended: bool,
}

impl Tail {
    pub(crate) fn new(client: Client, query: TailQuery) -> Self {
        Tail {
            live: Live::new(client),
            position: query.after.clone(),
            query,
            ended: false,
        }
    }

    /// Calls `notice` each time the connection is lost, with the reason and the wait until the
    /// next one.
    #[must_use]
    pub fn on_disconnect(mut self, notice: impl FnMut(&Error, Duration) + Send + 'static) -> Self {
        self.live.on_disconnect(notice);
        self
    }

    /// The position behind the last event that was handed out.
    #[must_use]
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Connects, if it is not connected. Events stored after this returns will be seen.
    pub async fn connect(&mut self) -> Result<()> {
        if self.live.is_connected() {
            return Ok(());
        }
        self.live.rest().await;
        let after = match &self.position {
            Some(position) => position.clone(),
            None => newest(self.live.client()).await?,
        };
        self.position = Some(after.clone());
        let mut url = self.live.client().url(&["v1", "events", "tail"])?;
        model::asked(
            &mut url,
            &[
                ("type", self.query.event_type.as_deref()),
                ("stream", self.query.stream.as_deref()),
                ("after", Some(&after)),
            ],
        );
        self.live.connect(url, Some(&after)).await
    }

    /// The next event, however long it takes. Nothing is lost if the future is dropped. After an
    /// error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<TailEvent>> {
        while !self.ended {
            match self.step().await {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(error) => {
                    if !self.live.pause(&error) {
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
        let frame = self.live.frame()?;
        if let Some(id) = self.live.last_id() {
            self.position = Some(id.to_owned());
        }
        let Some(frame) = frame else {
            self.live.more().await?;
            return Ok(None);
        };
        let event: Event = self.live.read(&frame)?;
        let position = frame.last_id.unwrap_or_else(|| event.id.clone());
        self.position = Some(position.clone());
        Ok(Some(TailEvent { position, event }))
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
