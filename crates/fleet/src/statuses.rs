//! What agents say of the versions they tried. Reports that come together are one write.

use std::{collections::BTreeMap, sync::Arc};

use tidewire_core::{Clock, Time};
use tidewire_db::{Batch, Result, Tx};

use crate::{
    model::{AttemptState, Report},
    store::{AgentKey, AttemptRow, Store},
};

/// A report on its way.
pub(crate) struct Said {
    pub agent: AgentKey,
    pub report: Report,
    pub at: Time,
}

/// The lane of reports.
pub(crate) struct Statuses {
    pub store: Arc<Store>,
    pub clock: Clock,
}

impl Batch for Statuses {
    type In = Said;
    /// Whether the agent is known.
    type Out = bool;

    const NAME: &'static str = "fleet_statuses";
    const ROUND: usize = 1000;
    const WRITER: &'static str = "fleet_statuses";

    fn weight(&self, said: &Said) -> usize {
        1 + said.report.error.as_ref().map_or(0, String::len) / 4096
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, ops: &'a [Said]) -> Result<Vec<bool>> {
        let mut of_agent: BTreeMap<&AgentKey, Vec<&Said>> = BTreeMap::new();
        for said in ops {
            of_agent.entry(&said.agent).or_default().push(said);
        }
        let keys: Vec<_> = of_agent.keys().copied().collect();
        let mut known: BTreeMap<AgentKey, AttemptRow> =
            self.store.attempts(tx, &keys).await?.into_iter().collect();
        for (key, row) in &mut known {
            for said in &of_agent[key] {
                *row = after(row.clone(), &said.report, said.at);
            }
        }
        let answers = ops.iter().map(|said| known.contains_key(&said.agent));
        let answers = answers.collect();
        let rows: Vec<_> = known.into_iter().collect();
        if !rows.is_empty() {
            self.store.report(tx, &rows, self.clock.now()).await?;
        }
        Ok(answers)
    }
}

/// What is known of an agent once it has said this. That an older version works (again) does not hide
/// that a newer one failed: only another word about that one or a newer one does.
fn after(known: AttemptRow, report: &Report, at: Time) -> AttemptRow {
    let Report {
        version,
        state,
        error,
    } = report;
    let works = *state == AttemptState::Applied;
    let failed_newer =
        known.state == Some(AttemptState::Failed) && known.version.is_some_and(|it| it > *version);
    let running = if works { Some(*version) } else { known.running };
    if works && failed_newer {
        return AttemptRow { running, ..known };
    }
    AttemptRow {
        version: Some(*version),
        state: Some(*state),
        error: error.clone().filter(|_| !works),
        at: Some(at),
        running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: AttemptRow = AttemptRow {
        version: None,
        state: None,
        error: None,
        at: None,
        running: None,
    };

    fn said(version: u64, error: Option<&str>) -> Report {
        Report {
            version,
            state: error.map_or(AttemptState::Applied, |_| AttemptState::Failed),
            error: error.map(str::to_owned),
        }
    }

    fn told(reports: &[Report]) -> AttemptRow {
        let steps = reports.iter();
        steps.fold(NOTHING, |known, report| after(known, report, Time::EPOCH))
    }

    #[test]
    fn a_failure_leaves_what_runs() {
        let known = told(&[said(1, None), said(2, Some("no such host"))]);
        assert_eq!(
            (known.version, known.state, known.running),
            (Some(2), Some(AttemptState::Failed), Some(1))
        );
        assert_eq!(known.error.as_deref(), Some("no such host"));
    }

    #[test]
    fn an_older_version_does_not_hide_that_a_newer_one_failed() {
        let known = told(&[said(1, None), said(2, Some("no")), said(1, None)]);
        assert_eq!((known.version, known.running), (Some(2), Some(1)));
        let known = told(&[said(1, None), said(2, Some("no")), said(3, None)]);
        assert_eq!((known.version, known.running), (Some(3), Some(3)));
        assert_eq!(known.error, None);
    }
}
