//! Configuration: how fast agents are told that nothing has changed, and how long a change takes to reach the last of
//! many who wait for it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::process::Command;

use super::until;
use crate::crowd::Subscribers;
use crate::data::Data;
use crate::fleet::{Asker, Place};
use crate::limit::unchanged;
use crate::load::{self, insert_latencies};
use crate::peers::Peer;
use crate::process::{self, Ready, Server};
use crate::record::{Case, Figure, Figures};
use crate::report::grouped;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;

const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);
/// Files that a process has open besides its watchers'.
const OTHER_FILES: u64 = 200;
/// Between two changes: everybody has asked again.
const REST: Duration = Duration::from_millis(500);
/// How long nothing happens before the memory of those who wait is read.
const IDLE: Duration = Duration::from_secs(1);
/// What Tidewire counts of questions to its store, for answers to agents.
const QUERIES: &str = "tidewire_fleet_config_store_queries_total";

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let held = Held {
        agents: bench.plan.fleet_agents,
        changes: bench.plan.fleet_changes,
    };
    Ok(vec![
        rounds::run(bench, &Unchanged).await?,
        rounds::run(bench, &held).await?,
    ])
}

struct Unchanged;

impl Scenario for Unchanged {
    fn id(&self) -> String {
        "fleet/unchanged".to_owned()
    }

    fn title(&self) -> String {
        format!("fleet: a config that has not changed, asked for over {CONNECTIONS} connections")
    }

    fn unit(&self) -> &'static str {
        "answers"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        [Who::Tidewire, Who::Limit].map(Contender::plain).into()
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        if contender.who == Who::Limit {
            let mut command = Command::new(std::env::current_exe().context("find this program")?);
            command.arg("unchanged-server");
            let ready = Ready::Line("listening on http://");
            let server = Server::start(command, Data::nothing("limit")?, ready).await?;
            return asked(bench, server, unchanged::PATH, unchanged::TAG, None).await;
        }
        let server = servers::tidewire(bench, Data::empty(bench, "data").await?, &[]).await?;
        let mut api = Api::open(server.addr).await?;
        let config = json!({"config": {"url": "https://example.com/"}});
        let pushed: serde_json::Value = api.post("/v1/fleet/config", &config).await?;
        let tag = pushed["etag"].as_str().context("no tag")?.to_owned();
        let agent = json!({"agent_id": "agent"});
        let _: serde_json::Value = api.post("/v1/fleet/register", &agent).await?;
        let path = format!("{}?agent_id=agent", unchanged::PATH);
        asked(bench, server, &path, &tag, Some(&mut api)).await
    }
}

async fn asked(
    bench: &Bench,
    server: Server,
    path: &str,
    tag: &str,
    mut api: Option<&mut Api>,
) -> Result<Measured> {
    let mut askers = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        askers.push(Asker::open(server.addr, path, tag).await?);
    }
    let before = match &mut api {
        Some(api) => Some(api.metric(QUERIES).await?),
        None => None,
    };
    let outcome = load::closed(askers, until(bench), || server.usage().map(Some)).await?;
    let mut note = None;
    if let (Some(api), Some(before)) = (api, before) {
        let queries = api.metric(QUERIES).await? - before;
        note = Some(format!("{queries} queries to the store"));
    }
    server.stop().await?;
    Ok(Measured {
        figures: outcome.figures(1),
        note,
    })
}

struct Held {
    agents: usize,
    changes: u64,
}

impl Scenario for Held {
    fn id(&self) -> String {
        format!("fleet/held/{}", self.agents)
    }

    fn title(&self) -> String {
        format!(
            "fleet: from a change to {} agents who wait for it, a connection each, {} changes, one round",
            grouped(self.agents as f64),
            self.changes
        )
    }

    fn unit(&self) -> &'static str {
        "deliveries"
    }

    /// Gathering them takes its time.
    fn is_long(&self) -> bool {
        true
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        [Who::Tidewire, Who::Peer(Peer::Etcd)]
            .map(Contender::plain)
            .into()
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let files = process::open_files();
        if files < self.agents as u64 + OTHER_FILES {
            bail!("only {files} files may be open");
        }
        let mut place = Place::start(bench, contender.who, self.agents).await?;
        let mut subscribers = Subscribers::none();
        let sent_ns = Rc::new(Cell::new(0));
        place.change(0).await?;
        let empty = place.server.usage()?.rss_mib;
        place.watch(&mut subscribers, &sent_ns, self.agents).await?;
        let heard = Instant::now();
        while subscribers.crowd.heard() < self.agents {
            if heard.elapsed() > PATIENCE {
                bail!("only {} of {} wait", subscribers.crowd.heard(), self.agents);
            }
            tokio::time::sleep(REST / 10).await;
        }
        tokio::time::sleep(IDLE).await;
        let idle = place.server.usage()?;
        let mut took = Duration::ZERO;
        for number in 1..=self.changes {
            let began = Instant::now();
            sent_ns.set(subscribers.crowd.now_ns());
            place.change(number).await?;
            let expected = number * self.agents as u64;
            subscribers.wait(expected, PATIENCE).await?;
            if subscribers.crowd.delivered() != expected {
                bail!(
                    "{} deliveries instead of {expected}",
                    subscribers.crowd.delivered()
                );
            }
            took += subscribers.crowd.last() - began;
            tokio::time::sleep(REST).await;
        }
        let usage = place.server.usage()?;
        let deliveries = (self.changes * self.agents as u64) as f64;
        let mut figures = Figures::from([
            (Figure::Rate, deliveries / took.as_secs_f64()),
            (
                Figure::PerCpuSecond,
                deliveries / (usage.cpu_seconds - idle.cpu_seconds).max(0.01),
            ),
            (Figure::RssMib, idle.rss_mib),
            (Figure::PeakRssMib, usage.peak_rss_mib),
            (
                Figure::SubscriberKib,
                (idle.rss_mib - empty) * 1_024.0 / self.agents as f64,
            ),
        ]);
        insert_latencies(&mut figures, &subscribers.crowd.reset());
        drop(subscribers);
        place.server.stop().await?;
        Ok(figures.into())
    }
}
