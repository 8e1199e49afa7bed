//! The built binary from outside: what a client, an operator and a process manager see of it. One
//! target with a module for each subject, so that linking is paid once.
//!
//! `TIDEWIRE_TEST_FULL=1` runs more rounds of what is random.

mod access;
mod agents;
mod archives;
mod browser;
mod cli;
mod clients;
mod crash;
mod dashboard;
mod demo;
mod faults;
mod fleet;
mod hostile;
mod hot_log;
mod instances;
#[cfg(feature = "kafka")]
mod job_bus;
mod load;
mod outages;
mod sharing;
mod signals;
mod sites;
mod source_design;
mod support;
mod triggers;
mod worker_sdk;
