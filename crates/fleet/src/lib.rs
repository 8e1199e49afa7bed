//! Fleet: configuration that reaches every agent and worker, and an honest word of what became of it.
//!
//! The table `fleet_versions` is authoritative for what was ever pushed: a version never changes, and
//! a rollback makes a new one. Which version is offered to whom is a pure function ([`offers`]) of the
//! versions, their shares (`fleet_changes`) and an agent's id and labels, so that every controller
//! says the same. Three things are told of each agent and never taken for each other: what it is
//! `offered`, how its `last_attempt` went, and what it is `running`.
//!
//! Every change has a number, its tenant's `revision`. A controller holds what is offered in memory,
//! under the revision it is of; whoever was told of a revision names it when it asks, and is never
//! answered out of an older memory.

pub mod agent;
mod error;
mod gate;
mod http;
mod if_none_match;
mod keeper;
mod keys;
mod masked;
mod memory;
mod metrics;
mod migrations;
mod model;
mod offers;
mod schema;
mod servers;
mod service;
mod settings;
mod statuses;
mod store;
pub mod worker;

pub use self::http::routes;
pub use error::Error;
pub use gate::Gate;
pub use if_none_match::IfNoneMatch;
pub use keys::Keys;
pub use metrics::describe as describe_metrics;
pub use migrations::MIGRATIONS;
pub use model::{Agent, Attempt, AttemptState, Labels, NewVersion, Registration, Report, Version};
pub use offers::{Offer, SERVERS};
pub use servers::{QueueSettings, ServerSettings};
pub use service::{Answer, Ask, CheckServers, Fleet, PageOf, Watching};
pub use settings::FleetSettings;

#[cfg(test)]
mod tests;
