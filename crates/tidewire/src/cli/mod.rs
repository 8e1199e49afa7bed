//! The command line: one file a command, and here what they share.
//!
//! Two kinds of commands. *Client commands* ask a server over HTTP, and never open its store; they
//! take `--server` and `--api-key`. *Local commands* are the server itself or work without one.
//! What a command prints for its reader goes to standard output, everything else to standard error;
//! the exit status is that of [`Fault::status`].
//!
//! A new command is a variant of [`Command`], a line in [`Command::run`], and a file.

mod analytics;
mod archive;
mod builder;
mod complete;
mod config;
mod demo;
mod events;
mod executions;
mod fleet;
mod health;
mod import;
mod jobs;
mod listening;
mod openapi;
mod operator;
mod output;
mod pages;
mod paging;
mod payload;
mod reference_agent;
mod serve;
mod settings;
mod sites;
mod tenants;
mod threads;
mod triggers;
mod turns;
mod webhooks;

use std::{fmt, future::Future, io, process::ExitCode};

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, parser::ValueSource,
};
use tidewire_client::{Client, Retry};
use tidewire_core::Time;

use output::{Format, Printer};

const SERVER: &str = "http://127.0.0.1:8080";

/// The event backbone in one binary: an append-only log, live streams, jobs and triggers.
#[derive(Parser)]
#[command(
    name = "tidewire",
    version = env!("TIDEWIRE_VERSION"),
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  tidewire demo
  tidewire serve
  tidewire events append user.signed-up --payload '{\"plan\":\"free\"}' --subject ann
  tidewire events tail --after 0
  tidewire jobs enqueue echo --payload '[1,2,3]' --wait
  tidewire triggers create --name report --cron '0 9 * * *' --endpoint https://hooks.example/in
  tidewire turns start 'what is 6 * 7?' --follow
  tidewire fleet push '{\"url\": \"https://example.com\"}'

Exit status: 0 done, 1 failed, 2 wrong usage, 64 bad configuration."
)]
struct Cli {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Show all of it at work in one process: run it, use it, say what happened and where to look
    Demo(demo::Args),
    /// Bring the store's schema up to date, and end
    Migrate(serve::Migrate),
    /// Show, check and document the settings of `serve`
    Config(config::Args),
    /// Append to the log, import into it, read and follow it
    Events(events::Args),
    /// Enqueue jobs and look after them
    Jobs(jobs::Args),
    /// Make triggers and look after them: webhook, time, cron, interval, event
    Triggers(triggers::Args),
    /// See what triggers' firings did
    Executions(executions::Args),
    /// Call webhooks
    Webhooks(webhooks::Args),
    /// See what was said in threads, and follow what is being said
    Threads(threads::Args),
    /// Archive what is old, check archives, and bring events back
    Archive(archive::Args),
    /// Start turns of threads, see their answers come, cancel them
    Turns(turns::Args),
    /// Run an agent that answers turns by itself, to try things with
    ReferenceAgent(reference_agent::Args),
    /// Run an operator: it keeps an instance of an agent for each thread that has a turn
    Operator(operator::Args),
    /// Register other people's systems, and sync them into the log
    Sites(sites::Args),
    /// Run the builder simulator: a shop's API to sync from, to try sites with
    Builder(builder::Args),
    /// Push configuration to a fleet, see what became of it, and run its agents and workers
    Fleet(fleet::Args),
    /// See how a server and what it depends on are
    Health(health::Args),
    /// Make tenants and their keys (needs a key with the scope `admin`)
    Tenants(tenants::Args),
    /// Daily counts of events and jobs
    Analytics(analytics::Args),
    /// Print the API's description (OpenAPI 3.1)
    Openapi,
    /// Print a completion script for a shell
    Completions(complete::Completions),
    /// Write the manual pages into a folder
    Man(complete::Man),
}

impl Command {
    /// Whether the command asks a server; only then its flags have a meaning.
    fn asks_a_server(&self) -> bool {
        match self {
            Command::Fleet(args) => args.asks_a_server(),
            Command::Events(_)
            | Command::Jobs(_)
            | Command::Triggers(_)
            | Command::Executions(_)
            | Command::Webhooks(_)
            | Command::Threads(_)
            | Command::Turns(_)
            | Command::Archive(_)
            | Command::ReferenceAgent(_)
            | Command::Operator(_)
            | Command::Sites(_)
            | Command::Health(_)
            | Command::Tenants(_)
            | Command::Analytics(_) => true,
            Command::Serve(_)
            | Command::Demo(_)
            | Command::Builder(_)
            | Command::Migrate(_)
            | Command::Config(_)
            | Command::Openapi
            | Command::Completions(_)
            | Command::Man(_) => false,
        }
    }

    fn run(self, remote: &Remote) -> Result<(), Fault> {
        let printer = Printer::new(remote.output);
        match self {
            Command::Serve(args) => serve::serve(&args),
            Command::Demo(args) => demo::run(args),
            Command::Migrate(args) => serve::migrate(&args, printer),
            Command::Config(args) => config::run(args, printer),
            Command::Openapi => openapi::run(printer),
            Command::Events(args) => ask(events::run(args, remote.client()?, printer)),
            Command::Jobs(args) => ask(jobs::run(args, remote.client()?, printer)),
            Command::Triggers(args) => ask(triggers::run(args, remote.client()?, printer)),
            Command::Executions(args) => ask(executions::run(args, remote.client()?, printer)),
            Command::Webhooks(args) => ask(webhooks::run(args, remote.client()?, printer)),
            Command::Threads(args) => ask(threads::run(args, remote.client()?, printer)),
            Command::Turns(args) => ask(turns::run(args, remote.client()?, printer)),
            Command::Archive(args) => ask(archive::run(args, remote.client()?, printer)),
            Command::ReferenceAgent(args) => reference_agent::run(args, remote, printer),
            Command::Operator(args) => operator::run(args, remote),
            Command::Sites(args) => sites::run(args, remote, printer),
            Command::Builder(args) => builder::run(args),
            Command::Fleet(args) => fleet::run(args, remote, printer),
            Command::Health(args) => ask(health::run(args, remote.client()?, printer)),
            Command::Tenants(args) => ask(tenants::run(args, remote.client()?, printer)),
            Command::Analytics(args) => ask(analytics::run(args, remote.client()?, printer)),
            Command::Completions(args) => complete::completions(&args, command(), &printer),
            Command::Man(args) => complete::man(&args, command(), &printer),
        }
    }
}

/// Which server the client commands ask, and how they print.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of commands that ask a server")]
struct Remote {
    /// The server's URL
    #[arg(long, global = true, env = "TIDEWIRE_SERVER", value_name = "URL", default_value = SERVER)]
    server: String,
    /// The API key; without one the server must be open
    #[arg(
        long,
        global = true,
        env = "TIDEWIRE_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    /// The tenant to act on; only a key with the scope `admin` may choose
    #[arg(long, global = true, env = "TIDEWIRE_TENANT", value_name = "ID")]
    tenant: Option<String>,
    /// `table` is for people; `json` is one document, or one a line where there is no end
    #[arg(
        long,
        short,
        global = true,
        env = "TIDEWIRE_OUTPUT",
        value_name = "FORMAT",
        value_enum,
        default_value_t = Format::Table
    )]
    output: Format,
}

impl Remote {
    /// A variable that is set to nothing is one that is not set.
    fn server(&self) -> &str {
        match self.server.as_str() {
            "" => SERVER,
            server => server,
        }
    }

    fn key(&self) -> Option<&str> {
        self.api_key.as_deref().filter(|key| !key.is_empty())
    }

    fn client(&self) -> Result<Client, Fault> {
        self.client_of(self.server())
    }

    fn client_of(&self, server: &str) -> Result<Client, Fault> {
        let mut builder = Client::builder(server)
            .retry(Retry::quick())
            .user_agent(concat!("tidewire/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = self.key() {
            builder = builder.api_key(key);
        }
        if let Some(tenant) = self.tenant.as_deref().filter(|tenant| !tenant.is_empty()) {
            builder = builder.tenant(tenant);
        }
        builder
            .build()
            .map_err(|error| Fault::Usage(error.to_string()))
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It was tried and did not work.
    Failed(String),
    /// What was asked for makes no sense.
    Usage(String),
    /// A setting makes no sense: which, its value, what would do.
    Config(String),
    /// Nobody reads the output any more, so there is nothing left to do.
    ClosedPipe,
    /// It failed, and all about it was said.
    Told,
}

impl Fault {
    /// 0 done, 1 failed, 2 wrong usage, 64 bad configuration.
    fn status(&self) -> u8 {
        match self {
            Fault::ClosedPipe => 0,
            Fault::Failed(_) | Fault::Told => 1,
            Fault::Usage(_) => 2,
            Fault::Config(_) => 64,
        }
    }

    fn failed(text: impl fmt::Display) -> Self {
        Fault::Failed(text.to_string())
    }
}

impl From<tidewire_client::Error> for Fault {
    fn from(error: tidewire_client::Error) -> Self {
        let hint = match error.status() {
            Some(401) => ": give a key with --api-key or TIDEWIRE_API_KEY",
            _ => "",
        };
        Fault::Failed(format!("{error}{hint}"))
    }
}

impl From<io::Error> for Fault {
    /// Of writing output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::ClosedPipe,
            _ => Fault::Failed(format!("cannot write the output: {error}")),
        }
    }
}

/// Parses the command line, runs the command, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let run = || {
        read_dotenv()?;
        let matches = match command().try_get_matches() {
            Ok(matches) => matches,
            Err(error) => {
                // Help and version are "errors" with status 0. Where they cannot be written there
                // is nobody to tell.
                let _ = error.print();
                return Ok(ExitCode::from(if error.use_stderr() { 2 } else { 0 }));
            }
        };
        let cli =
            Cli::from_arg_matches(&matches).map_err(|error| Fault::Usage(error.to_string()))?;
        if !cli.command.asks_a_server() {
            refuse_remote_flags(&matches)?;
        }
        cli.command.run(&cli.remote)?;
        Ok(ExitCode::SUCCESS)
    };
    run().unwrap_or_else(|fault: Fault| {
        if let Fault::Failed(text) | Fault::Usage(text) | Fault::Config(text) = &fault {
            output::tell(&format!("error: {text}"));
        }
        ExitCode::from(fault.status())
    })
}

/// The whole command line, as the completions and the manual describe it too.
fn command() -> clap::Command {
    Cli::command()
}

/// `tidewire serve --api-key …` would look as if it protected the server.
fn refuse_remote_flags(matches: &ArgMatches) -> Result<(), Fault> {
    for (id, flag) in [
        ("server", "--server"),
        ("api_key", "--api-key"),
        ("tenant", "--tenant"),
    ] {
        if matches.value_source(id) == Some(ValueSource::CommandLine) {
            let command = matches.subcommand_name().unwrap_or_default();
            return Err(Fault::Usage(format!(
                "{flag} is for commands that ask a server, and `{command}` does not: leave it out"
            )));
        }
    }
    Ok(())
}

/// `.env` in the current folder adds to the environment; what is set already wins.
fn read_dotenv() -> Result<(), Fault> {
    match dotenvy::from_path(".env") {
        Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(dotenvy::Error::Io(error)) => {
            Err(Fault::Config(format!("cannot read `.env`: {error}")))
        }
        // The line itself stays untold: it may hold a secret.
        Err(_) => Err(Fault::Config(
            "`.env` has a line that is not NAME=VALUE: put quotes around values with spaces or #"
                .to_owned(),
        )),
        Ok(()) => Ok(()),
    }
}

/// Runs a client command to its end.
fn ask(work: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    block_on(work)?
}

/// Runs a future on a small runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Fault::Failed(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(work);
    // What still waits (for a terminal's input, for a connection's last words) is of no use now.
    runtime.shutdown_background();
    Ok(result)
}

fn parse_day(text: &str) -> Result<chrono::NaiveDate, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a day such as 2026-01-31"))
}

fn parse_time(text: &str) -> Result<Time, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn server_flags_are_refused_where_they_mean_nothing() {
        let refused = |line: &[&str]| {
            let matches = command().try_get_matches_from(line).unwrap();
            refuse_remote_flags(&matches).is_err()
        };
        assert!(refused(&[
            "tidewire",
            "--server",
            "http://x",
            "completions",
            "bash"
        ]));
        assert!(refused(&[
            "tidewire",
            "completions",
            "bash",
            "--api-key",
            "k"
        ]));
        assert!(!refused(&["tidewire", "completions", "bash"]));
    }
}
