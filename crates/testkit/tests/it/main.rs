//! What tests rely on: that engines are there or left out loudly, that stores do not meet, and that
//! faults are what they are called.

mod missing;
mod proxy;
mod server;
mod store;

use tidewire_core::Clock;
use tidewire_db::{Arg, Db, Migration, Query as _};

const MIGRATIONS: &[Migration] = &[Migration {
    id: "0001_notes",
    up: &["CREATE TABLE notes (id {int} NOT NULL PRIMARY KEY, text {text} NOT NULL)"],
}];

async fn write(db: &Db, id: i64, text: &'static str) -> tidewire_db::Result<u64> {
    let sql = db
        .dialect()
        .sql("INSERT INTO notes (id, text) VALUES (?, ?)");
    db.transact("note", move |tx| {
        let sql = sql.clone();
        Box::pin(async move { tx.execute(&sql, vec![id.into(), Arg::from(text)]).await })
    })
    .await
}

async fn notes(db: &Db) -> tidewire_db::Result<Vec<(i64, String)>> {
    let sql = db.dialect().sql("SELECT id, text FROM notes ORDER BY id");
    let rows = db.read().rows(&sql, vec![]).await?;
    rows.iter()
        .map(|row| Ok((row.int(0)?, row.text(1)?)))
        .collect()
}

fn clock() -> Clock {
    Clock::system()
}
