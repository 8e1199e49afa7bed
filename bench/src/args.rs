//! The command line, and how long each thing is measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
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
    /// The endpoint of deliveries as a process of its own; the bench starts it by itself.
    #[command(hide = true)]
    Sink,
    /// The limit of configs that have not changed as a process of its own; the bench starts it by itself.
    #[command(hide = true)]
    UnchangedServer,
}

#[derive(clap::Args)]
pub struct RunArgs {
    /// The store under Tidewire.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub store: Store,
    /// Run this workload alone; may be given more than once.
    #[arg(long, value_name = "NAME", value_enum)]
    pub only: Vec<Workload>,
    /// Also run the growth curve: rates at 10^5, 10^6 and 10^7 rows (about half an hour; SQLite).
    #[arg(long)]
    pub growth: bool,
    /// Rounds of every case; medians are taken over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Seconds that a rate is measured over, after half a second of warm-up [default: 3, and 2 on PostgreSQL, where more
    /// share the time].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: Option<u32>,
    /// One short round of everything, to see that it runs; never written to the docs.
    #[arg(long)]
    pub quick: bool,
    /// Print only.
    #[arg(long)]
    pub no_write: bool,
    /// Measure nothing: draw the store's part of the page and its chart again from the record in the docs.
    #[arg(long)]
    pub redraw: bool,
    /// The last size of the growth curve.
    #[arg(long, default_value_t = 10_000_000, value_name = "ROWS")]
    pub growth_rows: u64,
    /// How many jobs go through while a transaction is held open.
    #[arg(long, default_value_t = 1_000_000, value_name = "JOBS")]
    pub held_jobs: u64,
    /// The release binary to measure.
    #[arg(long, value_name = "PATH")]
    pub tidewire: Option<PathBuf>,
    /// Where the page, the chart and the record go.
    #[arg(long, value_name = "DIR")]
    pub docs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    Sqlite,
    #[value(alias = "postgresql")]
    Postgres,
}

impl Store {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Of the record and the chart in the docs.
    pub fn file_name(self, extension: &str) -> String {
        match self {
            Self::Sqlite => format!("benchmarks.{extension}"),
            Self::Postgres => format!("benchmarks-postgres.{extension}"),
        }
    }

    /// What is measured on it, in the order of the page.
    pub fn workloads(self) -> &'static [Workload] {
        use Workload::{
            Agents, Appends, Archives, Batches, Deliveries, Enqueue, Fleet, Growth, Held, Jobs,
            Latency, Memory, Schedules, Sites, Sse, Threads,
        };
        match self {
            Self::Sqlite => &[
                Appends, Batches, Jobs, Latency, Sse, Schedules, Deliveries, Threads, Archives,
                Fleet, Agents, Memory, Growth,
            ],
            Self::Postgres => &[
                Appends, Batches, Enqueue, Jobs, Latency, Schedules, Deliveries, Sites, Threads,
                Held,
            ],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Workload {
    Appends,
    Batches,
    Enqueue,
    Jobs,
    Latency,
    Sse,
    /// Triggers that fire by the clock; the one minute of them is run once.
    Schedules,
    /// What triggers deliver to an endpoint.
    Deliveries,
    /// What is synced out of somebody else's system.
    Sites,
    /// What agents say on threads, and those who read along.
    Threads,
    /// A long thread in object storage; run once.
    Archives,
    /// Agents who wait for configuration.
    Fleet,
    /// Agents' instances as Pods, of a private Kubernetes API.
    Agents,
    Memory,
    Growth,
    /// Jobs under a transaction that is held open; about a quarter of an hour.
    Held,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Self::Appends => "appends",
            Self::Batches => "batches",
            Self::Enqueue => "enqueue",
            Self::Jobs => "jobs",
            Self::Latency => "latency",
            Self::Sse => "sse",
            Self::Schedules => "schedules",
            Self::Deliveries => "deliveries",
            Self::Sites => "sites",
            Self::Threads => "threads",
            Self::Archives => "archives",
            Self::Fleet => "fleet",
            Self::Agents => "agents",
            Self::Memory => "memory",
            Self::Growth => "growth",
            Self::Held => "held",
        }
    }

    /// Run only when it is asked for: it takes long, or would say of this store what it says of the other.
    fn waits_for_a_wish(self, store: Store) -> bool {
        matches!(
            (self, store),
            (Self::Growth | Self::Held | Self::Fleet | Self::Agents, _)
                | (Self::Threads, Store::Postgres)
        )
    }
}

impl RunArgs {
    pub fn workloads(&self) -> Result<Vec<Workload>> {
        let measured = self.store.workloads();
        let mut chosen = self.only.clone();
        if chosen.is_empty() {
            chosen = measured.to_vec();
            chosen.retain(|workload| !workload.waits_for_a_wish(self.store));
        }
        if self.growth {
            chosen.push(Workload::Growth);
        }
        if let Some(strange) = chosen.iter().find(|one| !measured.contains(one)) {
            let names: Vec<_> = measured.iter().map(|workload| workload.name()).collect();
            bail!(
                "{} is not measured on {}: choose from {}",
                strange.name(),
                self.store.name(),
                names.join(", ")
            );
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen)
    }

    pub fn tidewire_binary(&self) -> PathBuf {
        let shipped = || manifest_folder().join("../target/dist/tidewire");
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
                time_for_repeats: Duration::ZERO,
                warmup: second / 5,
                measure: second * 3 / 5,
                jobs: 1_000,
                backlog: 2_000,
                latency_jobs: 20,
                paced_jobs: 60,
                sse_subscribers: 200,
                due_at_once: 300,
                steady_triggers: 50,
                steady_seconds: 3,
                deliveries: 1_000,
                paced_deliveries: 80,
                site_orders: 1_000,
                sse_burst: 200,
                sse_paced: second / 2,
                thread_subscribers: vec![1, 20, 100, 300],
                thread_paced: second / 2,
                archived_events: 20_000,
                fleet_agents: 300,
                fleet_changes: 3,
                agent_threads: 50,
                settle: second / 2,
                growth: growth_sizes(self.growth_rows.min(20_000)),
                held: self.held_jobs.min(20_000),
            };
        }
        // More contenders share the twenty minutes on PostgreSQL.
        let (seconds, time_for_repeats) = match self.store {
            Store::Sqlite => (3, second * 300),
            Store::Postgres => (2, second * 150),
        };
        Plan {
            rounds: self.rounds,
            repeats: 2,
            time_for_repeats,
            warmup: second / 2,
            measure: second * self.seconds.unwrap_or(seconds),
            jobs: 20_000,
            backlog: match self.store {
                Store::Sqlite => 40_000,
                Store::Postgres => 60_000,
            },
            latency_jobs: 300,
            paced_jobs: 1_000,
            sse_subscribers: 1_000,
            due_at_once: 10_000,
            steady_triggers: 500,
            steady_seconds: 60,
            deliveries: 20_000,
            paced_deliveries: 1_000,
            site_orders: 20_000,
            sse_burst: 5_000,
            sse_paced: second * 4,
            thread_subscribers: vec![1, 100, 1_000, 5_000],
            thread_paced: second * 2,
            archived_events: 1_000_000,
            fleet_agents: 10_000,
            fleet_changes: 10,
            agent_threads: 1_000,
            settle: second * 3,
            growth: growth_sizes(self.growth_rows),
            held: self.held_jobs,
        }
    }
}

/// How much of each thing a run does.
pub struct Plan {
    pub rounds: u32,
    /// How often a round through which the machine drifted is run again.
    pub repeats: u32,
    /// What all repeats together may take, so that the whole stays under 20 minutes.
    pub time_for_repeats: Duration,
    pub warmup: Duration,
    pub measure: Duration,
    pub jobs: u64,
    /// Burning down is quick; more of them keep the clock running for long enough.
    pub backlog: u64,
    pub latency_jobs: u64,
    pub paced_jobs: u64,
    /// Triggers that are due at one second.
    pub due_at_once: u64,
    /// Triggers that are due every second, and for how long.
    pub steady_triggers: u64,
    pub steady_seconds: u32,
    pub deliveries: u64,
    pub paced_deliveries: u64,
    /// Of the one site that is synced.
    pub site_orders: u64,
    pub sse_subscribers: usize,
    pub sse_burst: u64,
    pub sse_paced: Duration,
    /// Of one thread, from few to many.
    pub thread_subscribers: Vec<usize>,
    pub thread_paced: Duration,
    /// Of one thread.
    pub archived_events: u64,
    /// Who wait for configuration, and how often it changes.
    pub fleet_agents: usize,
    pub fleet_changes: u64,
    /// Threads that have a Pod each.
    pub agent_threads: usize,
    /// How long an idle server is left alone before its memory is read.
    pub settle: Duration,
    pub growth: Vec<u64>,
    pub held: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(typed: &[&str]) -> Result<Vec<Workload>> {
        let args = Args::parse_from([&["bench"], typed].concat());
        args.run.workloads()
    }

    #[test]
    fn a_default_run_leaves_out_what_is_long() {
        let postgres = chosen(&["--store", "postgres"]).expect("a choice");
        assert!(!postgres.contains(&Workload::Held) && postgres.contains(&Workload::Enqueue));
        assert!(!postgres.contains(&Workload::Threads));
        assert!(chosen(&[]).expect("a choice").contains(&Workload::Threads));
        let held = chosen(&["--store", "postgres", "--only", "held"]).expect("a choice");
        assert_eq!(held, [Workload::Held]);
    }

    #[test]
    fn what_a_store_is_not_measured_in_is_refused() {
        let error = chosen(&["--store", "postgres", "--only", "sse"]).expect_err("a refusal");
        assert!(
            error
                .to_string()
                .starts_with("sse is not measured on PostgreSQL")
        );
    }
}
