//! A store for one test.

use std::path::PathBuf;

use tempfile::TempDir;
use tidewire_core::Clock;
use tidewire_db::{Db, Migration, Options, StoreUrl};

/// A SQLite file in a folder of its own; both go away when it is dropped.
pub struct TestStore {
    pub db: Db,
    pub clock: Clock,
    folder: TempDir,
}

impl TestStore {
    /// Opens an empty store with `migrations` applied, under the system's clock.
    pub async fn open(migrations: &[Migration]) -> Self {
        Self::with_clock(migrations, Clock::system()).await
    }

    pub async fn with_clock(migrations: &[Migration], clock: Clock) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let db = Self::open_file(folder.path().join("test.db"), migrations, &clock).await;
        TestStore { db, clock, folder }
    }

    /// Closes the store and opens the same file again, as after a restart.
    pub async fn reopen(self, migrations: &[Migration]) -> Self {
        let TestStore { db, clock, folder } = self;
        db.close().await;
        let db = Self::open_file(folder.path().join("test.db"), migrations, &clock).await;
        TestStore { db, clock, folder }
    }

    async fn open_file(path: PathBuf, migrations: &[Migration], clock: &Clock) -> Db {
        let db = Db::open(Options::new(StoreUrl::Sqlite(path)))
            .await
            .expect("the store opens");
        db.migrate(migrations, clock)
            .await
            .expect("the migrations apply");
        db
    }
}
