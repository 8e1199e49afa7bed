//! Tidewire's hot tables, or slim ones, and the statements that fill them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::{Result, bail};
use tokio_postgres::{Client, Statement};

use super::{Values, open};
use crate::bodies::{self, NOOP, Rng, job_payload};
use crate::data::Data;
use crate::limit::{first_id, sortable_id};

/// The columns, types and indexes of Tidewire's own tables of events.
const EVENTS: &str = r#"
CREATE TABLE events (
    tenant TEXT COLLATE "C" NOT NULL, pos BIGINT NOT NULL, id TEXT COLLATE "C" NOT NULL,
    stream TEXT COLLATE "C" NOT NULL, seq BIGINT NOT NULL, type TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C", payload JSONB NOT NULL, dedupe_key TEXT COLLATE "C", source TEXT,
    occurred_at TIMESTAMPTZ NOT NULL, created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, pos)
);
CREATE UNIQUE INDEX events_by_stream ON events (tenant, stream, seq);
CREATE INDEX events_by_type ON events (tenant, type, pos);
CREATE INDEX events_by_subject ON events (tenant, subject, pos) WHERE subject IS NOT NULL;
CREATE TABLE event_keys (
    tenant TEXT COLLATE "C" NOT NULL, hash BYTEA NOT NULL, pos BIGINT NOT NULL,
    stream TEXT COLLATE "C" NOT NULL, seq BIGINT NOT NULL, created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, hash)
);
"#;

/// One table with the index of the queue's order, and no more.
const JOBS: &str = "
CREATE TABLE jobs (
    num BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, type TEXT NOT NULL, queue TEXT NOT NULL, status TEXT NOT NULL,
    priority BIGINT NOT NULL, run_at TIMESTAMPTZ NOT NULL, attempts BIGINT NOT NULL, locked_by TEXT,
    locked_at TIMESTAMPTZ, created_at TIMESTAMPTZ NOT NULL, started_at TIMESTAMPTZ, finished_at TIMESTAMPTZ,
    payload JSONB NOT NULL
);
CREATE INDEX jobs_pending ON jobs (queue, priority, run_at, num) WHERE status = 'pending';
";

/// A table that takes rows.
pub trait Rows {
    /// Makes what is written next.
    fn make(&mut self, rows: usize);
    /// Returns after the commit.
    async fn write(&mut self) -> Result<()>;
}

pub async fn create_events(data: &Data) -> Result<()> {
    Ok(open(data).await?.batch_execute(EVENTS).await?)
}

pub async fn create_jobs(data: &Data) -> Result<()> {
    Ok(open(data).await?.batch_execute(JOBS).await?)
}

/// Appends to one stream of one tenant.
pub struct Events {
    db: Client,
    insert: Statement,
    look_up: Statement,
    insert_keys: Statement,
    bodies: bodies::Events,
    keyed: bool,
    last_id: u64,
    last_pos: i64,
    made: Columns,
}

#[derive(Default)]
struct Columns {
    ids: Vec<String>,
    kinds: Vec<&'static str>,
    subjects: Vec<String>,
    payloads: Vec<String>,
    keys: Vec<Option<String>>,
    hashes: Vec<Vec<u8>>,
}

impl Events {
    pub async fn open(data: &Data, keyed: bool) -> Result<Self> {
        let db = open(data).await?;
        let insert = db
            .prepare(
                "INSERT INTO events
                 SELECT 'default', $1::bigint + n, id, 'default', $1::bigint + n, type, subject, payload::jsonb, key, NULL,
                        now(), now()
                 FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                      WITH ORDINALITY AS made (id, type, subject, payload, key, n)",
            )
            .await?;
        let look_up = db
            .prepare(
                "SELECT hash, pos, stream, seq, created_at FROM event_keys
                 WHERE tenant = 'default' AND hash = ANY ($1::bytea[])",
            )
            .await?;
        let insert_keys = db
            .prepare(
                "INSERT INTO event_keys
                 SELECT 'default', hash, $1::bigint + n, 'default', $1::bigint + n, now()
                 FROM unnest($2::bytea[]) WITH ORDINALITY AS made (hash, n)",
            )
            .await?;
        Ok(Self {
            db,
            insert,
            look_up,
            insert_keys,
            bodies: bodies::Events::new(0, keyed),
            keyed,
            last_id: first_id(),
            last_pos: 0,
            made: Columns::default(),
        })
    }
}

impl Rows for Events {
    fn make(&mut self, rows: usize) {
        self.made = Columns::default();
        for _ in 0..rows {
            let event = self.bodies.next();
            self.last_id += 1;
            let key = event.key().map(|key| key.to_string());
            self.made.ids.push(sortable_id(self.last_id));
            self.made.kinds.push(event.kind);
            self.made.subjects.push(event.subject().to_string());
            self.made.payloads.push(event.payload(0).to_string());
            self.made.hashes.extend(key.as_deref().map(hash128));
            self.made.keys.push(key);
        }
    }

    /// With keys, what is there already is looked up first, in the same transaction; what needs no answer in between
    /// is sent together.
    async fn write(&mut self) -> Result<()> {
        let made = &self.made;
        let rows = i64::try_from(made.ids.len())?;
        let values: Values<'_, 6> = [
            &self.last_pos,
            &made.ids,
            &made.kinds,
            &made.subjects,
            &made.payloads,
            &made.keys,
        ];
        let insert = self.db.execute(&self.insert, &values);
        if self.keyed {
            let hashes: Values<'_, 1> = [&made.hashes];
            let (_, known) = tokio::try_join!(
                biased;
                self.db.batch_execute("BEGIN"),
                self.db.query(&self.look_up, &hashes)
            )?;
            if !known.is_empty() {
                bail!("{} keys were there already", known.len());
            }
            let keys: Values<'_, 2> = [&self.last_pos, &made.hashes];
            tokio::try_join!(
                biased;
                insert,
                self.db.execute(&self.insert_keys, &keys),
                self.db.batch_execute("COMMIT")
            )?;
        } else {
            insert.await?;
        }
        self.last_pos += rows;
        Ok(())
    }
}

/// Enqueues.
pub struct Jobs {
    db: Client,
    insert: Statement,
    rng: Rng,
    payloads: Vec<String>,
}

impl Jobs {
    pub async fn open(data: &Data, seed: u64) -> Result<Self> {
        let db = open(data).await?;
        let insert = db
            .prepare(
                "INSERT INTO jobs (type, queue, status, priority, run_at, attempts, created_at, payload)
                 SELECT $1, 'default', 'pending', 0, now(), 0, now(), payload::jsonb
                 FROM unnest($2::text[]) AS made (payload)",
            )
            .await?;
        Ok(Self {
            db,
            insert,
            rng: Rng::new(seed),
            payloads: Vec::new(),
        })
    }
}

impl Rows for Jobs {
    fn make(&mut self, rows: usize) {
        self.payloads.clear();
        for _ in 0..rows {
            self.payloads
                .push(job_payload(&mut self.rng, 0).to_string());
        }
    }

    async fn write(&mut self) -> Result<()> {
        self.db
            .execute(&self.insert, &[&NOOP, &self.payloads])
            .await?;
        Ok(())
    }
}

/// Two differently seeded 64-bit hashes: as wide and as random as the real key, and cheap.
fn hash128(key: &str) -> Vec<u8> {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        key.hash(&mut hasher);
        hasher.finish()
    };
    (u128::from(half(1)) << 64 | u128::from(half(2)))
        .to_be_bytes()
        .to_vec()
}
