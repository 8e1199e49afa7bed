//! The seam of the job bus: how workers learn of ready jobs besides asking the store, and how firings
//! reach those who are not Tidewire.
//!
//! The store stays the truth. What a bus says of a job is a hint: a worker claims the job in the store,
//! if it is still as the bus says, and every rule of claims holds. What is said twice, late or never
//! changes nothing but how soon a job begins.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tidewire_core::Time;
use tidewire_db::BoxFuture;

/// A bus. Every engine passes the same suite.
pub trait JobBus: Send + Sync + 'static {
    /// As logs and `/health` name it.
    fn name(&self) -> &'static str;

    /// Whether there is anybody to tell: if not, nothing need be published.
    fn is_apart(&self) -> bool;

    /// Returns when every message is where it stays, or was refused for its size; messages of one key
    /// arrive in their order. Waits for as long as the bus is away. An error means that any of them may
    /// be missing: all are to be published again, and some will be there twice. The same holds if the
    /// future is dropped; then nothing is sent any more.
    fn publish<'a>(&'a self, messages: &'a [Message])
    -> BoxFuture<'a, Result<Vec<Sent>, BusError>>;

    /// What is said of jobs, for one worker; workers share it out among them.
    fn subscribe(&self) -> Result<Box<dyn Feed>, BusError>;

    /// Whether the bus answers, or in a few words why not, fit for anybody's eyes.
    fn check(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// One worker's share of what is said of jobs.
pub trait Feed: Send {
    /// The next of it, at most so many, as soon as there is any. Can be dropped half-way.
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Wanted>, BusError>>;

    /// What was handed out until now has been dealt with, and need not come again.
    fn done(&mut self) -> Result<(), BusError>;
}

/// A job that is ready, as a bus says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    /// Its `run_at` when it was spoken of. A job that has another one by now has lived on meanwhile.
    pub due: Time,
}

/// What workers hear, as it travels. Others may read it; none of it is a promise to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobMessage<'m> {
    pub job_id: Cow<'m, str>,
    pub tenant: Cow<'m, str>,
    pub run_at: Time,
    #[serde(default)]
    pub execution_id: Option<Cow<'m, str>>,
    #[serde(default)]
    pub trigger_id: Option<Cow<'m, str>>,
}

impl JobMessage<'_> {
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Texts and a time: there is nothing that JSON lacks.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn read(json: &[u8]) -> Result<Wanted, serde_json::Error> {
        let message: JobMessage<'_> = serde_json::from_slice(json)?;
        Ok(Wanted {
            tenant: (&*message.tenant).into(),
            id: (&*message.job_id).into(),
            due: message.run_at,
        })
    }
}

/// Who hears a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Workers: see [`Wanted`].
    Jobs,
    /// Everybody who wants to know what is fired.
    Events,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub topic: Topic,
    pub key: Arc<str>,
    pub value: Vec<u8>,
    /// Beside the value: name and value.
    pub header: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Done,
    /// The bus takes no message of this size.
    TooLarge,
}

/// A bus that cannot do what it should, at this moment.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BusError(pub String);

impl BusError {
    #[must_use]
    pub fn new(why: impl fmt::Display) -> Self {
        BusError(why.to_string())
    }
}

/// No bus beside the store: workers claim there, woken by it, and there is nobody to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Database;

impl JobBus for Database {
    fn name(&self) -> &'static str {
        "database"
    }

    fn is_apart(&self) -> bool {
        false
    }

    fn publish<'a>(
        &'a self,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Result<Vec<Sent>, BusError>> {
        Box::pin(std::future::ready(Ok(vec![Sent::Done; messages.len()])))
    }

    fn subscribe(&self) -> Result<Box<dyn Feed>, BusError> {
        Ok(Box::new(Silence))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Silence;

impl Feed for Silence {
    fn next(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Wanted>, BusError>> {
        Box::pin(std::future::pending())
    }

    fn done(&mut self) -> Result<(), BusError> {
        Ok(())
    }
}
