//! The table on the terminal and the page in the docs: the same text, drawn from the record.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::machine::Machine;
use crate::record::{Case, Figure, Record, Row};
use crate::targets;

const BEGIN: &str =
    "<!-- bench:begin (written by cargo xtask bench; edits between the marks are lost) -->";
const END: &str = "<!-- bench:end -->";
const ORDER: [&str; 7] = [
    "appends", "batches", "jobs", "latency", "sse", "memory", "growth",
];

/// What the figures cannot say by themselves.
const READING: &str = "\
Absolute figures belong to the machine; read the ratios. The load generator is one thread and shares the cores with
what it loads, so the column *a CPU second* (things done for each second of the server's CPU time) is given beside the
rate. Contenders take turns, A B A B, each in a process of its own over an empty folder, between calibrations (a fixed
CPU loop on all cores and a run of 4 KiB fdatasyncs); a round through which these drifted by more than 10 % is run
again, twice at most while the run has time for it, and the try that drifted least is kept and marked `~`. Figures are
medians over the rounds. Every acknowledged write was
synced, by everybody in this table.

What is compared with what:

- **limit**: for single appends and SSE, axum in front of a group commit into Tidewire's tables and indexes, without
  validation, tenants, dedupe answers or logs, its subscribers sharing the bytes of a whole commit; for batches and
  jobs, SQLite alone in one thread, without HTTP. An event carries about 200 bytes of JSON. Over HTTP the group commit
  may put several batches into one transaction, which the bare limit does not do.
- **durable-streams** (Electric's server, `--durability wal`, its default): an append is answered after the group
  commit of its write-ahead log was synced. It keeps bytes: no ids, no types, no queries or indexes, no dedupe by key
  (producers number their requests instead), so it has no rows where dedupe keys count. Its subscribers may get several
  events in one frame.
- **durable-streams-server** (another author, `file-durable`): one fdatasync an append under the stream's lock, no
  group commit; otherwise as above. Its caps on stored bytes were lifted.
- **riverqueue** (River's Rust client): a library, so its jobs are inserted in-process and pay for no HTTP. River's own
  bench program speaks PostgreSQL only; this one drives the unmodified client with the same worker settings (2,000
  workers, fetch cooldown 2 ms, poll 20 ms) on SQLite with WAL, synchronous=FULL, wal_autocheckpoint 10000 and a pool
  of 5, as its README shows. It has no log, no leases for workers in other languages and no HTTP.
";

const INTRO: &str = "\
# Benchmarks

Tidewire beside the limits of the machine and beside its peers, measured by `cargo xtask bench` in one run. `bench/` has
the generator, the limits and the drivers; its README says how to run them.
";

pub fn terminal(record: &Record) -> String {
    format!("{}\n{}", figures(record), reached(record))
}

/// Puts the results between the marks and leaves what people wrote around them.
pub fn write_page(docs: &Path, record: &Record) -> Result<()> {
    let path = docs.join("benchmarks.md");
    let page = match std::fs::read_to_string(&path) {
        Ok(page) => page,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("{INTRO}\n{BEGIN}\n{END}\n")
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let Some((before, (_, after))) = page
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?)))
    else {
        bail!(
            "{} has no marks: put `{BEGIN}` and `{END}` where the results belong",
            path.display()
        );
    };
    let page = format!("{before}{BEGIN}\n{}\n{END}{after}", results(record));
    std::fs::write(&path, page).with_context(|| format!("write {}", path.display()))
}

fn results(record: &Record) -> String {
    let mut text = format!(
        "\n![each contender's rate as a share of the limit's](benchmarks.svg)\n\n## What was to be reached\n\n{}\n\
         ## Figures\n\n{}\n## How to read them\n\n{READING}\n## Where they were taken\n\n",
        reached(record),
        figures(record)
    );
    for (name, section) in ordered(record) {
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

fn ordered(record: &Record) -> impl Iterator<Item = (&'static str, &crate::record::Section)> {
    ORDER
        .iter()
        .filter_map(|name| Some((*name, record.workloads.get(*name)?)))
}

fn figures(record: &Record) -> String {
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
    for (_, section) in ordered(record) {
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
    if let Some(note) = &row.note {
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

fn reached(record: &Record) -> String {
    let mut rows = vec![["to reach", "measured", "reached"].map(str::to_owned)];
    for target in targets::judge(record) {
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
    fn what_people_wrote_around_the_marks_stays() {
        let docs = tempfile::tempdir().expect("a folder");
        let page = docs.path().join("benchmarks.md");
        std::fs::write(
            &page,
            format!("before\n{BEGIN}\nstale figures\n{END}\nafter\n"),
        )
        .expect("a page");
        write_page(docs.path(), &Record::default()).expect("written");
        let text = std::fs::read_to_string(&page).expect("a page");
        assert!(
            text.starts_with("before\n")
                && text.ends_with("\nafter\n")
                && !text.contains("stale figures")
        );
    }
}
