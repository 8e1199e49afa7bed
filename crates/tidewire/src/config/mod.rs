//! Configuration: flag > environment > `tidewire.toml` > default.
//!
//! [`SETTINGS`] is the one list of what can be set; flags, variables, the file's keys and
//! `tidewire config env` all come from it. [`Values`] says where each value came from, [`Config`]
//! is what they mean, one typed struct for each concern, checked before anything binds.

mod agents;
mod archives;
mod hot_log;
mod job_bus;
mod setting;
mod settings;
mod sites;
mod store;
mod triggers;
mod typed;
mod values;

pub use agents::{Agents, local_agents};
pub use archives::Archives;
pub use hot_log::HotLog;
pub use job_bus::{Brokers, JobBus};
pub use setting::{Group, Setting, Sight};
pub use settings::{OTHER_VARIABLES, SETTINGS, Variable};
pub use sites::Sites;
pub use store::Store;
pub use triggers::Triggers;
pub(crate) use typed::address;
pub use typed::{Config, Log, LogFormat, Role, Roles};
pub use values::{Bad, Origin, Values, unknown_variables};
