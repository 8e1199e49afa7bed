//! `tidewire fleet agent`.

use std::{path::PathBuf, time::Duration};

use tidewire_client::{Client, Retry};
use tidewire_core::{Clock, duration};
use tidewire_fleet::agent::{self, AgentOptions};
use tidewire_http::Health;

use super::{
    label,
    process::{self, variable},
};
use crate::cli::{Fault, block_on};

/// One attempt; what comes after a failure is the agent's to decide.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire fleet agent
  CONTROLLER_API_KEY=… WORKER_API_KEY=… tidewire fleet agent --controller https://control.example \\
      --worker http://127.0.0.1:8083 --state /var/lib/tidewire/agent.json --label region=eu

GET /state says what it has and how it gets on with controller and worker. Without a controller it goes
on with what it has, also after a restart.")]
pub(super) struct Agent {
    /// The controller that it asks
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEWIRE_CONTROLLER",
        default_value = "http://127.0.0.1:8080"
    )]
    controller: String,
    /// The worker that it serves
    #[arg(
        long,
        value_name = "URL",
        env = "TIDEWIRE_WORKER",
        default_value = "http://127.0.0.1:8083"
    )]
    worker: String,
    /// Where it keeps what it has
    #[arg(
        long,
        value_name = "FILE",
        env = "TIDEWIRE_STATE",
        default_value = "./fleet-agent.json"
    )]
    state: PathBuf,
    /// Where to listen [default: 127.0.0.1:8082] (HTTP_ADDR and PORT are read too)
    #[arg(long, value_name = "HOST:PORT", env = "TIDEWIRE_ADDR")]
    addr: Option<String>,
    /// What people call it
    #[arg(long, value_name = "NAME", env = "TIDEWIRE_AGENT_NAME")]
    name: Option<String>,
    /// What versions may ask for; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", env = "TIDEWIRE_LABELS", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// How often it asks; the controller says it if this is missing
    #[arg(long, value_name = "DURATION", env = "TIDEWIRE_POLL_INTERVAL", value_parser = duration::parse)]
    poll_interval: Option<Duration>,
    /// What it waits at most between attempts that fail
    #[arg(long, value_name = "DURATION", env = "TIDEWIRE_MAX_BACKOFF", value_parser = duration::parse, default_value = "60s")]
    max_backoff: Duration,
    /// Only ask, and do not have itself told when to
    #[arg(long)]
    no_watch: bool,
    /// The key that it shows to the controller (CONTROLLER_API_KEY is read too)
    #[arg(
        long,
        value_name = "KEY",
        env = "TIDEWIRE_CONTROLLER_API_KEY",
        hide_env_values = true
    )]
    controller_api_key: Option<String>,
    /// The key that it shows to the worker (WORKER_API_KEY is read too)
    #[arg(
        long,
        value_name = "KEY",
        env = "TIDEWIRE_WORKER_API_KEY",
        hide_env_values = true
    )]
    worker_api_key: Option<String>,
}

pub(super) fn run(args: Agent) -> Result<(), Fault> {
    let is_set = |text: &String| !text.is_empty();
    let key = |given: Option<String>, name| given.filter(is_set).or_else(|| variable(&[name]));
    let controller_key = key(args.controller_api_key, "CONTROLLER_API_KEY");
    let worker_key = key(args.worker_api_key, "WORKER_API_KEY");
    let has_key = controller_key.is_some();
    let address = process::address(args.addr.as_deref(), "127.0.0.1:8082", has_key)?;
    let options = AgentOptions {
        controller: client("--controller", &args.controller, controller_key)?,
        worker: client("--worker", &args.worker, worker_key)?,
        state: args.state,
        name: args.name.filter(is_set),
        labels: args.labels.into_iter().collect(),
        poll_interval: args.poll_interval,
        max_backoff: args.max_backoff.max(Duration::from_millis(10)),
        watch: !args.no_watch,
    };
    let _logging = process::logging()?;
    block_on(async {
        let health = Health::new();
        let agent = agent::Agent::new(Clock::system(), options, health.clone());
        let routes = agent::routes(agent.clone());
        process::serve(address, (routes, health), !has_key, async |stop| {
            agent.run(stop).await;
        })
        .await
    })?
}

fn client(flag: &str, url: &str, key: Option<String>) -> Result<Client, Fault> {
    let mut builder = Client::builder(url)
        .timeout(TIMEOUT)
        .retry(Retry::none())
        .user_agent(concat!("tidewire-fleet-agent/", env!("CARGO_PKG_VERSION")));
    if let Some(key) = key {
        builder = builder.api_key(key);
    }
    let built = builder.build();
    built.map_err(|error| Fault::Config(format!("{flag}: {error}")))
}
