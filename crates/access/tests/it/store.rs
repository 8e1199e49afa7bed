//! A table of things, for request keys to have an effect on.

use std::sync::Arc;

use tidewire_core::{Kind, Problem};
use tidewire_db::{Db, Migration, Query as _, Sql, Tx};
use tokio::sync::{Semaphore, watch};

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "9999_things",
    up: &["CREATE TABLE things (name {text} NOT NULL)"],
}];

#[derive(Clone)]
pub struct Things {
    db: Db,
    insert: Sql,
    count: Sql,
}

#[derive(Debug)]
pub enum Error {
    Refused,
    Access(tidewire_access::Error),
    Store(tidewire_db::Error),
}

impl From<tidewire_access::Error> for Error {
    fn from(error: tidewire_access::Error) -> Self {
        Error::Access(error)
    }
}

impl From<tidewire_db::Error> for Error {
    fn from(error: tidewire_db::Error) -> Self {
        Error::Store(error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused => Problem::new(Kind::Conflict, "the thing is bad"),
            Error::Access(error) => error.into(),
            Error::Store(error) => error.into(),
        }
    }
}

impl Things {
    pub fn new(db: &Db) -> Self {
        Things {
            db: db.clone(),
            insert: db.dialect().sql("INSERT INTO things (name) VALUES (?)"),
            count: db.dialect().sql("SELECT count(*) FROM things"),
        }
    }

    /// Makes a thing; how many there were before.
    pub async fn make(&self, tx: &mut Tx, name: &str) -> tidewire_db::Result<u64> {
        let rows = tx.rows(&self.count, Vec::new()).await?;
        let before = rows[0].count(0)?;
        tx.execute(&self.insert, vec![name.into()]).await?;
        Ok(before)
    }

    pub async fn count(&self) -> u64 {
        let rows = self.db.read().rows(&self.count, Vec::new()).await.unwrap();
        rows[0].count(0).unwrap()
    }
}

/// What the columns hold that could hold a key.
pub async fn rows(db: &Db) -> Vec<u8> {
    let mut stored = Vec::new();
    for (statement, texts, hashes) in [
        ("SELECT id, name FROM tenants", 2, 0),
        ("SELECT tenant, id, scopes, hash FROM api_keys", 3, 1),
        (
            "SELECT tenant, route, answer, key_hash, body_hash FROM request_keys",
            3,
            2,
        ),
    ] {
        let sql = db.dialect().sql(statement);
        for row in db.read().rows(&sql, Vec::new()).await.unwrap() {
            for column in 0..texts {
                stored.extend(row.text(column).unwrap().into_bytes());
            }
            for column in texts..texts + hashes {
                stored.extend(row.bytes(column).unwrap());
            }
        }
    }
    stored
}

/// Holds effects up in their transaction while it is shut, and tells when one has come.
#[derive(Clone)]
pub struct Gate {
    open: Arc<Semaphore>,
    arrived: watch::Sender<u32>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            open: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            arrived: watch::Sender::new(0),
        }
    }
}

impl Gate {
    pub async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        self.open.acquire().await.unwrap().forget();
    }

    pub fn shut(&self) {
        self.open.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn open(&self) {
        self.open.add_permits(1000);
    }

    /// Waits until `n` effects have come to the gate.
    pub async fn arrivals(&self, n: u32) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived >= n).await.unwrap();
    }
}
