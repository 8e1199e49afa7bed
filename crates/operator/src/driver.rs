//! Where instances run.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{Instance, Pinned, Template, ThreadKey};

/// An instance that is to be started.
#[derive(Clone)]
pub struct Start {
    /// Its name, and that of its lease.
    pub name: Arc<str>,
    pub tenant: Arc<str>,
    pub agent: Option<Arc<str>>,
    /// `None` for a warm one.
    pub thread: Option<Arc<str>>,
    /// What it shows to the server: good for its own thread, for as long as its lease goes on.
    pub api_key: String,
}

/// The variable that has an instance's key.
pub const API_KEY: &str = "TIDEWIRE_API_KEY";

impl Start {
    /// What an instance finds in its environment besides its key, wherever it runs; `gateway` is the server
    /// that it takes turns from. Its tenant is not among it: the key says that, and a key of one tenant
    /// may name none.
    #[must_use]
    pub fn variables(&self, gateway: &str) -> Vec<(&'static str, String)> {
        let own = [
            ("TIDEWIRE_AGENT", self.agent.as_deref()),
            ("TIDEWIRE_THREAD", self.thread.as_deref()),
            ("TIDEWIRE_INSTANCE", Some(&*self.name)),
            ("TIDEWIRE_GATEWAY", Some(gateway)),
            ("EVENT_GATEWAY_URL", Some(gateway)),
        ];
        let set = own.into_iter();
        set.filter_map(|(name, value)| Some((name, value?.to_owned())))
            .collect()
    }
}

/// How an instance is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopHow {
    /// It is told to, and killed if it is there still after so long.
    Within(Duration),
    /// It is gone, or must be: nothing waits for it.
    AtOnce,
}

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// It may go well later.
    #[error("{0}")]
    Unavailable(String),
    /// It will not go well until somebody changes something.
    #[error("{0}")]
    Refused(String),
}

/// Starts and stops instances, and knows which there are. All of it is level-triggered: what is
/// asked for twice happens once, and whatever was asked for shows in [`Driver::instances`] afterwards.
pub trait Driver: Send + Sync + 'static {
    /// As logs and metrics name it.
    fn name(&self) -> &'static str;

    /// Whether instances go on without their operator, for the next one to find. Those that do not are
    /// drained when it is told to stop.
    fn outlives_operator(&self) -> bool {
        true
    }

    /// Counts up when instances, templates or pinned threads may have changed.
    fn changes(&self) -> watch::Receiver<u64>;

    /// How instances are made. An agent without a template has none, and its turns are left to whoever
    /// else claims them.
    fn templates(&self) -> Vec<Template>;

    /// All instances of this installation, whoever started them.
    fn instances(&self) -> impl Future<Output = Result<Vec<Instance>, DriverError>> + Send;

    /// Threads that somebody wants an instance for by other means than a turn.
    fn pinned(&self) -> Vec<Pinned> {
        Vec::new()
    }

    fn start(&self, start: Start) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// A warm instance has a thread from here on. Its lease says so already; nothing is sent to it.
    fn bind(
        &self,
        name: &str,
        key: &ThreadKey,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// Stops an instance, or clears away what is left of one. One that is not there is stopped.
    fn stop(
        &self,
        name: &str,
        how: StopHow,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// A thread has no instance any more and wants none.
    fn forget(&self, _key: &ThreadKey) -> impl Future<Output = Result<(), DriverError>> + Send {
        async { Ok(()) }
    }

    /// Something happened to a thread's instance that whoever looks at it there should read.
    fn note(
        &self,
        _key: &ThreadKey,
        _note: Note<'_>,
    ) -> impl Future<Output = Result<(), DriverError>> + Send {
        async { Ok(()) }
    }
}

/// What is said of a thread where its instance runs.
#[derive(Clone, Debug)]
pub enum Note<'n> {
    /// Its turn came, or ended.
    Turn { turn: &'n str, is_open: bool },
    /// Limits keep its instance from being started.
    Waits { why: &'n str },
    /// Its instance ended by itself, and another is started after so long.
    Crashed { why: &'n str, again_in: Duration },
}
