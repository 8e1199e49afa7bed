//! A fixed piece of CPU work on every core and a fixed run of fsyncs: what the machine itself was worth at the moment.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A round that the machine drifted through by more than this is run again.
const ALLOWED_DRIFT: f64 = 1.10;

const CPU_REPEATS: usize = 7;
const CPU_STEPS: u64 = 4_000_000;
const SYNCS: usize = 256;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Calibration {
    pub cpu_ms: f64,
    pub fsync_us: f64,
}

impl Calibration {
    pub fn take(folder: &Path) -> Result<Self> {
        Ok(Self {
            cpu_ms: cpu(),
            fsync_us: fsync(folder)?,
        })
    }
}

/// How far the machine's speed moved: the largest ratio between any two calibrations.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Drift {
    pub cpu: f64,
    pub fsync: f64,
}

impl Drift {
    pub const NONE: Self = Self {
        cpu: 1.0,
        fsync: 1.0,
    };

    pub fn between(taken: &[Calibration]) -> Self {
        let span = |figure: fn(&Calibration) -> f64| {
            let figures = || taken.iter().map(figure);
            let (low, high) = (
                figures().fold(f64::MAX, f64::min),
                figures().fold(0.0, f64::max),
            );
            if low > 0.0 && high > low {
                high / low
            } else {
                1.0
            }
        };
        Self {
            cpu: span(|one| one.cpu_ms),
            fsync: span(|one| one.fsync_us),
        }
    }

    pub fn larger(self) -> f64 {
        self.cpu.max(self.fsync)
    }

    pub fn is_allowed(self) -> bool {
        self.larger() <= ALLOWED_DRIFT
    }

    pub fn worst(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            fsync: self.fsync.max(other.fsync),
        }
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        write!(
            f,
            "CPU by {:.0} %, fsync by {:.0} %",
            percent(self.cpu),
            percent(self.fsync)
        )
    }
}

/// All cores at once, so that a neighbour on any of them shows.
fn cpu() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut times: Vec<f64> = (0..CPU_REPEATS)
        .map(|_| {
            let began = Instant::now();
            std::thread::scope(|scope| {
                for seed in 0..cores {
                    scope.spawn(move || std::hint::black_box(churn(seed as u64)));
                }
            });
            millis(began.elapsed())
        })
        .collect();
    median(&mut times)
}

fn churn(seed: u64) -> u64 {
    (0..CPU_STEPS).fold(seed | 1, |state, step| {
        (state ^ step)
            .wrapping_mul(0x2545_F491_4F6C_DD1D)
            .rotate_left(17)
    })
}

/// The median of many syncs of 4 KiB, in microseconds.
pub fn fsync(folder: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(folder).context("a file for the fsync calibration")?;
    let block = [7_u8; 4_096];
    file.write_all(&block)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(millis(began.elapsed()) * 1_000.0);
    }
    Ok(median(&mut times))
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures {
        [] => 0.0,
        _ if figures.len() % 2 == 1 => figures[figures.len() / 2],
        _ => f64::midpoint(figures[figures.len() / 2 - 1], figures[figures.len() / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_the_widest_span_of_each() {
        let taken = [(10.0, 100.0), (10.5, 130.0), (10.0, 100.0)]
            .map(|(cpu_ms, fsync_us)| Calibration { cpu_ms, fsync_us });
        let drift = Drift::between(&taken);
        assert!((drift.cpu - 1.05).abs() < 1e-9 && (drift.fsync - 1.3).abs() < 1e-9);
        assert!(!drift.is_allowed() && Drift::between(&taken[..1]).is_allowed());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert!((median(&mut [4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!((median(&mut [9.0, 1.0, 3.0]) - 3.0).abs() < 1e-9);
    }
}
