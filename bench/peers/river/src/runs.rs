//! What is measured of River.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use riverqueue::{
    Client, ClientBuilder, EventKind, EventReceiver, InsertOpts, Job, JobArgs, QueueConfig,
    SubscribeConfig, WorkContext, WorkOutcome, Workers,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::figures::{Began, Figures, memory, new_micros, record};

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

const NOTE: &str = "a no-op job that carries about two hundred bytes of JSON, as the jobs of everybody else here do; \
                    this text is what makes up most of them, and is never looked at";

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
            micros: Arc::new(Mutex::new(new_micros()?)),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn job(&self) -> Noop {
        Noop {
            note: NOTE.to_owned(),
            sent_ns: self.now(),
        }
    }

    fn jobs(&self, count: u64) -> Vec<(Noop, InsertOpts)> {
        let job = || (self.job(), InsertOpts::default());
        std::iter::repeat_with(job)
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .collect()
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

    fn put(&self, figures: Figures) -> Figures {
        figures.with_times(&self.micros.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn client(builder: ClientBuilder, starts: &Starts) -> Result<Client> {
    let mut workers = Workers::new();
    let starts = starts.clone();
    workers.add_fn(move |_: WorkContext, job: Job<Noop>| {
        starts.seen(&job);
        std::future::ready(Ok::<_, Infallible>(WorkOutcome::Complete))
    })?;
    let queue = QueueConfig::new(MAX_WORKERS)
        .with_fetch_cooldown(FETCH_COOLDOWN)
        .with_fetch_poll_interval(FETCH_POLL);
    Ok(builder
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

/// Waits until `jobs` more jobs were committed as completed.
async fn all_done(events: &mut EventReceiver, jobs: u64) -> Result<()> {
    for _ in 0..jobs {
        let event = events.recv().await?;
        if event.kind() != EventKind::JobCompleted {
            bail!("a job ended otherwise than completed: {:?}", event.kind());
        }
    }
    Ok(())
}

async fn insert(client: &Client, starts: &Starts, jobs: u64) -> Result<()> {
    let mut left = jobs;
    while left > 0 {
        let batch = left.min(INSERT_BATCH);
        client.insert_many(starts.jobs(batch)).await?;
        left -= batch;
    }
    Ok(())
}

async fn join(mut tasks: JoinSet<Result<()>>) -> Result<()> {
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

pub async fn backlog(builder: ClientBuilder, jobs: u64) -> Result<Figures> {
    let starts = Starts::new(Since::Created)?;
    let client = client(builder, &starts)?;
    insert(&client, &starts, jobs).await?;
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    let began = Began::now()?;
    all_done(&mut events, jobs).await?;
    let figures = began.done(jobs)?;
    run.stop().await?;
    Ok(figures)
}

pub async fn concurrent(builder: ClientBuilder, jobs: u64, producers: u64) -> Result<Figures> {
    let starts = Starts::new(Since::Created)?;
    let client = client(builder, &starts)?;
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    let began = Began::now()?;
    let mut tasks = JoinSet::new();
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
    tokio::try_join!(join(tasks), all_done(&mut events, jobs))?;
    let figures = starts.put(began.done(jobs)?);
    run.stop().await?;
    Ok(figures)
}

pub async fn enqueue(
    builder: ClientBuilder,
    batch: u64,
    callers: u64,
    warmup: Duration,
    measure: Duration,
) -> Result<Figures> {
    let starts = Starts::new(Since::Insert)?;
    let client = builder.build()?;
    let counting_from = Instant::now() + warmup;
    let end = counting_from + measure;
    let inserted = Arc::new(Mutex::new((0, new_micros()?)));
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (client, starts) = (client.clone(), starts.clone());
        let inserted = Arc::clone(&inserted);
        tasks.spawn(async move {
            while Instant::now() < end {
                let jobs = starts.jobs(batch);
                let began = Instant::now();
                if batch == 1 {
                    client.insert(starts.job()).await?;
                } else {
                    client.insert_many(jobs).await?;
                }
                let now = Instant::now();
                if now > counting_from && now <= end {
                    let mut inserted = inserted.lock().unwrap_or_else(PoisonError::into_inner);
                    inserted.0 += batch;
                    record(&mut inserted.1, now - began);
                }
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep_until(counting_from.into()).await;
    let began = Began::now()?;
    tokio::time::sleep_until(end.into()).await;
    let counted = inserted.lock().unwrap_or_else(PoisonError::into_inner).0;
    let figures = began.done(counted)?;
    join(tasks).await?;
    let inserted = inserted.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(figures.with_times(&inserted.1))
}

pub async fn latency(builder: ClientBuilder, jobs: u64, gap: Duration) -> Result<Figures> {
    let starts = Starts::new(Since::Insert)?;
    let client = client(builder, &starts)?;
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    for _ in 0..jobs {
        client.insert(starts.job()).await?;
        all_done(&mut events, 1).await?;
        tokio::time::sleep(gap).await;
    }
    run.stop().await?;
    Ok(starts.put(memory()?))
}

pub async fn paced(builder: ClientBuilder, jobs: u64, every: Duration) -> Result<Figures> {
    let starts = Starts::new(Since::Insert)?;
    let client = client(builder, &starts)?;
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    let mut tick = tokio::time::interval(every);
    let mut tasks = JoinSet::new();
    for _ in 0..jobs {
        tick.tick().await;
        // A slow insert does not hold the next one up.
        let (client, job) = (client.clone(), starts.job());
        tasks.spawn(async move {
            client.insert(job).await?;
            anyhow::Ok(())
        });
    }
    tokio::try_join!(join(tasks), all_done(&mut events, jobs))?;
    run.stop().await?;
    Ok(starts.put(memory()?))
}

pub async fn through(builder: ClientBuilder, jobs: u64, last: u64, chunk: u64) -> Result<Figures> {
    let starts = Starts::new(Since::Created)?;
    let client = client(builder, &starts)?;
    let mut events = outcomes(&client, jobs)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    let (count, mut counted) = watch::channel(0);
    let counting = tokio::spawn(async move {
        for done in 1..=jobs {
            all_done(&mut events, 1).await?;
            count.send_replace(done);
        }
        anyhow::Ok(())
    });
    let (mut inserted, mut timed) = (0, None);
    while inserted < jobs {
        if timed.is_none() && inserted + last >= jobs {
            timed = Some((Began::now()?, *counted.borrow()));
        }
        let next = chunk.min(jobs - inserted);
        insert(&client, &starts, next).await?;
        inserted += next;
        let due = inserted.saturating_sub(chunk);
        // The sender is gone if a job failed; then the task says why.
        let _ = counted.wait_for(|done| *done >= due).await;
    }
    counting.await??;
    let (began, before) = timed.context("too few jobs to have last ones")?;
    let figures = began.done(jobs - before)?;
    run.stop().await?;
    Ok(figures)
}

pub async fn idle(builder: ClientBuilder, wait: Duration) -> Result<Figures> {
    let client = client(builder, &Starts::new(Since::Created)?)?;
    let mut run = client.start()?;
    run.wait_ready().await?;
    tokio::time::sleep(wait).await;
    let figures = memory()?;
    run.stop().await?;
    Ok(figures)
}
