//! Runs River's driver as a process of its own and takes its one line of figures.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::peers::Peer;
use crate::process::keep_little_environment;
use crate::record::{Figure, Figures};
use crate::rounds::{Bench, Measured};
use crate::scratch;

/// `jobs` is what the arguments ask for, and nothing when they ask for an idle client.
pub async fn run(bench: &Bench, args: &[&str], jobs: u64) -> Result<Measured> {
    let binary = bench
        .peers
        .binary(Peer::River)
        .await
        .map_err(anyhow::Error::msg)?;
    let folder = scratch::folder("river")?;
    let mut command = Command::new(binary);
    command
        .arg("--db")
        .arg(folder.path().join("river.db"))
        .args(args);
    command.stdin(Stdio::null()).kill_on_drop(true);
    keep_little_environment(&mut command);
    let output = command.output().await.context("start river-peer")?;
    if !output.status.success() {
        bail!(
            "river-peer: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let said: BTreeMap<String, Option<f64>> =
        serde_json::from_slice(&output.stdout).context("river-peer printed something else")?;
    Ok(figures(&said, jobs).into())
}

fn figures(said: &BTreeMap<String, Option<f64>>, jobs: u64) -> Figures {
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
    match (jobs, get("cpu_seconds"), get("rss_mib")) {
        (0, _, Some(rss)) => {
            figures.insert(Figure::RssMib, rss);
        }
        (_, Some(cpu), _) if cpu > 0.0 && figures.contains_key(&Figure::Rate) => {
            figures.insert(Figure::PerCpuSecond, jobs as f64 / cpu);
        }
        _ => {}
    }
    figures
}
