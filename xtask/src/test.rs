//! `cargo xtask test`: fetch what the tests need, run them, then put the running server to the test.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use tidewire_testservers::S3;

use crate::process::{self, cargo};
use crate::steps::{Outcome, Steps};
use crate::{clients, crds, lint_deploy, schemathesis, services::Running, tools};

/// One set of features for the tests, the lints and the demo: whatever is built once serves all.
const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

/// It takes a few seconds; each of its steps has a limit of its own.
const DEMO_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How many tests passed and failed, as far as that is known.
#[derive(Default)]
pub struct Tally {
    passed: u64,
    failed: u64,
    /// Something died without saying what had passed: no total would be true.
    lost: bool,
}

pub fn run(full: bool) -> Result<()> {
    let mut steps = Steps::new();
    let mut tally = Tally::default();
    let result = run_steps(&mut steps, &mut tally, full);
    steps.print();
    tally.print();
    result
}

pub fn run_steps(steps: &mut Steps, tally: &mut Tally, full: bool) -> Result<()> {
    let (mut program, mut pythons) = (None, Vec::new());
    let mut without_kubernetes = false;
    steps.run("test tools", || {
        tools::servers()?;
        tools::kafka()?;
        tools::s3()?;
        tools::kafka_client()?;
        if full {
            tools::garage()?;
            without_kubernetes = !tools::kubernetes()?;
            pythons.push(("TIDEWIRE_TEST_PLAYWRIGHT", tools::browser()?));
            pythons.push(("TIDEWIRE_TEST_LOCALSTRIPE", tools::localstripe()?));
        }
        program = Some(tools::schemathesis()?);
        pythons.extend([
            ("TIDEWIRE_TEST_STANDARDWEBHOOKS", tools::standardwebhooks()?),
            ("TIDEWIRE_TEST_PYARROW", tools::pyarrow()?),
            (
                "TIDEWIRE_TEST_CLIENTS",
                tools::clients_python()?.join("bin/python"),
            ),
        ]);
        tools::clients_node()?;
        Ok(match without_kubernetes {
            true => Outcome::Noted("without Kubernetes: Go is not here to build it".to_owned()),
            false => Outcome::Passed,
        })
    })?;
    // All targets, as the tests build them: then the server that is started below is the one that they were linked
    // with, and nothing is compiled twice.
    steps.run("test build", || {
        process::run(cargo().arg("build").args(EVERYTHING).arg("--all-targets"))?;
        Ok(Outcome::Passed)
    })?;
    steps.run("clients", || {
        clients::check()?;
        Ok(Outcome::Passed)
    })?;
    steps.run("resource definitions", || {
        crds::check()?;
        Ok(Outcome::Passed)
    })?;
    // One of each for all test programs: a private one for each of them would cost it a second or two.
    let mut servers = None;
    steps.run("test servers", || {
        let running = servers.insert(Running::start()?);
        Ok(Outcome::Noted(running.summary()))
    })?;
    steps.run("cargo test", || {
        cargo_test(tally, full, servers.as_ref(), &pythons)
    })?;
    drop(servers);
    steps.run("demo", demo)?;
    if full {
        steps.run("archives on Garage", || archives_on_garage(tally, &pythons))?;
    }
    steps.run("schemathesis", || {
        let program = program.context("schemathesis was not installed")?;
        let result = schemathesis::run(&program, full);
        tally.add(&Counts {
            passed: result.is_ok().into(),
            failed: result.is_err().into(),
            ignored: 0,
        });
        result.map(|()| Outcome::Passed)
    })?;
    if full {
        lint_deploy::run_steps(steps)?;
    }
    Ok(())
}

fn cargo_test(
    tally: &mut Tally,
    full: bool,
    servers: Option<&Running>,
    pythons: &[(&str, PathBuf)],
) -> Result<Outcome> {
    let mut command = cargo();
    command.arg("test").args(EVERYTHING).arg("--no-fail-fast");
    command.envs(servers.into_iter().flat_map(Running::variables));
    command.envs(pythons.iter().map(|(name, python)| (name, python)));
    // No engine is left out in silence here.
    command.env("TIDEWIRE_TEST_REQUIRE_ENGINES", "1");
    if full {
        command.env("TIDEWIRE_TEST_FULL", "1");
    } else {
        command.env_remove("TIDEWIRE_TEST_FULL");
    }
    counted(tally, command)
}

/// The demo as anybody runs it first, by the build that the tests used; it verifies its own steps.
fn demo() -> Result<Outcome> {
    let binary = process::target()?.join("debug/tidewire");
    process::run_within(
        DEMO_LIMIT,
        process::command(binary).args(["demo", "--once", "--addr", "127.0.0.1:0"]),
    )?;
    Ok(Outcome::Passed)
}

/// The suite of archives once more, with objects in a server that people run.
fn archives_on_garage(tally: &mut Tally, pythons: &[(&str, PathBuf)]) -> Result<Outcome> {
    let mut command = cargo();
    command.args(["test", "--package", "tidewire-archive", "--all-features"]);
    command.arg("--no-fail-fast");
    command.env_remove(S3::VARIABLE).env(S3::PRODUCT, "garage");
    command.envs(pythons.iter().map(|(name, python)| (name, python)));
    command.env("TIDEWIRE_TEST_REQUIRE_ENGINES", "1");
    counted(tally, command)
}

/// Runs `cargo test`, and counts what it says.
fn counted(tally: &mut Tally, mut command: Command) -> Result<Outcome> {
    println!("$ {}", process::line(&command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;

    // Counted in a thread: a process that a test left behind may hold the output open after cargo has ended.
    let (sender, counted) = mpsc::channel();
    thread::spawn(move || {
        let mut sum = Counts::default();
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            sum.add(&Counts::of(&line).unwrap_or_default());
            if writeln!(std::io::stdout(), "{line}").is_err() {
                break;
            }
        }
        // Nobody waits for it any more only when this process is about to end.
        let _ = sender.send(sum);
    });
    let status = child.wait().context("cannot wait for cargo")?;
    let Ok(sum) = counted.recv_timeout(Duration::from_secs(10)) else {
        tally.lost = true;
        bail!(
            "a process that a test started still runs and holds its output: end it, and mend the test"
        );
    };

    tally.add(&sum);
    if status.success() {
        return Ok(Outcome::Noted(format!(
            "{} passed, {} ignored",
            sum.passed, sum.ignored
        )));
    }
    if sum.failed == 0 {
        tally.lost = true;
        bail!("a test program crashed or did not build: `cargo test` ended with {status}");
    }
    bail!("{} failed", sum.failed)
}

impl Tally {
    fn add(&mut self, counts: &Counts) {
        self.passed += counts.passed;
        self.failed += counts.failed;
    }

    /// The total, with schemathesis' run as one test, unless it is not known or nothing was run.
    pub fn print(&self) {
        if !self.lost && self.passed + self.failed > 0 {
            println!("\n{} passed, {} failed", self.passed, self.failed);
        }
    }
}

/// What one test program says at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// From `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn of(line: &str) -> Option<Counts> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut found = Counts::default();
        for part in counts.split("; ") {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => found.passed = number.parse().ok()?,
                Some((number, "failed")) => found.failed = number.parse().ok()?,
                Some((number, "ignored")) => found.ignored = number.parse().ok()?,
                _ => {}
            }
        }
        Some(found)
    }

    fn add(&mut self, other: &Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_closing_line() {
        let line = "test result: FAILED. 41 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.03s";
        assert_eq!(
            Counts::of(line),
            Some(Counts {
                passed: 41,
                failed: 2,
                ignored: 1
            })
        );
        assert_eq!(Counts::of("test tests::passes ... ok"), None);
    }
}
