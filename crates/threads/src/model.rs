//! Threads and turns as they are shown.

use std::{fmt, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_core::Time;

use crate::{NAMESPACE, TurnStatus};

/// Which thread, of whom.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadKey {
    pub tenant: Arc<str>,
    pub thread: Arc<str>,
}

impl ThreadKey {
    #[must_use]
    pub fn new(tenant: &Arc<str>, thread: impl Into<Arc<str>>) -> Self {
        ThreadKey {
            tenant: Arc::clone(tenant),
            thread: thread.into(),
        }
    }

    /// The stream of the log that it is.
    #[must_use]
    pub fn stream(&self) -> String {
        format!("{NAMESPACE}{}", self.thread)
    }
}

impl fmt::Display for ThreadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.thread)
    }
}

impl fmt::Debug for ThreadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThreadStatus {
    Active,
    /// No turn is open, and nothing has come for `idle_timeout_seconds`.
    Idle,
}

/// An agent's conversation.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Thread {
    pub thread_id: String,
    pub tenant_id: String,
    pub status: ThreadStatus,
    /// The `seq` of its last event.
    pub last_seq: u64,
    pub idle_timeout_seconds: u64,
    pub created_at: Time,
    /// When its last event was stored.
    pub updated_at: Time,
}

/// One unit of an agent's work.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Turn {
    pub turn_id: String,
    pub thread_id: String,
    pub status: TurnStatus,
    /// What was asked; null for a turn that an agent began by itself.
    #[schema(required, value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// The queue of agents that it was meant for; `default` if it is null.
    #[schema(required)]
    pub agent: Option<String>,
    /// The job by which agents have it; null while it waits for the turn before it.
    #[schema(required)]
    pub job_id: Option<String>,
    /// The agent that had it last.
    #[schema(required)]
    pub worker: Option<String>,
    /// The `seq` of its first event.
    pub seq: u64,
    /// The `seq` of the event that ended it.
    #[schema(required)]
    pub ended_seq: Option<u64>,
    /// Why it failed, in its agent's words or its job's.
    #[schema(required)]
    pub error: Option<String>,
    pub created_at: Time,
    #[schema(required)]
    pub started_at: Option<Time>,
    #[schema(required)]
    pub finished_at: Option<Time>,
}

impl Turn {
    /// One that an agent begins by itself.
    pub(crate) fn begun(key: &ThreadKey, turn: &str, seq: u64, now: Time) -> Self {
        Turn {
            turn_id: turn.to_owned(),
            thread_id: key.thread.to_string(),
            status: TurnStatus::Running,
            input: None,
            agent: None,
            job_id: None,
            worker: None,
            seq,
            ended_seq: None,
            error: None,
            created_at: now,
            started_at: Some(now),
            finished_at: None,
        }
    }
}
