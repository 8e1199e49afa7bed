//! Events of threads: as agents send them, as the log keeps them, and as they are read.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::{FieldError, Problem, Time, json, name};
use tidewire_events::{Event, NewEvent};

use crate::{NAMESPACE, TurnStatus, model::ThreadKey, state};

/// The format of events, as each says.
pub const SPEC_VERSION: &str = "agent-events/1.0";

/// Bytes of the JSON texts of one event's payload.
pub const MAX_PAYLOAD: usize = 256 << 10;
/// Bytes of the JSON texts of `trace` and of `tags`.
const MAX_ANNOTATION: usize = 4 << 10;
/// Characters of a source or a content type.
const MAX_TEXT: usize = 255;

/// What stood before it may be lost. Only the server says so.
pub const GAP: &str = "thread.gap";

const KINDS: [&str; 15] = [
    "turn.started",
    "turn.completed",
    "turn.failed",
    "turn.cancelled",
    "message.delta",
    "message.completed",
    "tool.call.started",
    "tool.call.args.delta",
    "tool.call.completed",
    "tool.call.error",
    "state.snapshot",
    "state.delta",
    "thread.ready",
    "custom",
    "custom.component",
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// An event as an agent sends it: only `type` is required.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NewThreadEvent)]
#[serde(deny_unknown_fields)]
pub struct NewThreadEvent {
    #[serde(rename = "type")]
    #[schema(example = "message.delta")]
    pub kind: String,
    /// Of events with the same id in a thread only the first is stored. Made here if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The turn that it belongs to, if any; made on first use.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
    /// When it happened; when it is stored, if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<Time>,
    #[serde(default)]
    pub level: Level,
    /// Any JSON, at most 256 KiB; `{}` if it is missing.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<serde_json::Value>, example = json!({"message_id": "m1", "delta": "Hello"}))]
    pub payload: Option<Box<RawValue>>,
    /// What the payload is, if its type does not say.
    #[schema(min_length = 1, max_length = 255)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Who says so.
    #[schema(min_length = 1, max_length = 255)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Any JSON, at most 4 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<RawValue>>,
    /// Any JSON, at most 4 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Box<RawValue>>,
    /// `agent-events/1.0`, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec_version: Option<String>,
    /// The thread of the path, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
}

/// `null` is a payload too, so a field that is there is never taken for a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl NewThreadEvent {
    /// One that the server writes.
    #[must_use]
    pub fn of_turn(kind: &str, turn: &str, payload: &impl Serialize) -> Self {
        NewThreadEvent {
            kind: kind.to_owned(),
            event_id: None,
            turn_id: Some(turn.to_owned()),
            ts: None,
            level: Level::Info,
            payload: to_raw_value(payload).ok(),
            content_type: None,
            source: None,
            trace: None,
            tags: None,
            spec_version: None,
            thread_id: None,
        }
    }

    /// How it changes its turn.
    #[must_use]
    pub fn ends(&self) -> Option<TurnStatus> {
        self.turn_id.as_ref().and(state::ending(&self.kind))
    }

    /// Says that what stood between two places of a thread, exclusively, is lost.
    #[must_use]
    pub fn gap(event_id: &str, after: u64, until: u64, at: Time) -> Self {
        #[derive(Serialize)]
        struct Gap {
            after_seq: u64,
            until_seq: u64,
        }

        let says = Gap {
            after_seq: after,
            until_seq: until,
        };
        NewThreadEvent {
            event_id: Some(event_id.to_owned()),
            turn_id: None,
            ts: Some(at),
            level: Level::Warn,
            ..NewThreadEvent::of_turn(GAP, "", &says)
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.turn_id.is_some() && state::ending(&self.kind).is_some()
    }

    /// Why its turn has ended, if it says so.
    pub(crate) fn reason(&self) -> Option<String> {
        reason(&self.kind, self.payload.as_deref()?)
    }

    /// What it weighs in memory and in a statement, roughly.
    pub(crate) fn bytes(&self) -> usize {
        256 + self.payload.as_ref().map_or(0, |raw| raw.get().len())
    }

    pub(crate) fn check(&self, thread: &str) -> Result<(), Problem> {
        let mut errors = Vec::new();
        let mut note = |pointer: &str, result: Result<(), String>| {
            if let Err(detail) = result {
                errors.push(FieldError {
                    pointer: pointer.to_owned(),
                    detail,
                });
            }
        };
        if !KINDS.contains(&self.kind.as_str()) {
            let known = KINDS.join(", ");
            let kind = tidewire_core::problem::clip(&self.kind);
            note("/type", Err(format!("`{kind}` is not one of {known}")));
        }
        if self.turn_id.is_none() && state::ending(&self.kind).is_some() {
            note(
                "/turn_id",
                Err("is missing: which turn has ended?".to_owned()),
            );
        }
        for (pointer, id) in [("/event_id", &self.event_id), ("/turn_id", &self.turn_id)] {
            if let Some(id) = id {
                note(pointer, name::check(id, name::ID_MAX));
            }
        }
        for (pointer, text) in [
            ("/content_type", &self.content_type),
            ("/source", &self.source),
        ] {
            if let Some(text) = text {
                note(pointer, name::check_text(text, MAX_TEXT));
            }
        }
        for (pointer, raw, most) in [
            ("/payload", &self.payload, MAX_PAYLOAD),
            ("/trace", &self.trace, MAX_ANNOTATION),
            ("/tags", &self.tags, MAX_ANNOTATION),
        ] {
            if let Some(raw) = raw {
                check_json(pointer, raw, most, &mut note);
            }
        }
        let is = |expected: &str, said: &Option<String>| match said {
            Some(said) if said != expected => {
                let said = tidewire_core::problem::clip(said);
                Err(format!("is `{said}`, and `{expected}` was expected"))
            }
            _ => Ok(()),
        };
        note("/spec_version", is(SPEC_VERSION, &self.spec_version));
        note("/thread_id", is(thread, &self.thread_id));
        Problem::all(errors)
    }

    fn body(&self) -> Body {
        Body {
            id: self.event_id.as_deref().map(Into::into),
            level: self.level,
            payload: self.payload.clone().unwrap_or_else(empty),
            content_type: self.content_type.as_deref().map(Into::into),
            trace: self.trace.clone(),
            tags: self.tags.clone(),
        }
    }

    /// As the log keeps it.
    pub(crate) fn to_log(&self, key: &ThreadKey) -> NewEvent {
        // Every part is JSON or text.
        let body = to_raw_value(&self.body()).unwrap_or_default();
        let mut event = NewEvent::kept(key.stream(), &self.kind, body);
        if let Some(turn) = &self.turn_id {
            event = event.about(turn);
        }
        if let Some(id) = &self.event_id {
            event = event.once(format!("{}/{id}", key.stream()));
        }
        if let Some(source) = &self.source {
            event = event.said_by(source);
        }
        if let Some(at) = self.ts {
            event = event.occurred(at);
        }
        event
    }
}

pub(crate) fn check_json(
    pointer: &str,
    raw: &RawValue,
    most: usize,
    note: &mut impl FnMut(&str, Result<(), String>),
) {
    let text = raw.get();
    if text.len() > most {
        let length = text.len();
        note(
            pointer,
            Err(format!("has {length} bytes, and at most {most} are taken")),
        );
    } else if let Err(fault) = json::check(text) {
        note(&format!("{pointer}{}", fault.pointer), Err(fault.detail));
    }
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// What a turn's first event says of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    pub input: Option<Box<RawValue>>,
    pub agent: Option<String>,
}

/// Why a turn has ended as it has, as an event of this type and payload says.
pub(crate) fn reason(kind: &str, payload: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        error: Option<serde_json::Value>,
        reason: Option<serde_json::Value>,
    }

    let said: Said = serde_json::from_str(payload.get()).ok()?;
    let why = match kind {
        "turn.failed" => said.error,
        "turn.cancelled" => said.reason,
        _ => None,
    };
    match why? {
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// What the log keeps as the payload: all of an event that is not in its own fields.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Box<str>>,
    level: Level,
    payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Box<RawValue>>,
}

/// An event of a thread.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ThreadEvent {
    #[schema(required, value_type = String, example = "agent-events/1.0")]
    #[serde(default)]
    pub spec_version: SpecVersion,
    pub event_id: String,
    #[schema(value_type = String)]
    pub thread_id: Arc<str>,
    #[schema(required)]
    pub turn_id: Option<String>,
    pub seq: u64,
    pub ts: Time,
    #[serde(rename = "type")]
    pub kind: String,
    pub level: Level,
    #[schema(value_type = serde_json::Value)]
    pub payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub trace: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub tags: Option<Box<RawValue>>,
}

/// [`SPEC_VERSION`]: there has been no other, whatever is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpecVersion;

impl Serialize for SpecVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SPEC_VERSION)
    }
}

impl<'de> Deserialize<'de> for SpecVersion {
    fn deserialize<D: Deserializer<'de>>(version: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(version).map(|_| SpecVersion)
    }
}

/// What the log knows of a thread's event and does not show: with it an event can be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InLog {
    pub id: String,
    pub pos: u64,
    pub created_at: Time,
    /// How many triggers deep.
    #[serde(default, skip_serializing_if = "is_shallow")]
    pub depth: u32,
    /// It came with an id of its own, by which it is deduplicated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dedupe: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_shallow(depth: &u32) -> bool {
    *depth == 0
}

impl InLog {
    #[must_use]
    pub fn of(event: &Event) -> Self {
        InLog {
            id: event.id.clone(),
            pos: event.pos,
            created_at: event.created_at,
            depth: event.depth,
            dedupe: event.dedupe_key.is_some(),
        }
    }
}

impl ThreadEvent {
    /// As the log had it.
    pub fn into_log(self, log: InLog) -> Result<Event, serde_json::Error> {
        let stream = format!("{NAMESPACE}{}", self.thread_id);
        let dedupe_key = log.dedupe.then(|| format!("{stream}/{}", self.event_id));
        let body = Body {
            id: log.dedupe.then(|| self.event_id.into()),
            level: self.level,
            payload: self.payload,
            content_type: self.content_type.map(Into::into),
            trace: self.trace,
            tags: self.tags,
        };
        Ok(Event {
            id: log.id,
            stream,
            seq: self.seq,
            kind: self.kind,
            subject: self.turn_id,
            payload: to_raw_value(&body)?,
            dedupe_key,
            source: self.source,
            occurred_at: self.ts,
            created_at: log.created_at,
            pos: log.pos,
            depth: log.depth,
        })
    }

    /// As a log that is apart has it: complete, with its id and its time.
    #[must_use]
    pub fn numbered(key: &ThreadKey, new: NewThreadEvent, seq: u64) -> Self {
        ThreadEvent {
            spec_version: SpecVersion,
            event_id: new.event_id.unwrap_or_default(),
            thread_id: Arc::clone(&key.thread),
            turn_id: new.turn_id,
            seq,
            ts: new.ts.unwrap_or(Time::from_millis(0)),
            kind: new.kind,
            level: new.level,
            payload: new.payload.unwrap_or_else(empty),
            content_type: new.content_type,
            source: new.source,
            trace: new.trace,
            tags: new.tags,
        }
    }

    /// What is asked, if it is the first event of a turn that was asked for.
    pub(crate) fn asked(&self) -> Option<Told> {
        (self.kind == "turn.started")
            .then(|| serde_json::from_str(self.payload.get()).ok())
            .flatten()
    }

    /// As it was just stored, with the id, the place and the time that it got.
    pub(crate) fn stored(
        key: &ThreadKey,
        new: &NewThreadEvent,
        (id, seq, at): (&str, u64, Time),
    ) -> Self {
        let complete = NewThreadEvent {
            event_id: Some(new.event_id.clone().unwrap_or_else(|| id.to_owned())),
            ts: Some(new.ts.unwrap_or(at)),
            ..new.clone()
        };
        ThreadEvent::numbered(key, complete, seq)
    }

    /// As it is shown, of what the log has.
    pub fn of_log(thread: &Arc<str>, event: Event) -> Result<Self, tidewire_db::Error> {
        let body: Body = serde_json::from_str(event.payload.get()).map_err(|error| {
            tidewire_db::Error::Broken(format!(
                "the event `{}` of the thread `{thread}` is none: {error}",
                event.id
            ))
        })?;
        Ok(ThreadEvent {
            spec_version: SpecVersion,
            event_id: body.id.map_or(event.id, Into::into),
            thread_id: Arc::clone(thread),
            turn_id: event.subject,
            seq: event.seq,
            ts: event.occurred_at,
            kind: event.kind,
            level: body.level,
            payload: body.payload,
            content_type: body.content_type.map(Into::into),
            source: event.source,
            trace: body.trace,
            tags: body.tags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_back_into_the_log_as_it_was() {
        let thread: Arc<str> = "t".into();
        let key = ThreadKey::new(&"acme".into(), Arc::clone(&thread));
        let said: [NewThreadEvent; 3] = [
            serde_json::from_str(
                r#"{"type":"custom","event_id":"mine","turn_id":"u","payload":{"n":1.50},"level":"warn",
                    "source":"me","content_type":"text/plain","trace":{"a":[]},"tags":["x"]}"#,
            )
            .unwrap(),
            serde_json::from_str(r#"{"type":"thread.ready","ts":"2026-01-31T12:00:00Z"}"#).unwrap(),
            NewThreadEvent::gap("g", 3, 7, Time::from_millis(5)),
        ];
        for (place, new) in said.iter().enumerate() {
            let own_id = new.event_id.as_ref();
            let before = Event {
                id: format!("id{place}"),
                stream: key.stream(),
                seq: 9,
                kind: new.kind.clone(),
                subject: new.turn_id.clone(),
                payload: to_raw_value(&new.body()).unwrap(),
                dedupe_key: own_id.map(|id| format!("{}/{id}", key.stream())),
                source: new.source.clone(),
                occurred_at: new.ts.unwrap_or(Time::from_millis(7)),
                created_at: Time::from_millis(7),
                pos: 12,
                depth: 2,
            };
            let in_log = InLog::of(&before);
            let shown = ThreadEvent::of_log(&thread, before.clone()).unwrap();
            let line = serde_json::to_string(&shown).unwrap();
            let read: ThreadEvent = serde_json::from_str(&line).unwrap();
            let after = read.into_log(in_log).unwrap();
            assert_eq!(format!("{before:?}"), format!("{after:?}"));
        }
    }
}
