//! What runs, what may run, and for whom.

use std::{sync::Arc, time::Duration};

use tidewire_core::{Time, principal::DEFAULT_TENANT};

/// A thread of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadKey {
    pub tenant: Arc<str>,
    pub thread: Arc<str>,
}

/// How far an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It was asked for, and does not run yet.
    Starting,
    /// It runs.
    Ready,
    /// It was told to stop.
    Stopping,
    /// It ended without being told to, or cannot be reached any more; why, in a few words.
    Failed(String),
}

/// One process or Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Under which it claims; never given to another.
    pub name: Arc<str>,
    pub tenant: Arc<str>,
    /// The agent that it is; `None` for turns that name none.
    pub agent: Option<Arc<str>>,
    /// `None` while it is warm.
    pub thread: Option<Arc<str>>,
    pub phase: Phase,
    pub started_at: Time,
    /// How long it outlives its thread's last turn, where its thread says something else than its template.
    pub idle_timeout: Option<Duration>,
}

/// How instances of an agent are made, as far as it matters how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// `None` for turns that name none.
    pub agent: Option<Arc<str>>,
    /// Only this tenant's threads; everybody's if it is missing.
    pub tenant: Option<Arc<str>>,
    /// How long an instance outlives its thread's last turn.
    pub idle_timeout: Duration,
    /// Ready instances that have no thread yet, of `tenant` or else of the default tenant.
    pub warm: u32,
    /// Instances at most.
    pub most: Option<u32>,
    /// How long a running turn may go on when its instance must stop.
    pub drain: Duration,
}

/// A thread that is to have an instance whether it has a turn or not, until it is idle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub key: ThreadKey,
    pub agent: Option<Arc<str>>,
    /// It is to go: its instance is drained, and then [`crate::Driver::forget`] is called.
    pub is_leaving: bool,
}

/// A thread with an open turn: what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub key: ThreadKey,
    pub agent: Option<Arc<str>>,
    /// The first that is open.
    pub turn: Arc<str>,
    pub is_running: bool,
    pub since: Time,
    pub leased_by: Option<Arc<str>>,
    pub leased_until: Option<Time>,
}

/// How many instances there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub in_all: Option<u32>,
    pub per_tenant: Option<u32>,
}

impl Instance {
    pub(crate) fn key(&self) -> Option<ThreadKey> {
        let thread = self.thread.as_ref()?;
        Some(ThreadKey {
            tenant: Arc::clone(&self.tenant),
            thread: Arc::clone(thread),
        })
    }

    /// It runs, or will.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Ready)
    }
}

impl Template {
    /// The one of these by which instances of an agent are made for a tenant: its own, or everybody's.
    pub(crate) fn of(templates: &[Template], tenant: &str, agent: Option<&str>) -> Option<usize> {
        let of = |whose: Option<&str>| {
            templates
                .iter()
                .position(|it| it.agent.as_deref() == agent && it.tenant.as_deref() == whose)
        };
        of(Some(tenant)).or_else(|| of(None))
    }

    /// Whose threads its warm instances are for.
    pub(crate) fn warm_for(&self) -> &str {
        self.tenant.as_deref().unwrap_or(DEFAULT_TENANT)
    }
}
