//! Events as lines of archives, and back.
//!
//! A line is the event as the API shows it, for whoever reads an archive with tools of their own, and
//! with it what a row of the log has besides, so that the very row can be put back: an event of a thread
//! has a last member `log`, any other the members `pos` and `depth`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_events::Event;
use tidewire_threads::{InLog, NAMESPACE, ThreadEvent};

use crate::object::Mark;

/// How the lines of one stream are written and read.
#[derive(Clone, Debug)]
pub(crate) enum Lines {
    Thread(Arc<str>),
    Stream,
}

#[derive(Serialize)]
struct ThreadLine<'e> {
    #[serde(flatten)]
    event: &'e ThreadEvent,
    log: &'e InLog,
}

#[derive(Serialize)]
struct StreamLine<'e> {
    id: &'e str,
    stream: &'e str,
    seq: u64,
    #[serde(rename = "type")]
    kind: &'e str,
    subject: Option<&'e str>,
    payload: &'e RawValue,
    dedupe_key: Option<&'e str>,
    source: Option<&'e str>,
    occurred_at: Time,
    created_at: Time,
    pos: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
}

#[derive(Deserialize)]
struct ReadThreadLine {
    log: InLog,
}

#[derive(Deserialize)]
struct ReadStreamLine {
    id: String,
    stream: String,
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    payload: Box<RawValue>,
    dedupe_key: Option<String>,
    source: Option<String>,
    occurred_at: Time,
    created_at: Time,
    pos: u64,
    #[serde(default)]
    depth: u32,
}

/// What [`Mark`]s are made of, whichever kind of line it is.
#[derive(Deserialize)]
struct Head<'l> {
    seq: u64,
    /// Of the alphabet of names: nothing in it is escaped.
    #[serde(rename = "type")]
    kind: &'l str,
    pos: Option<u64>,
    created_at: Option<Time>,
    log: Option<Place>,
}

#[derive(Deserialize)]
struct Place {
    pos: u64,
    created_at: Time,
}

impl Lines {
    pub(crate) fn of(stream: &str) -> Self {
        match stream.strip_prefix(NAMESPACE) {
            Some(thread) => Lines::Thread(thread.into()),
            None => Lines::Stream,
        }
    }

    /// Appends an event as a line, without the break at its end; the event's type.
    pub(crate) fn write(&self, out: &mut Vec<u8>, event: Event) -> Result<String, String> {
        let start = out.len();
        let kind = self.write_json(out, event)?;
        // Payloads are kept as they came. A break in one stands between two of its parts, as within a
        // text it is escaped.
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        Ok(kind)
    }

    fn write_json(&self, out: &mut Vec<u8>, event: Event) -> Result<String, String> {
        let fault = |id: &str, why: &dyn std::fmt::Display| {
            format!("the event `{id}` cannot be written as a line: {why}")
        };
        match self {
            Lines::Thread(thread) => {
                let log = InLog::of(&event);
                let shown = ThreadEvent::of_log(thread, event);
                let shown = shown.map_err(|error| error.to_string())?;
                let line = ThreadLine {
                    event: &shown,
                    log: &log,
                };
                serde_json::to_writer(out, &line).map_err(|error| fault(&log.id, &error))?;
                Ok(shown.kind)
            }
            Lines::Stream => {
                let line = StreamLine {
                    id: &event.id,
                    stream: &event.stream,
                    seq: event.seq,
                    kind: &event.kind,
                    subject: event.subject.as_deref(),
                    payload: &event.payload,
                    dedupe_key: event.dedupe_key.as_deref(),
                    source: event.source.as_deref(),
                    occurred_at: event.occurred_at,
                    created_at: event.created_at,
                    pos: event.pos,
                    depth: Some(event.depth).filter(|depth| *depth > 0),
                };
                serde_json::to_writer(out, &line).map_err(|error| fault(&event.id, &error))?;
                Ok(event.kind)
            }
        }
    }

    /// The event that a line was made of.
    pub(crate) fn read(&self, line: &[u8]) -> Result<Event, String> {
        let read = match self {
            Lines::Thread(_) => thread_event(line),
            Lines::Stream => serde_json::from_slice(line).map(stream_event),
        };
        read.map_err(|error| format!("a line is no event: {error}"))
    }
}

// In two readings of the text: serde's `flatten` would lose the payload's raw text.
fn thread_event(line: &[u8]) -> Result<Event, serde_json::Error> {
    let ReadThreadLine { log } = serde_json::from_slice(line)?;
    serde_json::from_slice::<ThreadEvent>(line)?.into_log(log)
}

fn stream_event(line: ReadStreamLine) -> Event {
    Event {
        id: line.id,
        stream: line.stream,
        seq: line.seq,
        kind: line.kind,
        subject: line.subject,
        payload: line.payload,
        dedupe_key: line.dedupe_key,
        source: line.source,
        occurred_at: line.occurred_at,
        created_at: line.created_at,
        pos: line.pos,
        depth: line.depth,
    }
}

/// What the format has to know of a line.
pub(crate) fn mark(line: &[u8]) -> Result<Mark<'_>, String> {
    let head: Head<'_> =
        serde_json::from_slice(line).map_err(|error| format!("it is no event: {error}"))?;
    let (pos, created_at) = match (head.log, head.pos, head.created_at) {
        (Some(place), ..) => (place.pos, place.created_at),
        (None, Some(pos), Some(at)) => (pos, at),
        _ => return Err("it does not say where in the log the event was".to_owned()),
    };
    Ok(Mark {
        seq: head.seq,
        pos,
        created_at,
        kind: head.kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stream: &str, payload: &str, depth: u32) -> Event {
        Event {
            id: "01JZ8Q4V7R0000000000000001".to_owned(),
            stream: stream.to_owned(),
            seq: 7,
            kind: "custom".to_owned(),
            subject: Some("ünï \"quoted\"".to_owned()),
            payload: RawValue::from_string(payload.to_owned()).unwrap(),
            dedupe_key: None,
            source: None,
            occurred_at: Time::from_micros(1_700_000_000_000_001),
            created_at: Time::from_micros(1_700_000_000_000_002),
            pos: 40,
            depth,
        }
    }

    #[test]
    fn a_line_is_the_event_and_comes_back_as_it() {
        for before in [
            event("orders", r#"{"n": 1.000000000000000000000000000001}"#, 0),
            event("orders", "null", 3),
            event("thread:t", r#"{"level":"info","payload":{"n": 1.10}}"#, 1),
        ] {
            let lines = Lines::of(&before.stream);
            let mut line = Vec::new();
            assert_eq!(lines.write(&mut line, before.clone()).unwrap(), "custom");
            assert!(!line.contains(&b'\n'));
            let after = lines.read(&line).unwrap();
            assert_eq!(format!("{before:?}"), format!("{after:?}"));
            let mark = mark(&line).unwrap();
            assert_eq!((mark.seq, mark.pos, mark.kind), (7, 40, "custom"));
            assert_eq!(mark.created_at, before.created_at);
        }
    }

    #[test]
    fn a_payload_that_was_pretty_printed_is_one_line() {
        let payload = "{\r\n  \"text\": \"two\\nlines\",\n  \"n\": [\n 1\n]\n}";
        for stream in ["orders", "thread:t"] {
            let payload = match stream {
                "orders" => payload.to_owned(),
                _ => format!("{{\"level\":\"info\",\"payload\":{payload}}}"),
            };
            let before = event(stream, &payload, 0);
            let lines = Lines::of(stream);
            let mut line = b"the one before\n".to_vec();
            lines.write(&mut line, before.clone()).unwrap();
            let line = line.strip_prefix(b"the one before\n").unwrap();
            assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
            let after = lines.read(line).unwrap();
            let value = |event: &Event| -> serde_json::Value {
                serde_json::from_str(event.payload.get()).unwrap()
            };
            assert_eq!(value(&before), value(&after));
        }
    }

    #[test]
    fn a_threads_line_is_what_the_api_shows_and_the_log_at_its_end() {
        let lines = Lines::of("thread:t");
        let mut line = Vec::new();
        let payload = r#"{"id":"mine","level":"warn","payload":[1]}"#;
        lines
            .write(&mut line, event("thread:t", payload, 0))
            .unwrap();
        let text = String::from_utf8(line).unwrap();
        assert!(
            text.starts_with(
                r#"{"spec_version":"agent-events/1.0","event_id":"mine","thread_id":"t""#
            ),
            "{text}"
        );
        assert!(
            text.contains(r#""payload":[1],"log":{"id":"01JZ8Q4V7R0000000000000001","pos":40,"#),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_line_says_why() {
        assert!(mark(b"{}").is_err());
        assert!(
            mark(br#"{"seq":1,"type":"t"}"#)
                .unwrap_err()
                .contains("where in the log")
        );
        assert!(Lines::Stream.read(b"[1]").is_err());
        assert!(Lines::of("thread:t").read(br#"{"seq":1}"#).is_err());
    }
}
