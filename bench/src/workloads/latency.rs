//! From enqueueing to start: one job at a time when nothing else happens, and at an easy pace; to a worker in another
//! process that holds a long poll open, and to the built-in worker.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::queue_peers;
use crate::args::Store;
use crate::bodies::{self, NOOP, Rng};
use crate::driver::{self, Task};
use crate::load::{insert_latencies, new_micros, record};
use crate::process::Server;
use crate::record::{Case, Figure, Figures};
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};
use crate::tidewire::{Api, Job};
use crate::wire::{Conn, Template};

/// Long enough for everything that a job sets off to settle, so that each one finds an idle server.
const GAP: Duration = Duration::from_millis(10);
/// Between two jobs at the easy pace.
const PACE: Duration = Duration::from_millis(5);
/// Who sends in turn at the easy pace, so that a slow answer does not hold the next job up.
const PRODUCERS: u32 = 8;
const COMPLETERS: usize = 4;
const QUEUE: &str = "bench";
/// No built-in processor has this type, so the jobs are left to the worker that asks for them.
const FOREIGN: &str = "bench.noop";
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Idle, the built-in worker.
    BuiltIn,
    /// Idle, a worker that holds a poll open.
    LongPoll,
    /// At the easy pace, such a worker too.
    Paced,
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let starts: &[Start] = match bench.store {
        Store::Sqlite => &[Start::BuiltIn, Start::LongPoll],
        Store::Postgres => &[Start::BuiltIn, Start::LongPoll, Start::Paced],
    };
    let mut cases = Vec::new();
    for start in starts {
        cases.push(rounds::run(bench, start).await?);
    }
    Ok(cases)
}

impl Scenario for Start {
    fn id(&self) -> String {
        match self {
            Self::BuiltIn => "latency/built-in".to_owned(),
            Self::LongPoll => "latency/long-poll".to_owned(),
            Self::Paced => "latency/paced".to_owned(),
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
            Self::Paced => format!(
                "enqueue→start at {} jobs/s, long-polling worker (enqueue sent to job in hand)",
                1_000 / PACE.as_millis()
            ),
        }
    }

    fn unit(&self) -> &'static str {
        "jobs"
    }

    fn contenders(&self, bench: &Bench) -> Vec<Contender> {
        let mut contenders = vec![Contender::plain(Who::Tidewire)];
        if *self != Self::BuiltIn {
            contenders.extend(queue_peers(bench));
        }
        contenders
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let jobs = match self {
            Self::Paced => bench.plan.paced_jobs,
            Self::BuiltIn | Self::LongPoll => bench.plan.latency_jobs,
        };
        if let Who::Peer(peer) = contender.who {
            let task = match self {
                Self::Paced => {
                    Task::new("paced").with("every-ms", u64::try_from(PACE.as_millis())?)
                }
                Self::BuiltIn | Self::LongPoll => {
                    Task::new("latency").with("gap-ms", u64::try_from(GAP.as_millis())?)
                }
            };
            return driver::run(bench, peer, &task.with("jobs", jobs)).await;
        }
        let server = servers::start(bench, contender.who).await?;
        let micros = match self {
            Self::BuiltIn => built_in(&server, jobs).await?,
            Self::LongPoll => long_poll(&server, jobs).await?,
            Self::Paced => paced(&server, jobs).await?,
        };
        let mut figures = Figures::from([(Figure::PeakRssMib, server.usage()?.peak_rss_mib)]);
        insert_latencies(&mut figures, &micros);
        server.stop().await?;
        Ok(figures.into())
    }
}

/// Enqueues on a connection of its own.
struct Producer {
    conn: Conn,
    template: Template,
    kind: &'static str,
    rng: Rng,
    body: Vec<u8>,
    request: Vec<u8>,
}

impl Producer {
    async fn open(server: &Server, kind: &'static str, seed: u64) -> Result<Self> {
        Ok(Self {
            conn: Conn::open(server.addr).await?,
            template: Template::post(server.addr, "/v1/jobs"),
            kind,
            rng: Rng::new(seed),
            body: Vec::new(),
            request: Vec::new(),
        })
    }

    /// `epoch` is when the sender's clock began.
    async fn enqueue(&mut self, epoch: Instant) -> Result<()> {
        let sent_ns = u64::try_from(epoch.elapsed().as_nanos())?;
        self.body.clear();
        bodies::job(&mut self.body, &mut self.rng, self.kind, QUEUE, sent_ns);
        self.template.write(&mut self.request, &self.body);
        let reply = self.conn.call(&self.request).await?;
        if !reply.is_success() {
            bail!("POST /v1/jobs: {}", reply.text());
        }
        Ok(())
    }
}

async fn built_in(server: &Server, jobs: u64) -> Result<Histogram<u64>> {
    let mut producer = Producer::open(server, NOOP, 1).await?;
    let epoch = Instant::now();
    for _ in 0..jobs {
        producer.enqueue(epoch).await?;
        tokio::time::sleep(GAP).await;
    }
    let mut api = Api::open(server.addr).await?;
    api.wait_done(jobs, PATIENCE).await?;
    api.start_times(QUEUE, jobs).await
}

#[derive(Deserialize)]
struct Claimed {
    jobs: Vec<Job>,
}

/// A worker in another process, as seen from there: it claims on one connection and completes on others.
struct Worker {
    conn: Conn,
    asking: Vec<u8>,
}

impl Worker {
    async fn open(server: &Server, limit: u32) -> Result<Self> {
        let ask = format!(
            "{{\"worker\":\"bench\",\"queues\":[\"{QUEUE}\"],\"types\":[\"{FOREIGN}\"],\"limit\":{limit},\"wait_seconds\":30}}"
        );
        let mut asking = Vec::new();
        Template::post(server.addr, "/v1/jobs/claim").write(&mut asking, ask.as_bytes());
        Ok(Self {
            conn: Conn::open(server.addr).await?,
            asking,
        })
    }

    /// The jobs, and when they were in hand.
    async fn claim(&mut self) -> Result<(Instant, Vec<Job>)> {
        let reply = self.conn.call(&self.asking).await?;
        let at = Instant::now();
        if !reply.is_success() {
            bail!("POST /v1/jobs/claim: {}", reply.text());
        }
        let claimed: Claimed = serde_json::from_slice(reply.body)?;
        Ok((at, claimed.jobs))
    }
}

async fn complete(conn: &mut Conn, server: std::net::SocketAddr, job: &Job) -> Result<()> {
    let path = format!("/v1/jobs/{}/complete", job.id);
    let token = format!("{{\"lease_token\":\"{}\"}}", job.lease_token);
    let mut request = Vec::new();
    Template::post(server, &path).write(&mut request, token.as_bytes());
    let reply = conn.call(&request).await?;
    if !reply.is_success() {
        bail!("POST {path}: {}", reply.text());
    }
    Ok(())
}

async fn long_poll(server: &Server, jobs: u64) -> Result<Histogram<u64>> {
    let mut worker = Worker::open(server, 1).await?;
    let mut producer = Producer::open(server, FOREIGN, 2).await?;
    let mut completing = Conn::open(server.addr).await?;
    let mut micros = new_micros();
    let epoch = Instant::now();
    for _ in 0..jobs {
        let producing = async {
            // The poll has to be open before the job comes.
            tokio::time::sleep(GAP).await;
            producer.enqueue(epoch).await
        };
        let ((at, claimed), ()) = tokio::try_join!(worker.claim(), producing)?;
        let job = claimed.first().context("the claim came back empty")?;
        record(&mut micros, job.waited(epoch, at)?);
        complete(&mut completing, server.addr, job).await?;
    }
    Ok(micros)
}

async fn paced(server: &Server, jobs: u64) -> Result<Histogram<u64>> {
    let epoch = Instant::now();
    let mut tasks = JoinSet::new();
    let each = jobs / u64::from(PRODUCERS);
    for turn in 0..PRODUCERS {
        let mut producer = Producer::open(server, FOREIGN, u64::from(turn)).await?;
        tasks.spawn_local(async move {
            tokio::time::sleep(PACE * turn).await;
            let mut tick = tokio::time::interval(PACE * PRODUCERS);
            for _ in 0..each {
                tick.tick().await;
                producer.enqueue(epoch).await?;
            }
            anyhow::Ok(())
        });
    }
    let (finished, to_complete) = mpsc::unbounded_channel();
    let to_complete = Rc::new(Mutex::new(to_complete));
    for _ in 0..COMPLETERS {
        let (mut conn, addr) = (Conn::open(server.addr).await?, server.addr);
        let to_complete = Rc::clone(&to_complete);
        tasks.spawn_local(async move {
            loop {
                let job: Option<Job> = to_complete.lock().await.recv().await;
                let Some(job) = job else { return Ok(()) };
                complete(&mut conn, addr, &job).await?;
            }
        });
    }
    let mut worker = Worker::open(server, 50).await?;
    let working = async {
        let mut micros = new_micros();
        while micros.len() < each * u64::from(PRODUCERS) {
            let (at, claimed) = worker.claim().await?;
            for job in claimed {
                record(&mut micros, job.waited(epoch, at)?);
                finished.send(job).ok().context("the completers ended")?;
            }
        }
        drop(finished);
        anyhow::Ok(micros)
    };
    let others = async {
        while let Some(task) = tasks.join_next().await {
            task.context("a task ended badly")??;
        }
        anyhow::Ok(())
    };
    let (micros, ()) = tokio::try_join!(working, others)?;
    Ok(micros)
}
