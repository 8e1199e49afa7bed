//! `tidewire operator`.

#[cfg(feature = "kubernetes")]
mod kubernetes;

use std::{sync::Arc, time::Duration};

use tidewire_core::{Clock, duration};
use tidewire_http::Health;
use tidewire_operator::{
    Driver, Limits, Operator, Settings,
    local::{Local, LocalAgent},
};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use super::{Fault, Remote, block_on, fleet::process};
use crate::{
    config::{Agents, local_agents},
    server::agents::{client, local_settings},
};

/// The least that a server takes, and the most.
const LEASES: std::ops::RangeInclusive<u64> = 5..=3600;

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire operator --server https://tide.example --agents local:./agent.py
  tidewire operator --agents support=local:'./support --fast' --agents sales=local:./sales --max 8

It runs a process for each thread that has a turn of one of its agents, on the machine that it runs on
itself, and needs a key with the scope `admin`. GET /ready says whether it has reached the server, GET /metrics what it does.")]
pub(super) struct Args {
    /// An agent of this machine: [NAME=]local:COMMAND, for sh -c; may be repeated. In the variable
    /// several have commas between them
    #[arg(long, value_name = "[NAME=]local:COMMAND", env = "TIDEWIRE_AGENTS")]
    agents: Vec<String>,
    /// The server as instances reach it; --server if it is missing
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// Where to listen [default: 127.0.0.1:8086] (HTTP_ADDR and PORT are read too)
    #[arg(long, value_name = "HOST:PORT", env = "TIDEWIRE_ADDR")]
    addr: Option<String>,
    /// Instances at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
    /// Instances of one tenant at most; as many as --max if it is missing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_per_tenant: Option<u32>,
    /// How long an instance outlives its thread's last turn
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "5m")]
    idle_timeout: Duration,
    /// Instances of each agent that wait for threads of the default tenant
    #[arg(long, value_name = "N", default_value_t = 0)]
    warm: u32,
    /// How long a running turn may go on when its instance must stop
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30s")]
    drain: Duration,
    /// Where Pods are; as the kubeconfig says, or where it runs itself, if it is missing
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "NAME", conflicts_with = "agents")]
    namespace: Option<String>,
    /// How long a node may be not ready before its Pods count as lost
    #[cfg(feature = "kubernetes")]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "30s")]
    node_grace: Duration,
    /// How long an instance keeps its thread if the operator is gone; 5s to 1h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "60s")]
    lease: Duration,
}

pub(super) fn run(args: Args, remote: &Remote) -> Result<(), Fault> {
    if !LEASES.contains(&args.lease.as_secs()) {
        return Err(Fault::Usage(format!(
            "--lease {}: a server takes 5s to 1h",
            duration::format(args.lease)
        )));
    }
    let agents = local_agents(&args.agents.join(","))
        .map_err(|why| Fault::Usage(format!("--agents {why}")))?;
    if agents.is_empty() {
        return pods(&args, remote);
    }
    local(args, agents, remote)
}

#[cfg(feature = "kubernetes")]
use kubernetes::pods;

#[cfg(not(feature = "kubernetes"))]
fn pods(_: &Args, _: &Remote) -> Result<(), Fault> {
    Err(Fault::Usage(
        "name an agent that this machine runs: --agents local:COMMAND; Pods are for builds with --features kubernetes"
            .to_owned(),
    ))
}

fn local(args: Args, agents: Vec<LocalAgent>, remote: &Remote) -> Result<(), Fault> {
    let server = remote.server().to_owned();
    let gateway = args.gateway.clone().filter(|url| !url.is_empty());
    let agents = Agents {
        local: agents,
        limits: args.limits(),
        idle_timeout: args.idle_timeout,
        warm: args.warm,
        drain: args.drain,
    };
    let gateway = gateway.unwrap_or_else(|| server.clone());
    let settings = local_settings(&agents, gateway, server);
    serve(&args, remote, |clock| Local::new(settings, clock))
}

impl Args {
    fn limits(&self) -> Limits {
        Limits {
            in_all: Some(self.max),
            per_tenant: self.max_per_tenant,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            limits: self.limits(),
            lease: self.lease,
            drain: self.drain,
            ..Settings::default()
        }
    }
}

/// Runs an operator over this driver, until a signal.
fn serve<D: Driver>(
    args: &Args,
    remote: &Remote,
    driver: impl FnOnce(Clock) -> D,
) -> Result<(), Fault> {
    let client =
        client(remote.server(), remote.key()).map_err(|error| Fault::Usage(error.to_string()))?;
    // What it answers is open to anybody who reaches it.
    let address = process::address(args.addr.as_deref(), "127.0.0.1:8086", true)?;
    let settings = args.settings();
    let _logging = process::logging()?;
    tidewire_http::metrics::install();
    tidewire_operator::describe_metrics();
    block_on(async {
        let (health, clock) = (Health::new(), Clock::system());
        let operator = Operator::new(client, Arc::new(driver(clock.clone())), settings, clock);
        let routes = (OpenApiRouter::new(), health.clone());
        process::serve(address, routes, false, async |stop: CancellationToken| {
            let mut reached = operator.reached();
            let told = async {
                reached.first().await;
                health.set_ready(true);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = operator.run(stop) => health.set_ready(false),
                () = told => {}
            }
        })
        .await
    })?
}
