//! What was measured, as data: a file for each store beside the page. Page and charts are drawn from them alone, so that
//! a run of one workload replaces that workload's part and leaves the rest as it was.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::args::Store;
use crate::calibrate::{Calibration, Drift, median};
use crate::machine::Machine;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Rate,
    P50Ms,
    P99Ms,
    P999Ms,
    MaxMs,
    PerCpuSecond,
    /// CPU seconds of a thousand.
    CpuPerThousand,
    RssMib,
    PeakRssMib,
    /// What one idle subscriber adds to the memory.
    SubscriberKib,
    /// The most that was fetched from objects for one page.
    FetchedKib,
}

pub type Figures = BTreeMap<Figure, f64>;

/// Workload by name, in the order of their names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub workloads: BTreeMap<String, Section>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Section {
    pub machine: Machine,
    pub settings: Vec<String>,
    pub cases: Vec<Case>,
}

/// Contenders that were measured in turn, under the same load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Stable, for targets and chart: `appends/64/keyed`.
    pub id: String,
    pub title: String,
    /// What the rate counts.
    pub unit: String,
    pub rows: Vec<Row>,
    /// Rounds whose calibration still drifted after they were run again.
    pub drifted_rounds: u32,
    pub worst_drift: Drift,
    pub calibration: Calibration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub who: String,
    pub role: Role,
    /// Medians over the rounds.
    pub figures: Figures,
    /// Each round's figures, in order.
    pub rounds: Vec<Figures>,
    /// Why there are no figures, or what to know of them.
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Tidewire,
    Limit,
    Peer,
}

impl Case {
    /// The first row of a role that has this figure.
    pub fn figure(&self, role: Role, figure: Figure) -> Option<f64> {
        self.figures_of(role, figure).next()
    }

    /// The figures of all rows of a role that have it.
    pub fn figures_of(&self, role: Role, figure: Figure) -> impl Iterator<Item = f64> {
        let rows = self.rows.iter().filter(move |row| row.role == role);
        rows.filter_map(move |row| row.figures.get(&figure).copied())
    }

    /// Tidewire's rate over a row's.
    pub fn ratio(&self, row: &Row) -> Option<f64> {
        let (ours, theirs) = (
            self.figure(Role::Tidewire, Figure::Rate)?,
            row.figures.get(&Figure::Rate)?,
        );
        (row.role != Role::Tidewire && *theirs > 0.0).then(|| ours / theirs)
    }
}

impl Record {
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.workloads.values().flat_map(|section| &section.cases)
    }
}

pub fn medians(rounds: &[Figures]) -> Figures {
    let mut series: BTreeMap<Figure, Vec<f64>> = BTreeMap::new();
    for (figure, value) in rounds.iter().flatten() {
        series.entry(*figure).or_default().push(*value);
    }
    series
        .into_iter()
        .map(|(figure, mut values)| (figure, median(&mut values)))
        .collect()
}

/// What the docs hold of a store; nothing if it was never published.
pub fn load(docs: &Path, store: Store) -> Result<Record> {
    let path = docs.join(store.file_name("json"));
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not a record of this bench", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Record::default()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Puts what was just measured over what the docs already hold, and stores both.
pub fn merge(docs: &Path, store: Store, fresh: Record) -> Result<Record> {
    let mut record = load(docs, store)?;
    record.workloads.extend(fresh.workloads);
    std::fs::create_dir_all(docs).with_context(|| format!("create {}", docs.display()))?;
    let path = docs.join(store.file_name("json"));
    let mut text = serde_json::to_string_pretty(&record)?;
    text.push('\n');
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(record)
}
