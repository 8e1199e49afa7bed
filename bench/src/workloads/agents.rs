//! Agents in Pods: how fast threads get theirs, what a turn costs of Kubernetes' API, and how long an operator thinks
//! about a thousand of them. It is Tidewire's alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::process::Command;

use crate::cluster::{Cluster, NAMESPACE, post};
use crate::data::Data;
use crate::load::insert_latencies;
use crate::process::{Ready, Server};
use crate::record::{Case, Figure, Figures};
use crate::report::grouped;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;
use crate::wire::Conn;

const KEY: &str = "bench-admin-key";
const PATIENCE: Duration = Duration::from_secs(300);
/// Statuses are written behind what happens.
const BEHIND: Duration = Duration::from_secs(3);
/// The first turn of each thread brings its Pod.
const FIRST: &str = "first turns";
/// The later ones find it there.
const LATER: &str = "later turns";
const RECONCILE: &str = "tidewire_agent_reconcile_seconds";

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let threads = bench.plan.agent_threads;
    Ok(vec![rounds::run(bench, &Turns { threads }).await?])
}

struct Turns {
    threads: usize,
}

/// What is asked of the operator's and the cluster's counts.
struct Counts {
    requests: u64,
    looks: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Scenario for Turns {
    fn id(&self) -> String {
        format!("agents/{}", self.threads)
    }

    fn title(&self) -> String {
        format!(
            "agents in Pods: a turn in each of {} threads at once, until all have ended",
            grouped(self.threads as f64)
        )
    }

    fn unit(&self) -> &'static str {
        "turns"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        [FIRST, LATER]
            .map(|variant| Contender {
                who: Who::Tidewire,
                variant,
            })
            .into()
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let data = Data::empty(bench, "data").await?;
        let server = servers::tidewire(bench, data, &["--admin-key", KEY]).await?;
        let cluster = Cluster::start(server.addr).await?;
        let operator = self.operator(bench, &server, &cluster).await?;
        if contender.variant == LATER {
            self.round(&server, &cluster).await?;
            tokio::time::sleep(BEHIND).await;
        }
        let before = counts(&cluster, &operator).await?;
        let (took, latencies) = self.round(&server, &cluster).await?;
        tokio::time::sleep(BEHIND).await;
        let after = counts(&cluster, &operator).await?;
        let turns = self.threads as f64;
        let looks = after.looks.saturating_sub(before.looks).max(1);
        let mut figures = Figures::from([
            (Figure::Rate, turns / took.as_secs_f64()),
            // The operator's; the server's are said elsewhere.
            (
                Figure::PerCpuSecond,
                turns / (after.cpu_seconds - before.cpu_seconds).max(0.01),
            ),
            (Figure::PeakRssMib, operator.usage()?.peak_rss_mib),
        ]);
        insert_latencies(&mut figures, &latencies);
        let note = format!(
            "{:.2} requests of the operator to Kubernetes' API a turn; {looks} looks at everything, {:.2} ms each; CPU \
             seconds and memory are the operator's",
            (after.requests - before.requests) as f64 / turns,
            (after.seconds - before.seconds) * 1_000.0 / looks as f64
        );
        drop(cluster);
        operator.stop().await?;
        server.stop().await?;
        Ok(Measured {
            figures,
            note: Some(note),
        })
    }
}

impl Turns {
    async fn operator(&self, bench: &Bench, server: &Server, cluster: &Cluster) -> Result<Server> {
        let mut command = Command::new(bench.tidewire_binary()?);
        command
            .args([
                "operator",
                "--addr",
                "127.0.0.1:0",
                "--namespace",
                NAMESPACE,
            ])
            .args(["--max", &self.threads.to_string()])
            .args(["--server", &format!("http://{}", server.addr)])
            .env("TIDEWIRE_API_KEY", KEY)
            .env("KUBECONFIG", cluster.kubeconfig());
        let ready = Ready::Line("listening on http://");
        let operator = Server::start(command, Data::nothing("operator")?, ready).await?;
        // It leads, and has looked for the first time.
        let mut api = Api::open(operator.addr).await?;
        let began = Instant::now();
        while sum_of(&api.text("/metrics").await?, &format!("{RECONCILE}_count")) < 1.0 {
            if began.elapsed() > PATIENCE {
                bail!("the operator does not look at anything");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(operator)
    }

    /// A turn in each thread; what all of them took, and each.
    async fn round(
        &self,
        server: &Server,
        cluster: &Cluster,
    ) -> Result<(Duration, hdrhistogram::Histogram<u64>)> {
        let mut conn = Conn::open(server.addr).await?;
        let began = Instant::now();
        for number in 0..self.threads {
            let thread = format!("thread-{number}");
            let turn = json!({"thread_id": thread, "input": "what is 6 * 7?"});
            cluster.turns().sent(&thread);
            let reply = conn
                .call(&post(server.addr, "/v1/turns", KEY, &turn))
                .await?;
            if !reply.is_success() {
                bail!("POST /v1/turns: {}", reply.text());
            }
        }
        let (last, latencies) = cluster.turns().ended(self.threads, PATIENCE).await?;
        Ok((last - began, latencies))
    }
}

async fn counts(cluster: &Cluster, operator: &Server) -> Result<Counts> {
    let mut api = Api::open(operator.addr).await?;
    let text = api
        .text("/metrics")
        .await
        .context("the operator's metrics")?;
    Ok(Counts {
        requests: cluster.requests().await?,
        looks: sum_of(&text, &format!("{RECONCILE}_count")) as u64,
        seconds: sum_of(&text, &format!("{RECONCILE}_sum")),
        cpu_seconds: operator.usage()?.cpu_seconds,
    })
}

/// A metric without labels; nothing if it was never counted.
fn sum_of(text: &str, name: &str) -> f64 {
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.filter_map(|it| it.trim().parse::<f64>().ok()).sum()
}
