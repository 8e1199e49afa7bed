//! SQLite: one writing connection that one task owns, a pool of readers, and a lock that keeps a
//! second server off the file.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sea_orm::{DatabaseConnection, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::{Error, Result, Tx, dialect::SQLITE, round::Outcome};

/// WAL frames before a commit also moves them into the database; 10,000 gave 13 % over 1,000.
const AUTOCHECKPOINT_PAGES: &str = "10000";
/// Negative is KiB. Memory is taken as pages are touched, so an idle server stays small.
const WRITER_CACHE: &str = "-65536";
const READER_CACHE: &str = "-8192";
/// The WAL file is cut back to this after a checkpoint that a burst made large.
const WAL_KEPT_BYTES: &str = "67108864";

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .statement_cache_capacity(256)
        .pragma("wal_autocheckpoint", AUTOCHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_KEPT_BYTES)
        .pragma("temp_store", "memory")
}

/// Opens the pool of readers. They cannot write, whatever a statement says.
pub(crate) async fn readers(path: &Path, most: u32) -> Result<DatabaseConnection> {
    let pool = SqlitePoolOptions::new()
        .max_connections(most)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(5))
        .idle_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .connect_with(
            quiet(options(path))
                .pragma("query_only", "on")
                .pragma("cache_size", READER_CACHE),
        )
        .await
        .map_err(|error| cannot_open(path, &error))?;
    Ok(pool.into())
}

fn quiet(options: SqliteConnectOptions) -> SqliteConnectOptions {
    use sqlx::ConnectOptions as _;
    options.disable_statement_logging()
}

fn cannot_open(path: &Path, error: &sqlx::Error) -> Error {
    Error::Setup(format!(
        "cannot open the database {}: {error}; check that its folder exists, is writable and has room",
        path.display()
    ))
}

/// The one connection that writes.
pub(crate) struct WriteConnection {
    path: PathBuf,
    /// A pool of exactly one; `None` after a failure that may have left it in an unknown state.
    pool: Option<DatabaseConnection>,
    /// Held as long as the store is open.
    _lock: FileLock,
}

impl WriteConnection {
    pub(crate) async fn open(path: PathBuf) -> Result<Self> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::Setup(format!(
                    "cannot make the folder {}: {error}",
                    folder.display()
                ))
            })?;
        }
        let lock = FileLock::take(&path)?;
        let mut connection = WriteConnection {
            path,
            pool: None,
            _lock: lock,
        };
        connection.pool().await.map_err(|error| match error {
            Error::Unavailable(text) => Error::Setup(text),
            other => other,
        })?;
        Ok(connection)
    }

    async fn pool(&mut self) -> Result<DatabaseConnection> {
        if let Some(pool) = &self.pool {
            return Ok(pool.clone());
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false)
            .connect_with(quiet(options(&self.path)).pragma("cache_size", WRITER_CACHE))
            .await
            .map_err(|error| Error::Unavailable(cannot_open(&self.path, &error).to_string()))?;
        let pool = DatabaseConnection::from(pool);
        self.pool = Some(pool.clone());
        Ok(pool)
    }

    /// Runs `work` in one IMMEDIATE transaction and commits it; on any error nothing of it stays.
    pub(crate) async fn transaction<F>(
        &mut self,
        deadline: Duration,
        label: &str,
        work: F,
    ) -> Result<()>
    where
        F: AsyncFnOnce(&mut Tx) -> Result<Outcome>,
    {
        let pool = self.pool().await?;
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let inner = match pool.begin_with_options(options).await {
            Ok(inner) => inner,
            Err(error) => return Err(self.reopen(error.into()).await),
        };
        let mut tx = Tx::new(inner, &SQLITE);
        let worked = tokio::time::timeout(deadline, work(&mut tx))
            .await
            .unwrap_or_else(|_| {
                Err(Error::Unavailable(format!(
                    "the transaction {label} took longer than {deadline:?}"
                )))
            });
        match worked {
            Ok(Outcome::Commit) => match tx.commit().await {
                Ok(hooks) => {
                    hooks.into_iter().for_each(|hook| hook());
                    Ok(())
                }
                Err(error) => Err(self.reopen(error).await),
            },
            Ok(Outcome::Rollback) => match tx.rollback().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.reopen(error).await),
            },
            Err(error) => match tx.rollback().await {
                Ok(()) => Err(error),
                // After FULL or IOERR SQLite has already rolled back by itself, and what the
                // driver believes of the connection is no longer true.
                Err(_) => Err(self.reopen(error).await),
            },
        }
    }

    /// Drops the connection; the next transaction opens a fresh one.
    async fn reopen(&mut self, error: Error) -> Error {
        if let Some(pool) = self.pool.take() {
            let _ = tokio::time::timeout(Duration::from_secs(5), pool.close()).await;
        }
        error
    }

    pub(crate) async fn close(mut self) {
        if let Some(pool) = self.pool.take()
            && let Err(error) = pool.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }
}

/// An advisory lock beside the database: SQLite itself would let two servers take turns, and each
/// would then hold the other's wake-ups and caches for complete.
struct FileLock {
    _file: File,
}

impl FileLock {
    fn take(database: &Path) -> Result<Self> {
        let path = {
            let mut name = database.as_os_str().to_owned();
            name.push(".lock");
            PathBuf::from(name)
        };
        let cannot = |error: std::io::Error| {
            Error::Setup(format!(
                "cannot open the lock file {}: {error}",
                path.display()
            ))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(Error::Setup(format!(
                    "the database {} is in use by another Tidewire (process {}): stop that one, or choose another file with --data-dir or --db",
                    database.display(),
                    holder.trim()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        // Who holds it, for the message above; the lock itself ends with the process.
        let note = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = note {
            tracing::debug!(%error, "the lock file does not name its holder");
        }
        Ok(FileLock { _file: file })
    }
}
