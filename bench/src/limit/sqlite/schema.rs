//! Tidewire's hot tables and the statements that fill them, on one SQLite connection with Tidewire's durability.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, params};

pub const TENANT: &str = "default";

const PRAGMAS: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 10000;
PRAGMA cache_size = -65536;
PRAGMA temp_store = MEMORY;
";

const TABLES: &str = "
CREATE TABLE events (
    tenant TEXT NOT NULL, pos INTEGER NOT NULL, id TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL,
    type TEXT NOT NULL, subject TEXT, payload TEXT NOT NULL, dedupe_key TEXT, source TEXT,
    occurred_at TEXT NOT NULL, created_at TEXT NOT NULL,
    PRIMARY KEY (tenant, pos)
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_stream ON events (tenant, stream, seq);
CREATE INDEX events_type ON events (tenant, type, pos);
CREATE INDEX events_subject ON events (tenant, subject, pos) WHERE subject IS NOT NULL;

CREATE TABLE event_keys (
    tenant TEXT NOT NULL, hash BLOB NOT NULL, pos INTEGER NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tenant, hash)
) WITHOUT ROWID;

CREATE TABLE jobs (
    num INTEGER PRIMARY KEY, tenant TEXT NOT NULL, type TEXT NOT NULL, queue TEXT NOT NULL, status TEXT NOT NULL,
    payload TEXT NOT NULL, priority INTEGER NOT NULL, run_at TEXT NOT NULL, attempts INTEGER NOT NULL,
    locked_by TEXT, locked_at TEXT, created_at TEXT NOT NULL, started_at TEXT, finished_at TEXT
);
CREATE INDEX jobs_pending ON jobs (queue, priority, run_at, num) WHERE status = 'pending';
";

pub struct Store {
    pub db: Connection,
    next_pos: i64,
}

/// An event as it is stored; seq equals pos, since the limit has one tenant and one stream.
pub struct NewEvent {
    pub id: String,
    pub kind: String,
    pub stream: String,
    pub subject: Option<String>,
    pub payload: String,
    pub dedupe_key: Option<String>,
}

pub struct NewJob {
    pub kind: String,
    pub queue: String,
    pub payload: String,
}

impl Store {
    pub fn create(folder: &Path) -> Result<Self> {
        let db = Connection::open(folder.join("limit.db"))?;
        db.execute_batch(PRAGMAS)?;
        db.execute_batch(TABLES)?;
        db.set_prepared_statement_cache_capacity(32);
        Ok(Self { db, next_pos: 1 })
    }

    pub fn begin(&self) -> Result<()> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    pub fn commit(&self) -> Result<()> {
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Inserts and answers the event's position.
    pub fn append(&mut self, event: &NewEvent, now: &str) -> Result<i64> {
        let pos = self.next_pos;
        self.db
            .prepare_cached(
                "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, ?10, ?10)",
            )?
            .execute(params![
                TENANT,
                pos,
                event.id,
                event.stream,
                pos,
                event.kind,
                event.subject,
                event.payload,
                event.dedupe_key,
                now,
            ])?;
        if let Some(key) = &event.dedupe_key {
            self.db
                .prepare_cached("INSERT INTO event_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![TENANT, hash128(key), pos, event.stream, pos, now])?;
        }
        self.next_pos += 1;
        Ok(pos)
    }

    pub fn enqueue(&self, job: &NewJob, now: &str) -> Result<i64> {
        self.db
            .prepare_cached(
                "INSERT INTO jobs (tenant, type, queue, status, payload, priority, run_at, attempts, created_at)
                 VALUES (?1, ?2, ?3, 'pending', ?4, 0, ?5, 0, ?5)",
            )?
            .execute(params![TENANT, job.kind, job.queue, job.payload, now])?;
        Ok(self.db.last_insert_rowid())
    }

    /// The next jobs in their order, marked as running.
    pub fn claim(&self, limit: i64, now: &str) -> Result<Vec<i64>> {
        let nums: Vec<i64> = self
            .db
            .prepare_cached(
                "SELECT num FROM jobs WHERE status = 'pending' AND queue = 'default'
                 ORDER BY priority, run_at, num LIMIT ?1",
            )?
            .query_map([limit], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut update = self.db.prepare_cached(
            "UPDATE jobs SET status = 'running', attempts = attempts + 1, locked_by = 'limit',
             locked_at = ?2, started_at = ?2 WHERE num = ?1",
        )?;
        for num in &nums {
            update.execute(params![num, now])?;
        }
        Ok(nums)
    }

    pub fn complete(&self, nums: &[i64], now: &str) -> Result<()> {
        let mut update = self.db.prepare_cached(
            "UPDATE jobs SET status = 'done', locked_by = NULL, finished_at = ?2 WHERE num = ?1",
        )?;
        for num in nums {
            update.execute(params![num, now])?;
        }
        Ok(())
    }
}

/// Two differently seeded 64-bit hashes: as wide and as random as the real key, and cheap.
fn hash128(key: &str) -> [u8; 16] {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        key.hash(&mut hasher);
        hasher.finish()
    };
    (u128::from(half(1)) << 64 | u128::from(half(2))).to_be_bytes()
}

/// One clock reading a round, as text of fixed width.
pub fn timestamp() -> String {
    chrono::Utc::now()
        .format("%Y-%m-%dT%H:%M:%S%.6fZ")
        .to_string()
}
