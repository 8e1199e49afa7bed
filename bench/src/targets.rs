//! What Tidewire set out to reach, and whether these figures do.

use crate::args::Store;
use crate::record::{Case, Figure, Record, Role};

pub struct Target {
    pub text: &'static str,
    /// What was measured, in words; `None` if it was not.
    pub found: Option<String>,
    pub reached: bool,
}

/// A target holds only if it holds in every case that it speaks of.
pub fn judge(store: Store, record: &Record) -> Vec<Target> {
    match store {
        Store::Sqlite => sqlite(record),
        Store::Postgres => postgres(record),
    }
}

fn sqlite(record: &Record) -> Vec<Target> {
    vec![
        to_limit(
            record,
            "single appends: at least 0.7 of bare axum + SQLite group commit",
            "appends/",
            0.7,
        ),
        to_limit(
            record,
            "batches: at least 0.6 of bare inserts with the same indexes",
            "batches/",
            0.6,
        ),
        to_best_peer(
            record,
            "jobs: at least twice River's Rust client on SQLite",
            "jobs/",
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
            "10,000 triggers due at one second: p99 of their jobs' start below 250 ms late",
            "schedules/burst",
            Figure::P99Ms,
            250.0,
            "ms",
        ),
        below(
            record,
            "500 triggers every second for a minute: p99 of their jobs' start below 50 ms late",
            "schedules/steady",
            Figure::P99Ms,
            50.0,
            "ms",
        ),
        to_limit(
            record,
            "deliveries: at least 0.5 of a bare load generator that posts to the same endpoint",
            "deliveries/backlog",
            0.5,
        ),
        to_quickest_peer(
            record,
            "append→subscriber, 1,000 subscribers of a thread: p99 at most 1.5 of the best peer's",
            "threads/subscribers/1000",
            |ratio| ratio <= 1.5,
        ),
        below(
            record,
            "memory of an idle subscriber of a thread below 16 KiB",
            "threads/subscribers/5000",
            Figure::SubscriberKib,
            16.0,
            "KiB",
        ),
        to_limit(
            record,
            "making an archive: at least 0.8 of bare gzip of the same lines on one core",
            "archives/making",
            0.8,
        ),
        below(
            record,
            "a page of 100 events out of an archive of a million: less than 256 KiB fetched",
            "archives/pages",
            Figure::FetchedKib,
            256.0,
            "KiB",
        ),
        to_limit(
            record,
            "a config that has not changed: at least 0.8 of a bare axum handler",
            "fleet/unchanged",
            0.8,
        ),
        below(
            record,
            "idle memory below 40 MiB",
            "memory/",
            Figure::RssMib,
            40.0,
            "MiB",
        ),
        across(
            record,
            "append rate at 10,000,000 rows: at least 0.7 of that at 100,000",
            &[
                ["growth/plain/10000000", "growth/plain/100000"],
                ["growth/keyed/10000000", "growth/keyed/100000"],
            ],
            0.7,
        ),
    ]
}

fn postgres(record: &Record) -> Vec<Target> {
    vec![
        to_best_peer(record, "jobs: at least twice the best peer", "jobs/", 2.0),
        to_limit(
            record,
            "jobs: at least 0.7 of bare claim-and-complete",
            "jobs/backlog",
            0.7,
        ),
        to_best_peer(
            record,
            "one site's sync: at least 3 times dlt's into the same PostgreSQL",
            "sites/",
            3.0,
        ),
        to_limit(
            record,
            "one site's sync: at least 0.8 of bare paging over HTTP",
            "sites/",
            0.8,
        ),
        to_quickest_peer(
            record,
            "enqueue→start: p99 below every peer's (ours over the best of theirs)",
            "latency/",
            |ratio| ratio < 1.0,
        ),
        below(
            record,
            "10,000 triggers due at one second: p99 of their jobs' start below 250 ms late",
            "schedules/burst",
            Figure::P99Ms,
            250.0,
            "ms",
        ),
        below(
            record,
            "500 triggers every second for a minute: p99 of their jobs' start below 50 ms late",
            "schedules/steady",
            Figure::P99Ms,
            50.0,
            "ms",
        ),
        across(
            record,
            "jobs under a transaction that is held open: at least 0.5 of the undisturbed rate",
            &[["held/held", "held/undisturbed"]],
            0.5,
        ),
    ]
}

fn named<'a>(record: &'a Record, prefix: &'a str) -> impl Iterator<Item = &'a Case> {
    record
        .cases()
        .filter(move |case| case.id.starts_with(prefix))
}

/// To the first of the limits, the lowest deciding.
fn to_limit(record: &Record, text: &'static str, prefix: &str, least: f64) -> Target {
    ratios(record, text, prefix, Role::Limit, least, |case| {
        case.figure(Role::Limit, Figure::Rate)
    })
}

fn to_best_peer(record: &Record, text: &'static str, prefix: &str, least: f64) -> Target {
    ratios(record, text, prefix, Role::Peer, least, |case| {
        case.figures_of(Role::Peer, Figure::Rate)
            .max_by(f64::total_cmp)
    })
}

/// Cases without anybody of this role are not spoken of.
fn ratios(
    record: &Record,
    text: &'static str,
    prefix: &str,
    against: Role,
    least: f64,
    theirs: fn(&Case) -> Option<f64>,
) -> Target {
    let found: Vec<Option<f64>> = named(record, prefix)
        .filter(|case| case.rows.iter().any(|row| row.role == against))
        .map(|case| Some(case.figure(Role::Tidewire, Figure::Rate)? / theirs(case)?))
        .collect();
    verdict(text, &found, "×", |value| value >= least)
}

/// Tidewire's p99 over the lowest of the peers'.
fn to_quickest_peer(
    record: &Record,
    text: &'static str,
    prefix: &str,
    holds: fn(f64) -> bool,
) -> Target {
    let found: Vec<Option<f64>> = named(record, prefix)
        .filter(|case| case.rows.iter().any(|row| row.role == Role::Peer))
        .map(|case| {
            let best = case
                .figures_of(Role::Peer, Figure::P99Ms)
                .min_by(f64::total_cmp)?;
            Some(case.figure(Role::Tidewire, Figure::P99Ms)? / best)
        })
        .collect();
    verdict(text, &found, "×", holds)
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

/// Tidewire's rate in one case over that in another, for each pair of their ids.
fn across(record: &Record, text: &'static str, pairs: &[[&str; 2]], least: f64) -> Target {
    let rate = |id: &str| {
        let case = record.cases().find(|case| case.id == id)?;
        case.figure(Role::Tidewire, Figure::Rate)
    };
    let found: Vec<Option<f64>> = pairs
        .iter()
        .map(|[one, other]| Some(rate(one)? / rate(other)?))
        .collect();
    verdict(text, &found, "×", |value| value >= least)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Drift;
    use crate::machine::Machine;
    use crate::record::{Figures, Row, Section};
    use crate::rounds::middle;

    fn row(role: Role, figures: &[(Figure, f64)]) -> Row {
        Row {
            who: String::new(),
            role,
            figures: Figures::from_iter(figures.iter().copied()),
            rounds: Vec::new(),
            note: None,
        }
    }

    fn record(id: &str, rows: Vec<Row>) -> Record {
        let case = Case {
            id: id.to_owned(),
            title: String::new(),
            unit: String::new(),
            rows,
            drifted_rounds: 0,
            worst_drift: Drift::NONE,
            calibration: middle(&[]),
        };
        let section = Section {
            machine: Machine::default(),
            settings: Vec::new(),
            cases: vec![case],
        };
        let mut record = Record::default();
        record.workloads.insert("threads".to_owned(), section);
        record
    }

    fn judged(record: &Record) -> Vec<(Option<String>, bool)> {
        let targets = judge(Store::Sqlite, record);
        let of_threads = targets
            .into_iter()
            .filter(|target| target.text.contains("of a thread"));
        of_threads
            .map(|target| (target.found, target.reached))
            .collect()
    }

    #[test]
    fn the_way_to_a_subscriber_is_held_against_the_quickest_peer() {
        let ours = |p99| row(Role::Tidewire, &[(Figure::P99Ms, p99)]);
        let theirs = |p99| row(Role::Peer, &[(Figure::P99Ms, p99)]);
        let found = |p99| {
            let rows = vec![ours(p99), theirs(20.0), theirs(10.0), row(Role::Peer, &[])];
            judged(&record("threads/subscribers/1000", rows)).swap_remove(0)
        };
        assert_eq!(found(15.0), (Some("1.50 ×".to_owned()), true));
        assert_eq!(found(15.2), (Some("1.52 ×".to_owned()), false));
    }

    #[test]
    fn an_idle_subscriber_is_weighed_where_there_are_most() {
        let rows = |kib| vec![row(Role::Tidewire, &[(Figure::SubscriberKib, kib)])];
        let of = |id, kib| judged(&record(id, rows(kib))).swap_remove(1);
        let reached = of("threads/subscribers/5000", 15.9);
        assert_eq!(reached, (Some("15.90 KiB".to_owned()), true));
        assert!(!of("threads/subscribers/5000", 16.0).1);
        assert_eq!(of("threads/subscribers/1000", 1.0), (None, false));
    }
}
