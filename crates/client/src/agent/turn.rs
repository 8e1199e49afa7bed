//! What a handler is given to work on.

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::{Client, Failure, JobContext};

/// What a turn's job says of it.
#[derive(Deserialize)]
pub(super) struct Assigned {
    pub thread_id: String,
    pub turn_id: String,
}

/// One attempt at one turn. Cheap to clone.
#[derive(Clone)]
pub struct Turn {
    job: JobContext,
    thread_id: String,
    turn_id: String,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
}

impl Turn {
    pub(super) fn new(job: JobContext, thread_id: String, turn_id: String) -> Self {
        Turn {
            job,
            thread_id,
            turn_id,
        }
    }

    #[must_use]
    pub fn thread_id(&self) -> &str {
        &self.thread_id
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.turn_id
    }

    /// Which attempt this is: 1, 2, 3 … Readers drop what they had of those before.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.job.attempt()
    }

    /// The input as `T`. One that does not fit never will, so the failure is permanent.
    pub fn input<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_str(self.raw_input())
            .map_err(|error| Failure::permanent(format_args!("the input does not fit: {error}")))
    }

    /// The input as the JSON text that the turn was started with.
    #[must_use]
    pub fn raw_input(&self) -> &str {
        serde_json::from_str::<Asked<'_>>(self.job.raw_payload().get())
            .map_or("null", |asked| asked.input.get())
    }

    /// What a person said, where the input is text alone; else the input's JSON.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        serde_json::from_str(self.raw_input())
            .map_or_else(|_| Cow::Borrowed(self.raw_input()), Cow::Owned)
    }

    /// The agent's client, for what the handler has to ask the server: what was said in the thread
    /// before, say.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.job.client()
    }

    /// Returns when the work is of no use any more: the turn was cancelled or taken over, or the
    /// agent stops. Tidy up and return; the result does not count.
    pub async fn cancelled(&self) {
        self.job.cancelled().await;
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.job.is_cancelled()
    }

    /// The token behind [`Turn::cancelled`], for code that takes one.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.job.cancellation_token()
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("thread_id", &self.thread_id)
            .field("turn_id", &self.turn_id)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
