//! Jobs that are not there yet.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tidewire_core::{
    FieldError, Problem, Time,
    name::{self, ID_MAX, TYPE_MAX},
};

use super::{
    DEFAULT_ATTEMPTS, DEFAULT_QUEUE, KEY_MAX, MAX_ATTEMPTS, MAX_DOCUMENT, MAX_PRIORITY,
    MAX_TIMEOUT_SECONDS, Reserved, document, empty_object, in_range, size_within,
};
use crate::follow::{Followed, MAX_CONTEXT};

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub kind: String,
    pub queue: String,
    pub payload: Box<RawValue>,
    pub priority: i32,
    /// When it is due; at once without it.
    pub run_at: Option<Time>,
    pub max_attempts: u32,
    /// A second job of the tenant with the same key is the first one.
    pub idempotency_key: Option<String>,
    pub timeout: Option<Duration>,
    pub event_id: Option<String>,
    /// Who is told how it goes.
    pub followed: Option<Followed>,
    /// Who may have it before everybody else.
    pub reserved: Option<Reservation>,
}

/// What a job is worth waiting for: the worker that knows its matter already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// By the name with which it claims.
    pub worker: String,
    /// How long the others wait for it.
    pub hold: Duration,
}

impl NewJob {
    /// A job of the default queue with an empty object as payload, due at once.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        NewJob {
            kind: kind.into(),
            queue: DEFAULT_QUEUE.to_owned(),
            payload: empty_object(),
            priority: 0,
            run_at: None,
            max_attempts: DEFAULT_ATTEMPTS,
            idempotency_key: None,
            timeout: None,
            event_id: None,
            followed: None,
            reserved: None,
        }
    }

    #[must_use]
    pub fn payload(mut self, payload: Box<RawValue>) -> Self {
        self.payload = payload;
        self
    }

    /// The follower of that name is told how it goes.
    #[must_use]
    pub fn followed(mut self, by: impl Into<Arc<str>>, context: impl Into<Arc<str>>) -> Self {
        self.followed = Some(Followed {
            by: by.into(),
            context: context.into(),
        });
        self
    }

    /// From when it is due only this worker may claim it; others, in its place in the queue, once `hold`
    /// has passed since then. It comes before whatever else the worker could claim. A bus does not
    /// hand it out before the hold has passed, and no attempt but the first is reserved.
    #[must_use]
    pub fn reserved_for(mut self, worker: impl Into<String>, hold: Duration) -> Self {
        self.reserved = Some(Reservation {
            worker: worker.into(),
            hold,
        });
        self
    }

    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = queue.into();
        self
    }

    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    #[must_use]
    pub fn run_at(mut self, at: Time) -> Self {
        self.run_at = Some(at);
        self
    }

    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    #[must_use]
    pub fn event_id(mut self, id: impl Into<String>) -> Self {
        self.event_id = Some(id.into());
        self
    }

    /// What the store relies on: lengths, alphabets and ranges.
    pub fn check(&self) -> Result<(), Problem> {
        let mut errors = Vec::new();
        let mut say = |pointer: &str, checked: Result<(), String>| {
            if let Err(detail) = checked {
                errors.push(FieldError {
                    pointer: pointer.to_owned(),
                    detail,
                });
            }
        };
        say("/type", name::check(&self.kind, TYPE_MAX));
        say("/queue", name::check(&self.queue, ID_MAX));
        say(
            "/priority",
            in_range(self.priority, -MAX_PRIORITY, MAX_PRIORITY),
        );
        say(
            "/max_attempts",
            in_range(self.max_attempts, 1, MAX_ATTEMPTS),
        );
        if let Some(timeout) = self.timeout {
            let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
            say(
                "/timeout_seconds",
                in_range(seconds, 1, MAX_TIMEOUT_SECONDS),
            );
        }
        if let Some(key) = &self.idempotency_key {
            say("/idempotency_key", name::check_text(key, KEY_MAX));
        }
        if let Some(id) = &self.event_id {
            say("/event_id", name::check(id, ID_MAX));
        }
        if let Some(followed) = &self.followed {
            say("/followed/by", name::check(&followed.by, ID_MAX));
            say(
                "/followed/context",
                in_range(followed.context.len(), 0, MAX_CONTEXT),
            );
        }
        if let Some(Reservation { worker, hold }) = &self.reserved {
            say("/reserved/worker", name::check(worker, ID_MAX));
            let most = Duration::from_secs(MAX_TIMEOUT_SECONDS.into());
            if *hold > most {
                say("/reserved/hold", Err("is longer than a day".to_owned()));
            }
        }
        Problem::all(errors)?;
        match self.followed {
            // A follower may wrap somebody's document in words of its own, one level deeper; and what
            // the store gave it may have more spaces and digits than what was once checked.
            Some(_) => size_within("/payload", &self.payload, 2 * MAX_DOCUMENT),
            None => document("/payload", &self.payload),
        }
    }

    /// How it is reserved if it is due then.
    pub(crate) fn reserved(&self, run_at: Time) -> Option<Reserved> {
        let reserved = self.reserved.as_ref();
        reserved
            .filter(|reserved| !reserved.hold.is_zero())
            .map(|reserved| Reserved {
                worker: reserved.worker.as_str().into(),
                from: run_at,
                until: run_at.plus(reserved.hold),
            })
    }

    pub(crate) fn timeout_seconds(&self) -> Option<u32> {
        self.timeout
            .map(|timeout| u32::try_from(timeout.as_secs()).unwrap_or(MAX_TIMEOUT_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_job_is_named() {
        let job = NewJob::new("bad type")
            .queue("")
            .priority(1001)
            .max_attempts(0)
            .timeout(Duration::ZERO)
            .idempotency_key("a\0b")
            .event_id("no/id")
            .reserved_for("no worker", Duration::from_hours(25));
        let problem = job.check().unwrap_err();
        let pointers: Vec<_> = problem
            .errors
            .iter()
            .map(|error| error.pointer.as_str())
            .collect();
        assert_eq!(
            pointers,
            [
                "/type",
                "/queue",
                "/priority",
                "/max_attempts",
                "/timeout_seconds",
                "/idempotency_key",
                "/event_id",
                "/reserved/worker",
                "/reserved/hold"
            ]
        );
        assert!(NewJob::new("mail.send").check().is_ok());
    }

    #[test]
    fn a_payload_is_bounded_and_comes_back_alike_on_every_engine() {
        let payload = |text: String| NewJob::new("t").payload(RawValue::from_string(text).unwrap());
        assert!(
            payload(format!("\"{}\"", "x".repeat(MAX_DOCUMENT - 2)))
                .check()
                .is_ok()
        );
        assert!(
            payload(format!("\"{}\"", "x".repeat(MAX_DOCUMENT)))
                .check()
                .is_err()
        );
        let problem = payload(r#"{"a":[1e400]}"#.to_owned()).check().unwrap_err();
        assert_eq!(problem.errors[0].pointer, "/payload/a/0");
    }
}
