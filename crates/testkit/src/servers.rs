//! The servers that tests run against.
//!
//! Each test program has at most one server of each engine, started when it is first wanted, or uses
//! the one that the environment names (`TIDEWIRE_TEST_POSTGRES_URL`, `TIDEWIRE_TEST_MYSQL_URL`), as
//! `cargo xtask test` does for all of its programs. They do without `fsync`. Every store has a
//! database of its own there, so tests do not meet.

use std::{
    io::Write as _,
    net::SocketAddr,
    ops::DerefMut,
    sync::{Arc, Mutex, Once, OnceLock, PoisonError},
};

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, PgConnection};
pub use tidewire_testservers::{Found, Kubernetes, PgBouncer, ServerOptions, at_address};
use tidewire_testservers::{
    Kafka as BlockingKafka, Redis as BlockingRedis, Running, S3 as BlockingS3, Server as Blocking,
    find_kubernetes, find_pgbouncer, of_database,
};
use tokio::task::spawn_blocking;

use crate::Engine;

/// Its URL, and what keeps it alive if it is ours.
struct Shared {
    url: String,
    _server: Option<Blocking>,
}

fn shared(engine: Engine) -> &'static Result<Shared, String> {
    static POSTGRES: OnceLock<Result<Shared, String>> = OnceLock::new();
    static MYSQL: OnceLock<Result<Shared, String>> = OnceLock::new();
    let server = match engine {
        Engine::Sqlite => panic!("SQLite is a file and has no server"),
        Engine::Postgres => &POSTGRES,
        Engine::MySql => &MYSQL,
    };
    server.get_or_init(|| {
        if let Some(url) = engine.named_url() {
            return Ok(Shared { url, _server: None });
        }
        match Blocking::start(engine, ServerOptions::default()) {
            Ok(server) => Ok(Shared {
                url: server.url(),
                _server: Some(server),
            }),
            Err(error) => {
                say(&format!("left out: all tests on {engine}: {error}"));
                Err(error.to_string())
            }
        }
    })
}

/// Whether tests on this engine can run here. Panics if they cannot and must.
#[must_use]
pub fn is_there(engine: Engine) -> bool {
    if engine == Engine::Sqlite {
        return true;
    }
    match shared(engine) {
        Ok(_) => true,
        Err(why) => {
            assert!(
                !are_required(),
                "{REQUIRED}=1 is set, and there is no {engine}: {why}"
            );
            false
        }
    }
}

const REQUIRED: &str = "TIDEWIRE_TEST_REQUIRE_ENGINES";

fn are_required() -> bool {
    std::env::var_os(REQUIRED).is_some_and(|value| value == "1")
}

/// A line of its own: what a macro prints is shown only when a test fails, and what is written in
/// pieces is cut apart by other tests.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// The URL of the server that this engine's tests share; panics if there is none.
#[must_use]
pub fn url(engine: Engine) -> String {
    match shared(engine) {
        Ok(shared) => shared.url.clone(),
        Err(why) => panic!("no {engine}: {why}"),
    }
}

/// A PgBouncer in transaction mode before the PostgreSQL with this URL, or nothing where it is not
/// installed and not required.
pub async fn pgbouncer(server: &str) -> Option<PgBouncer> {
    static SAID: Once = Once::new();
    if let Err(error) = find_pgbouncer() {
        assert!(!are_required(), "{REQUIRED}=1 is set: {error}");
        SAID.call_once(|| say(&format!("left out: all tests on PgBouncer: {error}")));
        return None;
    }
    let server = server.to_owned();
    let started = spawn_blocking(move || PgBouncer::start(&server)).await;
    let pooler = started.expect("it does not panic");
    Some(pooler.unwrap_or_else(|error| panic!("no PgBouncer: {error}")))
}

/// The `HOST:PORT` of the Kafka that this program's tests share, or nothing where it is not installed
/// and not required. Whoever uses it has topics and groups of their own there.
pub async fn kafka() -> Option<String> {
    static SHARED: Lent<BlockingKafka> = OnceLock::new();
    lent("Kafka", &SHARED, BlockingKafka::named, || {
        let kafka = BlockingKafka::start()?;
        Ok((kafka.address(), kafka))
    })
    .await
}

/// Where a server is that a program's tests share, and what keeps it alive if it is ours.
type Lent<S> = OnceLock<Result<(String, Option<S>), String>>;

async fn lent<S: Send + Sync + 'static>(
    name: &'static str,
    shared: &'static Lent<S>,
    named: fn() -> Option<String>,
    start: fn() -> tidewire_testservers::Result<(String, S)>,
) -> Option<String> {
    let first = move || {
        if let Some(there) = named() {
            return Ok((there, None));
        }
        match start() {
            Ok((there, server)) => Ok((there, Some(server))),
            Err(error) => {
                say(&format!("left out: all tests on {name}: {error}"));
                Err(error.to_string())
            }
        }
    };
    let found = spawn_blocking(move || shared.get_or_init(first)).await;
    match found.expect("it does not panic") {
        Ok((there, _)) => Some(there.clone()),
        Err(why) => {
            assert!(
                !are_required(),
                "{REQUIRED}=1 is set, and there is no {name}: {why}"
            );
            None
        }
    }
}

/// Beside the runtime: its tasks go on while the server is away.
async fn change<S: DerefMut<Target = Running> + Send + 'static>(
    server: &Arc<Mutex<S>>,
    what: &'static str,
    change: fn(&mut S) -> tidewire_testservers::Result<()>,
) {
    let server = Arc::clone(server);
    let done = spawn_blocking(move || {
        let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
        let product = server.found().product;
        change(&mut server).unwrap_or_else(|error| panic!("{product} did not {what}: {error}"));
    });
    done.await.expect("the server does as it is told");
}

/// A Kafka of one's own, for tests that stop it. It ends, and its data go, when it is dropped.
#[derive(Clone)]
pub struct Kafka {
    kafka: Arc<Mutex<BlockingKafka>>,
    address: String,
}

impl Kafka {
    /// Starts an empty one, in a few seconds; panics if there is none.
    pub async fn start() -> Self {
        let started = spawn_blocking(BlockingKafka::start).await;
        let kafka = started
            .expect("it does not panic")
            .unwrap_or_else(|error| panic!("no Kafka: {error}"));
        Kafka {
            address: kafka.address(),
            kafka: Arc::new(Mutex::new(kafka)),
        }
    }

    /// Ends it cleanly.
    pub async fn stop(&self) {
        change(&self.kafka, "stop", |kafka| kafka.stop()).await;
    }

    /// Ends it with -9.
    pub async fn kill(&self) {
        change(&self.kafka, "kill", |kafka| kafka.kill()).await;
    }

    /// Starts it on its old port and folder, and waits until it serves.
    pub async fn start_again(&self) {
        change(&self.kafka, "start again", |kafka| kafka.start_again()).await;
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The URL of the Redis that this program's tests share, or nothing where it is not installed and not
/// required. Whoever uses it has keys of their own there: see [`own_prefix`].
pub async fn redis() -> Option<String> {
    static SHARED: Lent<BlockingRedis> = OnceLock::new();
    lent("Redis", &SHARED, BlockingRedis::named, || {
        let redis = BlockingRedis::start(ServerOptions::default())?;
        Ok((redis.url(), redis))
    })
    .await
}

/// How the names of one test's keys begin in a shared Redis, or its objects' in a shared bucket.
#[must_use]
pub fn own_prefix() -> String {
    format!("test-{}", random_name())
}

/// A Redis of one's own, for tests that stop it. It ends, and its data go, when it is dropped.
#[derive(Clone)]
pub struct Redis {
    redis: Arc<Mutex<BlockingRedis>>,
    url: String,
}

impl Redis {
    /// Starts an empty one, or nothing where it is not installed and not required.
    pub async fn start(options: ServerOptions) -> Option<Self> {
        let started = spawn_blocking(move || BlockingRedis::start(options)).await;
        match started.expect("it does not panic") {
            Ok(redis) => Some(Redis {
                url: redis.url(),
                redis: Arc::new(Mutex::new(redis)),
            }),
            Err(error) => {
                assert!(!are_required(), "{REQUIRED}=1 is set: {error}");
                say(&format!("left out: a test on Redis: {error}"));
                None
            }
        }
    }

    /// Ends it with -9.
    pub async fn kill(&self) {
        change(&self.redis, "kill", |redis| redis.kill()).await;
    }

    /// Starts it on its old port, with what it had.
    pub async fn start_again(&self) {
        change(&self.redis, "start again", |redis| redis.start_again()).await;
    }

    /// Starts it on its old port, and it has forgotten everything.
    pub async fn start_empty(&self) {
        change(&self.redis, "start anew", BlockingRedis::start_empty).await;
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The API of Kubernetes that this program's tests share, or nothing: where the slow suites are left out, or
/// it is not built. Whoever uses it has namespaces and nodes of his own there.
pub async fn kubernetes() -> Option<&'static Kubernetes> {
    static SHARED: OnceLock<Result<Option<Kubernetes>, String>> = OnceLock::new();
    let first = || {
        if std::env::var_os("TIDEWIRE_TEST_FULL").is_none_or(|value| value != "1") {
            say("left out: all tests on Kubernetes: TIDEWIRE_TEST_FULL=1 is not set");
            return Ok(None);
        }
        if let Err(error) = find_kubernetes() {
            say(&format!("left out: all tests on Kubernetes: {error}"));
            return Ok(None);
        }
        Kubernetes::start()
            .map(Some)
            .map_err(|error| error.to_string())
    };
    let found = spawn_blocking(move || SHARED.get_or_init(first)).await;
    match found.expect("it does not panic") {
        Ok(found) => found.as_ref(),
        Err(error) => panic!("no Kubernetes: {error}"),
    }
}

/// Where an S3 is, and who may do everything there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Address {
    pub endpoint: String,
    pub bucket: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl S3Address {
    /// From `http://ACCESS_KEY_ID:SECRET_ACCESS_KEY@HOST:PORT/BUCKET`.
    fn of(url: &str) -> Option<Self> {
        let (login, server) = url.strip_prefix("http://")?.split_once('@')?;
        let (id, secret) = login.split_once(':')?;
        let (host, bucket) = server.split_once('/')?;
        Some(S3Address {
            endpoint: format!("http://{host}"),
            bucket: bucket.to_owned(),
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
        })
    }
}

/// The S3 that this program's tests share, or nothing where it is not installed and not required.
/// Whoever uses it has a prefix of their own there: see [`own_prefix`].
pub async fn s3() -> Option<S3Address> {
    static SHARED: Lent<BlockingS3> = OnceLock::new();
    let url = lent("S3", &SHARED, BlockingS3::named, || {
        let s3 = BlockingS3::start()?;
        Ok((s3.url(), s3))
    });
    let url = url.await?;
    let address = S3Address::of(&url);
    Some(address.unwrap_or_else(|| panic!("{} is no URL of an S3", BlockingS3::VARIABLE)))
}

/// An S3 of one's own, for tests that stop it. It ends, and its data go, when it is dropped.
#[derive(Clone)]
pub struct S3 {
    s3: Arc<Mutex<BlockingS3>>,
    address: S3Address,
}

impl S3 {
    /// Starts one with an empty bucket, or nothing where it is not installed and not required.
    pub async fn start() -> Option<Self> {
        let started = spawn_blocking(BlockingS3::start).await;
        match started.expect("it does not panic") {
            Ok(s3) => Some(S3 {
                address: S3Address::of(&s3.url()).expect("its own URL"),
                s3: Arc::new(Mutex::new(s3)),
            }),
            Err(error) => {
                assert!(!are_required(), "{REQUIRED}=1 is set: {error}");
                say(&format!("left out: a test on S3: {error}"));
                None
            }
        }
    }

    /// Ends it with -9.
    pub async fn kill(&self) {
        change(&self.s3, "kill", |s3| s3.kill()).await;
    }

    /// Starts it on its old port, with what it had.
    pub async fn start_again(&self) {
        change(&self.s3, "start again", |s3| s3.start_again()).await;
    }

    #[must_use]
    pub fn address(&self) -> &S3Address {
        &self.address
    }
}

/// A server of one's own, for tests that stop it. It ends, and its data go, when it is dropped.
#[derive(Clone)]
pub struct Server {
    server: Arc<Mutex<Blocking>>,
    engine: Engine,
    url: String,
}

impl Server {
    /// Starts an empty one, in a second or two; panics if there is none.
    pub async fn start(engine: Engine, options: ServerOptions) -> Self {
        let started = spawn_blocking(move || Blocking::start(engine, options)).await;
        let server = started
            .expect("it does not panic")
            .unwrap_or_else(|error| panic!("no {engine}: {error}"));
        Server {
            engine,
            url: server.url(),
            server: Arc::new(Mutex::new(server)),
        }
    }

    /// Ends it cleanly; connections are cut.
    pub async fn stop(&self) {
        change(&self.server, "stop", |server| server.stop()).await;
    }

    /// Ends it with -9.
    pub async fn kill(&self) {
        change(&self.server, "kill", |server| server.kill()).await;
    }

    /// Starts it on its old port and folder, and waits until it takes connections.
    pub async fn start_again(&self) {
        change(&self.server, "start again", |server| server.start_again()).await;
    }

    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Its owner's URL, with a database that is always there.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        address(&self.url)
    }
}

/// Where the server with this URL listens; it is given by address, as that of a private server is.
#[must_use]
pub fn address(url: &str) -> SocketAddr {
    let host = url.split("://").nth(1).and_then(|rest| {
        let server = rest.split(['/', '?']).next()?;
        server.rsplit('@').next()
    });
    host.and_then(|host| host.parse().ok())
        .unwrap_or_else(|| panic!("no address and port in the server's URL"))
}

/// A database for one test, for a server of ours that is a process. It is dropped with this, in the
/// background: what a process does not get to at its end goes with the server.
pub struct Database {
    engine: Engine,
    server: String,
    name: String,
}

impl Database {
    /// An empty one on the server with this URL.
    pub async fn create(engine: Engine, server: &str) -> Self {
        let name = format!("tidewire_{}", random_name());
        let statement = match engine {
            Engine::MySql => {
                format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            }
            Engine::Postgres | Engine::Sqlite => {
                format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
            }
        };
        tell(engine, server, &[statement])
            .await
            .unwrap_or_else(|error| panic!("cannot create a database on {engine}: {error}"));
        Database {
            engine,
            server: server.to_owned(),
            name,
        }
    }

    /// Where it is, as the configuration of a server of ours would say it.
    #[must_use]
    pub fn url(&self) -> String {
        of_database(&self.server, &self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (engine, server) = (self.engine, std::mem::take(&mut self.server));
        let statements = match engine {
            // A transaction that a test left open must not hold this up for ever.
            Engine::MySql => vec![
                "SET lock_wait_timeout = 10".to_owned(),
                format!("DROP DATABASE {}", self.name),
            ],
            Engine::Postgres | Engine::Sqlite => {
                vec![format!("DROP DATABASE {} WITH (FORCE)", self.name)]
            }
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                // The server may be gone already, and the database with it.
                let _ = runtime.block_on(tell(engine, &server, &statements));
            }
        });
    }
}

/// Runs statements on a connection of their own.
async fn tell(engine: Engine, server: &str, statements: &[String]) -> sqlx::Result<()> {
    match engine {
        Engine::MySql => {
            let mut connection = MySqlConnection::connect(server).await?;
            for statement in statements {
                let statement = sqlx::raw_sql(AssertSqlSafe(statement.clone()));
                statement.execute(&mut connection).await?;
            }
            connection.close().await
        }
        Engine::Postgres | Engine::Sqlite => {
            let mut connection = PgConnection::connect(server).await?;
            for statement in statements {
                let statement = sqlx::raw_sql(AssertSqlSafe(statement.clone()));
                statement.execute(&mut connection).await?;
            }
            connection.close().await
        }
    }
}

/// Many programs share a server: a counter would do for one of them only.
fn random_name() -> String {
    let bytes: [u8; 8] = tidewire_core::clock::random_bytes();
    format!("{:016x}", u64::from_be_bytes(bytes))
}
