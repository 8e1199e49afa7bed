//! What the bench asks of Tidewire besides load: counts, and jobs with their times.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::load::new_micros;
use crate::wire::{Conn, Template, get};

const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Deserialize)]
struct Summary {
    jobs_done: u64,
    jobs_failed: u64,
}

#[derive(Deserialize)]
pub struct Job {
    pub id: String,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub lease_token: String,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    /// By the clock of whoever enqueued.
    sent_ns: u64,
}

#[derive(Deserialize)]
struct JobPage<J> {
    jobs: Vec<J>,
    next_cursor: Option<String>,
}

impl Job {
    /// From its sending, by a clock that began at `epoch`, until `at`.
    pub fn waited(&self, epoch: Instant, at: Instant) -> Result<Duration> {
        let sent = Duration::from_nanos(self.payload.sent_ns);
        (at - epoch)
            .checked_sub(sent)
            .context("a job came before it was sent")
    }

    pub fn start_micros(&self) -> Option<u64> {
        let waited = self.started_at? - self.created_at;
        Some(
            u64::try_from(waited.num_microseconds()?)
                .unwrap_or(0)
                .max(1),
        )
    }
}

pub struct Api {
    conn: Conn,
    addr: SocketAddr,
}

impl Api {
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        Ok(Self {
            conn: Conn::open(addr).await?,
            addr,
        })
    }

    pub async fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        let reply = self.conn.call(&get(self.addr, path, "")).await?;
        if !reply.is_success() {
            bail!("GET {path}: {}", reply.text());
        }
        serde_json::from_slice(reply.body).with_context(|| format!("GET {path}: {}", reply.text()))
    }

    pub async fn text(&mut self, path: &str) -> Result<String> {
        let reply = self.conn.call(&get(self.addr, path, "")).await?;
        if !reply.is_success() {
            bail!("GET {path}: {}", reply.text());
        }
        String::from_utf8(reply.body.to_vec()).with_context(|| format!("GET {path} is no text"))
    }

    /// The answer to a JSON body.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T> {
        let mut request = Vec::new();
        Template::post(self.addr, path).write(&mut request, body.to_string().as_bytes());
        let reply = self.conn.call(&request).await?;
        if !reply.is_success() {
            bail!("POST {path}: {}", reply.text());
        }
        serde_json::from_slice(reply.body).with_context(|| format!("POST {path}: {}", reply.text()))
    }

    /// The value of a metric without labels.
    pub async fn metric(&mut self, name: &str) -> Result<u64> {
        let reply = self.conn.call(&get(self.addr, "/metrics", "")).await?;
        let text = std::str::from_utf8(reply.body)?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .with_context(|| format!("no metric {name}"))?
            .parse()
            .with_context(|| format!("the metric {name}"))
    }

    /// Jobs done so far. A failed one would make the figure a lie.
    pub async fn jobs_done(&mut self) -> Result<u64> {
        let summary: Summary = self.read("/v1/analytics/summary").await?;
        if summary.jobs_failed > 0 {
            bail!("{} jobs failed", summary.jobs_failed);
        }
        Ok(summary.jobs_done)
    }

    /// Waits until so many jobs are done; gives up when none is any more.
    pub async fn wait_done(&mut self, jobs: u64, patience: Duration) -> Result<()> {
        let (mut seen, mut moved) = (0, Instant::now());
        loop {
            let looking = Instant::now();
            let done = self.jobs_done().await?;
            if done >= jobs {
                return Ok(());
            }
            if done > seen {
                (seen, moved) = (done, Instant::now());
            }
            if moved.elapsed() > patience {
                bail!("{seen} of {jobs} jobs were done, then none for {patience:?}");
            }
            // A look that is work for the server is not taken again at once.
            tokio::time::sleep(LOOK_EVERY.max(looking.elapsed() * 10)).await;
        }
    }

    /// The newest jobs of a queue: so many, or the rest of the last page more.
    pub async fn jobs<J: DeserializeOwned>(&mut self, queue: &str, least: u64) -> Result<Vec<J>> {
        let mut jobs = Vec::new();
        let mut cursor = None;
        while (jobs.len() as u64) < least {
            let mut path = format!("/v1/jobs?queue={queue}&limit=500");
            if let Some(cursor) = &cursor {
                path += &format!("&cursor={cursor}");
            }
            let page: JobPage<J> = self.read(&path).await?;
            jobs.extend(page.jobs);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(jobs)
    }

    /// From `created_at` to `started_at` of the newest jobs of a queue.
    pub async fn start_times(&mut self, queue: &str, jobs: u64) -> Result<Histogram<u64>> {
        let mut micros = new_micros();
        let newest: Vec<Job> = self.jobs(queue, jobs).await?;
        for waited in newest.iter().filter_map(Job::start_micros) {
            micros.saturating_record(waited);
        }
        if micros.is_empty() {
            bail!("no job of queue {queue} has a start time");
        }
        Ok(micros)
    }
}
