//! What Tidewire set out to reach, and whether these figures do.

use crate::record::{Case, Figure, Record, Role};

pub struct Target {
    pub text: &'static str,
    /// What was measured, in words; `None` if it was not.
    pub found: Option<String>,
    pub reached: bool,
}

/// A target holds only if it holds in every case that it speaks of.
pub fn judge(record: &Record) -> Vec<Target> {
    vec![
        ratios(
            record,
            "single appends: at least 0.7 of bare axum + SQLite group commit",
            "appends/",
            Role::Limit,
            0.7,
        ),
        ratios(
            record,
            "batches: at least 0.6 of bare inserts with the same indexes",
            "batches/",
            Role::Limit,
            0.6,
        ),
        ratios(
            record,
            "jobs: at least twice River's Rust client on SQLite",
            "jobs/",
            Role::Peer,
            2.0,
        ),
        below(
            record,
            "enqueue→start when idle: p99 below 5 ms",
            "latency/",
            Figure::P99Ms,
            5.0,
            "ms",
        ),
        below(
            record,
            "idle memory below 40 MiB",
            "memory/",
            Figure::RssMib,
            40.0,
            "MiB",
        ),
        growth(
            record,
            "append rate at 10,000,000 rows: at least 0.7 of that at 100,000",
        ),
    ]
}

fn named<'a>(record: &'a Record, prefix: &'a str) -> impl Iterator<Item = &'a Case> {
    record
        .cases()
        .filter(move |case| case.id.starts_with(prefix))
}

/// All ratios to one role's first row, the lowest deciding.
fn ratios(record: &Record, text: &'static str, prefix: &str, against: Role, least: f64) -> Target {
    let found: Vec<Option<f64>> = named(record, prefix)
        .map(|case| case.ratio(case.rows.iter().find(|row| row.role == against)?))
        .collect();
    verdict(text, &found, "×", |value| value >= least)
}

fn below(
    record: &Record,
    text: &'static str,
    prefix: &str,
    figure: Figure,
    limit: f64,
    unit: &str,
) -> Target {
    let found: Vec<Option<f64>> = named(record, prefix)
        .map(|case| case.figure(Role::Tidewire, figure))
        .collect();
    verdict(text, &found, unit, |value| value < limit)
}

/// Without and with dedupe keys, the last size against the first.
fn growth(record: &Record, text: &'static str) -> Target {
    let rate = |id: &str| {
        let case = record.cases().find(|case| case.id == id)?;
        case.figure(Role::Tidewire, Figure::Rate)
    };
    let found: Vec<Option<f64>> = ["plain", "keyed"]
        .iter()
        .map(|kind| {
            let (few, many) = (
                format!("growth/{kind}/100000"),
                format!("growth/{kind}/10000000"),
            );
            Some(rate(&many)? / rate(&few)?)
        })
        .collect();
    verdict(text, &found, "×", |value| value >= 0.7)
}

fn verdict(
    text: &'static str,
    found: &[Option<f64>],
    unit: &str,
    holds: impl Fn(f64) -> bool,
) -> Target {
    let values: Vec<f64> = found.iter().copied().flatten().collect();
    if values.is_empty() {
        return Target {
            text,
            found: None,
            reached: false,
        };
    }
    let low = values.iter().copied().fold(f64::MAX, f64::min);
    let high = values.iter().copied().fold(f64::MIN, f64::max);
    let span = if high - low < 0.005 {
        format!("{low:.2} {unit}")
    } else {
        format!("{low:.2} to {high:.2} {unit}")
    };
    let missing = found.len() - values.len();
    let words = if missing == 0 {
        span
    } else {
        format!("{span}, {missing} not measured")
    };
    Target {
        text,
        found: Some(words),
        reached: missing == 0 && values.iter().all(|value| holds(*value)),
    }
}
