//! A thread as it is written. As with the log's [`Tail`](crate::Tail), the state is one position,
//! the number of the last event handed out, and every connection starts behind it.

use std::{fmt, time::Duration};

use futures_util::{Stream, stream};

use crate::{Client, Error, Result, ThreadEvent, live::Live, model};

/// What the server says when a turn's stream is at its end.
const DONE: &str = "[DONE]";

/// Follows a thread, or one of its turns. The first connection is tried as often as the client's
/// [`Retry`](crate::Retry) says; after that it reconnects for as long as the server does not refuse
/// (401, 404 …).
pub struct ThreadStream {
    live: Live,
    thread_id: String,
    turn_id: Option<String>,
    after_seq: u64,
    ended: bool,
}

impl ThreadStream {
    pub(crate) fn new(
        client: Client,
        thread_id: &str,
        after_seq: u64,
        turn_id: Option<&str>,
    ) -> Self {
        ThreadStream {
            live: Live::new(client),
            thread_id: thread_id.to_owned(),
            turn_id: turn_id.map(str::to_owned),
            after_seq,
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

    /// The number of the last event that was handed out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.after_seq
    }

    /// The next event, however long it takes; `None` when the turn that is followed has ended.
    /// Nothing is lost if the future is dropped. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<ThreadEvent>> {
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
    pub fn into_stream(self) -> impl Stream<Item = Result<ThreadEvent>> + Send {
        stream::unfold(self, |mut thread| async move {
            thread.next().await.map(|event| (event, thread))
        })
    }

    async fn connect(&mut self) -> Result<()> {
        if self.live.is_connected() {
            return Ok(());
        }
        self.live.rest().await;
        let path = ["v1", "threads", &self.thread_id, "events", "stream"];
        let mut url = self.live.client().url(&path)?;
        let after = self.after_seq.to_string();
        model::asked(
            &mut url,
            &[
                ("after_seq", Some(&after)),
                ("turn_id", self.turn_id.as_deref()),
            ],
        );
        let last_event_id = (self.after_seq > 0).then_some(after.as_str());
        self.live.connect(url, last_event_id).await
    }

    /// One event, or one step towards it.
    async fn step(&mut self) -> Result<Option<ThreadEvent>> {
        self.connect().await?;
        let Some(frame) = self.live.frame()? else {
            self.live.more().await?;
            return Ok(None);
        };
        if frame.data == DONE {
            self.ended = true;
            return Ok(None);
        }
        let event: ThreadEvent = self.live.read(&frame)?;
        if event.seq <= self.after_seq {
            return Ok(None);
        }
        self.after_seq = event.seq;
        // The word that all is said may get lost with its connection; the last event says it too.
        self.ended =
            self.turn_id.is_some() && self.turn_id == event.turn_id && event.ends_turn().is_some();
        Ok(Some(event))
    }
}

impl fmt::Debug for ThreadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadStream")
            .field("thread_id", &self.thread_id)
            .field("turn_id", &self.turn_id)
            .field("after_seq", &self.after_seq)
            .finish_non_exhaustive()
    }
}
