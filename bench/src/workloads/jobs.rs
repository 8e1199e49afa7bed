//! No-op jobs, from their enqueueing to done: a backlog that is burned down, and jobs that come one a request while
//! they are worked.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::bodies::{self, Rng};
use crate::limit::bare;
use crate::load::{self, NextBody, Until, insert_latencies};
use crate::peers::Peer;
use crate::record::{Case, Figure, Figures};
use crate::river;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;

const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);
const BATCH_100: &str = "batch 100";
const BATCH_500: &str = "batch 500";

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    Ok(vec![
        rounds::run(bench, &Backlog).await?,
        rounds::run(bench, &OneByOne).await?,
    ])
}

pub fn echo_jobs(connection: usize) -> NextBody {
    let mut rng = Rng::new(connection as u64);
    Box::new(move |out| bodies::job(out, &mut rng, "echo", "default"))
}

struct Backlog;

impl Scenario for Backlog {
    fn id(&self) -> String {
        "jobs/backlog".to_owned()
    }

    fn title(&self) -> String {
        "no-op jobs, burning down a backlog".to_owned()
    }

    fn unit(&self) -> &'static str {
        "jobs"
    }

    fn contenders(&self) -> Vec<Contender> {
        vec![
            Contender::plain(Who::Tidewire),
            Contender {
                who: Who::Limit,
                variant: BATCH_500,
            },
            Contender {
                who: Who::Limit,
                variant: BATCH_100,
            },
            Contender::plain(Who::Peer(Peer::River)),
        ]
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        // Burning down is quick; twice as many keep the clock running for long enough.
        let jobs = bench.plan.jobs * 2;
        match (contender.who, contender.variant) {
            (Who::Limit, BATCH_100) => Ok(bare::jobs(jobs, 100)?.into()),
            (Who::Limit, _) => Ok(bare::jobs(jobs, 500)?.into()),
            (Who::Peer(_), _) => {
                river::run(bench, &["backlog", "--jobs", &jobs.to_string()], jobs).await
            }
            (Who::Tidewire, _) => Ok(burn_down(bench, jobs).await?.into()),
        }
    }
}

/// Enqueues into a server without workers, then starts one with them over the same data. The clock runs from the first
/// job that is seen done, so that the start of the process is not counted.
async fn burn_down(bench: &Bench, jobs: u64) -> Result<Figures> {
    let folder = crate::scratch::folder("data")?;
    let server = servers::tidewire(bench, folder, Some("api")).await?;
    load::run(
        &server,
        "/v1/jobs",
        CONNECTIONS,
        Until::Requests(jobs),
        echo_jobs,
    )
    .await?;
    let folder = server.stop().await?;
    let server = servers::tidewire(bench, folder, None).await?;
    let mut api = Api::open(server.addr).await?;
    let (began, cpu, before) = loop {
        let done = api.jobs_done().await?;
        if done > 0 {
            break (Instant::now(), server.usage()?.cpu_seconds, done);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    if before * 2 > jobs {
        bail!("{before} of {jobs} jobs were done before the first look: too few jobs to time");
    }
    api.wait_done(jobs, PATIENCE).await?;
    let elapsed = began.elapsed().as_secs_f64();
    let usage = server.usage()?;
    server.stop().await?;
    let counted = (jobs - before) as f64;
    let mut figures = Figures::from([
        (Figure::Rate, counted / elapsed),
        (Figure::PeakRssMib, usage.peak_rss_mib),
    ]);
    if usage.cpu_seconds > cpu {
        figures.insert(Figure::PerCpuSecond, counted / (usage.cpu_seconds - cpu));
    }
    Ok(figures)
}

struct OneByOne;

impl Scenario for OneByOne {
    fn id(&self) -> String {
        "jobs/concurrent".to_owned()
    }

    fn title(&self) -> String {
        format!("no-op jobs, enqueued one a request by {CONNECTIONS} producers while worked")
    }

    fn unit(&self) -> &'static str {
        "jobs"
    }

    fn contenders(&self) -> Vec<Contender> {
        vec![
            Contender::plain(Who::Tidewire),
            Contender::plain(Who::Limit),
            Contender::plain(Who::Peer(Peer::River)),
        ]
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let jobs = bench.plan.jobs;
        if let Who::Peer(_) = contender.who {
            // One commit a job makes it slow: a quarter of them is still seconds of work.
            let jobs = jobs / 4;
            let producers = CONNECTIONS.to_string();
            let args = [
                "concurrent",
                "--jobs",
                &jobs.to_string(),
                "--producers",
                &producers,
            ];
            return river::run(bench, &args, jobs).await;
        }
        let server = servers::start(bench, contender.who).await?;
        let cpu = server.usage()?.cpu_seconds;
        let began = Instant::now();
        load::run(
            &server,
            "/v1/jobs",
            CONNECTIONS,
            Until::Requests(jobs),
            echo_jobs,
        )
        .await?;
        let mut api = Api::open(server.addr).await?;
        api.wait_done(jobs, PATIENCE).await?;
        let elapsed = began.elapsed().as_secs_f64();
        let usage = server.usage()?;
        let mut figures = Figures::from([
            (Figure::Rate, jobs as f64 / elapsed),
            (
                Figure::PerCpuSecond,
                jobs as f64 / (usage.cpu_seconds - cpu).max(0.01),
            ),
            (Figure::PeakRssMib, usage.peak_rss_mib),
        ]);
        if contender.who == Who::Tidewire {
            insert_latencies(&mut figures, &api.start_times("default", jobs).await?);
        }
        server.stop().await?;
        Ok(figures.into())
    }
}
