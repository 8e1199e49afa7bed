//! Events as clients send them, as they are stored, and as they are read.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{FieldError, Problem, Time, json, name};

/// Events in one request.
pub const MAX_BATCH: usize = 1000;
/// Bytes of one payload's JSON text.
pub const MAX_PAYLOAD: usize = 256 << 10;
/// Characters of a subject, a source or a dedupe key.
pub const MAX_TEXT: usize = 512;
pub const DEFAULT_STREAM: &str = "default";

/// An event as a client sends it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventIn {
    /// 1–255 characters of `[A-Za-z0-9._:-]`.
    #[serde(rename = "type")]
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = "^[A-Za-z0-9._:-]+$",
        example = "payment.completed"
    )]
    kind: String,
    /// Any JSON, at most 256 KiB; `{}` if it is missing.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Another name of `payload`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload_json: Option<Box<RawValue>>,
    /// 1–128 characters of `[A-Za-z0-9._:-]`; `default` if it is missing.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9._:-]+$",
        example = "orders"
    )]
    stream: Option<String>,
    /// Whom or what the event is about, for example a user's id.
    #[schema(min_length = 1, max_length = 512)]
    subject: Option<String>,
    /// Of events with the same key in a tenant only the first is stored.
    #[schema(min_length = 1, max_length = 512)]
    dedupe_key: Option<String>,
    /// When it happened, if that is not when it is stored.
    occurred_at: Option<Time>,
    /// Who says so.
    #[schema(min_length = 1, max_length = 512)]
    source: Option<String>,
    /// The stream's last `seq`, or the event is refused with a 409. Only for a single event.
    #[schema(minimum = 0)]
    expected_seq: Option<u64>,
}

/// `null` is a payload too, so a field that is there is never taken for a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// An event that was checked and can be appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub(crate) kind: String,
    pub(crate) payload: Box<RawValue>,
    pub(crate) stream: String,
    pub(crate) subject: Option<String>,
    pub(crate) dedupe_key: Option<String>,
    pub(crate) occurred_at: Option<Time>,
    pub(crate) source: Option<String>,
    pub(crate) expected_seq: Option<u64>,
    /// How many triggers deep.
    pub(crate) depth: u32,
    pub(crate) place: Place,
}

/// Who says where in its stream an event stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// The log: behind the stream's last.
    #[default]
    Next,
    /// Whoever keeps the stream: here, and it must join on.
    At(u64),
    /// The same, but for what is missing before it.
    BehindGap(u64),
}

impl EventIn {
    pub(crate) fn check(self) -> Result<NewEvent, Problem> {
        let mut errors = Vec::new();
        if self.payload.is_some() && self.payload_json.is_some() {
            errors.push(FieldError {
                pointer: "/payload_json".to_owned(),
                detail: "is another name of `payload`: send one of them".to_owned(),
            });
        }
        let event = NewEvent {
            kind: self.kind,
            payload: self.payload.or(self.payload_json).unwrap_or_else(empty),
            stream: self.stream.unwrap_or_else(|| DEFAULT_STREAM.to_owned()),
            subject: self.subject,
            dedupe_key: self.dedupe_key,
            occurred_at: self.occurred_at,
            source: self.source,
            expected_seq: self.expected_seq,
            depth: 0,
            place: Place::Next,
        };
        event.faults(&mut errors);
        Problem::all(errors)?;
        Ok(event)
    }
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

impl NewEvent {
    /// An event of type `kind`; refused if the type or the payload breaks a limit.
    pub fn new(kind: impl Into<String>, payload: Box<RawValue>) -> Result<Self, Problem> {
        NewEvent::kept(DEFAULT_STREAM, kind, payload).checked()
    }

    /// An event of a stream that another room keeps for itself, which has checked all its parts and
    /// limits them itself.
    #[must_use]
    pub fn kept(
        stream: impl Into<String>,
        kind: impl Into<String>,
        payload: Box<RawValue>,
    ) -> Self {
        NewEvent {
            kind: kind.into(),
            payload,
            stream: stream.into(),
            subject: None,
            dedupe_key: None,
            occurred_at: None,
            source: None,
            expected_seq: None,
            depth: 0,
            place: Place::Next,
        }
    }

    /// It was numbered elsewhere: this is its `seq`, and it must join on, or the append is refused.
    /// If it is there already it is a duplicate in this very place, or the append is refused too.
    /// It needs a dedupe key to be known by.
    #[must_use]
    pub fn numbered(mut self, seq: u64) -> Self {
        self.place = Place::At(seq);
        self
    }

    /// The same for one that says that those before it, back to the stream's last, are missing.
    #[must_use]
    pub fn behind_gap(mut self, seq: u64) -> Self {
        self.place = Place::BehindGap(seq);
        self
    }

    /// Whom or what it is about.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Of events with the same key in a tenant only the first is stored.
    #[must_use]
    pub fn once(mut self, dedupe_key: impl Into<String>) -> Self {
        self.dedupe_key = Some(dedupe_key.into());
        self
    }

    /// Who says so.
    #[must_use]
    pub fn said_by(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// When it happened, if that is not when it is stored.
    #[must_use]
    pub fn occurred(mut self, at: Time) -> Self {
        self.occurred_at = Some(at);
        self
    }

    /// The same, so many triggers deep.
    #[must_use]
    pub fn at_depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    pub(crate) fn checked(self) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        self.faults(&mut errors);
        Problem::all(errors)?;
        Ok(self)
    }

    fn faults(&self, errors: &mut Vec<FieldError>) {
        let mut note = |pointer: &str, result: Result<(), String>| {
            if let Err(detail) = result {
                errors.push(FieldError {
                    pointer: pointer.to_owned(),
                    detail,
                });
            }
        };
        note("/type", name::check(&self.kind, name::TYPE_MAX));
        note("/stream", name::check(&self.stream, name::ID_MAX));
        for (pointer, text) in [
            ("/subject", &self.subject),
            ("/dedupe_key", &self.dedupe_key),
            ("/source", &self.source),
        ] {
            if let Some(text) = text {
                note(pointer, name::check_text(text, MAX_TEXT));
            }
        }
        let text = self.payload.get();
        if text.len() > MAX_PAYLOAD {
            note(
                "/payload",
                Err(format!(
                    "has {} bytes, and at most {MAX_PAYLOAD} are taken",
                    text.len()
                )),
            );
        } else if let Err(fault) = json::check(text) {
            note(&format!("/payload{}", fault.pointer), Err(fault.detail));
        }
    }

    /// What the event weighs in memory and in a statement, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.get().len() + 256
    }
}

/// The answer to one appended event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Appended {
    #[schema(example = "01JZ8Q4V7R0000000000000001")]
    pub id: String,
    pub stream: String,
    pub seq: u64,
    pub created_at: Time,
    /// Whether the `dedupe_key` was seen before: the rest is then the first event's.
    pub duplicated: bool,
}

/// A stored event.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Event {
    pub id: String,
    pub stream: String,
    pub seq: u64,
    #[serde(rename = "type")]
    pub kind: String,
    #[schema(required)]
    pub subject: Option<String>,
    #[schema(value_type = serde_json::Value)]
    pub payload: Box<RawValue>,
    #[schema(required)]
    pub dedupe_key: Option<String>,
    #[schema(required)]
    pub source: Option<String>,
    pub occurred_at: Time,
    pub created_at: Time,
    /// Where it stands in its tenant's log.
    #[serde(skip)]
    pub pos: u64,
    /// How many triggers deep it is; 0 for one that no trigger has brought about.
    #[serde(skip)]
    pub depth: u32,
}

/// Which events a list or a tail wants.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub kind: Option<String>,
    pub stream: Option<String>,
    pub subject: Option<String>,
    pub source: Option<String>,
    /// Stored at or after.
    pub from: Option<Time>,
    /// Stored at or before.
    pub to: Option<Time>,
}

impl Filter {
    pub(crate) fn wants_all(&self) -> bool {
        let Filter {
            kind,
            stream,
            subject,
            source,
            from,
            to,
        } = self;
        [kind, stream, subject, source]
            .iter()
            .all(|wanted| wanted.is_none())
            && from.is_none()
            && to.is_none()
    }

    /// Whether it wants this event.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_deref().is_none_or(|it| Some(it) == has)
        };
        is(&self.kind, Some(&event.kind))
            && is(&self.stream, Some(&event.stream))
            && is(&self.subject, event.subject.as_deref())
            && is(&self.source, event.source.as_deref())
            && self.from.is_none_or(|from| event.created_at >= from)
            && self.to.is_none_or(|to| event.created_at <= to)
    }
}
