//! What a run hands back: one line of JSON.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

/// Absent figures were not measured.
#[derive(Default, Serialize)]
pub struct Figures {
    pub rate: Option<f64>,
    /// What the CPU seconds were spent on.
    pub counted: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
    pub cpu_seconds: Option<f64>,
    pub rss_mib: Option<f64>,
    pub peak_rss_mib: Option<f64>,
}

/// A moment that a measurement began at.
pub struct Began {
    at: Instant,
    cpu_seconds: f64,
}

impl Began {
    pub fn now() -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            cpu_seconds: cpu_seconds()?,
        })
    }

    /// So much was done since.
    pub fn done(&self, counted: u64) -> Result<Figures> {
        let counted = counted as f64;
        Ok(Figures {
            rate: Some(counted / self.at.elapsed().as_secs_f64()),
            counted: Some(counted),
            cpu_seconds: Some(cpu_seconds()? - self.cpu_seconds),
            ..memory()?
        })
    }
}

pub fn memory() -> Result<Figures> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(Figures {
        rss_mib: mib(&status, "VmRSS:"),
        peak_rss_mib: mib(&status, "VmHWM:"),
        ..Figures::default()
    })
}

pub fn new_micros() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 120_000_000, 3)?)
}

pub fn record(micros: &mut Histogram<u64>, took: Duration) {
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    micros.saturating_record(took.max(1));
}

impl Figures {
    pub fn with_times(mut self, micros: &Histogram<u64>) -> Self {
        let at = |quantile| Some(micros.value_at_quantile(quantile) as f64 / 1_000.0);
        self.p50_ms = at(0.5);
        self.p99_ms = at(0.99);
        self.p999_ms = at(0.999);
        self
    }
}

/// User and system time of this process; ticks are hundredths of a second on Linux.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat
        .rsplit_once(") ")
        .context("no command in /proc/self/stat")?
        .1;
    let mut ticks = fields
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<f64>);
    match (ticks.next(), ticks.next()) {
        (Some(user), Some(system)) => Ok((user? + system?) / 100.0),
        _ => bail!("too few fields in /proc/self/stat"),
    }
}

fn mib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024.0)
}
