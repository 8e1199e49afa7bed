//! Jobs that go through while somebody holds a transaction open: no version of a row that died since can be removed, and
//! queues that walk over dead versions grind to a halt. The rate of the last jobs, undisturbed and so, in a run of its
//! own each.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::jobs::noop_jobs;
use crate::data::Data;
use crate::driver::{self, Task};
use crate::load::{self, Until};
use crate::peers::Peer;
use crate::postgres::hold_open;
use crate::record::{Case, Figure, Figures};
use crate::report::grouped;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;

/// Those whose claims walk an index, in two ways: one keeps its finished jobs, the other deletes them.
const PEERS: [Peer; 3] = [Peer::River, Peer::RiverGo, Peer::GraphileWorker];
/// Peers are shown by fewer jobs, because they are slower.
const PEERS_SHARE: u64 = 5;
/// The rate is that of the last tenth.
const LAST: u64 = 10;
/// Enqueued at a time, or fewer; as many more at most are waiting, so that the rate is one of jobs that come and go.
const CHUNK: u64 = 10_000;
const CONNECTIONS: usize = 256;
const PATIENCE: Duration = Duration::from_secs(120);

fn chunk_of(jobs: u64) -> u64 {
    CHUNK.min(jobs / LAST).max(1)
}

struct Through {
    held: bool,
    jobs: u64,
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for held in [false, true] {
        let jobs = bench.plan.held;
        cases.push(rounds::run(bench, &Through { held, jobs }).await?);
    }
    Ok(cases)
}

impl Scenario for Through {
    fn id(&self) -> String {
        let name = if self.held { "held" } else { "undisturbed" };
        format!("held/{name}")
    }

    fn title(&self) -> String {
        let how = if self.held {
            "while a transaction is held open"
        } else {
            "undisturbed"
        };
        format!(
            "the last {} of {} jobs enqueued and done, {how}",
            grouped((self.jobs / LAST) as f64),
            grouped(self.jobs as f64)
        )
    }

    fn unit(&self) -> &'static str {
        "jobs"
    }

    fn contenders(&self, _: &Bench) -> Vec<Contender> {
        let mut contenders = vec![Contender::plain(Who::Tidewire)];
        contenders.extend(PEERS.map(|peer| Contender::plain(Who::Peer(peer))));
        contenders
    }

    fn is_long(&self) -> bool {
        true
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        match contender.who {
            Who::Tidewire => Ok(self.tidewire(bench).await?.into()),
            Who::Peer(peer) => self.peer(bench, peer).await,
            Who::Limit => bail!("nothing bounds this"),
        }
    }
}

impl Through {
    async fn tidewire(&self, bench: &Bench) -> Result<Figures> {
        let data = Data::empty(bench, "data").await?;
        let server = servers::tidewire(bench, data, &[]).await?;
        let _held = match self.held {
            true => Some(hold_open(server.data.database()?).await?),
            false => None,
        };
        let mut api = Api::open(server.addr).await?;
        let (mut enqueued, mut last) = (0, None);
        while enqueued < self.jobs {
            let chunk = chunk_of(self.jobs).min(self.jobs - enqueued);
            if last.is_none() && enqueued + self.jobs / LAST >= self.jobs {
                last = Some((Instant::now(), api.jobs_done().await?, server.usage()?));
            }
            let until = Until::Calls(chunk);
            load::run(&server, "/v1/jobs", CONNECTIONS, until, noop_jobs).await?;
            enqueued += chunk;
            api.wait_done(enqueued.saturating_sub(chunk), PATIENCE)
                .await?;
        }
        api.wait_done(self.jobs, PATIENCE).await?;
        let Some((began, before, used)) = last else {
            bail!("too few jobs to have last ones");
        };
        let counted = (self.jobs - before) as f64;
        let usage = server.usage()?;
        let figures = Figures::from([
            (Figure::Rate, counted / began.elapsed().as_secs_f64()),
            (
                Figure::PerCpuSecond,
                counted / (usage.cpu_seconds - used.cpu_seconds).max(0.01),
            ),
            (Figure::PeakRssMib, usage.peak_rss_mib),
        ]);
        server.stop().await?;
        Ok(figures)
    }

    async fn peer(&self, bench: &Bench, peer: Peer) -> Result<Measured> {
        let jobs = self.jobs / PEERS_SHARE;
        let data = Data::empty(bench, "peer").await?;
        // Its tables first: an index that is built concurrently would wait for the transaction.
        driver::run_on(bench, peer, &Task::new("migrate"), &data).await?;
        let _held = match self.held {
            true => Some(hold_open(data.database()?).await?),
            false => None,
        };
        let task = Task::new("through")
            .with("jobs", jobs)
            .with("last", jobs / LAST)
            .with("chunk", chunk_of(jobs));
        let mut measured = driver::run_on(bench, peer, &task, &data).await?;
        measured.note = Some(format!(
            "the last {} of {} jobs",
            grouped((jobs / LAST) as f64),
            grouped(jobs as f64)
        ));
        Ok(measured)
    }
}
