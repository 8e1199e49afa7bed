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
mod cluster;
mod crowd;
mod data;
mod driver;
mod fleet;
mod limit;
mod line;
mod load;
mod machine;
mod nats;
mod peers;
mod postgres;
mod process;
mod reading;
mod record;
mod redis;
mod report;
mod rounds;
mod scratch;
mod servers;
mod sink;
mod sse;
mod targets;
mod threads;
mod tidewire;
mod triggers;
mod wire;
mod workloads;

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Args, Hidden, RunArgs};
use crate::record::Record;
use crate::rounds::Bench;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.hidden {
        Some(Hidden::LimitServer { dir }) => limit::sqlite::server::run(&dir),
        Some(Hidden::Sink) => sink::server::run(),
        Some(Hidden::UnchangedServer) => limit::unchanged::run(),
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
    // Before anything starts: a wrong choice should not cost a minute.
    args.workloads()?;
    if args.redraw {
        return draw(args, &record::load(&args.docs_folder(), args.store)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        // What runs ends with what is dropped here.
        tokio::select! {
            outcome = measure(args) => outcome,
            signal = told_to_end() => Err(signal?),
        }
    })
}

async fn measure(args: &RunArgs) -> Result<()> {
    let bench = Bench::new(args).await?;
    let record = workloads::run(&bench, args).await?;
    print!("{}", report::terminal(args.store, &record));
    if args.publishes() {
        draw(
            args,
            &record::merge(&args.docs_folder(), args.store, record)?,
        )?;
    } else {
        eprintln!("nothing written: --no-write, a quick run, or fewer than 3 rounds");
    }
    scratch::remove()?;
    bench.verdict()
}

fn draw(args: &RunArgs, record: &Record) -> Result<()> {
    let docs = args.docs_folder();
    report::write_page(&docs, args.store, record)?;
    chart::write(&docs, args.store, record)?;
    eprintln!("wrote to {}", docs.display());
    Ok(())
}

/// Ctrl-C or SIGTERM, as an error.
async fn told_to_end() -> Result<anyhow::Error> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "Ctrl-C",
    };
    Ok(anyhow!("ended by {name}"))
}
