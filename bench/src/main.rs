//! Measures Tidewire beside its limits and its peers, on one machine, in one run.
//!
//! The parent process is the load generator: one thread, because it shares the cores with what it measures. Whatever
//! is measured is a child process with a fresh data folder, so that CPU time and memory are its own. `rounds` takes the
//! contenders of a case in turn, A B A B, between calibrations; `workloads` says what is asked of them; `record` keeps
//! what came out, and `report` and `chart` draw it. Absolute figures belong to the machine: read the ratios.

mod args;
mod bodies;
mod calibrate;
mod chart;
mod limit;
mod load;
mod machine;
mod peers;
mod process;
mod record;
mod report;
mod river;
mod rounds;
mod scratch;
mod servers;
mod sse;
mod targets;
mod tidewire;
mod wire;
mod workloads;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::args::{Args, Hidden, RunArgs};
use crate::rounds::Bench;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.hidden {
        Some(Hidden::LimitServer { dir }) => limit::server::run(&dir),
        None => run(&args.run),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> Result<()> {
    process::raise_open_files().context("raise the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let bench = Bench::new(args)?;
    let record = local.block_on(&runtime, workloads::run(&bench, args))?;
    scratch::remove()?;
    print!("{}", report::terminal(&record));
    if args.publishes() {
        let docs = args.docs_folder();
        let record = record::merge(&docs, record)?;
        report::write_page(&docs, &record)?;
        chart::write(&docs.join("benchmarks.svg"), &record)?;
        eprintln!("wrote {}/benchmarks.md, .svg and .json", docs.display());
    } else {
        eprintln!("nothing written: --no-write, a quick run, or fewer than 3 rounds");
    }
    bench.verdict()
}
