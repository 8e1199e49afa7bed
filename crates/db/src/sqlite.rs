//! SQLite: one writing connection that one task owns, a pool of readers, and a lock that keeps a
//! second server off the file.

mod session;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{Error, Result, Tx, dialect::SQLITE, writer::Verdict};

pub(crate) use self::session::Session;

/// WAL frames before a commit also moves them into the database; 10,000 gave 13 % over 1,000.
const AUTOCHECKPOINT_PAGES: &str = "10000";
/// Negative is KiB. Memory is taken as pages are touched, so an idle server stays small.
const WRITER_CACHE: &str = "-65536";
const READER_CACHE: &str = "-8192";
/// The WAL file is cut back to this after a checkpoint that a burst made large.
const WAL_KEPT_BYTES: &str = "67108864";

/// Rows that the driver's thread hands over before it waits for them to be taken: a batch of jobs
/// at once instead of in ten pieces, each of which costs two switches of threads.
const ROW_BUFFER: usize = 1000;

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .statement_cache_capacity(256)
        .row_buffer_size(ROW_BUFFER)
        .pragma("wal_autocheckpoint", AUTOCHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_KEPT_BYTES)
        .pragma("temp_store", "memory")
}

/// Opens the pool of readers. They cannot write, whatever a statement says.
pub(crate) async fn readers(path: &Path, most: u32) -> Result<SqlitePool> {
    SqlitePoolOptions::new()
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
        .map_err(|error| cannot_open(path, &error))
}

/// A reader of a file that may belong to another process; none if there is no such file.
pub(crate) async fn existing(path: &Path) -> Result<Option<SqlitePool>> {
    if !path.exists() {
        return Ok(None);
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .pragma("query_only", "on");
    let opened = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(quiet(options))
        .await;
    opened.map(Some).map_err(|error| cannot_open(path, &error))
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
    /// `None` after a failure that may have left it in an unknown state.
    connection: Option<SqliteConnection>,
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
            connection: None,
            _lock: lock,
        };
        let opened = connection.connect().await.map_err(|error| match error {
            Error::Unavailable(text) => Error::Setup(text),
            other => other,
        })?;
        connection.connection = Some(opened);
        Ok(connection)
    }

    async fn connect(&mut self) -> Result<SqliteConnection> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let options = quiet(options(&self.path)).pragma("cache_size", WRITER_CACHE);
        SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| Error::Unavailable(cannot_open(&self.path, &error).to_string()))
    }

    /// Runs `work` in one transaction and commits it; on any error nothing of it stays.
    pub(crate) async fn transaction<F>(
        &mut self,
        deadline: Duration,
        label: &str,
        work: F,
    ) -> Result<()>
    where
        F: AsyncFnOnce(&mut Tx) -> Result<Verdict>,
    {
        let session = Session::begin(self.connect().await?);
        let mut tx = Tx::new(crate::session::Session::Sqlite(session), &SQLITE);
        let worked = tokio::time::timeout(deadline, work(&mut tx))
            .await
            .unwrap_or_else(|_| {
                Err(Error::Unavailable(format!(
                    "the transaction {label} took longer than {deadline:?}"
                )))
            });
        let crate::tx::Parts { session, hooks, .. } = tx.into_parts();
        let crate::session::Session::Sqlite(session) = session else {
            return Err(Error::Broken(
                "a transaction came back with another engine's session".to_owned(),
            ));
        };
        match worked {
            Ok(Verdict::Commit) => {
                let (committed, connection) = session.commit().await;
                match committed {
                    Ok(()) => {
                        self.connection = Some(connection);
                        hooks.into_iter().for_each(|hook| hook());
                        Ok(())
                    }
                    Err(error) => {
                        self.mend(connection).await;
                        Err(error)
                    }
                }
            }
            other => {
                let (rolled_back, connection) = session.rollback().await;
                match rolled_back {
                    Ok(()) => self.connection = Some(connection),
                    Err(_) => self.mend(connection).await,
                }
                other.map(drop)
            }
        }
    }

    /// Ends a transaction that failed in an unknown place. After FULL or IOERR SQLite has already
    /// rolled back by itself; where it has not, this does; where neither works, the next transaction
    /// opens a fresh connection.
    async fn mend(&mut self, mut connection: SqliteConnection) {
        match sqlx::Executor::execute(&mut connection, "ROLLBACK").await {
            Ok(_) => self.connection = Some(connection),
            Err(_) => drop(tokio::time::timeout(Duration::from_secs(5), connection.close()).await),
        }
    }

    pub(crate) async fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
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
