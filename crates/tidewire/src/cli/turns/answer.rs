//! What a person sees of a turn: the text of its messages as it comes, and beside it what the agent
//! does.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tidewire_client::{ThreadEvent, TurnStatus};

use crate::cli::output::{compact, shorten};

/// Characters of a tool's arguments or result.
const PREVIEW: usize = 200;

#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Said {
    /// A piece of the answer.
    Text(String),
    /// A line that is no part of it.
    Aside(String),
}

/// What was heard of a turn so far.
#[derive(Default)]
pub(in crate::cli) struct Answer {
    /// The text of each message.
    messages: BTreeMap<String, String>,
    /// The message whose text came last, if its last line has no end yet.
    open: Option<String>,
    calls: BTreeMap<String, Call>,
    has_begun: bool,
}

#[derive(Default)]
struct Call {
    name: String,
    args: String,
}

/// All fields that the payloads heard here have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    message_id: String,
    tool_call_id: String,
    delta: String,
    text: String,
    name: String,
    agent: Option<String>,
    result: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    error: Option<Value>,
    reason: Option<Value>,
}

impl Payload {
    fn of(event: &ThreadEvent) -> Self {
        // An agent may say what it likes; what does not fit says nothing here.
        serde_json::from_str(event.payload.get()).unwrap_or_default()
    }
}

impl Answer {
    pub fn hear(&mut self, event: &ThreadEvent) -> Vec<Said> {
        let payload = Payload::of(event);
        let mut said = Vec::new();
        match event.event_type.as_str() {
            // A turn that was given back has the number of its attempt again, so it does not tell.
            "turn.started" if self.has_begun => {
                self.end_line(&mut said);
                *self = Answer::default();
                let by = payload.agent.map(|agent| format!(" by {agent}"));
                let by = by.unwrap_or_default();
                said.push(Said::Aside(format!(
                    "taken over{by}: the answer starts again"
                )));
                return said;
            }
            "message.delta" => self.text(payload.message_id, &payload.delta, &mut said),
            "message.completed" => {
                let known = self.messages.get(&payload.message_id);
                let known = known.map_or("", String::as_str);
                let rest = payload.text.strip_prefix(known).unwrap_or_default();
                let rest = rest.to_owned();
                self.text(payload.message_id, &rest, &mut said);
                self.end_line(&mut said);
            }
            "tool.call.started" => {
                said.push(Said::Aside(format!("calling {}", payload.name)));
                let call = self.calls.entry(payload.tool_call_id).or_default();
                call.name = payload.name;
            }
            "tool.call.args.delta" => {
                let call = self.calls.entry(payload.tool_call_id).or_default();
                call.args.push_str(&payload.delta);
            }
            "tool.call.completed" => {
                let result = payload.result.map(|result| compact(result.get()));
                let result = result.unwrap_or_else(|| "done".to_owned());
                said.push(self.returned(&payload.tool_call_id, &result));
            }
            "tool.call.error" => {
                let error = payload.error.as_ref().map(words).unwrap_or_default();
                said.push(self.returned(&payload.tool_call_id, &format!("failed: {error}")));
            }
            "turn.completed" => {
                self.end_line(&mut said);
                let output = payload.output.filter(|output| output.get() != "null");
                if let Some(output) = output.filter(|_| self.messages.is_empty()) {
                    let text = serde_json::from_str(output.get());
                    let mut text = text.unwrap_or_else(|_| compact(output.get()));
                    text.push('\n');
                    said.push(Said::Text(text));
                }
            }
            "turn.failed" | "turn.cancelled" => self.end_line(&mut said),
            _ => {}
        }
        self.has_begun |= !said.is_empty();
        said
    }

    fn text(&mut self, message_id: String, text: &str, said: &mut Vec<Said>) {
        if text.is_empty() {
            return;
        }
        if self.open.as_ref().is_some_and(|open| *open != message_id) {
            self.end_line(said);
        }
        said.push(Said::Text(text.to_owned()));
        let whole = self.messages.entry(message_id.clone()).or_default();
        whole.push_str(text);
        self.open = (!text.ends_with('\n')).then_some(message_id);
    }

    fn end_line(&mut self, said: &mut Vec<Said>) {
        if self.open.take().is_some() {
            said.push(Said::Text("\n".to_owned()));
        }
    }

    fn returned(&mut self, id: &str, what: &str) -> Said {
        let Call { name, args } = self.calls.remove(id).unwrap_or_default();
        let (args, what) = (shorten(&args, PREVIEW), shorten(what, PREVIEW));
        Said::Aside(format!("{name}({args}) {what}"))
    }
}

/// How the turn ended, if this is its end: well, or why not.
pub(in crate::cli) fn end(event: &ThreadEvent) -> Option<Result<(), String>> {
    let payload = Payload::of(event);
    let because = |why: Option<Value>| match why {
        Some(Value::Null) | None => String::new(),
        Some(why) => format!(": {}", words(&why)),
    };
    match event.ends_turn()? {
        TurnStatus::Completed => Some(Ok(())),
        TurnStatus::Cancelled => Some(Err(format!("was cancelled{}", because(payload.reason)))),
        _ => Some(Err(format!("failed{}", because(payload.error)))),
    }
}

/// What a person reads of a value: text as it is, all else as JSON.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(event_type: &str, payload: Value) -> ThreadEvent {
        let event = json!({
            "event_id": "e", "thread_id": "t", "turn_id": "u", "seq": 1, "ts": "2026-01-01T00:00:00Z",
            "type": event_type, "payload": payload,
        });
        serde_json::from_value(event).unwrap()
    }

    /// What is written after these events: standard output, and the lines beside it.
    fn heard(events: &[(&str, Value)]) -> (String, Vec<String>) {
        let mut answer = Answer::default();
        let (mut text, mut asides) = (String::new(), Vec::new());
        for (event_type, payload) in events {
            for said in answer.hear(&event(event_type, payload.clone())) {
                match said {
                    Said::Text(piece) => text.push_str(&piece),
                    Said::Aside(line) => asides.push(line),
                }
            }
        }
        (text, asides)
    }

    #[test]
    fn text_comes_as_it_is_said_and_ends_with_its_line() {
        let (text, asides) = heard(&[
            (
                "turn.started",
                json!({"input": "hi", "agent": null, "attempt": 1}),
            ),
            (
                "message.delta",
                json!({"message_id": "a", "delta": "good "}),
            ),
            (
                "message.delta",
                json!({"message_id": "a", "delta": "morning"}),
            ),
            // One that nobody said piece by piece, and one of which the end was not.
            (
                "message.completed",
                json!({"message_id": "b", "text": "second"}),
            ),
            (
                "message.completed",
                json!({"message_id": "a", "text": "good morning!"}),
            ),
            ("turn.completed", json!({"output": "good morning!"})),
        ]);
        assert_eq!(text, "good morning\nsecond\n!\n");
        assert!(asides.is_empty(), "{asides:?}");
    }

    #[test]
    fn each_end_leaves_the_line_whole() {
        for end in ["turn.completed", "turn.failed", "turn.cancelled"] {
            let delta = json!({"message_id": "a", "delta": "half"});
            let (text, _) = heard(&[("message.delta", delta), (end, json!({}))]);
            assert_eq!(text, "half\n", "{end}");
        }
        let delta = json!({"message_id": "a", "delta": "whole\n"});
        let completed = json!({"message_id": "a", "text": "whole\n"});
        let (text, _) = heard(&[("message.delta", delta), ("message.completed", completed)]);
        assert_eq!(text, "whole\n");
    }

    #[test]
    fn tools_are_told_beside_the_answer() {
        let (text, asides) = heard(&[
            (
                "tool.call.started",
                json!({"tool_call_id": "1", "name": "calculator"}),
            ),
            (
                "tool.call.args.delta",
                json!({"tool_call_id": "1", "delta": "{\"n\""}),
            ),
            (
                "tool.call.args.delta",
                json!({"tool_call_id": "1", "delta": ":1}"}),
            ),
            (
                "tool.call.completed",
                json!({"tool_call_id": "1", "result": {"is": 42}}),
            ),
            (
                "tool.call.error",
                json!({"tool_call_id": "2", "error": "no such tool"}),
            ),
        ]);
        assert_eq!(text, "");
        assert_eq!(
            asides,
            [
                "calling calculator",
                "calculator({\"n\":1}) {\"is\":42}",
                "() failed: no such tool"
            ]
        );
    }

    #[test]
    fn what_was_heard_before_a_turn_was_taken_over_is_dropped() {
        let (text, asides) = heard(&[
            ("turn.started", json!({"attempt": 1, "agent": null})),
            ("turn.started", json!({"attempt": 1, "agent": "w-0"})),
            ("message.delta", json!({"message_id": "a", "delta": "hal"})),
            ("turn.started", json!({"attempt": 2, "agent": "w-1"})),
            ("message.delta", json!({"message_id": "a", "delta": "half"})),
            (
                "message.completed",
                json!({"message_id": "a", "text": "half"}),
            ),
        ]);
        assert_eq!(text, "hal\nhalf\n");
        assert_eq!(asides, ["taken over by w-1: the answer starts again"]);
    }

    #[test]
    fn an_output_is_shown_where_nothing_was_said() {
        for (output, shown) in [
            (json!("text"), "text\n"),
            (json!({"n": 1}), "{\"n\":1}\n"),
            (json!(null), ""),
        ] {
            let (text, _) = heard(&[("turn.completed", json!({ "output": output }))]);
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn the_end_says_why() {
        let end = |event_type, payload| end(&event(event_type, payload));
        assert_eq!(end("message.delta", json!({})), None);
        assert_eq!(end("turn.completed", json!({})), Some(Ok(())));
        assert_eq!(
            end("turn.failed", json!({"error": "no model"})),
            Some(Err("failed: no model".to_owned()))
        );
        assert_eq!(
            end("turn.failed", json!({"error": {"code": 1}})),
            Some(Err("failed: {\"code\":1}".to_owned()))
        );
        assert_eq!(
            end("turn.cancelled", json!("odd")),
            Some(Err("was cancelled".to_owned()))
        );
    }
}
