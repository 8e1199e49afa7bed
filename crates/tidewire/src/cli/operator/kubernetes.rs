//! An operator whose instances are Pods.

use std::sync::Arc;

use tidewire_core::Clock;
use tidewire_http::Health;
use tidewire_operator::{
    Operator,
    kubernetes::{Candidate, Cluster, Kubernetes, Settings},
};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use super::Args;
use crate::{
    cli::{Fault, Remote, block_on, fleet::process},
    server::agents::client,
};

/// How long a Pod may take to pull its image and come up.
const START_WITHIN: std::time::Duration = std::time::Duration::from_mins(10);

pub(super) fn pods(args: &Args, remote: &Remote) -> Result<(), Fault> {
    let client =
        client(remote.server(), remote.key()).map_err(|error| Fault::Usage(error.to_string()))?;
    let address = process::address(args.addr.as_deref(), "127.0.0.1:8086", true)?;
    let _logging = process::logging()?;
    tidewire_http::metrics::install();
    tidewire_operator::describe_metrics();
    block_on(async {
        let clock = Clock::system();
        let cluster = Cluster::here().await.map_err(|why| {
            Fault::Usage(format!(
                "{why}. --agents local:COMMAND has instances that are processes of this machine"
            ))
        })?;
        let namespace = args.namespace.clone().filter(|it| !it.is_empty());
        let namespace = namespace.unwrap_or(cluster.namespace);
        let gateway = args.gateway.clone().filter(|it| !it.is_empty());
        let settings = Settings {
            namespace: namespace.clone(),
            gateway: gateway.unwrap_or_else(|| remote.server().to_owned()),
            node_grace: args.node_grace,
            start_within: START_WITHIN,
        };
        let driver = Kubernetes::new(cluster.client.clone(), settings, clock.clone());
        let name = process::variable(&["HOSTNAME"]);
        let name = name.unwrap_or_else(|| format!("operator-{}", std::process::id()));
        let mut candidate = Candidate::new(cluster.client, &namespace, &name, clock.clone());
        let operator = Operator::new(client, Arc::new(driver.clone()), args.settings(), clock);
        let health = Health::new();
        let routes = (OpenApiRouter::new(), health.clone());
        process::serve(address, routes, false, async |stop: CancellationToken| {
            let work = |stop: CancellationToken| {
                let (driver, operator) = (&driver, &operator);
                async move {
                    tokio::select! {
                        () = operator.run(stop) => {}
                        () = driver.say() => {}
                    }
                }
            };
            let ready = async {
                driver.synced().await;
                health.set_ready(true);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = candidate.lead(&stop, work) => health.set_ready(false),
                () = driver.watch() => {}
                () = ready => {}
            }
        })
        .await
    })?
}
