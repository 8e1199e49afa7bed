//! `tidewire fleet worker`.

use tidewire_core::Clock;
use tidewire_fleet::{
    Keys,
    worker::{self, WorkerOptions},
};
use tidewire_http::Health;
use tidewire_outbound::{AddressPolicy, Client, ClientOptions, LOOPBACK, subnets};

use super::process::{self, variable};
use crate::cli::{Fault, block_on};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire fleet worker
  AGENT_API_KEY=\"$(openssl rand -hex 32)\" tidewire fleet worker --addr :8083 --allow-subnet 10.20.0.0/16

GET /hit calls the configured URL and hands its answer on; GET /state says by which config.")]
pub(super) struct Worker {
    /// Where to listen [default: 127.0.0.1:8083] (HTTP_ADDR and PORT are read too)
    #[arg(long, value_name = "HOST:PORT", env = "TIDEWIRE_ADDR")]
    addr: Option<String>,
    /// The key that its agent shows; two with a comma between them while one takes the other's place
    /// (AGENT_API_KEY is read too)
    #[arg(
        long,
        value_name = "KEY",
        env = "TIDEWIRE_AGENT_API_KEY",
        hide_env_values = true
    )]
    agent_api_key: Option<String>,
    /// Addresses that may be called besides public ones, or none; loopback if it is missing and the
    /// worker listens only there
    #[arg(long, value_name = "CIDR,…", env = "TIDEWIRE_ALLOW_SUBNET")]
    allow_subnet: Option<String>,
    /// Bytes of an answer that are handed on
    #[arg(long, value_name = "BYTES", env = "TIDEWIRE_ANSWER_CAP", default_value_t = WorkerOptions::default().answer_cap)]
    answer_cap: usize,
}

pub(super) fn run(args: &Worker) -> Result<(), Fault> {
    let given = args.agent_api_key.clone().filter(|key| !key.is_empty());
    let given = given.or_else(|| variable(&["AGENT_API_KEY"]));
    let keys = Keys::parse(given.as_deref().unwrap_or_default())
        .map_err(|why| Fault::Config(format!("AGENT_API_KEY {why}")))?;
    let is_open = keys.is_empty();
    let address = process::address(args.addr.as_deref(), "127.0.0.1:8083", !is_open)?;
    if is_open && !address.ip().is_loopback() {
        return Err(Fault::Config(format!(
            "--addr `{address}`: without a key a worker listens on loopback only: set AGENT_API_KEY, or listen on 127.0.0.1"
        )));
    }
    let opened = match args.allow_subnet.as_deref().map(str::trim) {
        Some("none") => Vec::new(),
        Some(list) if !list.is_empty() => {
            subnets(list).map_err(|bad| Fault::Config(format!("--allow-subnet `{list}`: {bad}")))?
        }
        _ if address.ip().is_loopback() => LOOPBACK.to_vec(),
        _ => Vec::new(),
    };
    let options = WorkerOptions {
        keys,
        answer_cap: args.answer_cap,
    };
    let _logging = process::logging()?;
    crate::install_tls();
    tidewire_http::metrics::install();
    tidewire_outbound::describe_metrics();
    let client = Client::new(ClientOptions {
        policy: AddressPolicy::allowing(opened),
        ..ClientOptions::default()
    })
    .map_err(Fault::failed)?;
    block_on(async {
        let health = Health::new();
        let worker = worker::Worker::new(Clock::system(), client, options, health.clone());
        let routes = worker::routes(worker);
        process::serve(address, (routes, health), is_open, async |stop| {
            stop.cancelled().await;
        })
        .await
    })?
}
