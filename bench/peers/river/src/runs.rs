//! The four things that are measured of River.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use riverqueue::{
    Client, EventKind, EventReceiver, InsertOpts, Job, JobArgs, QueueConfig, SubscribeConfig,
    WorkContext, WorkOutcome, Workers,
};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

/// What `riverqueue bench` gives its client.
const MAX_WORKERS: usize = 2_000;
const FETCH_COOLDOWN: Duration = Duration::from_millis(2);
const FETCH_POLL: Duration = Duration::from_millis(20);
const INSERT_BATCH: u64 = 5_000;

#[derive(Clone, Deserialize, JobArgs, Serialize)]
#[river(kind = "noop")]
struct Noop {
    /// About as much as the other contenders' jobs carry.
    note: String,
    sent_ns: u64,
}

/// One line of JSON on stdout; absent figures were not measured.
#[derive(Default, Serialize)]
pub struct Figures {
    rate: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    p999_ms: Option<f64>,
    cpu_seconds: Option<f64>,
    rss_mib: Option<f64>,
    peak_rss_mib: Option<f64>,
}

/// What a start is timed from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Since {
    /// The call of `insert`, by this process's clock.
    Insert,
    /// The row's `created_at`, to its `attempted_at`.
    Created,
}

/// Times to the start of jobs, and the clock they count by.
#[derive(Clone)]
struct Starts {
    since: Since,
    epoch: Instant,
    micros: Arc<Mutex<Histogram<u64>>>,
}

impl Starts {
    fn new(since: Since) -> Result<Self> {
        Ok(Self {
            since,
            epoch: Instant::now(),
            micros: Arc::new(Mutex::new(Histogram::new_with_bounds(1, 120_000_000, 3)?)),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn job(&self) -> Noop {
        Noop {
            note: "a no-op job with a payload of a few dozen bytes".to_owned(),
            sent_ns: self.now(),
        }
    }

    fn seen(&self, job: &Job<Noop>) {
        let row = || {
            let waited = job.row.attempted_at?.duration_since(job.row.created_at);
            u64::try_from(waited.as_micros()).ok()
        };
        let micros = match self.since {
            Since::Insert => Some(self.now().saturating_sub(job.args.sent_ns) / 1_000),
            Since::Created => row(),
        };
        let mut histogram = self.micros.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(micros.unwrap_or_default().max(1));
    }

    fn put(&self, figures: &mut Figures) {
        let histogram = self.micros.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| Some(histogram.value_at_quantile(quantile) as f64 / 1_000.0);
        figures.p50_ms = at(0.5);
        figures.p99_ms = at(0.99);
        figures.p999_ms = at(0.999);
    }
}

fn client(pool: SqlitePool, starts: &Starts) -> Result<Client> {
    let mut workers = Workers::new();
    let starts = starts.clone();
    workers.add_fn(move |_: WorkContext, job: Job<Noop>| {
        starts.seen(&job);
        std::future::ready(Ok::<_, Infallible>(WorkOutcome::Complete))
    })?;
    let queue = QueueConfig::new(MAX_WORKERS)
        .with_fetch_cooldown(FETCH_COOLDOWN)
        .with_fetch_poll_interval(FETCH_POLL);
    Ok(Client::builder(pool)
        .fetch_cooldown(FETCH_COOLDOWN)
        .workers(workers)
        .queue(riverqueue::QUEUE_DEFAULT, queue)
        .build()?)
}

fn outcomes(client: &Client, jobs: u64) -> Result<EventReceiver> {
    let room = NonZeroUsize::new(usize::try_from(jobs)? + 1).context("no room for events")?;
    let kinds = [
        EventKind::JobCompleted,
        EventKind::JobFailed,
        EventKind::JobCancelled,
    ];
    Ok(client.subscribe_config(SubscribeConfig::new(kinds)?.with_buffer_capacity(room))?)
}

/// Waits until `jobs` jobs were committed as completed.
async fn all_done(events: &mut EventReceiver, jobs: u64) -> Result<()> {
    for _ in 0..jobs {
        let event = events.recv().await?;
        if event.kind() != EventKind::JobCompleted {
            bail!("a job ended otherwise than completed: {:?}", event.kind());
        }
    }
    Ok(())
}

pub async fn backlog(pool: SqlitePool, jobs: u64) -> Result<Figures> {
    let starts = Starts::new(Since::Created)?;
    let client = client(pool, &starts)?;
    let mut left = jobs;
    while left > 0 {
        let batch = left.min(INSERT_BATCH);
        let rows: Vec<_> = (0..batch)
            .map(|_| (starts.job(), InsertOpts::default()))
            .collect();
        client.insert_many(rows).await?;
        left -= batch;
    }
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    let cpu = cpu_seconds()?;
    let began = Instant::now();
    all_done(&mut events, jobs).await?;
    let mut figures = Figures {
        rate: Some(rate(jobs, began.elapsed())),
        ..Figures::default()
    };
    finish(&mut figures, cpu)?;
    run.stop().await?;
    Ok(figures)
}

pub async fn concurrent(pool: SqlitePool, jobs: u64, producers: u64) -> Result<Figures> {
    let starts = Starts::new(Since::Created)?;
    let client = client(pool, &starts)?;
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    let cpu = cpu_seconds()?;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for producer in 0..producers {
        let (client, starts) = (client.clone(), starts.clone());
        let share = jobs / producers + u64::from(producer < jobs % producers);
        tasks.spawn(async move {
            for _ in 0..share {
                client.insert(starts.job()).await?;
            }
            anyhow::Ok(())
        });
    }
    let insert = async {
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(insert, all_done(&mut events, jobs))?;
    let mut figures = Figures {
        rate: Some(rate(jobs, began.elapsed())),
        ..Figures::default()
    };
    starts.put(&mut figures);
    finish(&mut figures, cpu)?;
    run.stop().await?;
    Ok(figures)
}

pub async fn latency(pool: SqlitePool, jobs: u64, gap: Duration) -> Result<Figures> {
    let starts = Starts::new(Since::Insert)?;
    let client = client(pool, &starts)?;
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    let cpu = cpu_seconds()?;
    for _ in 0..jobs {
        client.insert(starts.job()).await?;
        all_done(&mut events, 1).await?;
        tokio::time::sleep(gap).await;
    }
    let mut figures = Figures::default();
    starts.put(&mut figures);
    finish(&mut figures, cpu)?;
    run.stop().await?;
    Ok(figures)
}

pub async fn idle(pool: SqlitePool, wait: Duration) -> Result<Figures> {
    let client = client(pool, &Starts::new(Since::Created)?)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    tokio::time::sleep(wait).await;
    let mut figures = Figures::default();
    finish(&mut figures, 0.0)?;
    run.stop().await?;
    Ok(figures)
}

fn rate(jobs: u64, elapsed: Duration) -> f64 {
    jobs as f64 / elapsed.as_secs_f64()
}

/// Adds this process's CPU time since `cpu` and its memory.
fn finish(figures: &mut Figures, cpu: f64) -> Result<()> {
    figures.cpu_seconds = Some(cpu_seconds()? - cpu);
    let status = std::fs::read_to_string("/proc/self/status")?;
    figures.rss_mib = mib(&status, "VmRSS:");
    figures.peak_rss_mib = mib(&status, "VmHWM:");
    Ok(())
}

/// User and system time of this process; ticks are hundredths of a second on Linux.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat
        .rsplit_once(") ")
        .context("no command in /proc/self/stat")?
        .1;
    let mut ticks = fields
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<f64>);
    match (ticks.next(), ticks.next()) {
        (Some(user), Some(system)) => Ok((user? + system?) / 100.0),
        _ => bail!("too few fields in /proc/self/stat"),
    }
}

fn mib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024.0)
}
