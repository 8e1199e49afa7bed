//! Going straight to a place of an index, on every engine.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Db, Migration, Query};
use tidewire_testkit::{Engine, TestStore, every_engine};

const MIGRATIONS: &[Migration] = &[Migration {
    id: "0001_entries",
    up: &["CREATE TABLE entries (
            kind {id} NOT NULL, rank {int} NOT NULL, due {time} NOT NULL, id {id} NOT NULL,
            PRIMARY KEY (kind, rank, due, id)) {churning}"],
}];

const COLUMNS: [Column; 4] = [
    Column::Id("kind"),
    Column::Int("rank"),
    Column::Time("due"),
    Column::Id("id"),
];

fn due(n: i64) -> Time {
    Time::from_micros(1_769_860_800_000_000 + n)
}

type Entry = (&'static str, i64, i64, &'static str);

const ENTRIES: [Entry; 8] = [
    ("a", -1, 5, "x"),
    ("a", -1, 5, "y"),
    ("a", -1, 7, "a"),
    ("a", 2, 1, "m"),
    ("a.b", 2, 3, "z"),
    ("a.b", 2, 3, "zz"),
    ("b", 0, 9, "q"),
    ("b", 0, 9, "r"),
];

async fn store(engine: Engine) -> TestStore {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let dialect = store.db.dialect();
    let rows = dialect.json_rows("r", &COLUMNS);
    let sql = dialect.sql(&format!(
        "INSERT INTO entries (kind, rank, due, id) SELECT {} FROM {}",
        rows.columns, rows.from
    ));
    let entries: Vec<_> = ENTRIES
        .iter()
        .map(|(kind, rank, n, id)| (kind, rank, dialect.json_time(due(*n)), id))
        .collect();
    write(&store.db, sql, vec![Arg::json(&entries).unwrap()]).await;
    store
}

async fn write(db: &Db, sql: tidewire_db::Sql, args: Vec<Arg>) {
    db.transact("test", move |tx| {
        let (sql, args) = (sql.clone(), args.clone());
        Box::pin(async move { tx.push(&sql, args).await })
    })
    .await
    .unwrap();
}

#[every_engine]
async fn the_first_row_of_each_group_is_found(engine: Engine) {
    let store = store(engine).await;
    let sql = store
        .db
        .dialect()
        .firsts("entries", &["kind", "rank"], ["due", "id"]);
    let rows = store.db.read().rows(&sql, Vec::new()).await.unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let (kind, rank) = (row.text(0).unwrap(), row.int(1).unwrap());
            let n = row.time(2).unwrap().micros() - due(0).micros();
            (kind, rank, n, row.text(3).unwrap())
        })
        .collect();
    let mut firsts: Vec<_> = [ENTRIES[0], ENTRIES[3], ENTRIES[4], ENTRIES[6]]
        .map(|(kind, rank, n, id)| (kind.to_owned(), rank, n, id.to_owned()))
        .into();
    let mut found = found;
    found.sort();
    firsts.sort();
    assert_eq!(found, firsts);

    let none = store.db.dialect().sql("DELETE FROM entries");
    write(&store.db, none, Vec::new()).await;
    assert!(
        store
            .db
            .read()
            .rows(&sql, Vec::new())
            .await
            .unwrap()
            .is_empty()
    );
}

#[every_engine]
async fn a_place_of_an_index_and_what_is_behind_it(engine: Engine) {
    let store = store(engine).await;
    let dialect = store.db.dialect();
    let sql = dialect.sql(&format!(
        "SELECT id FROM entries WHERE kind = ?1 AND rank = ?2 AND {} AND due <= ?5 ORDER BY due, id",
        dialect.at_or_behind(&["due", "id"], &["?3", "?4"])
    ));
    for (n, id, until, wanted) in [
        (5, "x", 9, vec!["x", "y", "a"]),
        (5, "x!", 9, vec!["y", "a"]),
        (5, "", 5, vec!["x", "y"]),
        (6, "z", 9, vec!["a"]),
        (7, "b", 9, vec![]),
    ] {
        let args = vec![
            "a".into(),
            (-1_i64).into(),
            due(n).into(),
            id.into(),
            due(until).into(),
        ];
        let rows = store.db.read().rows(&sql, args).await.unwrap();
        let found: Vec<_> = rows.iter().map(|row| row.text(0).unwrap()).collect();
        assert_eq!(found, wanted, "({n}, {id})");
    }
}

#[every_engine]
async fn what_is_alike_in_all_rows_travels_once(engine: Engine) {
    let store = store(engine).await;
    let dialect = store.db.dialect();
    let rows = dialect
        .json_rows("r", &[Column::Time("due"), Column::Id("id")])
        .arg(3)
        .with(&[("kind", 1), ("rank", 2)]);
    let sql = dialect.delete_rows("entries", &rows, &["kind", "rank", "due", "id"]);
    let gone = [
        (dialect.json_time(due(5)), "x"),
        (dialect.json_time(due(7)), "a"),
        (dialect.json_time(due(9)), "q"),
    ];
    let args = vec!["a".into(), (-1_i64).into(), Arg::json(&gone).unwrap()];
    write(&store.db, sql, args).await;
    let ids = dialect.json_ids("r", "id").arg(1).with(&[("kind", 2)]);
    let sql = dialect.update_rows("entries", &ids, &["kind", "id"], &[("rank", "?3")]);
    let args = vec![
        Arg::json(&["z", "q", "none"]).unwrap(),
        "a.b".into(),
        77_i64.into(),
    ];
    write(&store.db, sql, args).await;
    let all = dialect.sql("SELECT id, rank FROM entries ORDER BY id");
    let rows = store.db.read().rows(&all, Vec::new()).await.unwrap();
    let left: Vec<_> = rows
        .iter()
        .map(|row| (row.text(0).unwrap(), row.int(1).unwrap()))
        .collect();
    let left: Vec<_> = left.iter().map(|(id, rank)| (id.as_str(), *rank)).collect();
    assert_eq!(
        left,
        [
            ("m", 2),
            ("q", 0),
            ("r", 0),
            ("y", -1),
            ("z", 77),
            ("zz", 2)
        ]
    );
}
