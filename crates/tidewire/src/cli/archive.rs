//! `tidewire archive`: what grows old leaves the database, and comes back.

mod follow;
mod get;

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Subcommand, ValueEnum};
use serde::Deserialize;
use tidewire_client::{Archive, Client, Job, NewArchives, RestoreArchives};
use tidewire_core::duration;

use super::{
    Fault,
    output::{Printer, Rows, at, clean, compact, tell},
    paging::Paging,
};

#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  tidewire archive --thread support-17
  tidewire archive --stream orders --to 100000 --trim
  tidewire archive --all --older-than 30d --trim
  tidewire archive list --stream orders
  tidewire archive get 01J9ZQ3D6T0000000000000000 | zcat | jq .payload
  tidewire archive verify
  tidewire archive restore --thread support-17

The server does the work as a job; the command only follows it, and ending it leaves the job to go on."
)]
pub(super) struct Args {
    #[command(flatten)]
    run: Run,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// List archives, newest first
    List(List),
    /// Download an archive: gzipped JSON Lines
    Get {
        id: String,
        /// Where to write it; standard output without it
        #[arg(long, short = 'O', value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check every archive of the server, and look for objects that nobody knows (needs the scope
    /// `admin`); exit status 1 if something is wrong
    Verify {
        /// Mend what can be mended
        #[arg(long)]
        repair: bool,
    },
    /// Put trimmed events back into the database
    Restore(Restore),
}

#[derive(clap::Args)]
#[command(group = ArgGroup::new("which").required(true).args(["thread", "stream", "all"]))]
struct Run {
    /// The thread to archive
    #[arg(long, value_name = "THREAD")]
    thread: Option<String>,
    /// The stream to archive
    #[arg(long)]
    stream: Option<String>,
    /// All streams, threads included
    #[arg(long)]
    all: bool,
    /// From this number on; it must join on to what is archived
    #[arg(long, value_name = "SEQ", conflicts_with = "all")]
    from: Option<u64>,
    /// Up to this number; the end without it
    #[arg(long, value_name = "SEQ", conflicts_with = "all")]
    to: Option<u64>,
    /// Only what was stored at least so long ago, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// What is archived leaves the database, and is read from the archives
    #[arg(long)]
    trim: bool,
    /// `parquet` adds a file for query engines beside the archive
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Parquet,
}

#[derive(clap::Args)]
struct List {
    /// Only archives of this thread
    #[arg(long, value_name = "THREAD", conflicts_with = "stream")]
    thread: Option<String>,
    /// Only archives of this stream
    #[arg(long)]
    stream: Option<String>,
    #[command(flatten)]
    page: Paging,
}

#[derive(clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["restored_thread", "restored_stream"]))]
struct Restore {
    /// The thread
    #[arg(id = "restored_thread", long = "thread", value_name = "THREAD")]
    thread: Option<String>,
    /// The stream
    #[arg(id = "restored_stream", long = "stream", value_name = "STREAM")]
    stream: Option<String>,
    /// From this number on; from the start without it
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        None => archive(args.run, &client, printer).await,
        Some(Action::List(args)) => list(args, &client, printer).await,
        Some(Action::Get { id, out }) => get::run(&id, out, &client, printer).await,
        Some(Action::Verify { repair }) => {
            let job = client.archives().verify(repair).await?;
            verified(&follow::follow(job, &client).await?, printer)
        }
        Some(Action::Restore(args)) => {
            let what = RestoreArchives {
                stream: args.stream,
                thread_id: args.thread,
                from_seq: args.from,
            };
            let job = client.archives().restore(&what).await?;
            let job = follow::follow(job, &client).await?;
            ended(&job, printer, |report: Restored| {
                format!("{} events are back in the database", report.events)
            })
        }
    }
}

async fn archive(args: Run, client: &Client, printer: Printer) -> Result<(), Fault> {
    let new = NewArchives {
        stream: args.stream,
        thread_id: args.thread,
        all: args.all,
        from_seq: args.from,
        to_seq: args.to,
        older_than: args.older_than.map(duration::format),
        trim: args.trim,
        format: match args.format {
            Format::Jsonl => None,
            Format::Parquet => Some("parquet".to_owned()),
        },
    };
    let job = client.archives().create(&new).await?;
    let job = follow::follow(job, client).await?;
    ended(&job, printer, |report: Ran| {
        let mut text = match report.archives {
            0 => "nothing new to archive".to_owned(),
            count => format!(
                "{} events of {} streams are in {count} new archives of {}",
                report.events,
                report.streams,
                size(report.bytes)
            ),
        };
        if report.trimmed > 0 {
            text.push_str(&format!(
                "; {} events have left the database",
                report.trimmed
            ));
        }
        text
    })
}

#[derive(Deserialize)]
struct Ran {
    streams: u64,
    archives: u64,
    events: u64,
    bytes: u64,
    trimmed: u64,
}

#[derive(Deserialize)]
struct Restored {
    events: u64,
}

#[derive(Deserialize)]
struct Verified {
    archives: u64,
    events: u64,
    bytes: u64,
    problems_found: u64,
    repaired: u64,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    object_key: Option<String>,
    problem: String,
    repaired: bool,
}

/// Prints what a job has done, in a sentence or as its output is.
fn ended<T: for<'d> Deserialize<'d>>(
    job: &Job,
    printer: Printer,
    say: impl Fn(T) -> String,
) -> Result<(), Fault> {
    let output = output(job)?;
    if printer.is_json() {
        return printer.line(&compact(output));
    }
    let report = serde_json::from_str(output).map_err(|error| strange(job, &error))?;
    printer.line(&say(report))
}

fn verified(job: &Job, printer: Printer) -> Result<(), Fault> {
    let output = output(job)?;
    let report: Verified = serde_json::from_str(output).map_err(|error| strange(job, &error))?;
    if printer.is_json() {
        printer.line(&compact(output))?;
    } else {
        let mut rows = Rows::new(["STREAM", "OBJECT", "PROBLEM", "MENDED"]);
        for problem in &report.problems {
            rows.add([
                problem.stream.clone().unwrap_or_default(),
                problem.object_key.clone().unwrap_or_default(),
                problem.problem.clone(),
                if problem.repaired { "yes" } else { "no" }.to_owned(),
            ]);
        }
        if !report.problems.is_empty() {
            rows.print(printer)?;
        }
        printer.line(&format!(
            "{} archives with {} events in {}: {} problems, {} mended",
            report.archives,
            report.events,
            size(report.bytes),
            report.problems_found,
            report.repaired
        ))?;
    }
    if report.problems_found > report.repaired {
        return Err(Fault::Told);
    }
    Ok(())
}

/// The output of a job that is done; why it is not, if it is not.
fn output(job: &Job) -> Result<&str, Fault> {
    if job.status == tidewire_client::JobStatus::Done {
        return Ok(job.output.as_ref().map_or("{}", |output| output.get()));
    }
    let why = job.last_error.as_deref().unwrap_or("nobody says why");
    Err(Fault::Failed(format!(
        "the job {} ended as {}: {why}",
        job.id, job.status
    )))
}

fn strange(job: &Job, error: &serde_json::Error) -> Fault {
    Fault::Failed(format!(
        "the output of the job {} is of another form: {error}",
        job.id
    ))
}

async fn list(args: List, client: &Client, printer: Printer) -> Result<(), Fault> {
    let stream = match (args.thread, args.stream) {
        (Some(thread), _) => Some(format!("thread:{thread}")),
        (None, stream) => stream,
    };
    let rows = Rows::new(["ID", "STREAM", "FROM", "TO", "EVENTS", "SIZE", "CREATED AT"]);
    let fetch = async |limit, cursor: Option<String>| {
        let archives = client.archives();
        archives
            .list(stream.as_deref(), limit, cursor.as_deref())
            .await
    };
    args.page.print(printer, "archives", rows, row, fetch).await
}

fn row(rows: &mut Rows, archive: &Archive) {
    rows.add([
        archive.archive_id.clone(),
        archive.stream.clone(),
        archive.from_seq.to_string(),
        archive.to_seq.to_string(),
        archive.event_count.to_string(),
        size(archive.bytes),
        at(archive.created_at).unwrap_or_default(),
    ]);
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// The job goes on without this command.
fn left(job: &Job) -> Fault {
    tell(&clean(&format!(
        "the job {0} goes on: see it with `tidewire jobs show {0}`, end it with `tidewire jobs cancel {0}`",
        job.id
    )));
    Fault::Told
}
