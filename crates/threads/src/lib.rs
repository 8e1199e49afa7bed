//! Threads: agents' conversations, each a stream of events that is sequenced, streamed live and
//! kept.
//!
//! A thread is the stream `thread:ID` of its tenant's log, so its events are ordered, deduplicated,
//! stored and matched by triggers like all others, and `seq` is the log's. What is told of a turn
//! besides is in [`store`]. A turn that may run has a job of type `agent.turn`, which agents claim
//! like any other; what becomes of the job and what the agent says meet in [`state`], whose rules
//! are pure, and are written in one transaction with the event that says so.
//!
//! Who wants several locks takes them in this order, so that nobody waits for each other: rows of
//! jobs, rows of threads, rows of turns, rows of leases and of keys, the lock of the log.

mod accept;
mod append;
mod demand;
mod ending;
mod error;
mod event;
mod follow;
pub mod hot;
mod http;
mod leases;
mod line;
mod metrics;
mod migrations;
mod model;
mod service;
mod settings;
mod state;
mod store;

pub use self::http::{live_routes, routes};
pub use accept::{Accepted, NewTurn, OnBusy};
pub use append::Stored;
pub use demand::{Demand, ThreadDemand};
pub use error::Error;
pub use event::{GAP, InLog, Level, NewThreadEvent, ThreadEvent};
pub use follow::{FOLLOWER, Turns};
pub use leases::{Lease, LeaseAnswer, LeaseEnd, LeaseEndStatus, LeaseEnded, LeaseStatus, NewLease};
pub use metrics::describe as describe_metrics;
pub use migrations::MIGRATIONS;
pub use model::{Thread, ThreadKey, ThreadStatus, Turn};
pub use service::{Rooms, Threads};
pub use settings::ThreadSettings;
pub use state::{Over, TurnStatus, after, ending};

/// How the names of streams begin that are threads.
pub const NAMESPACE: &str = "thread:";

/// The type of a turn's job.
pub const AGENT_TURN: &str = "agent.turn";

#[cfg(test)]
mod tests;
