//! Configuration of agents and workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::Time;

use super::named::named;

/// What an agent says of itself, and what a version asks of agents.
pub type Labels = BTreeMap<String, String>;

/// A config that is to be pushed.
#[derive(Clone, Debug, Serialize)]
pub struct NewConfig {
    pub config: Box<RawValue>,
    /// Only for agents that have all of these.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Only for so many of a hundred of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// What must hold before the share is raised, such as `failed<1%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// To which version's config to go back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rollback {
    pub version: u64,
    /// For agents with these labels; for those that the version was for if they are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PushedConfig {
    pub version: u64,
    pub etag: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigVersion {
    pub version: u64,
    pub etag: String,
    pub config: Box<RawValue>,
    #[serde(default)]
    pub labels: Labels,
    pub percent: u32,
    pub gate: Option<String>,
    pub note: Option<String>,
    pub author: String,
    pub rollback_of: Option<u64>,
    pub created_at: Time,
}

#[derive(Deserialize)]
pub(crate) struct VersionsPage {
    pub versions: Vec<ConfigVersion>,
    pub next_cursor: Option<String>,
}

/// Who registers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewFleetAgent {
    /// Whoever it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

#[derive(Clone, Debug, Deserialize)]
pub struct RegisteredAgent {
    pub agent_id: String,
    /// Where it asks for its config.
    pub poll_url: String,
    pub poll_interval_seconds: f64,
}

/// The config that an agent is offered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfferedConfig {
    pub version: u64,
    pub config: Box<RawValue>,
    #[serde(skip)]
    pub etag: String,
}

named! {
    pub enum AttemptState {
        Applied = "applied",
        Failed = "failed",
    }
}

/// How an agent's last try of a version went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetAttempt {
    pub version: u64,
    pub state: AttemptState,
    pub error: Option<String>,
    pub at: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetAgent {
    pub agent_id: String,
    pub name: Option<String>,
    #[serde(default)]
    pub labels: Labels,
    #[serde(default)]
    pub registered_at: Option<Time>,
    pub last_seen_at: Option<Time>,
    /// The version that it is given when it asks.
    pub offered: Option<u64>,
    /// The version that it tried last, and how that went.
    pub last_attempt: Option<FleetAttempt>,
    /// The version that works there.
    pub running: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct AgentsPage {
    pub agents: Vec<FleetAgent>,
    pub next_cursor: Option<String>,
}

/// What an agent says of a version that it has tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    pub version: u64,
    pub state: AttemptState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SchemaBody {
    pub schema: Box<RawValue>,
}

/// How a worker of a fleet is.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetWorkerState {
    /// The version that it works by; none after its start.
    pub version: Option<u64>,
    /// None if it does not say so: workers of other makes.
    pub started_at: Option<Time>,
}
