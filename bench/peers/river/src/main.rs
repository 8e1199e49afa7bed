//! Drives River's Rust client on SQLite and prints one line of JSON with what it did.
//!
//! River's own `riverqueue bench` speaks PostgreSQL only, so this is a driver of ours around the unmodified library:
//! no-op jobs, the worker settings of River's own bench, and the durability of Tidewire (WAL, `synchronous=FULL`,
//! `wal_autocheckpoint` 10000). River inserts in-process: it pays for no HTTP.

mod runs;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use riverqueue::migrate::SqliteMigrator;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

#[derive(Parser)]
#[command(about = "Drives River's Rust client on SQLite", version)]
struct Args {
    /// The SQLite file; made if missing, and best a fresh one.
    #[arg(long)]
    db: PathBuf,
    /// Connections in River's pool; its README shows 5.
    #[arg(long, default_value_t = 5)]
    connections: u32,
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand)]
enum Run {
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
    /// Insert one job at a time into an idle client and time insert to start.
    Latency {
        #[arg(long)]
        jobs: u64,
        #[arg(long)]
        gap_ms: u64,
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
    let pool = open(&args).await?;
    let figures = match args.run {
        Run::Backlog { jobs } => runs::backlog(pool, jobs).await?,
        Run::Concurrent { jobs, producers } => runs::concurrent(pool, jobs, producers).await?,
        Run::Latency { jobs, gap_ms } => {
            runs::latency(pool, jobs, Duration::from_millis(gap_ms)).await?
        }
        Run::Idle { seconds } => runs::idle(pool, Duration::from_secs(seconds)).await?,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn open(args: &Args) -> Result<SqlitePool> {
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", args.db.display()))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "10000")
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new()
        .max_connections(args.connections)
        .connect_with(options)
        .await
        .with_context(|| format!("open {}", args.db.display()))?;
    SqliteMigrator::new(pool.clone()).migrate_up().await?;
    Ok(pool)
}
