//! `tidewire jobs`: enqueue, list, show, retry, cancel.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use tidewire_client::{Client, Job, JobQuery, JobStatus, NewJob, Retry};
use tidewire_core::{Clock, Time, duration};
use tokio::time::sleep;

use super::{
    Fault,
    output::{Printer, Rows, at, clean, compact, shorten, tell},
    paging::Paging,
    parse_time, payload,
};

/// How often `--wait` looks: soon at first, for what is done at once.
const LOOK_FIRST: Duration = Duration::from_millis(25);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// Characters of an error in a list.
const ERROR_PREVIEW: usize = 60;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Enqueue a job
    #[command(after_help = "\
Examples:
  tidewire jobs enqueue echo --payload '[1,2,3]' --wait
  tidewire jobs enqueue report --queue nightly --delay 2h --max-attempts 5
  tidewire jobs enqueue invoice --payload @invoice.json --idempotency-key invoice-17")]
    Enqueue(Enqueue),
    /// List jobs, newest first
    #[command(after_help = "\
Examples:
  tidewire jobs list --status failed
  tidewire jobs list --queue nightly --all -o json")]
    List(List),
    /// Show a job and its attempts
    Show { id: String },
    /// Put failed or cancelled jobs back into their queues
    #[command(after_help = "\
Examples:
  tidewire jobs retry 01J9ZQ3D6T0000000000000000
  tidewire jobs retry --all --type report")]
    Retry(RetryArgs),
    /// Cancel pending or running jobs
    Cancel {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Enqueue {
    /// 1 to 255 characters of [A-Za-z0-9._:-]
    #[arg(value_name = "TYPE")]
    job_type: String,
    /// JSON, @FILE, or - for standard input; {} if it is missing
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: Option<String>,
    /// The queue; `default` if it is missing
    #[arg(long)]
    queue: Option<String>,
    /// From -1000 to 1000; the lower one runs first; 0 if it is missing
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Not before this time, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    run_at: Option<Time>,
    /// Not before this long from now, such as 90s or 2h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "run_at")]
    delay: Option<Duration>,
    /// How often it is tried, 1 to 100; 3 if it is missing
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// The same key gives the first job again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// How long one attempt may take, such as 30s or 10m
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    timeout: Option<u64>,
    /// Wait until it has ended, and print its output; exit status 1 if it failed
    #[arg(long)]
    wait: bool,
}

#[derive(clap::Args)]
struct List {
    /// Only jobs of this status
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only jobs of this type
    #[arg(long = "type", value_name = "TYPE")]
    job_type: Option<String>,
    /// Only jobs of this queue
    #[arg(long)]
    queue: Option<String>,
    #[command(flatten)]
    page: Paging,
}

#[derive(clap::Args)]
struct RetryArgs {
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// All failed jobs, or those that --type and --queue leave
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only jobs of this type
    #[arg(long = "type", value_name = "TYPE", requires = "all")]
    job_type: Option<String>,
    /// Only jobs of this queue
    #[arg(long, requires = "all")]
    queue: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl From<Status> for JobStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => JobStatus::Pending,
            Status::Running => JobStatus::Running,
            Status::Done => JobStatus::Done,
            Status::Failed => JobStatus::Failed,
            Status::Cancelled => JobStatus::Cancelled,
        }
    }
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    let given = duration::parse(text)?;
    if given.is_zero() || given.subsec_nanos() != 0 {
        return Err(format!(
            "`{text}` is not a whole number of seconds, at least 1s"
        ));
    }
    Ok(given.as_secs())
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Enqueue(args) => enqueue(args, &client, printer).await,
        Action::List(args) => list(args, &client, printer).await,
        Action::Show { id } => show(&client.jobs().get(&id).await?, printer),
        Action::Retry(args) if args.all => {
            let retried = client
                .jobs()
                .retry_all(args.job_type.as_deref(), args.queue.as_deref())
                .await?;
            if printer.is_json() {
                return printer.json(&serde_json::json!({ "retried": retried }));
            }
            printer.line(&format!("{retried} jobs are pending again"))
        }
        Action::Retry(args) => {
            each(&args.ids, printer, async |id| client.jobs().retry(id).await).await
        }
        Action::Cancel { ids } => {
            each(&ids, printer, async |id| client.jobs().cancel(id).await).await
        }
    }
}

/// Does one thing to several jobs; one that fails does not keep the others from it.
async fn each(
    ids: &[String],
    printer: Printer,
    act: impl AsyncFn(&str) -> tidewire_client::Result<Job>,
) -> Result<(), Fault> {
    let mut failed = false;
    for id in ids {
        match act(id).await {
            Ok(job) if printer.is_json() => printer.json(&job)?,
            Ok(job) => printer.line(&clean(&format!("{} is {}", job.id, job.status)))?,
            Err(error) => {
                tell(&format!("error: {id}: {error}"));
                failed = true;
            }
        }
    }
    if failed { Err(Fault::Told) } else { Ok(()) }
}

async fn enqueue(args: Enqueue, client: &Client, printer: Printer) -> Result<(), Fault> {
    let run_at = args
        .run_at
        .or_else(|| args.delay.map(|delay| Clock::system().now().plus(delay)));
    let job = NewJob {
        payload: args.payload.as_deref().map(payload::read).transpose()?,
        queue: args.queue,
        priority: args.priority,
        run_at,
        max_attempts: args.max_attempts,
        idempotency_key: args.idempotency_key,
        timeout_seconds: args.timeout,
        ..NewJob::new(args.job_type)
    };
    let job = client.jobs().enqueue(&job).await?;
    if args.wait {
        tell(&format!(
            "{} is {}; waiting for its end (Ctrl-C leaves it to go on)",
            job.id, job.status
        ));
        return ended(&wait(job, client).await?, printer);
    }
    if printer.is_json() {
        return printer.json(&job);
    }
    printer.line(&clean(&format!("{} is {}", job.id, job.status)))
}

/// Looks after a job until it has ended.
async fn wait(mut job: Job, client: &Client) -> Result<Job, Fault> {
    // A restart of the server is no reason to lose sight of the job.
    let client = client.with_retry(Retry::patient());
    let mut pause = LOOK_FIRST;
    while !job.status.is_final() {
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LOOK_LAST);
        job = client.jobs().get(&job.id).await?;
    }
    Ok(job)
}

fn ended(job: &Job, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        printer.json(job)?;
    } else if let Some(output) = &job.output {
        printer.line(&compact(output.get()))?;
    }
    if job.status == JobStatus::Done {
        return Ok(());
    }
    let why = job
        .last_error
        .as_deref()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    Err(Fault::Failed(format!(
        "{} ended as {} after {} of {} attempts{why}",
        job.id, job.status, job.attempts, job.max_attempts
    )))
}

async fn list(args: List, client: &Client, printer: Printer) -> Result<(), Fault> {
    let query = JobQuery {
        status: args.status.map(Into::into),
        job_type: args.job_type,
        queue: args.queue,
        ..JobQuery::default()
    };
    let rows = Rows::new([
        "ID",
        "TYPE",
        "QUEUE",
        "STATUS",
        "ATTEMPTS",
        "RUN AT",
        "LAST ERROR",
    ]);
    let fetch = async |limit, cursor| {
        let query = JobQuery {
            limit,
            cursor,
            ..query.clone()
        };
        client.jobs().list(&query).await
    };
    args.page.print(printer, "jobs", rows, row, fetch).await
}

fn row(rows: &mut Rows, job: &Job) {
    let error = job
        .last_error
        .as_deref()
        .map(|error| shorten(error, ERROR_PREVIEW));
    rows.add([
        job.id.clone(),
        job.job_type.clone(),
        job.queue.clone(),
        job.status.to_string(),
        format!("{}/{}", job.attempts, job.max_attempts),
        at(job.run_at).unwrap_or_default(),
        error.unwrap_or_default(),
    ]);
}

fn show(job: &Job, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(job);
    }
    let timeout = job
        .timeout_seconds
        .map(|seconds| duration::format(Duration::from_secs(seconds)));
    printer.facts(&[
        ("id", Some(job.id.clone())),
        ("type", Some(job.job_type.clone())),
        ("queue", Some(job.queue.clone())),
        ("status", Some(job.status.to_string())),
        (
            "attempts",
            Some(format!("{} of {}", job.attempts, job.max_attempts)),
        ),
        ("priority", Some(job.priority.to_string())),
        ("timeout", timeout),
        ("idempotency key", job.idempotency_key.clone()),
        ("event", job.event_id.clone()),
        ("created at", at(job.created_at)),
        ("run at", at(job.run_at)),
        ("started at", at(job.started_at)),
        ("finished at", at(job.finished_at)),
        ("held by", job.locked_by.clone()),
        ("last error", job.last_error.clone()),
        ("payload", Some(compact(job.payload.get()))),
        (
            "output",
            job.output.as_ref().map(|output| compact(output.get())),
        ),
    ])?;
    let attempts = job.attempts_log.as_deref().unwrap_or_default();
    if attempts.is_empty() {
        return Ok(());
    }
    printer.line("")?;
    let mut rows = Rows::new([
        "ATTEMPT",
        "STARTED AT",
        "FINISHED AT",
        "OUTCOME",
        "WORKER",
        "ERROR",
    ]);
    for attempt in attempts {
        rows.add([
            attempt.attempt.to_string(),
            at(attempt.started_at).unwrap_or_default(),
            at(attempt.finished_at).unwrap_or_default(),
            attempt
                .outcome
                .clone()
                .unwrap_or_else(|| "running".to_owned()),
            attempt.worker.clone().unwrap_or_default(),
            attempt.error.clone().unwrap_or_default(),
        ]);
    }
    rows.print(printer)
}
