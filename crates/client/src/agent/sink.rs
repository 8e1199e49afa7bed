//! Where a handler says what it does.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;
use tidewire_core::{Clock, ids};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{Client, NewThreadEvent, Output, Retry};

use super::{
    courier::{Courier, Item, MOST_WAITING},
    say::{Message, ToolCall},
};

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The turn was cancelled or taken over, a terminal event was emitted, or the agent stops.
    #[error("the turn has ended")]
    Ended,
    /// The server will not take it, nor anything behind it.
    #[error("the server refused the turn's events: {0}")]
    Refused(String),
    #[error("the event cannot be written as JSON: {0}")]
    NotJson(String),
}

/// Takes a turn's events, in the order in which they are emitted. Cheap to clone.
#[derive(Clone)]
pub struct Sink {
    queue: mpsc::Sender<Item>,
    shared: Arc<Shared>,
}

struct Shared {
    turn_id: String,
    /// A terminal event was emitted.
    is_over: AtomicBool,
    /// Why the courier stopped.
    fate: Arc<OnceLock<EmitError>>,
    clock: Clock,
}

pub(super) fn open(
    client: &Client,
    thread_id: &str,
    turn_id: &str,
    cancelled: &CancellationToken,
) -> (Sink, Courier) {
    let (queue, waiting) = mpsc::channel(MOST_WAITING);
    let fate = Arc::new(OnceLock::new());
    let courier = Courier {
        // It has a patience of its own.
        client: client.with_retry(Retry::none()),
        thread_id: thread_id.to_owned(),
        waiting,
        cancelled: cancelled.clone(),
        fate: Arc::clone(&fate),
    };
    let shared = Shared {
        turn_id: turn_id.to_owned(),
        is_over: AtomicBool::new(false),
        fate,
        clock: Clock::system(),
    };
    let sink = Sink {
        queue,
        shared: Arc::new(shared),
    };
    (sink, courier)
}

impl Sink {
    /// Takes an event; it is on its way when this returns, and stored when [`Sink::flush`] does.
    /// Waits while too many others have not gone out yet. The turn's id is set here, and an
    /// `event_id` if the event has none. A terminal event (`turn.completed`, `turn.failed`,
    /// `turn.cancelled`) is the last that is taken.
    pub async fn emit(&self, mut event: NewThreadEvent) -> Result<(), EmitError> {
        event.turn_id = Some(self.shared.turn_id.clone());
        event.event_id.get_or_insert_with(|| self.new_id());
        let text =
            serde_json::to_string(&event).map_err(|error| EmitError::NotJson(error.to_string()))?;
        let place = self.queue.reserve().await.map_err(|_| self.fate())?;
        let is_over = &self.shared.is_over;
        let was_over = if event.ends_turn() {
            is_over.swap(true, Ordering::Relaxed)
        } else {
            is_over.load(Ordering::Relaxed)
        };
        if was_over {
            return Err(EmitError::Ended);
        }
        place.send(Item::Event {
            text,
            ends_turn: event.ends_turn(),
        });
        Ok(())
    }

    /// The same for a type and a payload.
    pub async fn say<T: Serialize + ?Sized>(
        &self,
        event_type: &str,
        payload: &T,
    ) -> Result<(), EmitError> {
        let event = NewThreadEvent::new(event_type)
            .payload(payload)
            .map_err(|error| EmitError::NotJson(error.to_string()))?;
        self.emit(event).await
    }

    /// Returns when everything emitted so far is stored.
    pub async fn flush(&self) -> Result<(), EmitError> {
        let (stored, is_stored) = oneshot::channel();
        self.queue
            .send(Item::Flush(stored))
            .await
            .map_err(|_| self.fate())?;
        is_stored.await.map_err(|_| self.fate())
    }

    /// A message that is said piece by piece.
    #[must_use]
    pub fn message(&self) -> Message {
        Message::new(self.clone(), self.new_id())
    }

    /// Says that a tool is called.
    pub async fn tool_call(&self, name: &str) -> Result<ToolCall, EmitError> {
        ToolCall::start(self.clone(), self.new_id(), name).await
    }

    /// Says how the turn ended, unless the handler did, and returns when all is stored.
    pub(super) async fn finish(&self, output: &Output) -> Result<(), EmitError> {
        #[derive(Serialize)]
        struct Completed<'a> {
            output: Option<&'a serde_json::value::RawValue>,
        }
        if !self.shared.is_over.load(Ordering::Relaxed) {
            let output = output.as_raw();
            self.say("turn.completed", &Completed { output }).await?;
        }
        self.flush().await
    }

    fn new_id(&self) -> String {
        ids::new_id(&self.shared.clock)
    }

    fn fate(&self) -> EmitError {
        let fate = self.shared.fate.get();
        fate.cloned().unwrap_or(EmitError::Ended)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("turn_id", &self.shared.turn_id)
            .finish_non_exhaustive()
    }
}
