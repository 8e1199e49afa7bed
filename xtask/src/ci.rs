//! `cargo xtask ci`: everything that a change must pass, cheapest first, ending with the README's test command.

use std::time::Duration;

use anyhow::Result;

use crate::process::{self, cargo, command, root};
use crate::steps::{Outcome, Steps};
use crate::{metrics, rules, test, tools};

/// A fetch of a few megabytes; a network that swallows packets would otherwise hold it for ever.
const FETCH_LIMIT: Duration = Duration::from_secs(180);

pub fn run() -> Result<()> {
    let mut steps = Steps::new();
    let mut tally = test::Tally::default();
    let result = check(&mut steps, &mut tally);
    steps.print();
    tally.print();
    result
}

fn check(steps: &mut Steps, tally: &mut test::Tally) -> Result<()> {
    steps.run("formatting", formatting)?;
    steps.run("house rules", rules::check)?;
    steps.run("metrics", metrics::check)?;
    steps.run("dependencies", dependencies)?;
    steps.run("advisories", advisories)?;
    steps.run("lints", lints)?;
    test::run_steps(steps, tally, false)
}

fn formatting() -> Result<Outcome> {
    for manifest in ["Cargo.toml", "bench/Cargo.toml"] {
        if root().join(manifest).exists() {
            process::run(cargo().args(["fmt", "--all", "--check", "--manifest-path", manifest]))?;
        }
    }
    Ok(Outcome::Passed)
}

fn lints() -> Result<Outcome> {
    tools::kafka_client()?;
    process::run(
        cargo()
            .args(["clippy", "--workspace", "--all-targets", "--all-features"])
            .args(["--", "--deny", "warnings"]),
    )?;
    Ok(Outcome::Passed)
}

fn dependencies() -> Result<Outcome> {
    process::run(command(tools::cargo_deny()?).args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    Ok(Outcome::Passed)
}

/// Apart from the other checks, because it alone needs a database from the network. A machine that cannot reach it
/// says so in the summary; a machine that can fails on what is found.
fn advisories() -> Result<Outcome> {
    let deny = tools::cargo_deny()?;
    if let Err(error) = process::run_within(FETCH_LIMIT, command(&deny).args(["fetch", "db"])) {
        println!("{error:#}");
        return Ok(Outcome::NotRun(
            "the advisory database cannot be fetched from here".to_owned(),
        ));
    }
    process::run(command(&deny).args(["check", "advisories"]))?;
    Ok(Outcome::Passed)
}
