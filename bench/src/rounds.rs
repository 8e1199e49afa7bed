//! Rounds: the contenders of a case in turn, a calibration between any two, the round again if the machine drifted.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::args::{Plan, RunArgs, Store};
use crate::calibrate::{Calibration, Drift, median};
use crate::machine::Machine;
use crate::peers::{Peer, Peers};
use crate::postgres::Cluster;
use crate::record::{Case, Figure, Figures, Role, Row, medians};
use crate::scratch;
use crate::servers::Who;

/// What every workload needs to know.
pub struct Bench {
    pub store: Store,
    pub plan: Plan,
    pub peers: Peers,
    pub machine: Machine,
    /// The server of this run, where the store is one.
    pub postgres: Option<Cluster>,
    tidewire: PathBuf,
    repeating: Cell<Duration>,
    missing: Cell<u32>,
}

impl Bench {
    pub async fn new(args: &RunArgs) -> Result<Self> {
        let tidewire = args.tidewire_binary();
        let tidewire = tidewire.canonicalize().unwrap_or(tidewire);
        let postgres = match args.store {
            Store::Sqlite => None,
            Store::Postgres => Some(Cluster::start().await?),
        };
        let store = match &postgres {
            Some(cluster) => cluster.version.clone(),
            None => format!("SQLite {} (limit)", rusqlite::version()),
        };
        Ok(Self {
            store: args.store,
            plan: args.plan(),
            peers: Peers::default(),
            machine: Machine::look(&tidewire, store, Peer::of(args.store)),
            postgres,
            tidewire,
            repeating: Cell::new(Duration::ZERO),
            missing: Cell::new(0),
        })
    }

    pub fn tidewire_binary(&self) -> Result<&PathBuf> {
        if self.tidewire.is_file() {
            return Ok(&self.tidewire);
        }
        bail!(
            "no binary at {}: cargo build --release",
            self.tidewire.display()
        );
    }

    /// Between rounds: removes what earlier contenders left, and waits for the disk.
    pub async fn clear(&self) -> Result<()> {
        self.settle().await?;
        scratch::clear()
    }

    /// Between contenders: writes out what the last one left dirty, so that nobody pays for another's pages.
    pub async fn settle(&self) -> Result<()> {
        if let Some(cluster) = &self.postgres {
            cluster.settle().await?;
        }
        scratch::settle()
    }

    /// A case that is Tidewire's alone and could not be measured.
    pub fn lost(&self, id: String, title: String, error: &anyhow::Error) -> Case {
        let reason = format!("{error:#}");
        eprintln!("{title}: {reason}");
        self.missing.set(self.missing.get() + 1);
        let row = Row {
            who: Who::Tidewire.name(),
            role: Role::Tidewire,
            figures: Figures::new(),
            rounds: Vec::new(),
            note: Some(reason),
        };
        Case {
            id,
            title,
            unit: String::new(),
            rows: vec![row],
            drifted_rounds: 0,
            worst_drift: Drift::NONE,
            calibration: middle(&[]),
        }
    }

    /// A table with holes where Tidewire should be is a failed run; a missing peer is not.
    pub fn verdict(&self) -> Result<()> {
        match self.missing.get() {
            0 => Ok(()),
            missing => bail!("Tidewire has no figure in {missing} rows; their notes say why"),
        }
    }
}

/// One of those that are measured under the same load.
#[derive(Clone, Copy)]
pub struct Contender {
    pub who: Who,
    /// Tells two of the same apart, such as a limit at two batch sizes.
    pub variant: &'static str,
}

impl Contender {
    pub fn plain(who: Who) -> Self {
        Self { who, variant: "" }
    }

    fn label(self) -> String {
        let name = self.who.name();
        if self.variant.is_empty() {
            name
        } else {
            format!("{name}, {}", self.variant)
        }
    }

    fn role(self) -> Role {
        match self.who {
            Who::Tidewire => Role::Tidewire,
            Who::Limit => Role::Limit,
            Who::Peer(_) => Role::Peer,
        }
    }
}

/// A load, and how it is put on each contender.
pub trait Scenario {
    fn id(&self) -> String;
    fn title(&self) -> String;
    fn unit(&self) -> &'static str;
    fn contenders(&self, bench: &Bench) -> Vec<Contender>;
    /// Takes too long for more: one round, which is not repeated.
    fn is_long(&self) -> bool {
        false
    }
    /// Starts whatever it measures and ends it again.
    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured>;
}

pub struct Measured {
    pub figures: Figures,
    pub note: Option<String>,
}

impl From<Figures> for Measured {
    fn from(figures: Figures) -> Self {
        Self {
            figures,
            note: None,
        }
    }
}

/// One contender over the rounds.
struct Lane {
    contender: Contender,
    rounds: Vec<Figures>,
    note: Option<String>,
    out: bool,
}

/// A round as it was measured: each lane's figures, unless it is out.
struct Try {
    figures: Vec<Option<Figures>>,
    calibrations: Vec<Calibration>,
    drift: Drift,
}

pub async fn run(bench: &Bench, scenario: &impl Scenario) -> Result<Case> {
    let lane = |contender| Lane {
        contender,
        rounds: Vec::new(),
        note: None,
        out: false,
    };
    let mut lanes: Vec<Lane> = scenario.contenders(bench).into_iter().map(lane).collect();
    let mut calibrations = Vec::new();
    let (mut drifted_rounds, mut worst_drift) = (0, Drift::NONE);
    let rounds = if scenario.is_long() {
        1
    } else {
        bench.plan.rounds
    };
    for round in 1..=rounds {
        if lanes.iter().all(|lane| lane.out) {
            break;
        }
        eprintln!("{}: round {round}", scenario.title());
        let kept = least_drifted(bench, scenario, &mut lanes).await?;
        drifted_rounds += u32::from(!kept.drift.is_allowed());
        worst_drift = worst_drift.worst(kept.drift);
        calibrations.extend(kept.calibrations);
        for (lane, figures) in lanes.iter_mut().zip(kept.figures) {
            lane.rounds.extend(figures);
        }
    }
    let rows: Vec<Row> = lanes.into_iter().map(Lane::row).collect();
    let lost = rows
        .iter()
        .filter(|row| row.role == Role::Tidewire && row.figures.is_empty())
        .count();
    bench
        .missing
        .set(bench.missing.get() + u32::try_from(lost)?);
    Ok(Case {
        id: scenario.id(),
        title: scenario.title(),
        unit: scenario.unit().to_owned(),
        rows,
        drifted_rounds,
        worst_drift,
        calibration: middle(&calibrations),
    })
}

/// A round, repeated while the machine drifts and there is time; the steadiest try counts.
async fn least_drifted(bench: &Bench, scenario: &impl Scenario, lanes: &mut [Lane]) -> Result<Try> {
    let mut best = one_round(bench, scenario, lanes).await?;
    let repeats = if scenario.is_long() {
        0
    } else {
        bench.plan.repeats
    };
    for _ in 0..repeats {
        if best.drift.is_allowed() || bench.repeating.get() > bench.plan.time_for_repeats {
            break;
        }
        eprintln!("  again, the machine drifted: {}", best.drift);
        let began = Instant::now();
        let again = one_round(bench, scenario, lanes).await?;
        bench.repeating.set(bench.repeating.get() + began.elapsed());
        if again.drift.larger() < best.drift.larger() {
            best = again;
        }
    }
    Ok(best)
}

/// Everybody once, between calibrations. Who failed is out for the rest of the case, with the reason.
async fn one_round(bench: &Bench, scenario: &impl Scenario, lanes: &mut [Lane]) -> Result<Try> {
    let folder = scratch::root()?;
    bench.clear().await?;
    let mut calibrations = vec![Calibration::take(&folder)?];
    let mut figures = Vec::with_capacity(lanes.len());
    for lane in lanes {
        if lane.out {
            figures.push(None);
            continue;
        }
        match scenario.measure(bench, lane.contender).await {
            Ok(measured) => {
                eprintln!("  {}: {}", lane.contender.label(), brief(&measured.figures));
                lane.note = measured.note.or(lane.note.take());
                figures.push(Some(measured.figures));
            }
            Err(error) => {
                let reason = format!("{error:#}");
                eprintln!("  {}: {reason}", lane.contender.label());
                lane.out = true;
                lane.note = Some(reason);
                figures.push(None);
            }
        }
        bench.settle().await?;
        calibrations.push(Calibration::take(&folder)?);
    }
    let drift = Drift::between(&calibrations);
    Ok(Try {
        figures,
        calibrations,
        drift,
    })
}

impl Lane {
    fn row(self) -> Row {
        // Rounds before a failure would be too few to take a median of.
        let rounds = if self.out { Vec::new() } else { self.rounds };
        Row {
            who: self.contender.label(),
            role: self.contender.role(),
            figures: medians(&rounds),
            rounds,
            note: self.note,
        }
    }
}

pub fn middle(calibrations: &[Calibration]) -> Calibration {
    let of = |figure: fn(&Calibration) -> f64| {
        median(&mut calibrations.iter().map(figure).collect::<Vec<_>>())
    };
    Calibration {
        cpu_ms: of(|one| one.cpu_ms),
        fsync_us: of(|one| one.fsync_us),
    }
}

fn brief(figures: &Figures) -> String {
    let named = [
        (Figure::Rate, "/s"),
        (Figure::P50Ms, " ms p50"),
        (Figure::P99Ms, " ms p99"),
        (Figure::RssMib, " MiB"),
        (Figure::SubscriberKib, " KiB a subscriber"),
        (Figure::FetchedKib, " KiB fetched"),
    ];
    let shown: Vec<String> = named
        .iter()
        .filter_map(|(figure, unit)| Some(format!("{:.2}{unit}", figures.get(figure)?)))
        .collect();
    shown.join(", ")
}
