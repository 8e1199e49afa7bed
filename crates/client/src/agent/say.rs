//! What agents say most: messages, and calls of tools.

use std::fmt;

use serde::Serialize;
use serde_json::json;

use super::{EmitError, Sink};

/// A message that is said piece by piece: `message.delta` events, and one `message.completed`.
#[derive(Debug)]
pub struct Message {
    sink: Sink,
    id: String,
    text: String,
}

impl Message {
    pub(super) fn new(sink: Sink, id: String) -> Self {
        Message {
            sink,
            id,
            text: String::new(),
        }
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub async fn delta(&mut self, text: &str) -> Result<(), EmitError> {
        let payload = json!({ "message_id": self.id, "delta": text });
        self.sink.say("message.delta", &payload).await?;
        self.text.push_str(text);
        Ok(())
    }

    /// Says that it is whole, and returns it.
    pub async fn complete(self) -> Result<String, EmitError> {
        let payload = json!({ "message_id": self.id, "text": self.text });
        self.sink.say("message.completed", &payload).await?;
        Ok(self.text)
    }
}

/// A tool at work: `tool.call.started`, its arguments piece by piece, and how it ended.
#[derive(Debug)]
pub struct ToolCall {
    sink: Sink,
    id: String,
}

impl ToolCall {
    pub(super) async fn start(sink: Sink, id: String, name: &str) -> Result<Self, EmitError> {
        let payload = json!({ "tool_call_id": id, "name": name });
        sink.say("tool.call.started", &payload).await?;
        Ok(ToolCall { sink, id })
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A piece of the arguments' JSON text.
    pub async fn args(&self, delta: &str) -> Result<(), EmitError> {
        let payload = json!({ "tool_call_id": self.id, "delta": delta });
        self.sink.say("tool.call.args.delta", &payload).await
    }

    pub async fn complete<T: Serialize + ?Sized>(self, result: &T) -> Result<(), EmitError> {
        #[derive(Serialize)]
        struct Completed<'a, T: ?Sized> {
            tool_call_id: &'a str,
            result: &'a T,
        }
        let payload = Completed {
            tool_call_id: &self.id,
            result,
        };
        self.sink.say("tool.call.completed", &payload).await
    }

    pub async fn fail(self, error: impl fmt::Display) -> Result<(), EmitError> {
        let payload = json!({ "tool_call_id": self.id, "error": error.to_string() });
        self.sink.say("tool.call.error", &payload).await
    }
}
