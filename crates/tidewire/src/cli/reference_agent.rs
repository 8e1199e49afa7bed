//! `tidewire reference-agent`: an agent that needs no model. It shows how one behaves, and gives
//! threads something to carry.

mod answer;
mod calculator;

use std::time::Duration;

use serde_json::Value;
use tidewire_client::{Agent, Client, Failure, Sink, Turn, agent::Builder};
use tidewire_core::duration;
use tokio::time::sleep;

use super::{Fault, Remote, ask, output::Printer, settings::Flags};
use crate::{config::Log, logging::Logging, server};
use answer::Plan;

/// It promises to hear of a cancel within a second, whatever its `--delay`.
const HEARTBEAT: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire reference-agent
  tidewire reference-agent --gateway http://127.0.0.1:8080 --agent support --delay 100ms

It calls a tool in every turn: a calculator where the input holds an arithmetic expression or is
{\"tool\": \"calculator\", \"expression\": …}, else one that counts words.")]
pub(super) struct Args {
    /// The server that it takes turns from; --server if it is missing (EVENT_GATEWAY_URL is read
    /// too)
    #[arg(long, value_name = "URL", env = "TIDEWIRE_GATEWAY")]
    gateway: Option<String>,
    /// The agent that it is; it takes the turns that name none if this is missing
    #[arg(long, value_name = "NAME", env = "TIDEWIRE_AGENT")]
    agent: Option<String>,
    /// This process's name among its like; one that outlives a restart gets its threads back
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long it thinks between two words
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30ms")]
    delay: Duration,
    /// Turns at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

pub(super) fn run(args: Args, remote: &Remote, printer: Printer) -> Result<(), Fault> {
    let log = Log::new(&Flags::default().values()?)?;
    let _logging = Logging::start(&log).map_err(Fault::Config)?;
    // A variable that is set to nothing is one that is not set.
    let is_set = |text: &String| !text.is_empty();
    let gateway = args.gateway.clone().filter(is_set);
    let gateway = gateway.or_else(|| std::env::var("EVENT_GATEWAY_URL").ok().filter(is_set));
    let client = match gateway {
        Some(url) => remote.client_of(&url)?,
        None => remote.client()?,
    };
    ask(work(args, client, printer))
}

async fn work(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    let stop = server::signalled();
    let url = client.server().to_owned();
    let mut agent = Agent::builder(client).concurrency(args.concurrency.into());
    let named = args.agent.filter(|name| !name.is_empty());
    if let Some(name) = &named {
        agent = agent.agent(name);
    }
    if let Some(name) = args.name {
        agent = agent.name(name);
    }
    let agent = answering(agent, args.delay);
    let name = named.as_deref().unwrap_or("default");
    printer.line(&format!("agent {name} takes turns from {url}"))?;
    let report = agent.run(stop).await?;
    tracing::info!(
        done = report.done,
        failed = report.failed,
        lost = report.lost,
        given_back = report.released,
        "stopped"
    );
    Ok(())
}

/// The agent that answers so, with this pause between two words.
pub(super) fn answering(agent: Builder, delay: Duration) -> Agent {
    let agent = agent.heartbeat(HEARTBEAT);
    agent.build(move |turn, sink| run_turn(turn, sink, delay))
}

async fn run_turn(turn: Turn, sink: Sink, delay: Duration) -> Result<Value, Failure> {
    let Plan {
        tool,
        args,
        result,
        text,
    } = Plan::of(&turn.input()?);
    let call = sink.tool_call(tool).await?;
    call.args(&args.to_string()).await?;
    match result {
        Ok(result) => call.complete(&result).await?,
        Err(error) => call.fail(error).await?,
    }
    let mut message = sink.message();
    for word in text.split_inclusive(' ') {
        message.delta(word).await?;
        tokio::select! {
            () = sleep(delay) => {}
            () = turn.cancelled() => return Err(Failure::retry("stopped in the middle of a word")),
        }
    }
    Ok(message.complete().await?.into())
}
