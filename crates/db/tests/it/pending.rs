//! What migrating would do, looked at without doing it.

use tempfile::TempDir;
use tidewire_db::{Db, Options, StoreUrl};
use tidewire_testkit::{Engine, TestStore, every_engine};

use crate::store::MIGRATIONS;

#[every_engine]
async fn what_is_pending_is_told_beside_who_has_the_store_open(engine: Engine) {
    let store = TestStore::on(engine, &[]).await;
    let options = Options::new(store.url().parse().unwrap());
    let pending = Db::pending_in(options.clone(), MIGRATIONS).await.unwrap();
    assert_eq!(pending, [MIGRATIONS[0].id]);
    store.db.migrate(MIGRATIONS, &store.clock).await.unwrap();
    let pending = Db::pending_in(options.clone(), MIGRATIONS).await.unwrap();
    assert!(pending.is_empty(), "{pending:?}");
    // As `migrate` would, it refuses what a newer version made.
    let newer = Db::pending_in(options, &[]).await.unwrap_err();
    assert!(newer.to_string().contains(MIGRATIONS[0].id), "{newer}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data").join("none.db");
    let options = Options::new(StoreUrl::Sqlite(file));
    let pending = Db::pending_in(options, MIGRATIONS).await.unwrap();
    assert_eq!(pending, [MIGRATIONS[0].id]);
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}
