//! What operators see of an operator.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

use crate::{Instance, Phase};

/// HELP texts.
pub fn describe() {
    describe_gauge!(
        "tidewire_agent_instances",
        "instances of agents that this operator looks after, by phase"
    );
    describe_counter!(
        "tidewire_agent_starts_total",
        "instances of agents that were started"
    );
    describe_counter!(
        "tidewire_agent_crashes_total",
        "instances of agents that ended by themselves"
    );
    describe_histogram!(
        "tidewire_agent_reconcile_seconds",
        "what a look at all threads and instances took, until it was planned what to do"
    );
    describe_gauge!(
        "tidewire_agent_waiting_threads",
        "threads whose turns wait because limits leave no room for an instance"
    );
    describe_gauge!(
        "tidewire_agent_operator_leads",
        "1 while this operator is the one of several that works, 0 while it stands by"
    );
}

pub(crate) fn looked(instances: &[Instance], waiting: usize, took: Duration) {
    let mut counts = [0u32; 4];
    for it in instances {
        counts[match it.phase {
            Phase::Starting => 0,
            Phase::Ready => 1,
            Phase::Stopping => 2,
            Phase::Failed(_) => 3,
        }] += 1;
    }
    let names = ["starting", "ready", "stopping", "failed"];
    for (phase, count) in names.into_iter().zip(counts) {
        gauge!("tidewire_agent_instances", "phase" => phase).set(count);
    }
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    gauge!("tidewire_agent_waiting_threads").set(waiting);
    histogram!("tidewire_agent_reconcile_seconds").record(took);
}

pub(crate) fn started() {
    counter!("tidewire_agent_starts_total").increment(1);
}

pub(crate) fn crashed() {
    counter!("tidewire_agent_crashes_total").increment(1);
}

#[cfg(feature = "kubernetes")]
pub(crate) fn leads(leads: bool) {
    gauge!("tidewire_agent_operator_leads").set(u8::from(leads));
}
