//! `tidewire executions`: what triggers' firings did.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use tidewire_client::{
    Client, Execution, ExecutionQuery, ExecutionStatus, ExecutionSummary, RetentionStatus, Retry,
    SetOff, Source,
};
use tokio::time::sleep;

use super::{
    Fault,
    output::{Printer, Rows, at, clean, compact, shorten, tell},
    pages::Pages,
};

/// How often a wait looks: soon at first, for what is done at once.
const LOOK_FIRST: Duration = Duration::from_millis(25);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// Characters of an error or an answer in a table.
const PREVIEW: usize = 60;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List executions, newest first
    #[command(after_help = "\
Examples:
  tidewire executions list --status failure
  tidewire executions list --trigger 01J9ZQ3D6T0000000000000000 --archived --all -o json")]
    List(List),
    /// Show an execution and its attempts
    Show { id: String },
    /// Try failed executions again
    Retry {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Count the executions of the last hours, by trigger and status
    Summary {
        /// How far to look back, at most 8760; 48 if it is missing
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8760))]
        hours: Option<u32>,
    },
    /// List the endpoints to which nothing is sent for now, or only probes
    Endpoints,
}

#[derive(clap::Args)]
struct List {
    /// Only executions of this trigger
    #[arg(long, value_name = "ID")]
    trigger: Option<String>,
    /// Only executions that stand so
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only executions that this set off
    #[arg(long, value_enum)]
    source: Option<By>,
    /// The archived ones instead of the active ones
    #[arg(long)]
    archived: bool,
    /// Only test runs
    #[arg(long, conflicts_with = "no_tests")]
    tests: bool,
    /// No test runs
    #[arg(long)]
    no_tests: bool,
    #[command(flatten)]
    pages: Pages,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Success,
    Failure,
}

impl From<Status> for ExecutionStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => ExecutionStatus::Pending,
            Status::Success => ExecutionStatus::Success,
            Status::Failure => ExecutionStatus::Failure,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Webhook,
    Scheduler,
    ManualTest,
    Event,
}

impl From<By> for Source {
    fn from(by: By) -> Self {
        match by {
            By::Webhook => Source::Webhook,
            By::Scheduler => Source::Scheduler,
            By::ManualTest => Source::ManualTest,
            By::Event => Source::Event,
        }
    }
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::List(args) => list(args, &client, printer).await,
        Action::Show { id } => show(&client.executions().get(&id).await?, printer),
        Action::Retry { ids } => retry(&ids, &client, printer).await,
        Action::Summary { hours } => summary(&client.executions().summary(hours).await?, printer),
        Action::Endpoints => endpoints(&client, printer).await,
    }
}

async fn list(args: List, client: &Client, printer: Printer) -> Result<(), Fault> {
    let query = ExecutionQuery {
        trigger_id: args.trigger,
        execution_status: args.status.map(Into::into),
        source: args.source.map(Into::into),
        retention_status: args.archived.then_some(RetentionStatus::Archived),
        is_test_run: (args.tests || args.no_tests).then_some(args.tests),
    };
    let rows = Rows::new([
        "FIRED AT",
        "ID",
        "TRIGGER",
        "SOURCE",
        "STATUS",
        "ATTEMPTS",
        "LAST ANSWER",
    ]);
    let fetch = async |page| client.executions().list(&query, page).await;
    args.pages.print(printer, "events", rows, row, fetch).await
}

fn row(rows: &mut Rows, execution: &Execution) {
    let last = execution.attempts.last();
    let answer = match last {
        Some(last) => last
            .error
            .clone()
            .or_else(|| last.response_status.map(|status| status.to_string())),
        None => execution.error_message.clone(),
    };
    rows.add([
        at(execution.fired_at).unwrap_or_default(),
        execution.id.clone(),
        execution
            .trigger_id
            .clone()
            .unwrap_or_else(|| "-".to_owned()),
        execution.source.to_string(),
        execution.execution_status.to_string(),
        execution.attempts.len().to_string(),
        answer.map_or_else(|| "-".to_owned(), |text| shorten(&text, PREVIEW)),
    ]);
}

fn show(execution: &Execution, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(execution);
    }
    printer.facts(&[
        ("id", Some(execution.id.clone())),
        ("trigger", execution.trigger_id.clone()),
        ("type", Some(execution.trigger_type.to_string())),
        ("source", Some(execution.source.to_string())),
        ("test run", execution.is_test_run.then(|| "yes".to_owned())),
        ("status", Some(execution.execution_status.to_string())),
        ("error", execution.error_message.clone()),
        ("kept as", Some(execution.retention_status.to_string())),
        ("job", execution.job_id.clone()),
        ("fired at", at(execution.fired_at)),
        ("payload", Some(compact(execution.payload.get()))),
    ])?;
    if execution.attempts.is_empty() {
        return Ok(());
    }
    printer.line("")?;
    let mut rows = Rows::new(["ATTEMPT", "STARTED AT", "MS", "STATUS", "ANSWER", "ERROR"]);
    for attempt in &execution.attempts {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let answer = attempt.response_body.as_deref();
        rows.add([
            attempt.attempt.to_string(),
            or_dash(at(attempt.started_at)),
            or_dash(attempt.duration_ms.map(|ms| ms.to_string())),
            or_dash(attempt.response_status.map(|status| status.to_string())),
            or_dash(answer.map(|body| shorten(body, PREVIEW))),
            or_dash(attempt.error.clone()),
        ]);
    }
    rows.print(printer)
}

/// Tries several again; one that cannot be does not keep the others from it.
async fn retry(ids: &[String], client: &Client, printer: Printer) -> Result<(), Fault> {
    let mut failed = false;
    for id in ids {
        match client.executions().retry(id).await {
            Ok(execution) if printer.is_json() => printer.json(&execution)?,
            Ok(execution) => printer.line(&clean(&format!(
                "{} is {}",
                execution.id, execution.execution_status
            )))?,
            Err(error) => {
                tell(&format!("error: {id}: {error}"));
                failed = true;
            }
        }
    }
    if failed { Err(Fault::Told) } else { Ok(()) }
}

fn summary(summary: &ExecutionSummary, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(summary);
    }
    let mut rows = Rows::new([
        "TRIGGER", "NAME", "TOTAL", "PENDING", "SUCCESS", "FAILURE", "TESTS",
    ]);
    for trigger in &summary.triggers {
        let counts = trigger.by_status;
        rows.add([
            trigger.trigger_id.clone().unwrap_or_else(|| "-".to_owned()),
            trigger.name.clone().unwrap_or_else(|| "-".to_owned()),
            trigger.total.to_string(),
            counts.pending.to_string(),
            counts.success.to_string(),
            counts.failure.to_string(),
            trigger.test_runs.to_string(),
        ]);
    }
    let counts = summary.by_status;
    rows.add([
        "all".to_owned(),
        format!("the last {} hours", summary.hours),
        summary.total.to_string(),
        counts.pending.to_string(),
        counts.success.to_string(),
        counts.failure.to_string(),
        summary.test_runs.to_string(),
    ]);
    rows.print(printer)
}

async fn endpoints(client: &Client, printer: Printer) -> Result<(), Fault> {
    let endpoints = client.executions().endpoints().await?;
    if printer.is_json() {
        return printer.json(&serde_json::json!({ "endpoints": endpoints }));
    }
    let mut rows = Rows::new(["ENDPOINT", "CIRCUIT", "FAILURES", "NEXT TRY", "WORKER"]);
    for endpoint in endpoints {
        rows.add([
            endpoint.endpoint,
            endpoint.circuit,
            endpoint.failures.to_string(),
            at(endpoint.retry_at).unwrap_or_else(|| "-".to_owned()),
            endpoint.worker,
        ]);
    }
    rows.print(printer)
}

/// Says what was set off, or waits for its end.
pub(super) async fn set_off(
    run: SetOff,
    waits: bool,
    client: &Client,
    printer: Printer,
) -> Result<(), Fault> {
    if !waits {
        if printer.is_json() {
            return printer.json(&run);
        }
        return printer.line(&clean(&format!(
            "{} is pending: its job is {}",
            run.execution_id, run.job_id
        )));
    }
    tell(&clean(&format!(
        "{} is pending; waiting for its end (Ctrl-C leaves it to go on)",
        run.execution_id
    )));
    let ended = wait(&run.execution_id, client).await?;
    show(&ended, printer)?;
    if ended.execution_status == ExecutionStatus::Success {
        return Ok(());
    }
    let why = ended.error_message.as_deref();
    Err(Fault::Failed(format!(
        "{} ended as {} after {} attempts: {}",
        ended.id,
        ended.execution_status,
        ended.attempts.len(),
        why.unwrap_or("nobody says why")
    )))
}

/// Looks after an execution until it has ended.
async fn wait(id: &str, client: &Client) -> Result<Execution, Fault> {
    // A restart of the server is no reason to lose sight of it.
    let client = client.with_retry(Retry::patient());
    let mut pause = LOOK_FIRST;
    loop {
        let execution = client.executions().get(id).await?;
        if execution.execution_status != ExecutionStatus::Pending {
            return Ok(execution);
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LOOK_LAST);
    }
}
