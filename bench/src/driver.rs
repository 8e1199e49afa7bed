//! Runs a peer's driver as a process of its own and takes its one line of figures. All drivers take the same
//! arguments: where their store is, what to do, and how much of it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::data::Data;
use crate::peers::Peer;
use crate::process::keep_little_environment;
use crate::record::{Figure, Figures};
use crate::rounds::{Bench, Measured};

const WITHIN: Duration = Duration::from_secs(300);

/// What a driver is asked to do, `backlog` first and then its options by name.
pub struct Task {
    words: Vec<String>,
    is_idle: bool,
}

impl Task {
    pub fn new(name: &str) -> Self {
        Self {
            words: vec![name.to_owned()],
            is_idle: false,
        }
    }

    /// Nothing is done, and what counts is the memory that it takes.
    pub fn idle(seconds: u64) -> Self {
        Self {
            is_idle: true,
            ..Self::new("idle").with("seconds", seconds)
        }
    }

    pub fn with(self, option: &str, value: u64) -> Self {
        self.naming(option, &value.to_string())
    }

    pub fn naming(mut self, option: &str, value: &str) -> Self {
        self.words.push(format!("--{option}"));
        self.words.push(value.to_owned());
        self
    }
}

pub async fn run(bench: &Bench, peer: Peer, task: &Task) -> Result<Measured> {
    let data = Data::empty(bench, "peer").await?;
    run_on(bench, peer, task, &data).await
}

pub async fn run_on(bench: &Bench, peer: Peer, task: &Task, data: &Data) -> Result<Measured> {
    let program = bench.peers.program(peer).await?;
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]);
    match data.url() {
        Some(url) => command.args(["--database-url", url]),
        None => command.arg("--db").arg(data.folder.path().join("peer.db")),
    };
    command.args(&task.words);
    command
        .current_dir(data.folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    keep_little_environment(&mut command);
    // It ends with what is dropped here.
    let Ok(output) = tokio::time::timeout(WITHIN, command.output()).await else {
        bail!("{} was not done within {WITHIN:?}", task.words.join(" "));
    };
    let output = output.with_context(|| format!("start the driver of {}", peer.name()))?;
    if !output.status.success() {
        bail!(
            "the driver ended with {}: {}",
            output.status,
            last_lines(&output.stderr)
        );
    }
    let said: BTreeMap<String, Option<f64>> =
        serde_json::from_slice(&output.stdout).context("the driver printed something else")?;
    Ok(figures(&said, task.is_idle).into())
}

fn last_lines(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.trim().lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

fn figures(said: &BTreeMap<String, Option<f64>>, is_idle: bool) -> Figures {
    let get = |name: &str| said.get(name).copied().flatten();
    let named = [
        ("rate", Figure::Rate),
        ("p50_ms", Figure::P50Ms),
        ("p99_ms", Figure::P99Ms),
        ("p999_ms", Figure::P999Ms),
        ("peak_rss_mib", Figure::PeakRssMib),
    ];
    let mut figures: Figures = named
        .into_iter()
        .filter_map(|(name, figure)| Some((figure, get(name)?)))
        .collect();
    if let (true, Some(rss)) = (is_idle, get("rss_mib")) {
        figures.insert(Figure::RssMib, rss);
    }
    if let (Some(things), Some(cpu), true) = (
        get("counted"),
        get("cpu_seconds"),
        figures.contains_key(&Figure::Rate),
    ) && cpu > 0.0
    {
        figures.insert(Figure::PerCpuSecond, things / cpu);
    }
    figures
}
