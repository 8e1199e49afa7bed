//! The command line, and how long each thing is measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(about, version, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub hidden: Option<Hidden>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Subcommand)]
pub enum Hidden {
    /// The bare limit as a process of its own; the bench starts it by itself.
    #[command(hide = true)]
    LimitServer {
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(clap::Args)]
pub struct RunArgs {
    /// The store under Tidewire.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub store: Store,
    /// Run this workload alone; may be given more than once.
    #[arg(long, value_name = "NAME", value_enum)]
    pub only: Vec<Workload>,
    /// Also run the growth curve: rates at 10^5, 10^6 and 10^7 rows (about half an hour).
    #[arg(long)]
    pub growth: bool,
    /// Rounds of every case; medians are taken over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Seconds that a rate is measured over, after half a second of warm-up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// One short round of everything, to see that it runs; never written to the docs.
    #[arg(long)]
    pub quick: bool,
    /// Print only.
    #[arg(long)]
    pub no_write: bool,
    /// The last size of the growth curve.
    #[arg(long, default_value_t = 10_000_000, value_name = "ROWS")]
    pub growth_rows: u64,
    /// The release binary to measure.
    #[arg(long, value_name = "PATH")]
    pub tidewire: Option<PathBuf>,
    /// Where the page, the chart and the record go.
    #[arg(long, value_name = "DIR")]
    pub docs: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    Sqlite,
}

impl Store {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Workload {
    Appends,
    Batches,
    Jobs,
    Latency,
    Sse,
    Memory,
    Growth,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Self::Appends => "appends",
            Self::Batches => "batches",
            Self::Jobs => "jobs",
            Self::Latency => "latency",
            Self::Sse => "sse",
            Self::Memory => "memory",
            Self::Growth => "growth",
        }
    }
}

impl RunArgs {
    pub fn workloads(&self) -> Vec<Workload> {
        let mut chosen = self.only.clone();
        if chosen.is_empty() {
            chosen = Workload::value_variants().to_vec();
            chosen.retain(|workload| *workload != Workload::Growth);
        }
        if self.growth {
            chosen.push(Workload::Growth);
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    pub fn tidewire_binary(&self) -> PathBuf {
        let shipped = || manifest_folder().join("../target/release/tidewire");
        self.tidewire.clone().unwrap_or_else(shipped)
    }

    pub fn docs_folder(&self) -> PathBuf {
        self.docs
            .clone()
            .unwrap_or_else(|| manifest_folder().join("../docs"))
    }

    /// A short run proves that things run; its figures are worth nothing and stay out of the docs.
    pub fn publishes(&self) -> bool {
        !self.no_write && !self.quick && self.rounds >= 3
    }

    pub fn plan(&self) -> Plan {
        let second = Duration::from_secs(1);
        if self.quick {
            return Plan {
                rounds: 1,
                repeats: 0,
                warmup: second / 5,
                measure: second * 3 / 5,
                jobs: 1_000,
                latency_jobs: 20,
                sse_subscribers: 200,
                sse_burst: 200,
                sse_paced: second / 2,
                settle: second / 2,
                growth: growth_sizes(self.growth_rows.min(20_000)),
            };
        }
        Plan {
            rounds: self.rounds,
            repeats: 2,
            warmup: second / 2,
            measure: second * u32::try_from(self.seconds).unwrap_or(u32::MAX),
            jobs: 20_000,
            latency_jobs: 300,
            sse_subscribers: 1_000,
            sse_burst: 5_000,
            sse_paced: second * 4,
            settle: second * 3,
            growth: growth_sizes(self.growth_rows),
        }
    }
}

/// How much of each thing a run does.
pub struct Plan {
    pub rounds: u32,
    /// How often a round through which the machine drifted is run again.
    pub repeats: u32,
    pub warmup: Duration,
    pub measure: Duration,
    pub jobs: u64,
    pub latency_jobs: u64,
    pub sse_subscribers: usize,
    pub sse_burst: u64,
    pub sse_paced: Duration,
    /// How long an idle server is left alone before its memory is read.
    pub settle: Duration,
    pub growth: Vec<u64>,
}

fn growth_sizes(last: u64) -> Vec<u64> {
    [last / 100, last / 10, last]
        .into_iter()
        .filter(|rows| *rows > 0)
        .collect()
}

pub fn manifest_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
