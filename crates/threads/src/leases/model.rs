//! What is said of leases.

use serde::Serialize;
use tidewire_core::Time;

use super::NewLease;
use crate::store::LeaseRow;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaseStatus {
    Held,
    /// Nothing was changed.
    Refused,
}

/// What came of asking for a lease.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeaseAnswer {
    pub tenant_id: String,
    pub worker: String,
    /// The thread that the instance has, or that was refused to it.
    #[schema(required)]
    pub thread_id: Option<String>,
    pub status: LeaseStatus,
    /// Null for one that was refused.
    #[schema(required)]
    pub expires_at: Option<Time>,
    /// The instance's key: shown when the lease is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaseEndStatus {
    Released,
    /// Its thread has an open turn, and the lease goes on.
    Busy,
    /// There is no such lease.
    Unknown,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeaseEnded {
    pub tenant_id: String,
    pub worker: String,
    pub status: LeaseEndStatus,
}

/// A lease as a list shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AgentLease)]
pub struct Lease {
    pub tenant_id: String,
    pub worker: String,
    /// Null for an instance that runs turns which name none.
    #[schema(required)]
    pub agent: Option<String>,
    /// Null while it waits for one.
    #[schema(required)]
    pub thread_id: Option<String>,
    /// One that is past it is to be renewed or released, or is taken over by whoever asks for its thread.
    pub expires_at: Time,
    pub created_at: Time,
    /// When the thread's last turn came, or ended if it has.
    #[schema(required)]
    pub last_turn_at: Option<Time>,
}

impl LeaseAnswer {
    pub(super) fn held(lease: &LeaseRow) -> Self {
        LeaseAnswer {
            tenant_id: lease.tenant.to_string(),
            worker: lease.worker.to_string(),
            thread_id: lease.thread.as_deref().map(str::to_owned),
            status: LeaseStatus::Held,
            expires_at: Some(lease.expires_at),
            api_key: None,
            reason: None,
        }
    }

    pub(super) fn refused(one: &NewLease, why: String) -> Self {
        LeaseAnswer {
            tenant_id: one.tenant.to_string(),
            worker: one.worker.to_string(),
            thread_id: one.thread.as_deref().map(str::to_owned),
            status: LeaseStatus::Refused,
            expires_at: None,
            api_key: None,
            reason: Some(why),
        }
    }
}
