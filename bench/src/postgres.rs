//! The PostgreSQL server of a run: one for everybody, private and durable, with a database of its own for each
//! contender.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidewire_testservers::{Engine, Server, ServerOptions, of_database};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// The same for everybody. Durable as installed; the rest keeps checkpoints, which are taken between contenders, out of
/// what is measured.
const SETTINGS: &[&str] = &[
    "synchronous_commit=on",
    "fsync=on",
    "full_page_writes=on",
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "min_wal_size=2GB",
    "checkpoint_timeout=1h",
    "max_connections=200",
    "timezone=UTC",
];

/// Beside the other stores, which lie under the build folder; not in `scratch`'s folder, because the server's guard
/// removes this one by itself.
const UNDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target");

/// Segments of the log that were written once are used again; the first contender should not have to make them.
const PREPARED_LOG_MIB: i32 = 1_536;

const DROPPED_WITHIN: Duration = Duration::from_secs(60);

pub struct Cluster {
    admin: Client,
    url: String,
    made: Cell<u32>,
    left_behind: Rc<RefCell<Vec<String>>>,
    pub version: String,
    _server: Server,
}

/// An empty database; dropped some time after its last user.
pub struct Database {
    pub url: String,
    name: String,
    left_behind: Rc<RefCell<Vec<String>>>,
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut left = self.left_behind.borrow_mut();
        left.push(std::mem::take(&mut self.name));
    }
}

impl Cluster {
    pub async fn start() -> Result<Self> {
        std::fs::create_dir_all(UNDER).with_context(|| format!("create {UNDER}"))?;
        remove_empty_folders()?;
        let durable = ServerOptions { durable: true };
        let server = Server::start_tuned(Engine::Postgres, durable, Path::new(UNDER), SETTINGS)?;
        let url = server.url();
        let admin = connect(&url).await?;
        admin
            .execute(
                "SELECT pg_logical_emit_message(false, 'bench', repeat('x', 1048576))
                 FROM generate_series(1, $1)",
                &[&PREPARED_LOG_MIB],
            )
            .await?;
        admin.batch_execute("CHECKPOINT").await?;
        Ok(Self {
            admin,
            url,
            made: Cell::new(0),
            left_behind: Rc::default(),
            version: format!("{} {}", server.found().product, server.found().version),
            _server: server,
        })
    }

    /// Text sorts by its bytes in it, which is the cheapest order for everybody's indexes.
    pub async fn create(&self) -> Result<Database> {
        self.made.set(self.made.get() + 1);
        let name = format!("bench_{}", self.made.get());
        self.admin
            .batch_execute(&format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'"
            ))
            .await
            .with_context(|| format!("create database {name}"))?;
        Ok(Database {
            url: of_database(&self.url, &name),
            name,
            left_behind: Rc::clone(&self.left_behind),
        })
    }

    /// Drops what is left behind, so that nobody's vacuum runs in another's time, and writes out what is dirty.
    pub async fn settle(&self) -> Result<()> {
        let left = std::mem::take(&mut *self.left_behind.borrow_mut());
        for name in left {
            self.drop_database(&name)
                .await
                .with_context(|| format!("drop database {name}"))?;
        }
        self.admin.batch_execute("CHECKPOINT").await?;
        Ok(())
    }

    /// The server gives up by itself if its other processes need more than five seconds to leave.
    async fn drop_database(&self, name: &str) -> Result<(), tokio_postgres::Error> {
        let deadline = Instant::now() + DROPPED_WITHIN;
        loop {
            let dropped = self
                .admin
                .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
                .await;
            match dropped {
                Err(error)
                    if error.code() == Some(&SqlState::OBJECT_IN_USE)
                        && Instant::now() < deadline => {}
                outcome => return outcome,
            }
        }
    }
}

/// The guard of a run that was killed empties its server's folder, but may not remove it from ours.
fn remove_empty_folders() -> Result<()> {
    for entry in std::fs::read_dir(UNDER)? {
        let entry = entry?;
        let name = entry.file_name();
        let mut words = name.to_str().unwrap_or_default().split('-');
        let pid = match [words.next(), words.next(), words.next()] {
            [Some("tidewire"), Some("postgres"), Some(pid)] => pid,
            _ => continue,
        };
        if !Path::new("/proc").join(pid).exists() {
            // Only an empty one goes; another is still being emptied.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

/// A connection; its other half runs until it is closed.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("connect to PostgreSQL")?;
    tokio::task::spawn_local(async move {
        // Whoever waits for an answer on it gets the error too.
        let _ = connection.await;
    });
    Ok(client)
}

/// A transaction that has taken its snapshot: until it ends, no row version that dies after now can be removed.
pub async fn hold_open(database: &Database) -> Result<Client> {
    let client = connect(&database.url).await?;
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await?;
    client
        .query_one("SELECT count(*) FROM pg_class", &[])
        .await?;
    Ok(client)
}
