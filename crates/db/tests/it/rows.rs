//! What goes in comes out, on every engine: types, NULLs, row sets.

use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Db, Dialect, Migration, Query, Row, Sql};
use tidewire_testkit::{Engine, TestStore, every_engine};

const MIGRATIONS: &[Migration] = &[Migration {
    id: "0001_things",
    up: &[
        "CREATE TABLE things (
            id {id} NOT NULL, name {key}, note {text}, doc {json}, at {time}, n {int}, hash {bytes},
            PRIMARY KEY (id)) {churning}",
        "CREATE UNIQUE INDEX things_by_name ON things (name) {where name IS NOT NULL}",
        "CREATE INDEX things_by_hash ON things (hash)",
    ],
}];

const COLUMNS: [Column; 7] = [
    Column::Id("id"),
    Column::Text("name"),
    Column::Text("note"),
    Column::Json("doc"),
    Column::Time("at"),
    Column::Int("n"),
    Column::Bytes("hash"),
];

fn at(micros: i64) -> Time {
    Time::from_micros(1_769_860_800_000_000 + micros)
}

type Thing<'t> = (
    &'t str,
    Option<&'t str>,
    Option<&'t str>,
    Option<&'t str>,
    Option<String>,
    Option<i64>,
    Option<&'t str>,
);

async fn write(db: &Db, sql: Sql, args: Vec<Arg>) {
    db.transact("test", move |tx| {
        let (sql, args) = (sql.clone(), args.clone());
        Box::pin(async move { tx.push(&sql, args).await })
    })
    .await
    .unwrap();
}

async fn insert(db: &Db, things: &[Thing<'_>]) {
    let rows = db.dialect().json_rows("r", &COLUMNS);
    let sql = db.dialect().sql(&format!(
        "INSERT INTO things (id, name, note, doc, at, n, hash) SELECT {} FROM {}",
        rows.columns, rows.from
    ));
    write(db, sql, vec![Arg::json(things).unwrap()]).await;
}

async fn things(db: &Db) -> Vec<Row> {
    let sql = db
        .dialect()
        .sql("SELECT id, name, note, doc, at, n, hash FROM things ORDER BY id");
    db.read().rows(&sql, vec![]).await.unwrap()
}

fn numbered<'t>(id: &'t str, n: i64) -> Thing<'t> {
    (id, None, None, None, None, Some(n), None)
}

async fn numbers(db: &Db) -> Vec<(String, i64)> {
    let rows = things(db).await;
    rows.iter()
        .map(|row| (row.text(0).unwrap(), row.int(5).unwrap()))
        .collect()
}

#[every_engine]
async fn what_goes_in_comes_out(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = &store.db;
    // Characters that break quoting, widths, character sets and JSON inside JSON.
    let odd = "a'b\"c\\d\n\t€\u{1F980}$1 ?";
    let doc =
        r#"{"deep":[[[["'\"\\\u20ac"]]]],"digits":1234567890.123456789012345678901234567890}"#;
    let long = "€".repeat(100_000);
    let rows: [Thing<'_>; 2] = [
        (
            "a",
            Some(odd),
            Some(&long),
            Some(doc),
            Some(db.dialect().json_time(at(1))),
            Some(i64::MAX),
            Some("00ff10"),
        ),
        ("b", None, None, None, None, None, None),
    ];
    insert(db, &rows).await;
    let found = things(db).await;
    let row = &found[0];
    assert_eq!(row.text(1).unwrap(), odd);
    assert_eq!(row.text(2).unwrap(), long);
    let json: &RawValue = &row.json(3).unwrap();
    assert_eq!(
        canonical(json.get()),
        canonical(doc),
        "equal as JSON, with every digit"
    );
    assert_eq!(row.time(4).unwrap(), at(1));
    assert_eq!(row.int(5).unwrap(), i64::MAX);
    assert_eq!(row.bytes(6).unwrap(), [0, 255, 16]);
    let empty = &found[1];
    assert_eq!(empty.opt_text(1).unwrap(), None);
    assert!(empty.opt_json(3).unwrap().is_none());
    assert_eq!(empty.opt_time(4).unwrap(), None);
    assert_eq!(empty.opt_int(5).unwrap(), None);
}

/// Without the white space between the parts.
fn canonical(json: &str) -> String {
    let parsed: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(json).unwrap();
    let parts = parsed.iter().map(|(key, value)| {
        format!(
            "{key}:{}",
            value.get().replace(' ', "").replace("\\u20ac", "€")
        )
    });
    parts.collect::<Vec<_>>().join(",")
}

#[every_engine]
async fn single_arguments_bind_and_a_null_takes_its_columns_type(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = &store.db;
    let sql = db.dialect().sql(
        "INSERT INTO things (id, name, note, doc, at, n, hash) VALUES (?, ?, ?, NULL, ?, ?, ?)",
    );
    let full = vec![
        "a".into(),
        "name".into(),
        "note".into(),
        at(2).into(),
        7_u64.into(),
        vec![1_u8, 2].into(),
    ];
    let nulls = vec![
        "b".into(),
        Arg::Null,
        Arg::Null,
        Arg::Null,
        Arg::Null,
        Arg::Null,
    ];
    // A NULL first, so that what the server inferred for it is what the value must fit.
    write(db, sql.clone(), nulls).await;
    write(db, sql, full).await;
    let found = things(db).await;
    assert_eq!(found[0].time(4).unwrap(), at(2));
    assert_eq!(found[0].count(5).unwrap(), 7);
    assert_eq!(found[0].bytes(6).unwrap(), [1, 2]);
    assert_eq!(found[1].opt_time(4).unwrap(), None);
    let sql = db
        .dialect()
        .sql("SELECT id FROM things WHERE at = ? AND hash = ? AND n = coalesce(?, n) LIMIT ?");
    let args = vec![at(2).into(), vec![1_u8, 2].into(), Arg::Null, 5_u32.into()];
    let found = db.read().row(&sql, args).await.unwrap().unwrap();
    assert_eq!(found.text(0).unwrap(), "a");
}

#[every_engine]
async fn row_sets_update_and_delete_what_they_name(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let (db, dialect) = (&store.db, store.db.dialect());
    let ids = ["a", "b", "c", "d", "e"];
    let all: Vec<_> = (1..).zip(ids).map(|(n, id)| numbered(id, n)).collect();
    insert(db, &all).await;

    let rows = dialect.json_rows("r", &[Column::Id("id"), Column::Int("more")]);
    let more = format!("things.n + {}", rows.col("more"));
    let sql = dialect.update_rows("things", &rows, &["id"], &[("n", &more)]);
    write(db, sql, vec![Arg::json(&[("a", 10), ("x", 10)]).unwrap()]).await;

    let list = dialect.json_ids("r", "id").arg(3);
    let sql = dialect.update_rows_where("things", &list, &["id"], &[("n", "?1")], "things.n > ?2");
    let args = vec![
        100_u32.into(),
        2_u32.into(),
        Arg::json(&["b", "c"]).unwrap(),
    ];
    write(db, sql, args).await;

    let rows = dialect.json_rows("r", &[Column::Id("id"), Column::Int("n")]);
    let sql = dialect.delete_rows("things", &rows, &["id", "n"]);
    write(db, sql, vec![Arg::json(&[("d", 4), ("e", 99)]).unwrap()]).await;

    let left = [("a", 11), ("b", 2), ("c", 100), ("e", 5)];
    let left = left.map(|(id, n)| (id.to_owned(), n));
    assert_eq!(numbers(db).await, left);

    let list = dialect.json_ids("r", "id").arg(2);
    let sql = dialect.delete_rows_where("things", &list, &["id"], "things.n < ?1");
    let args = vec![50_u32.into(), Arg::json(&ids).unwrap()];
    write(db, sql, args).await;
    assert_eq!(numbers(db).await, [("c".to_owned(), 100)]);
}

#[every_engine]
async fn sums_counts_and_what_is_there_already(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let (db, dialect) = (&store.db, store.db.dialect());
    insert(db, &[numbered("a", i64::MAX - 2), numbered("b", 2)]).await;
    let sum = dialect.sql(&format!(
        "SELECT {}, count(*) FROM things",
        dialect.sum("n")
    ));
    let row = db.read().row(&sum, vec![]).await.unwrap().unwrap();
    assert_eq!((row.int(0).unwrap(), row.count(1).unwrap()), (i64::MAX, 2));

    let (verb, unless) = dialect.insert_new();
    let rows = dialect.json_rows("r", &[Column::Id("id"), Column::Int("n")]);
    let sql = dialect.sql(&format!(
        "{verb} things (id, n) SELECT {} FROM {} WHERE 1 = 1{unless}",
        rows.columns, rows.from
    ));
    write(db, sql, vec![Arg::json(&[("b", 9), ("c", 3)]).unwrap()]).await;
    let left = [("b".to_owned(), 2), ("c".to_owned(), 3)];
    assert_eq!(numbers(db).await[1..], left);
    counted(db, dialect).await;
}

async fn counted(db: &Db, dialect: &'static Dialect) {
    let ids = dialect.json_ids("r", "id");
    let count = dialect.count_locked(&format!(
        "FROM {} CROSS JOIN things t WHERE t.id = {}",
        ids.from, ids.columns
    ));
    let found = db
        .transact("test", move |tx| {
            let count = count.clone();
            Box::pin(async move {
                let rows = tx.rows(&count, vec![Arg::json(&["a", "b", "x"])?]).await?;
                rows.iter()
                    .map(|row| row.int(0))
                    .sum::<tidewire_db::Result<i64>>()
            })
        })
        .await
        .unwrap();
    assert_eq!(found, 2);
}
