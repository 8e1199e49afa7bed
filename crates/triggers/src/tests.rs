//! Triggers on a real store.

mod ahead;
mod harness;
mod scheduler;
mod schedulers;

pub(crate) use harness::TestTriggers;
