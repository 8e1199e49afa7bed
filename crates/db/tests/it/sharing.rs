//! What several processes may expect of each other on one store.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidewire_core::Clock;
use tidewire_db::{
    Batch, Db, Error, Hint, Keep, Migration, Options, Query, Reach, Result, Sql, Tx,
};
use tidewire_testkit::{Engine, Proxy, TestStore, eventually, every_engine, servers};

use crate::store::{self, note, notes};

/// A log for each owner, numbered without gaps by whoever holds the owner's lock.
const MIGRATIONS: &[Migration] = &[
    store::MIGRATIONS[0],
    Migration {
        id: "0002_logs",
        up: &[
            "CREATE TABLE logs (owner {id} NOT NULL, pos {int} NOT NULL, PRIMARY KEY (owner, pos)) {clustered}",
        ],
    },
];

struct Logs {
    head: Sql,
    insert: Sql,
}

impl Logs {
    fn new(db: &Db) -> Self {
        Logs {
            head: db
                .dialect()
                .sql("SELECT coalesce(max(pos), 0) FROM logs WHERE owner = ?"),
            insert: db
                .dialect()
                .sql("INSERT INTO logs (owner, pos) VALUES (?, ?)"),
        }
    }
}

impl Batch for Logs {
    type In = (String, String);
    type Out = i64;
    const NAME: &'static str = "logs";
    const WRITER: &'static str = "logs";
    const ROUND: usize = 100;

    fn weight(&self, _: &Self::In) -> usize {
        1
    }

    fn lock<'o>(&self, (_, lock): &'o Self::In) -> Option<&'o str> {
        Some(lock)
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, ops: &'a [Self::In]) -> Result<Vec<i64>> {
        let mut places = Vec::new();
        for (owner, _) in ops {
            let row = tx.row(&self.head, vec![owner.into()]).await?;
            let pos = row.map_or(Ok(0), |row| row.int(0))? + 1;
            tx.push(&self.insert, vec![owner.into(), pos.into()])
                .await?;
            places.push(pos);
        }
        Ok(places)
    }
}

fn op(owner: &str) -> (String, String) {
    (owner.to_owned(), format!("logs/{owner}"))
}

#[every_engine(servers)]
async fn numbers_have_no_gap_and_no_repeat_whoever_writes(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let other = store.second().await;
    let lanes = [
        store.db.lane(Logs::new(&store.db)),
        other.lane(Logs::new(&other)),
    ];
    let mut writes = Vec::new();
    for n in 0..200 {
        for lane in &lanes {
            let (lane, owner) = (lane.clone(), ["a", "b", "c"][n % 3]);
            writes.push(tokio::spawn(async move {
                (owner, lane.submit(op(owner)).await.unwrap())
            }));
        }
    }
    let mut given = BTreeSet::new();
    for write in writes {
        assert!(
            given.insert(write.await.unwrap()),
            "a number was given twice"
        );
    }
    for owner in ["a", "b", "c"] {
        let of_owner: Vec<i64> = given
            .iter()
            .filter(|(name, _)| *name == owner)
            .map(|(_, pos)| *pos)
            .collect();
        let gapless: Vec<i64> = (1..).take(of_owner.len()).collect();
        assert_eq!(of_owner, gapless);
    }
}

#[every_engine(servers)]
async fn who_waits_for_a_lock_holds_nobody_else_up(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let other = store.second().await;
    let lane = store.db.lane(Logs::new(&store.db));
    for owner in ["held", "free"] {
        lane.submit(op(owner)).await.unwrap();
    }
    let (release, holder) = hold(&other).await;
    let waits = tokio::spawn({
        let lane = lane.clone();
        async move { lane.submit(op("held")).await }
    });
    // Together with the one that waits, and after it.
    for expected in 2..20 {
        assert_eq!(lane.submit(op("free")).await.unwrap(), expected);
    }
    // Nor does a process that has never heard of these locks.
    let third = store.second().await;
    let late = third.lane(Logs::new(&third));
    let waits_too = tokio::spawn({
        let late = late.clone();
        async move { late.submit(op("held")).await }
    });
    for expected in 20..25 {
        assert_eq!(late.submit(op("free")).await.unwrap(), expected);
    }
    assert!(!waits.is_finished() && !waits_too.is_finished());
    release.send(()).unwrap();
    holder.await.unwrap().unwrap();
    let mut places = [
        waits.await.unwrap().unwrap(),
        waits_too.await.unwrap().unwrap(),
    ];
    places.sort_unstable();
    assert_eq!(places, [2, 3]);
    assert_eq!(lane.submit(op("held")).await.unwrap(), 4);
}

/// Another process holds an owner's lock until it is told to let go.
async fn hold(
    db: &Db,
) -> (
    tokio::sync::oneshot::Sender<()>,
    tokio::task::JoinHandle<Result<()>>,
) {
    let (holds, held) = tokio::sync::oneshot::channel();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let (holds, released) = (once(holds), once(released));
    let lock = db
        .dialect()
        .sql("SELECT name FROM write_locks WHERE name = 'logs/held' FOR UPDATE");
    let db = db.clone();
    let holder = tokio::spawn(async move {
        db.transact("holder", move |tx| {
            let (lock, holds, released) = (lock.clone(), take(&holds), take(&released));
            Box::pin(async move {
                assert_eq!(tx.rows(&lock, vec![]).await?.len(), 1);
                if let (Some(holds), Some(released)) = (holds, released) {
                    holds.send(()).unwrap();
                    let _ = released.await;
                }
                Ok::<_, Error>(())
            })
        })
        .await
    });
    held.await.unwrap();
    (release, holder)
}

#[every_engine(servers)]
async fn who_queue_for_a_lock_that_is_not_let_go_are_refused_together(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let other = store.second().await;
    let lane = store.db.lane(Logs::new(&store.db));
    lane.submit(op("held")).await.unwrap();
    let (release, holder) = hold(&other).await;
    // So many that they do not all go at once, each taken up before the next is handed in.
    let mut queue = Vec::new();
    for _ in 0..60 {
        let lane = lane.clone();
        queue.push(tokio::spawn({
            let lane = lane.clone();
            async move { lane.submit(op("held")).await }
        }));
        lane.submit(op("free")).await.unwrap();
    }
    for waits in queue {
        assert!(waits.await.unwrap().unwrap_err().is_unavailable());
    }
    assert!(!holder.is_finished());
    release.send(()).unwrap();
    holder.await.unwrap().unwrap();
    assert_eq!(lane.submit(op("held")).await.unwrap(), 2);
}

#[every_engine(servers)]
async fn a_commit_that_is_not_answered_is_not_said_to_have_failed(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let proxy = Arc::new(Proxy::start(store.address()).await);
    let db = store.through(proxy.address()).await;
    let noted = db.transact("test", move |tx| {
        let proxy = Arc::clone(&proxy);
        Box::pin(async move {
            note(tx, 1, "perhaps").await?;
            proxy.cut();
            Ok::<_, Error>(())
        })
    });
    let error = noted.await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let problem = tidewire_core::Problem::from(error);
    assert_eq!(problem.kind, tidewire_core::Kind::Unavailable);
    assert!(
        !problem.detail.contains("nothing was stored"),
        "{problem:?}"
    );
}

type Once<T> = Arc<std::sync::Mutex<Option<T>>>;

fn once<T>(value: T) -> Once<T> {
    Arc::new(std::sync::Mutex::new(Some(value)))
}

fn take<T>(once: &Once<T>) -> Option<T> {
    once.lock().unwrap().take()
}

#[every_engine(servers)]
async fn a_deadlock_is_run_again_and_nobody_notices(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = &store.db;
    db.transact("test", |tx| {
        Box::pin(async move {
            note(tx, 1, "a").await?;
            note(tx, 2, "b").await
        })
    })
    .await
    .unwrap();
    let update = db.dialect().sql("UPDATE notes SET text = ? WHERE id = ?");
    // Two transactions that take two rows crosswise, each waiting until the other has its first.
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let runs = Arc::new(AtomicUsize::new(0));
    let cross = |first: i64, second: i64| {
        let (update, both, runs) = (update.clone(), Arc::clone(&both), Arc::clone(&runs));
        db.transact("cross", move |tx| {
            let (update, both) = (update.clone(), Arc::clone(&both));
            let run = runs.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                let text = format!("by {first}");
                tx.push(&update, vec![(&text).into(), first.into()]).await?;
                if run < 2 {
                    both.wait().await;
                }
                tx.push(&update, vec![(&text).into(), second.into()]).await
            })
        })
    };
    let (one, two) = tokio::join!(cross(1, 2), cross(2, 1));
    one.unwrap();
    two.unwrap();
    assert!(runs.load(Ordering::SeqCst) > 2, "one of them was run again");
    let left = notes(db).await;
    assert_eq!(left[0].1, left[1].1, "one whole transaction was the last");
}

#[every_engine(servers)]
async fn who_yields_to_others_is_run_again_from_its_start(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let running = Arc::clone(&runs);
    let answer = store.db.transact("yields", move |tx| {
        let run = running.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            note(tx, 1, "a").await?;
            match run {
                0 | 1 => Err(tx.yield_to_others("somebody else goes first")),
                _ => Ok(run),
            }
        })
    });
    assert_eq!(answer.await.unwrap(), 2);
    assert_eq!(notes(&store.db).await, [(1, "a".to_owned())]);
}

#[every_engine(servers)]
async fn of_two_who_insert_one_key_the_second_looks_again(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let db = &store.db;
    let known = db.dialect().sql("SELECT text FROM notes WHERE id = ?");
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let runs = Arc::new(AtomicUsize::new(0));
    let once = |text: &'static str| {
        let (known, both, runs) = (known.clone(), Arc::clone(&both), Arc::clone(&runs));
        db.transact("once", move |tx| {
            let (known, both) = (known.clone(), Arc::clone(&both));
            let run = runs.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                if let Some(row) = tx.row(&known, vec![7_u32.into()]).await? {
                    return row.text(0);
                }
                if run < 2 {
                    both.wait().await;
                }
                note(tx, 7, text).await?;
                Ok::<_, Error>(text.to_owned())
            })
        })
    };
    let (one, two) = tokio::join!(once("one"), once("two"));
    assert_eq!(one.unwrap(), two.unwrap(), "both have the same answer");
}

#[every_engine(servers)]
async fn several_that_start_at_once_migrate_once(engine: Engine) {
    let store = TestStore::on(engine, &[]).await;
    assert_eq!(store.db.pending(MIGRATIONS).await.unwrap().len(), 2);
    let mut starts = Vec::new();
    for _ in 0..4 {
        let db = store.second().await;
        starts.push(tokio::spawn(async move {
            let report = db.migrate(MIGRATIONS, &Clock::system()).await.unwrap();
            report.applied.len()
        }));
    }
    let mut applied = 0;
    for start in starts {
        applied += start.await.unwrap();
    }
    assert_eq!(applied, 2);
    assert!(store.db.pending(MIGRATIONS).await.unwrap().is_empty());
}

#[every_engine(postgres)]
async fn processes_hear_each_other_and_not_themselves(engine: Engine) {
    let store = TestStore::on(engine, &[]).await;
    let (here, there) = (store.db.clone(), store.second().await);
    for db in [&here, &there] {
        eventually("it listens", || async {
            (db.hints().reach() == Reach::Told).then_some(())
        })
        .await;
    }
    let (mut own, mut others) = (here.hints().subscribe(), there.hints().subscribe());
    for value in [5, 9, 7] {
        here.hints().send("topic", "key", value, Keep::Greatest);
    }
    let mut heard = Vec::new();
    while heard.last() != Some(&9) {
        match &*others.recv().await.unwrap() {
            Hint::One { topic, key, value } if topic == "topic" && key == "key" => {
                heard.push(*value);
            }
            _ => {}
        }
    }
    assert!(
        heard.len() <= 2,
        "values of one key are gathered: {heard:?}"
    );
    assert!(own.try_recv().is_err(), "nobody hears himself");
}

#[every_engine(postgres)]
async fn a_listener_comes_back_and_says_that_it_was_away(engine: Engine) {
    let store = TestStore::on(engine, &[]).await;
    let proxy = Proxy::start(store.address()).await;
    let away = store.through(proxy.address()).await;
    let told = || async { (away.hints().reach() == Reach::Told).then_some(()) };
    eventually("it listens", told).await;
    let mut heard = away.hints().subscribe();
    proxy.cut();
    assert_eq!(*heard.recv().await.unwrap(), Hint::Everything);
    eventually("it listens again", told).await;
    away.ping().await.unwrap();
}

#[every_engine(servers)]
async fn a_cut_connection_fails_what_it_carried_and_nothing_else(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let mut proxy = Proxy::start(store.address()).await;
    let db = store.through(proxy.address()).await;
    let lane = db.lane(Logs::new(&db));
    assert_eq!(lane.submit(op("a")).await.unwrap(), 1);
    // Connections that lie idle are cut: nobody notices.
    proxy.cut();
    assert_eq!(lane.submit(op("a")).await.unwrap(), 2);
    proxy.cut();
    db.ping().await.unwrap();
    // The server is away: refused at once, and back by itself.
    proxy.refuse().await;
    proxy.cut();
    assert!(lane.submit(op("a")).await.unwrap_err().is_unavailable());
    assert!(db.ping_writer().await.is_err());
    proxy.accept().await;
    assert_eq!(lane.submit(op("a")).await.unwrap(), 3);
    db.ping_writer().await.unwrap();
}

#[every_engine(servers)]
async fn when_all_connections_are_in_use_others_are_told_to_come_back(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let mut options = Options::new(store.url().parse().unwrap());
    options.connections = 2;
    let db = Db::open(options).await.unwrap();
    let (release, released) = tokio::sync::watch::channel(false);
    let hold = || {
        let (db, released) = (db.clone(), released.clone());
        tokio::spawn(async move {
            db.transact("hold", move |_| {
                let mut released = released.clone();
                Box::pin(async move {
                    let _ = released.wait_for(|over| *over).await;
                    Ok::<_, Error>(())
                })
            })
            .await
        })
    };
    let holders = [hold(), hold()];
    let refused = eventually("all are in use", || async { db.ping().await.err() }).await;
    assert!(refused.is_unavailable(), "{refused}");
    assert!(refused.to_string().contains("in use"), "{refused}");
    release.send(true).unwrap();
    for holder in holders {
        holder.await.unwrap().unwrap();
    }
    db.ping().await.unwrap();
}

#[every_engine(postgres)]
async fn it_works_behind_a_pooler_in_transaction_mode(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let Some(pooler) = servers::pgbouncer(&servers::url(engine)).await else {
        return;
    };
    let mut options = Options::new(pooler.url(&store.url()).parse().unwrap());
    let polled = Db::open(options.clone()).await.unwrap();
    options.listen_url = Some(store.url().parse().unwrap());
    let told = Db::open(options).await.unwrap();
    polled.migrate(MIGRATIONS, &Clock::system()).await.unwrap();
    let lane = polled.lane(Logs::new(&polled));
    let writes: Vec<_> = (0..50)
        .map(|_| {
            let lane = lane.clone();
            tokio::spawn(async move { lane.submit(op("a")).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(lane.submit(op("a")).await.unwrap(), 51);
    let reads = (0..50).map(|_| {
        let db = polled.clone();
        tokio::spawn(async move { notes(&db).await.len() })
    });
    for read in reads.collect::<Vec<_>>() {
        assert_eq!(read.await.unwrap(), 0);
    }
    eventually("the direct connection listens", || async {
        (told.hints().reach() == Reach::Told).then_some(())
    })
    .await;
    let mut heard = told.hints().subscribe();
    polled.hints().send("topic", "key", 1, Keep::Least);
    let wanted = Hint::One {
        topic: "topic".to_owned(),
        key: "key".to_owned(),
        value: 1,
    };
    let listen = async { while *heard.recv().await.unwrap() != wanted {} };
    tokio::time::timeout(Duration::from_secs(20), listen)
        .await
        .expect("what is sent through the pooler is heard");
    assert_eq!(polled.hints().reach(), Reach::Polled);
}
