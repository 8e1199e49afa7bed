//! `tidewire fleet`: what is pushed to a fleet and what became of it, and the fleet's own processes.

mod agent;
pub(super) mod process;
mod status;
mod worker;

use std::time::Duration;

use clap::Subcommand;
use tidewire_client::{Client, ConfigVersion, FleetAgent, Labels, NewConfig, Rollback};
use tidewire_core::duration;

use super::{
    Fault, Remote, ask,
    output::{Printer, Rows, at, clean, compact, preview, tell},
    paging::Paging,
    payload,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Push a config: JSON, @FILE, or - for standard input
    #[command(after_help = "\
Examples:
  tidewire fleet push '{\"url\": \"https://example.com/a\"}' --note 'the new host'
  tidewire fleet push @config.json --label region=eu
  tidewire fleet push @config.json --percent 10 --gate 'failed<1%'
  tidewire fleet push '{\"queues\": {\"mail\": {\"paused\": true}}}' --label tidewire=server")]
    Push(Push),
    /// Go back to an older version's config; it becomes a new version
    Rollback(RollbackArgs),
    /// Raise a version's share, if its gate lets it
    Raise {
        #[arg(value_name = "VERSION")]
        number: u64,
        /// So many of a hundred
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
        percent: u32,
        #[command(flatten)]
        by: By,
    },
    /// List what was pushed, newest first
    History {
        #[command(flatten)]
        page: Paging,
    },
    /// Show a version with its config
    Show {
        #[arg(value_name = "VERSION")]
        number: u64,
    },
    /// List agents, those first that registered last
    Agents {
        /// The servers of Tidewire, whose live settings are a config too
        #[arg(long)]
        servers: bool,
        #[command(flatten)]
        page: Paging,
    },
    /// Forget an agent that is gone for good
    Forget {
        #[arg(value_name = "AGENT")]
        agent: String,
    },
    /// Show who runs what, who lags, who failed and why
    Status {
        /// Those too with whom all is well
        #[arg(long)]
        all: bool,
        /// Who has not asked for so long is away
        #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "5m")]
        away_after: Duration,
    },
    /// Show, set or remove the JSON Schema that configs must fit
    Schema {
        /// JSON, @FILE, or - for standard input
        #[arg(long, value_name = "SCHEMA")]
        set: Option<String>,
        #[arg(long, conflicts_with = "set")]
        remove: bool,
    },
    /// Run an agent: it asks the controller for its config and gives it to its worker
    Agent(agent::Agent),
    /// Run a worker: it works by the config that its agent gives it
    Worker(worker::Worker),
}

#[derive(clap::Args)]
struct Push {
    #[arg(value_name = "CONFIG")]
    config: String,
    /// Only for agents that have this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Only for so many of a hundred of them, always the same ones first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    percent: Option<u32>,
    /// What must hold before the share is raised, such as failed<1%
    #[arg(long, value_name = "GATE")]
    gate: Option<String>,
    #[command(flatten)]
    by: By,
}

#[derive(clap::Args)]
struct RollbackArgs {
    /// The version whose config is to be had again
    #[arg(value_name = "VERSION")]
    number: u64,
    /// For agents that have this label; for those that the version was for if there is none
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    by: By,
}

#[derive(clap::Args)]
struct By {
    /// Why, for those who read the history
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Who; the user of this machine if it is missing
    #[arg(long, value_name = "NAME", env = "USER")]
    author: Option<String>,
}

impl Args {
    /// Agents and workers are processes of their own.
    pub(super) fn asks_a_server(&self) -> bool {
        !matches!(self.action, Action::Agent(_) | Action::Worker(_))
    }
}

pub(super) fn run(args: Args, remote: &Remote, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Agent(args) => agent::run(args),
        Action::Worker(args) => worker::run(&args),
        action => ask(command(action, remote.client()?, printer)),
    }
}

async fn command(action: Action, client: Client, printer: Printer) -> Result<(), Fault> {
    match action {
        Action::Push(args) => push(args, &client, printer).await,
        Action::Rollback(args) => roll_back(args, &client, printer).await,
        Action::Raise {
            number,
            percent,
            by,
        } => {
            let author = by.author.as_deref().filter(|author| !author.is_empty());
            let raised = client.fleet().raise(number, percent, author).await?;
            if printer.is_json() {
                return printer.json(&raised);
            }
            printer.line(&format!("version {number} goes to {}", whom(&raised)))
        }
        Action::History { page } => history(page, &client, printer).await,
        Action::Show { number } => show(&client.fleet().version(number).await?, printer),
        Action::Agents { servers, page } => agents(servers, page, &client, printer).await,
        Action::Forget { agent } => {
            client.fleet().forget(&agent).await?;
            printer.line(&format!("forgot {}", clean(&agent)))
        }
        Action::Status { all, away_after } => status::run(&client, printer, all, away_after).await,
        Action::Schema { set, remove } => schema(set, remove, &client, printer).await,
        // They do not come here.
        Action::Agent(_) | Action::Worker(_) => Ok(()),
    }
}

async fn push(args: Push, client: &Client, printer: Printer) -> Result<(), Fault> {
    let new = NewConfig {
        config: payload::read_as("config", &args.config)?,
        labels: args.labels.into_iter().collect(),
        percent: args.percent,
        gate: args.gate,
        note: args.by.note,
        author: args.by.author.filter(|author| !author.is_empty()),
    };
    let pushed = client.fleet().push(&new).await?;
    if printer.is_json() {
        return printer.json(&pushed);
    }
    printer.line(&format!("pushed version {}", pushed.version))?;
    tell("see what becomes of it: tidewire fleet status");
    Ok(())
}

async fn roll_back(args: RollbackArgs, client: &Client, printer: Printer) -> Result<(), Fault> {
    let labels: Labels = args.labels.into_iter().collect();
    let rollback = Rollback {
        version: args.number,
        labels: (!labels.is_empty()).then_some(labels),
        note: args.by.note,
        author: args.by.author.filter(|author| !author.is_empty()),
    };
    let made = client.fleet().roll_back(&rollback).await?;
    if printer.is_json() {
        return printer.json(&made);
    }
    printer.line(&format!(
        "version {} has the config of version {}",
        made.version, args.number
    ))
}

async fn history(page: Paging, client: &Client, printer: Printer) -> Result<(), Fault> {
    let rows = Rows::new(["VERSION", "FOR", "AUTHOR", "CREATED AT", "NOTE", "CONFIG"]);
    let row = |rows: &mut Rows, version: &ConfigVersion| {
        let note = match (&version.note, version.rollback_of) {
            (Some(note), None) => note.clone(),
            (Some(note), Some(of)) => format!("back to {of}: {note}"),
            (None, Some(of)) => format!("back to {of}"),
            (None, None) => "-".to_owned(),
        };
        rows.add([
            version.version.to_string(),
            whom(version),
            clean(&version.author).into_owned(),
            at(Some(version.created_at)).unwrap_or_default(),
            clean(&note).into_owned(),
            preview(version.config.get()),
        ]);
    };
    let fetch = async |limit, cursor: Option<String>| {
        client.fleet().versions(limit, cursor.as_deref()).await
    };
    page.print(printer, "versions", rows, row, fetch).await
}

fn show(version: &ConfigVersion, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(version);
    }
    printer.facts(&[
        ("version", Some(version.version.to_string())),
        ("for", Some(whom(version))),
        ("gate", version.gate.clone()),
        ("author", Some(clean(&version.author).into_owned())),
        (
            "note",
            version.note.as_deref().map(|note| clean(note).into_owned()),
        ),
        ("rollback of", version.rollback_of.map(|of| of.to_string())),
        ("created at", at(Some(version.created_at))),
        ("tag", Some(version.etag.clone())),
        ("config", Some(compact(version.config.get()))),
    ])
}

async fn agents(
    servers: bool,
    page: Paging,
    client: &Client,
    printer: Printer,
) -> Result<(), Fault> {
    let rows = Rows::new([
        "AGENT",
        "NAME",
        "LABELS",
        "OFFERED",
        "RUNNING",
        "LAST SEEN AT",
    ]);
    let row = |rows: &mut Rows, agent: &FleetAgent| {
        rows.add([
            agent.agent_id.clone(),
            clean(agent.name.as_deref().unwrap_or("-")).into_owned(),
            labelled(&agent.labels),
            number(agent.offered),
            number(agent.running),
            at(agent.last_seen_at).unwrap_or_else(|| "-".to_owned()),
        ]);
    };
    let fetch = async |limit, cursor: Option<String>| {
        client
            .fleet()
            .agents(servers, limit, cursor.as_deref())
            .await
    };
    page.print(printer, "agents", rows, row, fetch).await
}

async fn schema(
    set: Option<String>,
    remove: bool,
    client: &Client,
    printer: Printer,
) -> Result<(), Fault> {
    let fleet = client.fleet();
    if let Some(given) = set {
        fleet
            .set_schema(Some(payload::read_as("schema", &given)?))
            .await?;
        return printer.line("configs must fit it from now on");
    }
    if remove {
        fleet.set_schema(None).await?;
        return printer.line("configs may be any object");
    }
    match fleet.schema().await? {
        Some(schema) => printer.json(&schema),
        None => Err(Fault::failed("no schema is set: configs may be any object")),
    }
}

/// To whom a version goes.
fn whom(version: &ConfigVersion) -> String {
    let labels = match version.labels.is_empty() {
        true => "everyone".to_owned(),
        false => labelled(&version.labels),
    };
    match version.percent {
        100 => labels,
        percent => format!("{percent} % of {labels}"),
    }
}

fn labelled(labels: &Labels) -> String {
    if labels.is_empty() {
        return "-".to_owned();
    }
    let pairs: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    clean(&pairs.join(",")).into_owned()
}

fn number(version: Option<u64>) -> String {
    version.map_or_else(|| "-".to_owned(), |version| version.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(format!("`{text}` is not KEY=VALUE such as region=eu")),
    }
}
