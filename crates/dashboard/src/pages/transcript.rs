//! A thread as people read it: what was asked, what the agent said and which tools it called. The
//! events of a thread are many small ones; here those that belong together become one piece, which
//! changes as long as more of it comes. A page shows the pieces so far, and a stream sends those that
//! change, by the same rendering.

use std::collections::{BTreeSet, HashMap};

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tidewire_core::Time;
use tidewire_threads::{Level, ThreadEvent};

use crate::{parts, time};

/// What was heard of a thread, from some place on.
#[derive(Default)]
pub(crate) struct Transcript {
    pieces: Vec<Piece>,
    /// Where the pieces are that may go on, by turn and name.
    open: HashMap<(String, String), usize>,
    changed: BTreeSet<usize>,
    /// The last event that was heard.
    pub last: u64,
}

/// What stands together.
struct Piece {
    seq: u64,
    turn: Option<String>,
    at: Time,
    what: What,
}

enum What {
    /// A turn begins.
    Asked {
        input: Option<Box<RawValue>>,
        agent: Option<String>,
    },
    Said {
        text: String,
        is_open: bool,
    },
    Called {
        name: String,
        args: String,
        result: Option<Box<RawValue>>,
        error: Option<String>,
        is_open: bool,
    },
    /// A turn ends.
    Ended {
        how: &'static str,
        why: Option<String>,
    },
    Other {
        kind: String,
        payload: Box<RawValue>,
        level: Level,
    },
}

/// All fields that the payloads heard here have. An agent may say what it likes; what does not fit says
/// nothing here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    message_id: String,
    tool_call_id: String,
    delta: String,
    text: String,
    name: String,
    agent: Option<String>,
    input: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    error: Option<Value>,
    reason: Option<Value>,
}

impl Transcript {
    /// One that begins behind this event.
    pub fn behind(last: u64) -> Self {
        Transcript {
            last,
            ..Transcript::default()
        }
    }

    pub fn hear(&mut self, events: &[ThreadEvent]) {
        for event in events {
            self.hear_one(event);
            self.last = event.seq;
        }
    }

    fn hear_one(&mut self, event: &ThreadEvent) {
        let told: Told = serde_json::from_str(event.payload.get()).unwrap_or_default();
        match event.kind.as_str() {
            "turn.started" => self.add(
                event,
                What::Asked {
                    input: told.input,
                    agent: told.agent,
                },
            ),
            "message.delta" => self.say(event, told.message_id, |text, _| {
                text.push_str(&told.delta);
            }),
            "message.completed" => self.say(event, told.message_id, |text, is_open| {
                if !told.text.is_empty() {
                    *text = told.text;
                }
                *is_open = false;
            }),
            "tool.call.started"
            | "tool.call.args.delta"
            | "tool.call.completed"
            | "tool.call.error" => self.call(event, told),
            "turn.completed" => self.end(event, "completed", None),
            "turn.failed" => self.end(event, "failed", told.error),
            "turn.cancelled" => self.end(event, "cancelled", told.reason),
            kind => self.add(
                event,
                What::Other {
                    kind: kind.to_owned(),
                    payload: event.payload.clone(),
                    level: event.level,
                },
            ),
        }
    }

    fn add(&mut self, event: &ThreadEvent, what: What) {
        self.changed.insert(self.pieces.len());
        self.pieces.push(Piece {
            seq: event.seq,
            turn: event.turn_id.clone(),
            at: event.ts,
            what,
        });
    }

    /// The piece of this name, made if it is not there.
    fn piece(&mut self, event: &ThreadEvent, name: String, make: fn() -> What) -> &mut What {
        let key = (event.turn_id.clone().unwrap_or_default(), name);
        let place = match self.open.get(&key) {
            Some(place) => *place,
            None => {
                let place = self.pieces.len();
                self.add(event, make());
                self.open.insert(key, place);
                place
            }
        };
        self.changed.insert(place);
        &mut self.pieces[place].what
    }

    fn say(
        &mut self,
        event: &ThreadEvent,
        name: String,
        change: impl FnOnce(&mut String, &mut bool),
    ) {
        let empty = || What::Said {
            text: String::new(),
            is_open: true,
        };
        if let What::Said { text, is_open } = self.piece(event, format!("m{name}"), empty) {
            change(text, is_open);
        }
    }

    fn call(&mut self, event: &ThreadEvent, told: Told) {
        let empty = || What::Called {
            name: String::new(),
            args: String::new(),
            result: None,
            error: None,
            is_open: true,
        };
        let called = self.piece(event, format!("t{}", told.tool_call_id), empty);
        let What::Called {
            name,
            args,
            result,
            error,
            is_open,
        } = called
        else {
            return;
        };
        if !told.name.is_empty() {
            *name = told.name;
        }
        args.push_str(&told.delta);
        match event.kind.as_str() {
            "tool.call.completed" => (*result, *is_open) = (told.result, false),
            "tool.call.error" => {
                let why = told.error.as_ref().map(words);
                (*error, *is_open) = (why.or_else(|| Some("failed".to_owned())), false);
            }
            _ => {}
        }
    }

    /// Nothing of the turn goes on behind its end.
    fn end(&mut self, event: &ThreadEvent, how: &'static str, why: Option<Value>) {
        let turn = event.turn_id.clone().unwrap_or_default();
        let over = self.open.extract_if(|(of, _), _| *of == turn);
        for (_, place) in over.collect::<Vec<_>>() {
            match &mut self.pieces[place].what {
                What::Said { is_open, .. } | What::Called { is_open, .. } if *is_open => {
                    *is_open = false;
                    self.changed.insert(place);
                }
                _ => {}
            }
        }
        let why = why.as_ref().map(words);
        self.add(event, What::Ended { how, why });
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All pieces.
    pub fn whole(&mut self, now: Time) -> Markup {
        self.changed.clear();
        html! { @for piece in &self.pieces { (piece.markup(now)) } }
    }

    /// Those that changed since they were last asked for; none if none did.
    pub fn changed(&mut self, now: Time) -> Option<Markup> {
        if self.changed.is_empty() {
            return None;
        }
        let changed = std::mem::take(&mut self.changed);
        Some(html! { @for place in changed { (self.pieces[place].markup(now)) } })
    }
}

/// A text as it is, and anything else as JSON.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

impl Piece {
    fn markup(&self, now: Time) -> Markup {
        let id = format!("piece-{}", self.seq);
        let who = |who: &str, more: Markup| {
            html! { p.who { strong { (who) } (more) span { (time::ago(self.at, now)) } } }
        };
        match &self.what {
            What::Asked { input, agent } => html! {
                article.asked #(id) {
                    (who("Asked", html! {
                        @if let Some(agent) = agent { span { "agent " (agent) } }
                        @if let Some(turn) = &self.turn { span { "turn " code { (turn) } } }
                    }))
                    @match input { Some(input) => (text_or_json(input)), None => p.dim { "The agent began by itself." } }
                }
            },
            What::Said { text, is_open } => html! {
                article.open[*is_open] #(id) {
                    (who("Agent", html! {}))
                    p.words { (text) }
                }
            },
            What::Called {
                name,
                args,
                result,
                error,
                is_open,
            } => html! {
                article.tool #(id) {
                    (who("Tool", html! {
                        code { (name) }
                        @if *is_open { (parts::state("running")) }
                        @else if error.is_some() { (parts::state("failed")) }
                        @else { (parts::state("done")) }
                    }))
                    @if !args.is_empty() { pre.json tabindex="0" { code { (args) } } }
                    @if let Some(result) = result { (parts::json(result)) }
                    @if let Some(error) = error { p.wrong { (error) } }
                }
            },
            What::Ended { how, why } => html! {
                article.line #(id) {
                    p.who { span { "The turn is " } (parts::state(how)) span { (time::ago(self.at, now)) } }
                    @if let Some(why) = why { p.wrong { (why) } }
                }
            },
            What::Other {
                kind,
                payload,
                level,
            } => html! {
                article.tool #(id) {
                    (who(kind, html! {
                        @match level {
                            Level::Warn => (parts::badge("wait", "warning")),
                            Level::Error => (parts::badge("bad", "error")),
                            Level::Debug | Level::Info => {},
                        }
                    }))
                    @if payload.get() != "{}" { (parts::json(payload)) }
                }
            },
        }
    }
}

fn text_or_json(input: &RawValue) -> Markup {
    match serde_json::from_str::<String>(input.get()) {
        Ok(text) => html! { p.words { (text) } },
        Err(_) => parts::json(input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, kind: &str, payload: Value) -> ThreadEvent {
        ThreadEvent {
            spec_version: Default::default(),
            event_id: seq.to_string(),
            thread_id: "t".into(),
            turn_id: Some("a".to_owned()),
            seq,
            ts: Time::from_millis(0),
            kind: kind.to_owned(),
            level: Level::Info,
            payload: serde_json::value::to_raw_value(&payload).unwrap(),
            content_type: None,
            source: None,
            trace: None,
            tags: None,
        }
    }

    fn changed(transcript: &mut Transcript) -> String {
        let changed = transcript.changed(Time::from_millis(0));
        changed.map(Markup::into_string).unwrap_or_default()
    }

    #[test]
    fn deltas_become_one_piece_that_is_sent_again_when_it_grows() {
        use serde_json::json;
        let mut transcript = Transcript::default();
        let delta = |seq, text: &str| {
            event(
                seq,
                "message.delta",
                json!({"message_id": "m", "delta": text}),
            )
        };
        transcript.hear(&[
            event(1, "turn.started", json!({"input": "<b>hello</b>"})),
            delta(2, "Hi"),
        ]);
        let first = changed(&mut transcript);
        assert!(first.contains("&lt;b&gt;hello"), "{first}");
        assert!(first.contains("id=\"piece-2\"") && first.contains("class=\"open\""));
        assert_eq!(changed(&mut transcript), "");
        transcript.hear(&[delta(3, " there")]);
        let second = changed(&mut transcript);
        assert!(
            second.contains("id=\"piece-2\"") && second.contains("Hi there"),
            "{second}"
        );
        assert!(!second.contains("piece-1"));
        transcript.hear(&[event(4, "turn.failed", json!({"error": "out of words"}))]);
        let last = changed(&mut transcript);
        assert!(
            last.contains("out of words") && !last.contains("class=\"open\""),
            "{last}"
        );
        let whole = transcript.whole(Time::from_millis(0)).into_string();
        assert_eq!(whole.matches("<article").count(), 3);
    }

    #[test]
    fn a_tools_call_is_one_piece() {
        use serde_json::json;
        let mut transcript = Transcript::default();
        transcript.hear(&[
            event(
                1,
                "tool.call.started",
                json!({"tool_call_id": "c", "name": "sum"}),
            ),
            event(
                2,
                "tool.call.args.delta",
                json!({"tool_call_id": "c", "delta": "[1,"}),
            ),
            event(
                3,
                "tool.call.args.delta",
                json!({"tool_call_id": "c", "delta": "2]"}),
            ),
            event(
                4,
                "tool.call.completed",
                json!({"tool_call_id": "c", "result": 3}),
            ),
            event(5, "custom", json!({"x": 1})),
        ]);
        let whole = transcript.whole(Time::from_millis(0)).into_string();
        assert_eq!(whole.matches("<article").count(), 2);
        assert!(
            whole.contains("[1,2]") && whole.contains(">done<"),
            "{whole}"
        );
        assert_eq!(transcript.last, 5);
    }
}
