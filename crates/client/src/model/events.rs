//! Events, as they go into the log and come out of it.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;

use super::empty_object;

/// An event to be stored.
#[derive(Clone, Debug, Serialize)]
pub struct NewEvent {
    #[serde(rename = "type")]
    pub event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_seq: Option<u64>,
}

impl NewEvent {
    #[must_use]
    pub fn new(event_type: impl Into<String>) -> Self {
        NewEvent {
            event_type: event_type.into(),
            payload: None,
            stream: None,
            subject: None,
            dedupe_key: None,
            source: None,
            occurred_at: None,
            expected_seq: None,
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

    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Makes the append safe to repeat: the tenant stores one event with this key.
    #[must_use]
    pub fn dedupe_key(mut self, key: impl Into<String>) -> Self {
        self.dedupe_key = Some(key.into());
        self
    }

    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn occurred_at(mut self, at: Time) -> Self {
        self.occurred_at = Some(at);
        self
    }

    /// Stores the event only if this is its stream's last `seq` (0: the stream is empty).
    #[must_use]
    pub fn expected_seq(mut self, seq: u64) -> Self {
        self.expected_seq = Some(seq);
        self
    }
}

/// What the log says of an appended event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Appended {
    pub id: String,
    pub stream: String,
    pub seq: u64,
    pub created_at: Time,
    /// The `dedupe_key` was known: this is the first event with it, and nothing was stored.
    #[serde(default)]
    pub duplicated: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub id: String,
    pub stream: String,
    pub seq: u64,
    #[serde(rename = "type")]
    pub event_type: String,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default = "empty_object")]
    pub payload: Box<RawValue>,
    #[serde(default)]
    pub dedupe_key: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub occurred_at: Option<Time>,
    pub created_at: Time,
}

#[derive(Deserialize)]
pub(crate) struct EventsPage {
    pub events: Vec<Event>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_not_sent() {
        let event = NewEvent::new("t").payload(&[1, 2]).unwrap();
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"type":"t","payload":[1,2]}"#
        );
    }
}
