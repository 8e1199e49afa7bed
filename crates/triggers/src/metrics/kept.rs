//! What is kept, as sweeps count it, and what they move and delete.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::model::{RetentionStatus, ScheduleStatus, TriggerStatus, TriggerType};

pub(crate) fn archived(executions: u64) {
    counter!("tidewire_executions_archived_total").increment(executions);
}

pub(crate) fn deleted(executions: u64) {
    counter!("tidewire_executions_deleted_total").increment(executions);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows stay far below 2^52"
)]
fn gauged(counts: impl Iterator<Item = u64>) -> f64 {
    counts.sum::<u64>() as f64
}

pub(crate) fn executions(retention: RetentionStatus, count: u64) {
    let count = gauged(std::iter::once(count));
    gauge!("tidewire_executions", "retention" => retention.as_str()).set(count);
}

/// States that nothing is in are there with 0.
pub(crate) fn schedules(counts: &[(ScheduleStatus, u64)]) {
    for status in ScheduleStatus::ALL {
        let of = counts.iter().filter(|(found, _)| found == status);
        gauge!("tidewire_trigger_schedules", "status" => status.as_str())
            .set(gauged(of.map(|(_, count)| *count)));
    }
}

/// Types that no trigger has are there with 0.
pub(crate) fn triggers(counts: &[(TriggerType, TriggerStatus, u64)]) {
    for kind in TriggerType::ALL {
        for status in TriggerStatus::ALL {
            let of = counts.iter().filter(|(a, b, _)| (a, b) == (kind, status));
            let labels = [("type", kind.as_str()), ("status", status.as_str())];
            gauge!("tidewire_triggers", &labels).set(gauged(of.map(|(_, _, count)| *count)));
        }
    }
}

pub(super) fn describe() {
    describe_counter!(
        "tidewire_executions_archived_total",
        "executions that were moved to the archive"
    );
    describe_counter!(
        "tidewire_executions_deleted_total",
        "executions that were deleted, with all that was kept of them"
    );
    describe_gauge!(
        "tidewire_executions",
        "executions that are kept, active and archived"
    );
    describe_gauge!("tidewire_triggers", "triggers, by type and status");
    describe_gauge!(
        "tidewire_trigger_schedules",
        "occurrences that are kept, by state"
    );
}
