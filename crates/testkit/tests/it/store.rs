//! Stores, on every engine.

use std::time::Duration;

use tidewire_core::{Clock, Time};
use tidewire_testkit::{Engine, TestStore, every_engine, servers};

use crate::{MIGRATIONS, notes, write};

#[every_engine]
async fn each_test_has_a_store_of_its_own(engine: Engine) {
    let one = TestStore::on(engine, MIGRATIONS).await;
    let other = TestStore::on(engine, MIGRATIONS).await;
    assert_ne!(one.url(), other.url());
    write(&one.db, 1, "mine").await.unwrap();
    assert_eq!(notes(&other.db).await.unwrap(), []);
}

#[every_engine]
async fn what_was_written_is_there_after_a_restart(engine: Engine) {
    let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
    let store = TestStore::on_with_clock(engine, MIGRATIONS, clock).await;
    write(&store.db, 1, "Zoë 🌊 ' \" \\").await.unwrap();
    store.clock.advance(Duration::from_mins(1));
    let now = store.clock.now();
    let store = store.reopen(MIGRATIONS).await;
    assert_eq!(store.clock.now(), now);
    let kept = notes(&store.db).await.unwrap();
    assert_eq!(kept, [(1, "Zoë 🌊 ' \" \\".to_owned())]);
}

#[every_engine(servers, multi_thread)]
async fn a_second_process_sees_the_same_store(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let second = store.second().await;
    write(&store.db, 1, "from the first").await.unwrap();
    write(&second, 2, "from the second").await.unwrap();
    assert_eq!(
        notes(&store.db).await.unwrap(),
        notes(&second).await.unwrap()
    );
    // They are two processes to the store: one may end without the other.
    second.close().await;
    write(&store.db, 3, "alone").await.unwrap();
}

#[every_engine(sqlite)]
async fn a_file_has_no_second_process(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let second = tokio::spawn(async move { store.second().await.dialect() });
    let panic = second.await.unwrap_err().into_panic();
    let text = panic.downcast_ref::<&str>().copied().unwrap_or_default();
    assert!(text.contains("one process"), "{text:?}");
}

/// Many at once, as a test program with many threads has them.
#[every_engine(servers)]
async fn many_stores_can_be_open(engine: Engine) {
    let open = (0..10).map(|_| TestStore::on(engine, MIGRATIONS));
    let stores = futures_util::future::join_all(open).await;
    for store in &stores {
        write(&store.db, 1, "one of many").await.unwrap();
    }
}

#[every_engine(postgres)]
async fn a_store_is_reached_through_a_pooler(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    write(&store.db, 1, "direct").await.unwrap();
    let Some(pooler) = servers::pgbouncer(&store.url()).await else {
        return;
    };
    let pooled = store.pooled(&pooler).await;
    write(&pooled, 2, "pooled").await.unwrap();
    assert_eq!(notes(&pooled).await.unwrap().len(), 2);
    pooled.close().await;
}
