//! The store's promises, on every engine.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tempfile::TempDir;
use tidewire_core::Clock;
use tidewire_db::{Arg, Batch, Db, Error, Migration, Options, Query, Result, StoreUrl, Tx};
use tidewire_testkit::{Engine, TestStore, every_engine};

pub const MIGRATIONS: &[Migration] = &[Migration {
    id: "0001_test",
    up: &["CREATE TABLE notes (id {int} NOT NULL PRIMARY KEY, text {text} NOT NULL)"],
}];

pub async fn notes(db: &Db) -> Vec<(i64, String)> {
    let sql = db.dialect().sql("SELECT id, text FROM notes ORDER BY id");
    let rows = db.read().rows(&sql, vec![]).await.unwrap();
    rows.iter()
        .map(|row| (row.int(0).unwrap(), row.text(1).unwrap()))
        .collect()
}

pub async fn note(tx: &mut Tx, id: i64, text: &str) -> Result<u64> {
    let sql = tx
        .dialect()
        .sql("INSERT INTO notes (id, text) VALUES (?, ?)");
    tx.execute(&sql, vec![id.into(), Arg::from(text)]).await
}

/// Inserts notes; a second one with the same id breaks the primary key.
#[derive(Default)]
pub struct Notes {
    pub batches: Arc<AtomicUsize>,
}

impl Batch for Notes {
    type In = (i64, String);
    type Out = i64;
    const NAME: &'static str = "notes";
    const WRITER: &'static str = "notes";
    const ROUND: usize = 100;

    fn weight(&self, _: &Self::In) -> usize {
        1
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, ops: &'a [Self::In]) -> Result<Vec<i64>> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        for (id, text) in ops {
            note(tx, *id, text).await?;
        }
        Ok(ops.iter().map(|(id, _)| *id).collect())
    }
}

#[every_engine(multi_thread)]
async fn operations_share_commits_and_a_bad_one_fails_alone(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = store.db.clone();
    let batch = Notes::default();
    let batches = Arc::clone(&batch.batches);
    let lane = db.lane(batch);
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let lane = lane.clone();
            // Every hundredth id comes twice.
            let id = if n % 100 == 99 { n - 1 } else { n };
            tokio::spawn(async move { lane.submit((id, format!("note {n}"))).await })
        })
        .collect();
    let mut conflicts = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => {}
            Err(Error::Conflict(_)) => conflicts += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(conflicts, 3);
    assert_eq!(notes(&db).await.len(), 297);
    assert!(batches.load(Ordering::SeqCst) > 0);
}

#[every_engine]
async fn a_failed_closure_leaves_nothing_and_runs_no_hook(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = store.db.clone();
    let hooks = Arc::new(AtomicUsize::new(0));
    for fails in [true, false] {
        let hooks = Arc::clone(&hooks);
        let result = db
            .transact("test", move |tx| {
                let hooks = Arc::clone(&hooks);
                Box::pin(async move {
                    note(tx, 1, "kept only once").await?;
                    tx.on_commit(move || {
                        hooks.fetch_add(1, Ordering::SeqCst);
                    });
                    if fails {
                        Err(Error::Setup("refused".to_owned()))
                    } else {
                        Ok(())
                    }
                })
            })
            .await;
        assert_eq!(result.is_err(), fails);
    }
    assert_eq!(notes(&db).await, [(1, "kept only once".to_owned())]);
    assert_eq!(hooks.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_second_server_on_a_file_is_told_who_has_it() {
    let folder = TempDir::new().unwrap();
    let url = StoreUrl::Sqlite(folder.path().join("test.db"));
    let db = Db::open(Options::new(url.clone())).await.unwrap();
    let Err(error) = Db::open(Options::new(url.clone())).await else {
        panic!("opened twice")
    };
    let text = error.to_string();
    assert!(text.contains("in use by another Tidewire"), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    db.close().await;
    Db::open(Options::new(url))
        .await
        .expect("free again")
        .close()
        .await;
}

#[every_engine]
async fn migrations_run_once_and_an_unknown_schema_is_refused(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = store.db.clone();
    let again = db.migrate(MIGRATIONS, &Clock::system()).await.unwrap();
    assert_eq!((again.applied.len(), again.already), (0, 1));
    let newer = db
        .migrate(&[], &Clock::system())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        newer.contains("0001_test") && newer.contains("newer"),
        "{newer}"
    );
    let edited = [Migration {
        id: "0001_test",
        up: &["CREATE TABLE notes (id {int})"],
    }];
    assert!(db.migrate(&edited, &Clock::system()).await.is_err());
}

#[every_engine]
async fn a_migration_that_fails_half_way_leaves_nothing(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = store.db.clone();
    let broken = [
        MIGRATIONS[0],
        Migration {
            id: "0002_broken",
            up: &["CREATE TABLE half (id {int})", "CREATE TABLE oops ("],
        },
    ];
    assert!(db.migrate(&broken, &Clock::system()).await.is_err());
    let mended = [
        MIGRATIONS[0],
        Migration {
            id: "0002_broken",
            up: &["CREATE TABLE half (id {int})"],
        },
    ];
    assert_eq!(
        db.migrate(&mended, &Clock::system()).await.unwrap().applied,
        ["0002_broken"]
    );
}

#[tokio::test]
async fn readers_of_a_file_cannot_write() {
    let store = TestStore::open(MIGRATIONS).await;
    let db = &store.db;
    let sql = db
        .dialect()
        .sql("INSERT INTO notes (id, text) VALUES (1, 'x') RETURNING id");
    assert!(db.read().rows(&sql, vec![]).await.is_err());
    assert!(notes(db).await.is_empty());
}

#[every_engine]
async fn closing_finishes_what_waits(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = store.db.clone();
    let lane = db.lane(Notes::default());
    let writes: Vec<_> = (0..50)
        .map(|n| {
            let lane = lane.clone();
            tokio::spawn(async move { lane.submit((n, "x".to_owned())).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    db.close().await;
    assert!(lane.submit((99, "late".to_owned())).await.is_err());
    let again = store.reopen(MIGRATIONS).await;
    assert_eq!(notes(&again.db).await.len(), 50);
}

/// Panics: a defect in a capability.
struct Defect;

impl Batch for Defect {
    type In = ();
    type Out = ();
    const NAME: &'static str = "defect";
    const WRITER: &'static str = "notes";
    const ROUND: usize = 1;

    fn weight(&self, (): &()) -> usize {
        1
    }

    async fn apply<'a>(&'a self, _: &'a mut Tx, _: &'a [()]) -> Result<Vec<()>> {
        panic!("on purpose")
    }
}

#[every_engine]
async fn a_writer_that_dies_of_a_defect_leaves_nobody_waiting(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = store.db.clone();
    let (notes, defect) = (db.lane(Notes::default()), db.lane(Defect));
    assert!(defect.submit(()).await.is_err());
    assert!(
        notes
            .submit((1, "late".to_owned()))
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(db.ping_writer().await.is_err());
}
