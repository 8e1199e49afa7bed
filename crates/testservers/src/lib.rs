//! Real servers for tests and benches: PostgreSQL, MariaDB (or MySQL), PgBouncer, Apache Kafka, Redis,
//! one that speaks S3 and the API of Kubernetes, private to whoever starts them. Development only.
//!
//! A server runs from the programs that are installed, on a free loopback port, in a temporary
//! folder, under an account without privileges when we are root. It never outlives the process that
//! started it, not even one that is killed with -9 (`guard.rs`). Both database servers are set up
//! to be unlike ours where that must not matter: another time zone, and a collation that is not the
//! order of bytes.
//!
//! This is the standard library alone, so that the chores can use it and still build in seconds;
//! what speaks to the servers is in `tidewire-testkit`.

mod account;
mod address;
mod folder;
mod guard;
mod kafka;
mod kubernetes;
mod mysql;
mod pgbouncer;
mod postgres;
mod programs;
mod redis;
mod s3;
mod server;

pub use address::{at_address, of_database};
pub use kafka::{KAFKA_VERSION, Kafka, find as find_kafka, folder as kafka_folder};
pub use kubernetes::{KUBERNETES_VERSION, KWOK_VERSION, Kubernetes, find as find_kubernetes};
pub use pgbouncer::PgBouncer;
pub use programs::{Found, find, find_pgbouncer};
pub use redis::{Redis, find as find_redis};
pub use s3::{GARAGE_VERSION, S3, S3_VERSION, find as find_s3};
pub use server::{Running, Server, ServerOptions, free_port};

use std::fmt;

/// What a store may stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    Sqlite,
    Postgres,
    /// MySQL's protocol; MariaDB is what answers where it is installed.
    MySql,
}

impl Engine {
    pub const ALL: [Engine; 3] = [Engine::Sqlite, Engine::Postgres, Engine::MySql];
    /// Those that are processes of their own, which several of ours can share.
    pub const SERVERS: [Engine; 2] = [Engine::Postgres, Engine::MySql];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
            Engine::MySql => "MySQL",
        }
    }

    /// The environment variable that points at a server which runs already. The database in its URL
    /// is only the one to connect to first.
    #[must_use]
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Engine::Sqlite => None,
            Engine::Postgres => Some("TIDEWIRE_TEST_POSTGRES_URL"),
            Engine::MySql => Some("TIDEWIRE_TEST_MYSQL_URL"),
        }
    }

    /// The server that the environment names, if it names one.
    #[must_use]
    pub fn named_url(self) -> Option<String> {
        let url = std::env::var(self.variable()?).ok()?;
        (!url.is_empty()).then_some(url)
    }

    /// The Debian package that brings its programs.
    #[must_use]
    pub fn package(self) -> Option<&'static str> {
        match self {
            Engine::Sqlite => None,
            Engine::Postgres => Some("postgresql"),
            Engine::MySql => Some("mariadb-server"),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why there is no server.
#[derive(Clone, Debug)]
pub struct Error(String);

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Error(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

/// Says what was tried when the system refuses it.
trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error(format!("{}: {error}", what())))
    }
}
