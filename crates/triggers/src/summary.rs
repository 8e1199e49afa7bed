//! Executions in numbers: how those of the last hours stand, by trigger.

use serde::Serialize;
use tidewire_core::{Problem, Time};

/// Hours that a summary looks back if nobody says.
pub const DEFAULT_SUMMARY_HOURS: u32 = 48;
/// The most it can look back: a year.
pub const MAX_SUMMARY_HOURS: u32 = 8_760;
/// Triggers that a summary lists.
pub const MAX_SUMMARY_TRIGGERS: usize = 500;

/// Executions by how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ExecutionCounts {
    pub pending: u64,
    pub success: u64,
    pub failure: u64,
}

impl ExecutionCounts {
    #[must_use]
    pub fn total(self) -> u64 {
        self.pending + self.success + self.failure
    }

    fn sum(self, other: Self) -> Self {
        ExecutionCounts {
            pending: self.pending + other.pending,
            success: self.success + other.success,
            failure: self.failure + other.failure,
        }
    }
}

/// What one trigger's firings did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TriggerSummary {
    /// Null stands for the tests of triggers that are not stored.
    #[schema(required)]
    pub trigger_id: Option<String>,
    /// Null if the trigger is not stored, or not any more.
    #[schema(required)]
    pub name: Option<String>,
    #[serde(flatten)]
    pub by_status: ExecutionCounts,
    pub total: u64,
    /// How many of these are test runs.
    pub test_runs: u64,
}

/// The executions of the last hours, active and archived, by trigger and status. The triggers' counts
/// add up to the whole, unless more than 500 have fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ExecutionSummary {
    pub hours: u32,
    /// Executions that were fired from then on.
    pub from: Time,
    pub total: u64,
    pub by_status: ExecutionCounts,
    /// How many of these are test runs.
    pub test_runs: u64,
    /// The busiest first, at most 500.
    pub triggers: Vec<TriggerSummary>,
    /// Triggers that have fired and are not listed, though they are counted.
    pub triggers_not_listed: u64,
}

/// The checked `hours` of a summary.
pub(crate) fn hours(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(DEFAULT_SUMMARY_HOURS) {
        n @ 1..=MAX_SUMMARY_HOURS => Ok(n),
        n => Err(Problem::invalid(
            "hours",
            format!("must be 1 to {MAX_SUMMARY_HOURS}, it is {n}"),
        )),
    }
}

/// Adds up what is known of each trigger.
pub(crate) fn of(hours: u32, from: Time, mut triggers: Vec<TriggerSummary>) -> ExecutionSummary {
    let by_status = triggers
        .iter()
        .fold(ExecutionCounts::default(), |sum, trigger| {
            sum.sum(trigger.by_status)
        });
    let test_runs = triggers.iter().map(|trigger| trigger.test_runs).sum();
    let fired = triggers.len();
    triggers.sort_unstable_by(|a, b| (b.total, &a.trigger_id).cmp(&(a.total, &b.trigger_id)));
    triggers.truncate(MAX_SUMMARY_TRIGGERS);
    ExecutionSummary {
        hours,
        from,
        total: by_status.total(),
        by_status,
        test_runs,
        triggers_not_listed: (fired - triggers.len()) as u64,
        triggers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(id: Option<&str>, failure: u64, test_runs: u64) -> TriggerSummary {
        let by_status = ExecutionCounts {
            pending: 1,
            success: 2,
            failure,
        };
        TriggerSummary {
            trigger_id: id.map(str::to_owned),
            name: None,
            by_status,
            total: by_status.total(),
            test_runs,
        }
    }

    #[test]
    fn hours_have_bounds() {
        assert_eq!(hours(None).unwrap(), 48);
        assert_eq!(hours(Some(8_760)).unwrap(), 8_760);
        assert!(hours(Some(0)).is_err());
        assert!(hours(Some(8_761)).is_err());
    }

    #[test]
    fn the_busiest_come_first_and_all_are_counted() {
        let all = vec![
            trigger(Some("b"), 4, 0),
            trigger(None, 0, 3),
            trigger(Some("a"), 4, 1),
        ];
        let summary = of(1, Time::EPOCH, all);
        let order: Vec<_> = summary
            .triggers
            .iter()
            .map(|trigger| trigger.trigger_id.as_deref())
            .collect();
        assert_eq!(order, [Some("a"), Some("b"), None]);
        assert_eq!((summary.total, summary.test_runs), (17, 4));
        assert_eq!(summary.by_status.failure, 8);

        let many = (0..600).map(|n| trigger(Some(&n.to_string()), 0, 0));
        let summary = of(1, Time::EPOCH, many.collect());
        assert_eq!(summary.triggers.len(), 500);
        assert_eq!((summary.triggers_not_listed, summary.total), (100, 1_800));
    }

    #[test]
    fn a_summary_is_flat_on_the_wire() {
        let summary = of(48, Time::EPOCH, vec![trigger(Some("a"), 0, 0)]);
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            r#"{"hours":48,"from":"1970-01-01T00:00:00.000000Z","total":3,"by_status":{"pending":1,"success":2,"failure":0},"test_runs":0,"triggers":[{"trigger_id":"a","name":null,"pending":1,"success":2,"failure":0,"total":3,"test_runs":0}],"triggers_not_listed":0}"#
        );
    }
}
