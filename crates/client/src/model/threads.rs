//! Threads, their turns, and the events that agents write into them.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;

use super::{empty_object, named::named};

named! {
    pub enum ThreadStatus {
        Active = "active",
        /// Nothing happened in it for its idle time-out.
        Idle = "idle",
    }
}

named! {
    pub enum TurnStatus {
        /// It is recorded, and waits for an agent or for the turn before it.
        Accepted = "accepted",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl TurnStatus {
    /// Whether the turn has ended; it never changes again.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            TurnStatus::Completed | TurnStatus::Failed | TurnStatus::Cancelled
        )
    }
}

named! {
    /// What becomes of a turn that comes while another of its thread is open.
    pub enum OnBusy {
        /// It waits for its place.
        Enqueue = "enqueue",
        /// It is refused: 409.
        Reject = "reject",
        /// The open turns are cancelled first.
        Interrupt = "interrupt",
    }
}

named! {
    pub enum EventLevel {
        Debug = "debug",
        Info = "info",
        Warn = "warn",
        Error = "error",
    }
}

fn info() -> EventLevel {
    EventLevel::Info
}

/// How a turn stands after an event of this type; `None` if the event does not end it.
fn ended_by(event_type: &str) -> Option<TurnStatus> {
    match event_type {
        "turn.completed" => Some(TurnStatus::Completed),
        "turn.failed" => Some(TurnStatus::Failed),
        "turn.cancelled" => Some(TurnStatus::Cancelled),
        _ => None,
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thread {
    pub thread_id: String,
    #[serde(default)]
    pub tenant_id: String,
    pub status: ThreadStatus,
    /// The number of its newest event; 0 if it has none.
    #[serde(default)]
    pub last_seq: u64,
    #[serde(default)]
    pub idle_timeout_seconds: Option<u64>,
    #[serde(default)]
    pub created_at: Option<Time>,
    #[serde(default)]
    pub updated_at: Option<Time>,
}

#[derive(Deserialize)]
pub(crate) struct ThreadsPage {
    pub threads: Vec<Thread>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A turn to be started.
#[derive(Clone, Debug, Serialize)]
pub struct NewTurn {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
    pub input: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_busy: Option<OnBusy>,
}

impl NewTurn {
    /// A turn with this input, from anything that serialises.
    pub fn new<T: Serialize + ?Sized>(input: &T) -> Result<Self, serde_json::Error> {
        Ok(NewTurn {
            thread_id: None,
            turn_id: None,
            input: to_raw_value(input)?,
            agent: None,
            on_busy: None,
        })
    }

    /// The thread that it goes on with; a new one without it.
    #[must_use]
    pub fn thread(mut self, id: impl Into<String>) -> Self {
        self.thread_id = Some(id.into());
        self
    }

    /// Together with a thread it makes the start safe to repeat: a thread has one turn with this id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.turn_id = Some(id.into());
        self
    }

    /// Whose turn it is; of whoever serves `default` without it.
    #[must_use]
    pub fn agent(mut self, name: impl Into<String>) -> Self {
        self.agent = Some(name.into());
        self
    }

    #[must_use]
    pub fn on_busy(mut self, on_busy: OnBusy) -> Self {
        self.on_busy = Some(on_busy);
        self
    }
}

/// What the server says of a turn that it took, or cancelled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AcceptedTurn {
    pub thread_id: String,
    pub turn_id: String,
    pub status: TurnStatus,
    /// The number of the event that says so.
    #[serde(default)]
    pub seq: u64,
}

/// A turn as a list shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TurnRecord {
    pub turn_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    pub status: TurnStatus,
    #[serde(default = "empty_object")]
    pub input: Box<RawValue>,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    #[serde(default)]
    pub created_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

#[derive(Deserialize)]
pub(crate) struct TurnsPage {
    pub turns: Vec<TurnRecord>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// An event to be stored in a thread.
#[derive(Clone, Debug, Serialize)]
pub struct NewThreadEvent {
    #[serde(rename = "type")]
    pub event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<EventLevel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Box<RawValue>>,
}

impl NewThreadEvent {
    #[must_use]
    pub fn new(event_type: impl Into<String>) -> Self {
        NewThreadEvent {
            event_type: event_type.into(),
            event_id: None,
            turn_id: None,
            level: None,
            payload: None,
            ts: None,
            content_type: None,
            source: None,
            trace: None,
            tags: None,
        }
    }

    /// The payload, from anything that serialises.
    pub fn payload<T: Serialize + ?Sized>(
        mut self,
        payload: &T,
    ) -> Result<Self, serde_json::Error> {
        self.payload = Some(to_raw_value(payload)?);
        Ok(self)
    }

    /// Makes the append safe to repeat: the thread stores one event with this id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.event_id = Some(id.into());
        self
    }

    #[must_use]
    pub fn turn(mut self, id: impl Into<String>) -> Self {
        self.turn_id = Some(id.into());
        self
    }

    #[must_use]
    pub fn level(mut self, level: EventLevel) -> Self {
        self.level = Some(level);
        self
    }

    /// Whether a turn ends with it.
    #[must_use]
    pub fn ends_turn(&self) -> bool {
        ended_by(&self.event_type).is_some()
    }
}

/// What a thread says of an appended event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredThreadEvent {
    pub event_id: String,
    pub seq: u64,
    /// The `event_id` was known: nothing was stored.
    #[serde(default)]
    pub duplicated: bool,
    /// How the event's turn stands: who still works on one that has ended may stop.
    #[serde(default)]
    pub turn_status: Option<TurnStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadEvent {
    #[serde(default)]
    pub spec_version: String,
    pub event_id: String,
    #[serde(default)]
    pub thread_id: String,
    #[serde(default)]
    pub turn_id: Option<String>,
    pub seq: u64,
    pub ts: Time,
    #[serde(rename = "type")]
    pub event_type: String,
    #[serde(default = "info")]
    pub level: EventLevel,
    #[serde(default = "empty_object")]
    pub payload: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Box<RawValue>>,
}

impl ThreadEvent {
    /// How its turn stands after it; `None` if it does not end the turn.
    #[must_use]
    pub fn ends_turn(&self) -> Option<TurnStatus> {
        ended_by(&self.event_type)
    }
}

#[derive(Deserialize)]
pub(crate) struct ThreadEventsPage {
    pub events: Vec<ThreadEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_out_as_it_came_in() {
        let text = r#"{"spec_version":"agent-events/1.0","event_id":"e","thread_id":"t","turn_id":null,"seq":7,"ts":"2026-01-01T00:00:00.000000Z","type":"custom","level":"info","payload":{"n": 1.50},"tags":["a"]}"#;
        let event: ThreadEvent = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        assert_eq!(event.ends_turn(), None);
    }

    #[test]
    fn only_what_is_given_is_sent() {
        let event = NewThreadEvent::new("message.delta").turn("u");
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"type":"message.delta","turn_id":"u"}"#
        );
        let turn = NewTurn::new("hi").unwrap().on_busy(OnBusy::Interrupt);
        assert_eq!(
            serde_json::to_string(&turn).unwrap(),
            r#"{"input":"hi","on_busy":"interrupt"}"#
        );
    }
}
