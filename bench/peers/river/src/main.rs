//! Drives River's Rust client on SQLite or PostgreSQL and prints one line of JSON with what it did.
//!
//! River's own `riverqueue bench` speaks PostgreSQL only and measures less, so this is a driver of ours around the
//! unmodified library: no-op jobs, the worker settings and the pool of River's own bench; on SQLite the durability of
//! Tidewire (WAL, `synchronous=FULL`, `wal_autocheckpoint` 10000) and the pool of its README. River inserts in-process:
//! it pays for no HTTP.

mod figures;
mod runs;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use riverqueue::migrate::{PostgresMigrator, SqliteMigrator};
use riverqueue::{Client, ClientBuilder};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::figures::Figures;

/// As in `riverqueue bench`.
const POSTGRES_CONNECTIONS: u32 = 50;
/// As in its README.
const SQLITE_CONNECTIONS: u32 = 5;

#[derive(Parser)]
#[command(about = "Drives River's Rust client", version)]
struct Args {
    #[command(flatten)]
    store: Store,
    #[command(subcommand)]
    run: Run,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Store {
    /// The SQLite file; made if missing, and best a fresh one.
    #[arg(long)]
    db: Option<PathBuf>,
    /// The PostgreSQL database, best an empty one.
    #[arg(long)]
    database_url: Option<String>,
}

#[derive(Subcommand)]
enum Run {
    /// Make the tables and no more.
    Migrate,
    /// Insert a backlog in bulk, then time how long working it takes.
    Backlog {
        #[arg(long)]
        jobs: u64,
    },
    /// Insert jobs one by one from many tasks while they are worked.
    Concurrent {
        #[arg(long)]
        jobs: u64,
        #[arg(long)]
        producers: u64,
    },
    /// Insert from many tasks, so many a call, while nobody works.
    Enqueue {
        #[arg(long)]
        batch: u64,
        #[arg(long)]
        callers: u64,
        #[arg(long)]
        warmup_ms: u64,
        #[arg(long)]
        measure_ms: u64,
    },
    /// Insert one job at a time into an idle client and time insert to start.
    Latency {
        #[arg(long)]
        jobs: u64,
        #[arg(long)]
        gap_ms: u64,
    },
    /// Insert at a steady pace and time insert to start.
    Paced {
        #[arg(long)]
        jobs: u64,
        #[arg(long)]
        every_ms: u64,
    },
    /// Insert chunk after chunk while they are worked, and time the last jobs.
    Through {
        #[arg(long)]
        jobs: u64,
        #[arg(long)]
        last: u64,
        #[arg(long)]
        chunk: u64,
    },
    /// Start a client that has nothing to do and report its memory after a while.
    Idle {
        #[arg(long)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let client = open(&args.store).await?;
    let figures = match args.run {
        Run::Migrate => Figures::default(),
        Run::Backlog { jobs } => runs::backlog(client, jobs).await?,
        Run::Concurrent { jobs, producers } => runs::concurrent(client, jobs, producers).await?,
        Run::Enqueue {
            batch,
            callers,
            warmup_ms,
            measure_ms,
        } => {
            let warmup = Duration::from_millis(warmup_ms);
            let measure = Duration::from_millis(measure_ms);
            runs::enqueue(client, batch, callers, warmup, measure).await?
        }
        Run::Latency { jobs, gap_ms } => {
            runs::latency(client, jobs, Duration::from_millis(gap_ms)).await?
        }
        Run::Paced { jobs, every_ms } => {
            runs::paced(client, jobs, Duration::from_millis(every_ms)).await?
        }
        Run::Through { jobs, last, chunk } => runs::through(client, jobs, last, chunk).await?,
        Run::Idle { seconds } => runs::idle(client, Duration::from_secs(seconds)).await?,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// A client over a store with River's tables.
async fn open(store: &Store) -> Result<ClientBuilder> {
    if let Some(url) = &store.database_url {
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .connect(url)
            .await
            .context("connect to PostgreSQL")?;
        PostgresMigrator::new(pool.clone()).migrate_up().await?;
        return Ok(Client::builder(pool));
    }
    let file = store.db.as_ref().context("no store")?;
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", file.display()))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "10000")
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new()
        .max_connections(SQLITE_CONNECTIONS)
        .connect_with(options)
        .await
        .with_context(|| format!("open {}", file.display()))?;
    SqliteMigrator::new(pool.clone()).migrate_up().await?;
    Ok(Client::builder(pool))
}
