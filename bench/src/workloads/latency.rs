//! From enqueueing to start when nothing else happens: one job at a time, to a worker in another process that holds a
//! long poll open, and to the built-in worker.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::Deserialize;

use crate::bodies::{self, Rng};
use crate::load::{insert_latencies, new_micros};
use crate::peers::Peer;
use crate::process::Server;
use crate::record::{Case, Figure, Figures};
use crate::river;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::{Api, Job};
use crate::wire::{Conn, Template};

/// Long enough for everything that a job sets off to settle, so that each one finds an idle server.
const GAP: Duration = Duration::from_millis(10);
const QUEUE: &str = "bench";
/// No built-in processor has this type, so the jobs are left to the worker that asks for them.
const FOREIGN: &str = "bench.noop";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    LongPoll,
    BuiltIn,
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for worker in [Worker::BuiltIn, Worker::LongPoll] {
        cases.push(rounds::run(bench, &worker).await?);
    }
    Ok(cases)
}

impl Scenario for Worker {
    fn id(&self) -> String {
        match self {
            Self::BuiltIn => "latency/built-in".to_owned(),
            Self::LongPoll => "latency/long-poll".to_owned(),
        }
    }

    fn title(&self) -> String {
        match self {
            Self::BuiltIn => {
                "enqueue→start when idle, built-in worker (created_at to started_at)".to_owned()
            }
            Self::LongPoll => {
                "enqueue→start when idle, long-polling worker (enqueue sent to job in hand)"
                    .to_owned()
            }
        }
    }

    fn unit(&self) -> &'static str {
        "jobs"
    }

    fn contenders(&self) -> Vec<Contender> {
        let mut contenders = vec![Contender::plain(Who::Tidewire)];
        if *self == Self::LongPoll {
            contenders.push(Contender::plain(Who::Peer(Peer::River)));
        }
        contenders
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let jobs = bench.plan.latency_jobs;
        if let Who::Peer(_) = contender.who {
            let gap = GAP.as_millis().to_string();
            return river::run(
                bench,
                &["latency", "--jobs", &jobs.to_string(), "--gap-ms", &gap],
                jobs,
            )
            .await;
        }
        let server = servers::start(bench, contender.who).await?;
        let micros = match self {
            Self::BuiltIn => built_in(&server, jobs).await?,
            Self::LongPoll => long_poll(&server, jobs).await?,
        };
        let mut figures = Figures::from([(Figure::PeakRssMib, server.usage()?.peak_rss_mib)]);
        insert_latencies(&mut figures, &micros);
        server.stop().await?;
        Ok(figures.into())
    }
}

async fn built_in(server: &Server, jobs: u64) -> Result<Histogram<u64>> {
    let template = Template::post(server.addr, "/v1/jobs");
    let mut producer = Conn::open(server.addr).await?;
    let (mut rng, mut body, mut request) = (Rng::new(1), Vec::new(), Vec::new());
    for _ in 0..jobs {
        body.clear();
        bodies::job(&mut body, &mut rng, "echo", QUEUE);
        template.write(&mut request, &body);
        let reply = producer.call(&request).await?;
        if !reply.is_success() {
            bail!("POST /v1/jobs: {}", reply.text());
        }
        tokio::time::sleep(GAP).await;
    }
    let mut api = Api::open(server.addr).await?;
    api.wait_done(jobs, Duration::from_secs(10)).await?;
    api.start_times(QUEUE, jobs).await
}

#[derive(Deserialize)]
struct Claimed {
    jobs: Vec<Job>,
}

async fn long_poll(server: &Server, jobs: u64) -> Result<Histogram<u64>> {
    let claim = Template::post(server.addr, "/v1/jobs/claim");
    let ask = format!(
        "{{\"worker\":\"bench\",\"queues\":[\"{QUEUE}\"],\"types\":[\"{FOREIGN}\"],\"limit\":1,\"wait_seconds\":30}}"
    );
    let enqueue = Template::post(server.addr, "/v1/jobs");
    let (mut worker, mut producer) = (
        Conn::open(server.addr).await?,
        Conn::open(server.addr).await?,
    );
    let (mut asking, mut body, mut sending) = (Vec::new(), Vec::new(), Vec::new());
    let (mut micros, mut rng) = (new_micros(), Rng::new(2));
    for _ in 0..jobs {
        claim.write(&mut asking, ask.as_bytes());
        body.clear();
        bodies::job(&mut body, &mut rng, FOREIGN, QUEUE);
        enqueue.write(&mut sending, &body);
        let claiming = async {
            let reply = worker.call(&asking).await?;
            let at = Instant::now();
            if !reply.is_success() {
                bail!("POST /v1/jobs/claim: {}", reply.text());
            }
            let claimed: Claimed = serde_json::from_slice(reply.body)?;
            Ok((
                at,
                claimed
                    .jobs
                    .into_iter()
                    .next()
                    .context("the claim came back empty")?,
            ))
        };
        let producing = async {
            // The poll has to be open before the job comes.
            tokio::time::sleep(GAP).await;
            let sent = Instant::now();
            let reply = producer.call(&sending).await?;
            if !reply.is_success() {
                bail!("POST /v1/jobs: {}", reply.text());
            }
            Ok(sent)
        };
        let ((at, job), sent) = tokio::try_join!(claiming, producing)?;
        micros.saturating_record(u64::try_from((at - sent).as_micros())?.max(1));
        let path = format!("/v1/jobs/{}/complete", job.id);
        let token = format!("{{\"lease_token\":\"{}\"}}", job.lease_token);
        servers::post(server.addr, &path, token.as_bytes()).await?;
    }
    Ok(micros)
}
