//! A store for one test.

use std::net::SocketAddr;

use tempfile::TempDir;
use tidewire_core::Clock;
use tidewire_db::{Db, Migration, Options, StoreUrl};

use crate::{
    Engine,
    servers::{self, Database, PgBouncer, Server, at_address},
};

/// A store of its own: a SQLite file in a temporary folder, or a database on a server. It goes away
/// when it is dropped.
pub struct TestStore {
    pub db: Db,
    pub clock: Clock,
    place: Place,
}

enum Place {
    File(TempDir),
    Database(Database),
}

impl Place {
    fn url(&self) -> String {
        match self {
            Place::File(folder) => format!("sqlite://{}", folder.path().join("test.db").display()),
            Place::Database(database) => database.url(),
        }
    }

    async fn open(&self, migrations: &[Migration], clock: &Clock) -> Db {
        let db = open(&self.url()).await;
        db.migrate(migrations, clock)
            .await
            .expect("the migrations apply");
        db
    }
}

async fn open(url: &str) -> Db {
    Db::open(Options::new(store_url(url)))
        .await
        .expect("the store opens")
}

fn store_url(url: &str) -> StoreUrl {
    url.parse().expect("a store's URL")
}

impl TestStore {
    /// Opens an empty SQLite file with `migrations` applied, under the system's clock.
    pub async fn open(migrations: &[Migration]) -> Self {
        Self::on(Engine::Sqlite, migrations).await
    }

    /// An empty SQLite file under this clock.
    pub async fn with_clock(migrations: &[Migration], clock: Clock) -> Self {
        Self::on_with_clock(Engine::Sqlite, migrations, clock).await
    }

    /// An empty store on this engine, under the system's clock.
    pub async fn on(engine: Engine, migrations: &[Migration]) -> Self {
        Self::on_with_clock(engine, migrations, Clock::system()).await
    }

    /// An empty store on this engine, under this clock.
    pub async fn on_with_clock(engine: Engine, migrations: &[Migration], clock: Clock) -> Self {
        let place = match engine {
            Engine::Sqlite => Place::File(TempDir::new().expect("a temporary folder")),
            Engine::Postgres | Engine::MySql => {
                Place::Database(Database::create(engine, &servers::url(engine)).await)
            }
        };
        Self::at(place, migrations, clock).await
    }

    /// An empty store on a server of the test's own.
    pub async fn on_server(server: &Server, migrations: &[Migration], clock: Clock) -> Self {
        let database = Database::create(server.engine(), server.url()).await;
        Self::at(Place::Database(database), migrations, clock).await
    }

    async fn at(place: Place, migrations: &[Migration], clock: Clock) -> Self {
        let db = place.open(migrations, &clock).await;
        TestStore { db, clock, place }
    }

    /// Closes the store and opens the same one again, as after a restart.
    pub async fn reopen(self, migrations: &[Migration]) -> Self {
        let TestStore { db, clock, place } = self;
        db.close().await;
        Self::at(place, migrations, clock).await
    }

    /// The same store once more, as a second process has it. Panics on SQLite, whose file belongs to
    /// one process.
    pub async fn second(&self) -> Db {
        open(&self.database().url()).await
    }

    /// The same store, reached at another address: through a proxy. Panics on SQLite.
    pub async fn through(&self, address: SocketAddr) -> Db {
        open(&at_address(&self.database().url(), address)).await
    }

    /// The same store through a pooler, as a process whose configuration names both ways has it: it
    /// listens for others on the direct one. Panics but on PostgreSQL.
    pub async fn pooled(&self, pooler: &PgBouncer) -> Db {
        let direct = self.database().url();
        let mut options = Options::new(store_url(&pooler.url(&direct)));
        options.listen_url = Some(store_url(&direct));
        Db::open(options).await.expect("the store opens")
    }

    /// Where it is, as the configuration of a server of ours would say it.
    #[must_use]
    pub fn url(&self) -> String {
        self.place.url()
    }

    /// Where its server listens, for a proxy to lead to. Panics on SQLite.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        servers::address(&self.database().url())
    }

    fn database(&self) -> &Database {
        match &self.place {
            Place::Database(database) => database,
            Place::File(_) => panic!(
                "a SQLite file belongs to one process and has no address: run this scenario on #[every_engine(servers)]"
            ),
        }
    }
}
