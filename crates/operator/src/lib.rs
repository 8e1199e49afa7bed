//! Instances of agents, each with the state of one thread: they come when a thread has a turn, keep
//! the thread for as long as they live, and go when it is idle.
//!
//! The server is authoritative for what is wanted (threads with open turns) and for who has which
//! thread (leases, whose ends are the ends of the instances' keys). A [`Driver`] is authoritative for what
//! runs: local processes, or Pods. The operator itself keeps nothing that it could not learn from
//! these two, so it may be killed at any instant, and several may run: whoever gets a thread's lease
//! has the thread.
//!
//! What is to be done is a pure function of all of these (`plan`); `run` looks, has it planned, and sets it off.
//! [`local`] runs instances as processes of this machine.
//!
//! It knows the server by its HTTP API alone, as the rest of `client` does.

mod act;
mod asks;
mod demand;
mod driver;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod leases;
pub mod local;
mod metrics;
mod model;
mod plan;
mod run;
mod settings;

pub use driver::{API_KEY, Driver, DriverError, Note, Start, StopHow};
pub use metrics::describe as describe_metrics;
pub use model::{Instance, Limits, Phase, Pinned, Template, ThreadKey};
pub use run::{Operator, Reached};
pub use settings::Settings;
