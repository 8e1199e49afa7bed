//! Leases of agents' instances on threads, and which threads want one.

use serde::{Deserialize, Serialize};
use tidewire_core::Time;

use super::TurnStatus;

/// A lease that an instance is to have, or to go on having.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewLease {
    /// `default` if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The instance's name, under which it claims.
    pub worker: String,
    /// The agent that it is; turns that name none if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The thread that is its own. A lease without one may get one later, and keeps it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseStatus {
    Held,
    /// Somebody else has the thread, or the instance has another one.
    Refused,
    #[serde(other)]
    Unknown,
}

/// What came of asking for a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseAnswer {
    pub tenant_id: String,
    pub worker: String,
    pub status: LeaseStatus,
    #[serde(default)]
    pub thread_id: Option<String>,
    #[serde(default)]
    pub expires_at: Option<Time>,
    /// The instance's key, shown when its lease is made and never again.
    #[serde(default)]
    pub api_key: Option<String>,
    /// Why it was refused.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A lease that is to end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LeaseEnd {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    pub worker: String,
    /// The instance is gone, or must give up what it runs: its turn is taken over. Otherwise a lease
    /// whose thread has an open turn goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseEndStatus {
    Released,
    /// Its thread has an open turn.
    Busy,
    /// There is no such lease.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseEnded {
    pub tenant_id: String,
    pub worker: String,
    pub status: LeaseEndStatus,
}

/// A lease as a list shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lease {
    pub tenant_id: String,
    pub worker: String,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default)]
    pub thread_id: Option<String>,
    pub expires_at: Time,
    pub created_at: Time,
    /// When the thread's last turn came, or ended if it has.
    #[serde(default)]
    pub last_turn_at: Option<Time>,
}

/// Which threads have open turns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Demand {
    /// Names what is said here: an answer that is held waits for another.
    pub revision: String,
    pub threads: Vec<ThreadDemand>,
}

/// A thread with an open turn: the first of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadDemand {
    pub tenant_id: String,
    pub thread_id: String,
    /// The turn's; `None` if it names none.
    #[serde(default)]
    pub agent: Option<String>,
    pub turn_id: String,
    /// `accepted` or `running`.
    pub status: TurnStatus,
    /// When the turn came.
    pub since: Time,
    /// Who runs it, or did last.
    #[serde(default)]
    pub worker: Option<String>,
    /// Who has the thread.
    #[serde(default)]
    pub leased_by: Option<String>,
    #[serde(default)]
    pub leased_until: Option<Time>,
}

#[derive(Deserialize)]
pub(crate) struct LeaseAnswers {
    pub leases: Vec<LeaseAnswer>,
}

#[derive(Deserialize)]
pub(crate) struct LeasesEnded {
    pub leases: Vec<LeaseEnded>,
}

#[derive(Deserialize)]
pub(crate) struct LeaseList {
    pub leases: Vec<Lease>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}
