//! The table on the terminal and the page in the docs: the same text, drawn from the record.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum as _;

use crate::args::Store;
use crate::machine::Machine;
use crate::reading;
use crate::record::{Case, Figure, Record, Row, Section};
use crate::targets;

const INTRO: &str = "\
# Benchmarks

Tidewire beside the limits of the machine and beside its peers, measured by `cargo xtask bench` in one run. `bench/` has
the generator, the limits and the drivers; its README says how to run them.
";

/// What stands between them is a store's.
fn marks(store: Store) -> [String; 2] {
    let store = store.word();
    [
        format!(
            "<!-- bench:{store}:begin (written by cargo xtask bench; edits between the marks are lost) -->"
        ),
        format!("<!-- bench:{store}:end -->"),
    ]
}

pub fn terminal(store: Store, record: &Record) -> String {
    format!("{}\n{}", figures(store, record), reached(store, record))
}

/// Puts the results between the store's marks and leaves what people wrote around them, and the other store's.
pub fn write_page(docs: &Path, store: Store, record: &Record) -> Result<()> {
    let path = docs.join("benchmarks.md");
    let page = match std::fs::read_to_string(&path) {
        Ok(page) => page,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let sections = Store::value_variants().iter().map(|store| {
                let [begin, end] = marks(*store);
                format!("\n## {}\n\n{begin}\n{end}\n", store.name())
            });
            INTRO.to_owned() + &sections.collect::<String>()
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let [begin, end] = marks(store);
    let Some((before, (_, after))) = page
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(&end)?)))
    else {
        bail!(
            "{} has no marks: put `{begin}` and `{end}` where the results belong",
            path.display()
        );
    };
    let page = format!("{before}{begin}\n{}\n{end}{after}", results(store, record));
    std::fs::write(&path, page).with_context(|| format!("write {}", path.display()))
}

fn results(store: Store, record: &Record) -> String {
    let mut text = format!(
        "\n![each contender's rate as a share of the limit's]({})\n\n### What was to be reached on {store_name}\n\n{}\n\
         ### Figures on {store_name}\n\n{}\n### What is compared on {store_name}\n\n{}\n\
         ### Where it was measured on {store_name}\n\n",
        store.file_name("svg"),
        reached(store, record),
        figures(store, record),
        reading::compared(store),
        store_name = store.name(),
    );
    for (name, section) in ordered(store, record) {
        let _ = writeln!(
            text,
            "- **{name}**: {}; {}",
            machine(&section.machine),
            section.settings.join("; ")
        );
    }
    text
}

fn machine(machine: &Machine) -> String {
    format!(
        "commit {}, {}, {} × {}, {} GiB, Linux {}, {}; {}",
        machine.commit,
        machine.date,
        machine.cores,
        machine.cpu,
        machine.memory_gib,
        machine.kernel,
        machine.filesystem,
        machine.versions.join(", ")
    )
}

fn ordered(store: Store, record: &Record) -> impl Iterator<Item = (&'static str, &Section)> {
    store
        .workloads()
        .iter()
        .filter_map(|one| Some((one.name(), record.workloads.get(one.name())?)))
}

fn figures(store: Store, record: &Record) -> String {
    let mut notes = Vec::new();
    let mut rows = vec![
        [
            "what",
            "who",
            "a second",
            "Tidewire ÷ it",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "a CPU second",
            "idle MiB",
            "peak MiB",
        ]
        .map(str::to_owned),
    ];
    for (_, section) in ordered(store, record) {
        for case in &section.cases {
            rows.extend(
                case.rows
                    .iter()
                    .enumerate()
                    .map(|(at, row)| line(case, row, at == 0, &mut notes)),
            );
        }
    }
    let mut text = table(&rows);
    for (number, note) in (1..).zip(&notes) {
        let _ = writeln!(text, "\n[{number}] {note}");
    }
    text
}

fn line(case: &Case, row: &Row, first: bool, notes: &mut Vec<String>) -> [String; 10] {
    let figure = |figure: Figure| row.figures.get(&figure).copied();
    let number = |value: Option<f64>, show: fn(f64) -> String| value.map(show).unwrap_or_default();
    let mut what = String::new();
    if first {
        what.clone_from(&case.title);
        if case.drifted_rounds > 0 {
            notes.push(format!(
                "~ in {} of the rounds the machine's own speed moved by more than 10 % (at worst {})",
                case.drifted_rounds, case.worst_drift
            ));
            let _ = write!(what, " ~ [{}]", notes.len());
        }
    }
    let mut who = row.who.clone();
    if let Some(note) = remark(row) {
        let reason = if row.figures.is_empty() {
            "not measured: "
        } else {
            ""
        };
        notes.push(format!("{}: {reason}{}", row.who, note.replace('\n', " ")));
        let _ = write!(who, " [{}]", notes.len());
    }
    [
        what,
        who,
        number(figure(Figure::Rate), grouped),
        number(case.ratio(row), |ratio| format!("{ratio:.2}")),
        number(figure(Figure::P50Ms), millis),
        number(figure(Figure::P99Ms), millis),
        number(figure(Figure::P999Ms), millis),
        number(figure(Figure::PerCpuSecond), grouped),
        number(figure(Figure::RssMib), |mib| format!("{mib:.1}")),
        number(figure(Figure::PeakRssMib), |mib| format!("{mib:.1}")),
    ]
}

fn reached(store: Store, record: &Record) -> String {
    let mut rows = vec![["to reach", "measured", "reached"].map(str::to_owned)];
    for target in targets::judge(store, record) {
        let verdict = match (&target.found, target.reached) {
            (None, _) => "not measured",
            (_, true) => "yes",
            (_, false) => "no",
        };
        rows.push([
            target.text.to_owned(),
            target.found.unwrap_or_default(),
            verdict.to_owned(),
        ]);
    }
    table(&rows)
}

/// What there is to know of a row besides its columns.
fn remark(row: &Row) -> Option<String> {
    let figure = |figure: Figure| row.figures.get(&figure).copied();
    let words = [
        row.note.clone(),
        figure(Figure::MaxMs).map(|most| format!("{} ms at most", millis(most))),
        figure(Figure::CpuPerThousand)
            .map(|seconds| format!("{seconds:.3} CPU seconds a thousand")),
        figure(Figure::SubscriberKib).map(|kib| format!("{kib:.1} KiB an idle subscriber")),
        figure(Figure::FetchedKib).map(|kib| format!("{kib:.1} KiB fetched at most")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// A Markdown table with its columns padded, so that it reads well on a terminal too. The first row is the head.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [3; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let is_number = |text: &str| {
        text.chars()
            .all(|one| one.is_ascii_digit() || one == ',' || one == '.')
    };
    let right: [bool; N] =
        std::array::from_fn(|column| rows.iter().skip(1).all(|row| is_number(&row[column])));
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            let _ = if right[column] {
                write!(text, "| {pad}{cell} ")
            } else {
                write!(text, "| {cell}{pad} ")
            };
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if right[column] { ':' } else { '-' };
                let _ = write!(text, "|{}{end}", "-".repeat(width + 1));
            }
            text.push_str("|\n");
        }
    }
    text
}

fn millis(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// 1234567.8 as `1,234,568`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0.4, 999.0, 1_000.0, 1_234_567.8].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,568"]);
    }

    #[test]
    fn what_people_wrote_and_the_other_store_stay() {
        let docs = tempfile::tempdir().expect("a folder");
        let page = docs.path().join("benchmarks.md");
        let part = |store, figures: &str| {
            let [begin, end] = marks(store);
            format!("{begin}\n{figures}\n{end}\n")
        };
        let sqlite = part(Store::Sqlite, "SQLite's figures");
        let postgres = part(Store::Postgres, "stale figures");
        std::fs::write(&page, format!("before\n{sqlite}between\n{postgres}after\n"))
            .expect("a page");
        write_page(docs.path(), Store::Postgres, &Record::default()).expect("written");
        let text = std::fs::read_to_string(&page).expect("a page");
        assert!(text.starts_with(&format!("before\n{sqlite}between\n")));
        assert!(text.ends_with("\nafter\n") && !text.contains("stale figures"));
    }
}
