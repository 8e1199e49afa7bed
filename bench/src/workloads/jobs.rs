//! No-op jobs, from their enqueueing to done: a backlog that is burned down, and jobs that come one a request while
//! they are worked.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::queue_peers;
use crate::args::Store;
use crate::bodies::{self, NOOP, Rng};
use crate::data::Data;
use crate::driver::{self, Task};
use crate::limit::{postgres, sqlite::bare};
use crate::load::{self, NextBody, Until, insert_latencies};
use crate::peers::Peer;
use crate::process::Server;
use crate::record::{Case, Figure, Figures};
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::Api;

const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);
const BATCH_100: &str = "batch 100";
const BATCH_500: &str = "batch 500";
const BATCH_500_TWICE: &str = "batch 500, two connections";
/// Ten times what graphile-worker's own performance test has.
const LONG_LOCAL_QUEUE: &str = "local queue 5,000";

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    Ok(vec![
        rounds::run(bench, &Backlog).await?,
        rounds::run(bench, &OneByOne).await?,
    ])
}

pub fn noop_jobs(connection: usize) -> NextBody {
    let mut rng = Rng::new(connection as u64);
    Box::new(move |out| bodies::job(out, &mut rng, NOOP, "default", 0))
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

    fn contenders(&self, bench: &Bench) -> Vec<Contender> {
        // The first limit is the one that targets speak of.
        let limits: &[&str] = match bench.store {
            Store::Sqlite => &[BATCH_500, BATCH_100],
            Store::Postgres => &[BATCH_500, BATCH_100, BATCH_500_TWICE],
        };
        let mut contenders = vec![Contender::plain(Who::Tidewire)];
        contenders.extend(limits.iter().map(|&variant| Contender {
            who: Who::Limit,
            variant,
        }));
        contenders.extend(queue_peers(bench));
        if bench.store == Store::Postgres {
            contenders.push(Contender {
                who: Who::Peer(Peer::GraphileWorker),
                variant: LONG_LOCAL_QUEUE,
            });
        }
        contenders
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let jobs = bench.plan.backlog;
        let batch = if contender.variant == BATCH_100 {
            100
        } else {
            500
        };
        match (contender.who, bench.store) {
            (Who::Limit, Store::Sqlite) => Ok(bare::jobs(jobs, batch)?.into()),
            (Who::Limit, Store::Postgres) => {
                let data = Data::empty(bench, "bare").await?;
                let connections = if contender.variant == BATCH_500_TWICE {
                    2
                } else {
                    1
                };
                // It is several times as fast as anybody: as many more keep its clock running.
                let figures = postgres::burn_down(&data, jobs * 3, batch, connections).await?;
                Ok(figures.into())
            }
            (Who::Peer(peer), _) => {
                let mut task = Task::new("backlog").with("jobs", jobs);
                if peer == Peer::GraphileWorker {
                    task = match contender.variant {
                        LONG_LOCAL_QUEUE => task.with("processes", 2).with("local-queue", 5_000),
                        _ => task.with("processes", 4),
                    };
                }
                driver::run(bench, peer, &task).await
            }
            (Who::Tidewire, _) => Ok(burn_down(bench, jobs).await?.into()),
        }
    }
}

/// Enqueues into a server without workers, then starts one with them over the same data.
async fn burn_down(bench: &Bench, jobs: u64) -> Result<Figures> {
    let data = Data::empty(bench, "data").await?;
    let server = servers::tidewire(bench, data, &["--roles", "api"]).await?;
    load::run(
        &server,
        "/v1/jobs",
        CONNECTIONS,
        Until::Calls(jobs),
        noop_jobs,
    )
    .await?;
    let data = server.stop().await?;
    let server = servers::tidewire(bench, data, &[]).await?;
    let figures = work_off(&server, jobs).await?;
    server.stop().await?;
    Ok(figures)
}

/// Of a server that has just been started over so many jobs. The clock runs from the first job that is seen done, so that
/// the start of the process is not counted.
pub async fn work_off(server: &Server, jobs: u64) -> Result<Figures> {
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

    fn contenders(&self, bench: &Bench) -> Vec<Contender> {
        let mut contenders = vec![
            Contender::plain(Who::Tidewire),
            Contender::plain(Who::Limit),
        ];
        contenders.extend(queue_peers(bench));
        contenders
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let jobs = bench.plan.jobs;
        match (contender.who, bench.store) {
            (Who::Peer(peer), _) => {
                // One commit a job makes it slow: a quarter of them is still seconds of work.
                let task = Task::new("concurrent")
                    .with("jobs", jobs / 4)
                    .with("producers", CONNECTIONS as u64);
                return driver::run(bench, peer, &task).await;
            }
            (Who::Limit, Store::Postgres) => {
                let data = Data::empty(bench, "bare").await?;
                let figures =
                    postgres::worked_while_enqueued(&data, jobs, CONNECTIONS, 500).await?;
                return Ok(figures.into());
            }
            _ => {}
        }
        let server = servers::start(bench, contender.who).await?;
        let cpu = server.usage()?.cpu_seconds;
        let began = Instant::now();
        load::run(
            &server,
            "/v1/jobs",
            CONNECTIONS,
            Until::Calls(jobs),
            noop_jobs,
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
