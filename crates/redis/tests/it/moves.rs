//! How entries get from Redis into the store.

use redis::cmd;
use tidewire_testkit::{Engine, eventually, every_engine, servers};

use crate::house::{House, Log, delta, ending, small};

async fn redis() -> Option<House> {
    House::on(Log::Redis).await
}

#[tokio::test]
async fn two_persisters_and_one_that_dies_move_everything_once() {
    let Some(house) = redis().await else { return };
    let other = house.second();
    let mut persisters = vec![house.persister(), other.persister()];
    let threads: Vec<_> = (0..10).map(|n| format!("x{n}")).collect();
    for round in 0..30 {
        for thread in &threads {
            let of = if round % 2 == 0 { &house } else { &other };
            let said = of
                .says(thread, vec![delta("t", &format!("d{round}"))])
                .await;
            assert_eq!(said.unwrap()[0].seq, round + 1);
        }
        // Whichever moves at this moment.
        persisters.remove(0).kill();
        let of = if round % 3 == 0 { &other } else { &house };
        persisters.push(of.persister());
    }
    for thread in &threads {
        house.catches_up(thread).await;
        let seqs: Vec<_> = house
            .stored(thread)
            .await
            .iter()
            .map(|(s, ..)| *s)
            .collect();
        assert_eq!(seqs, (1..=30).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn processes_that_begin_at_once_begin_one_log() {
    let Some(house) = redis().await else { return };
    let others: Vec<_> = (0..8).map(|_| house.second()).collect();
    let first = others.iter().map(|other| async {
        let said = other.says("x", vec![delta("t", "d")]).await;
        said.unwrap()[0].seq
    });
    let first = futures_util::future::join_all(first).await;
    assert_eq!(first, [1; 8]);
    for (n, other) in others.iter().enumerate() {
        let said = other.says("x", vec![delta("t", &format!("d{n}"))]).await;
        assert_eq!(said.unwrap()[0].seq, n as u64 + 2);
    }
}

#[tokio::test]
async fn what_a_dead_consumer_had_read_is_taken_over() {
    let Some(house) = redis().await else { return };
    house.asks("x", "t1").await;
    house
        .says("x", vec![delta("t1", "d1"), ending("t1", "completed")])
        .await
        .unwrap();
    let mut redis = house.redis().await;
    let () = cmd("XGROUP")
        .arg(&["CREATE", &house.key("log"), "persister", "0"])
        .query_async(&mut redis)
        .await
        .unwrap();
    let read: redis::streams::StreamReadReply = cmd("XREADGROUP")
        .arg(&[
            "GROUP",
            "persister",
            "dead",
            "STREAMS",
            &house.key("log"),
            ">",
        ])
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(read.keys[0].ids.len(), 2);
    let _persister = house.persister();
    house.catches_up("x").await;
    eventually("nothing to be pending", || async {
        let mut redis = house.redis().await;
        let pending: redis::streams::StreamPendingReply = cmd("XPENDING")
            .arg(&[house.key("log"), "persister".to_owned()])
            .query_async(&mut redis)
            .await
            .unwrap();
        (pending.count() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_moved_and_not_settled_is_known_when_it_comes_again() {
    let Some(house) = redis().await else { return };
    let persister = house.persister();
    house.asks("x", "t1").await;
    house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    house.catches_up("x").await;
    persister.kill();
    let before = house.stored("x").await;
    // As after a death between the commit and the word that it is done.
    let mut redis = house.redis().await;
    let () = cmd("XGROUP")
        .arg(&["SETID", &house.key("log"), "persister", "0"])
        .query_async(&mut redis)
        .await
        .unwrap();
    let _persister = house.persister();
    house.says("x", vec![delta("t1", "d2")]).await.unwrap();
    house.catches_up("x").await;
    let after = house.stored("x").await;
    assert_eq!(after[..2], before);
    assert_eq!(after.len(), 3);
}

#[tokio::test]
async fn a_persister_that_starts_reads_nothing_again() {
    let Some(house) = redis().await else { return };
    let persister = house.persister();
    for n in 0..5 {
        let said = house.says("x", vec![delta("t1", &format!("d{n}"))]).await;
        said.unwrap();
    }
    let read = async || {
        let mut redis = house.redis().await;
        let groups: redis::streams::StreamInfoGroupsReply = cmd("XINFO")
            .arg(&["GROUPS", &house.key("log")])
            .query_async(&mut redis)
            .await
            .unwrap();
        let group = &groups.groups[0];
        (group.entries_read.unwrap(), group.pending)
    };
    eventually("five entries to be settled", || async {
        (read().await == (5, 0)).then_some(())
    })
    .await;
    persister.kill();
    let _persister = house.persister();
    house.says("x", vec![delta("t1", "d5")]).await.unwrap();
    eventually("one more entry to be settled, and no other", || async {
        let now = read().await;
        assert!(now.0 <= 6, "{now:?}");
        (now == (6, 0)).then_some(())
    })
    .await;
    house.catches_up("x").await;
}

#[tokio::test]
async fn an_entry_that_the_store_cannot_take_is_put_aside_and_holds_nobody_up() {
    let Some(house) = redis().await else { return };
    house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    house.says("x", vec![delta("t1", "d2")]).await.unwrap();
    house.says("y", vec![delta("t2", "d1")]).await.unwrap();
    let mut redis = house.redis().await;
    let all: redis::streams::StreamRangeReply = cmd("XRANGE")
        .arg(&[house.key("log"), "-".to_owned(), "+".to_owned()])
        .query_async(&mut redis)
        .await
        .unwrap();
    let last = all.ids.last().unwrap().id.clone();
    // The second entry of `x` is broken, in its place; one behind it collides with the first.
    let (ms, n) = last.split_once('-').unwrap();
    let n: u64 = n.parse().unwrap();
    let add =
        async |redis: &mut redis::aio::MultiplexedConnection, id: String, seq: &str, body: &str| {
            let () = cmd("XADD")
                .arg(house.key("log"))
                .arg(id)
                .arg(&[
                    "t", "default", "h", "z", "s", seq, "n", "1", "f", "", "b", body,
                ])
                .query_async(redis)
                .await
                .unwrap();
        };
    let whole =
        r#"[{"type":"custom","event_id":"z-ok","ts":"2026-01-01T00:00:00Z","level":"info"}]"#;
    let other =
        r#"[{"type":"custom","event_id":"z-no","ts":"2026-01-01T00:00:00Z","level":"info"}]"#;
    add(&mut redis, format!("{ms}-{}", n + 1), "1", "not even JSON").await;
    add(&mut redis, format!("{ms}-{}", n + 2), "2", whole).await;
    add(&mut redis, format!("{ms}-{}", n + 3), "2", other).await;
    let _persister = house.persister();
    house.catches_up("x").await;
    house.catches_up("y").await;
    let dead = || async {
        let mut redis = house.redis().await;
        let dead: redis::streams::StreamRangeReply = cmd("XRANGE")
            .arg(&[house.key("dead"), "-".to_owned(), "+".to_owned()])
            .query_async(&mut redis)
            .await
            .unwrap();
        (dead.ids.len() == 2).then_some(dead)
    };
    let dead = eventually("two entries to be put aside", dead).await;
    let body: String = dead.ids[0].get("entry.b").unwrap();
    assert_eq!(body, "not even JSON");
    let why: String = dead.ids[1].get("error").unwrap();
    assert!(why.contains("is its place"), "{why}");
    // Its place says that it is missing, and the one behind it joins on.
    let stored = house.stored("z").await;
    let told: Vec<_> = stored
        .iter()
        .map(|(seq, kind, _)| (*seq, kind.as_str()))
        .collect();
    assert_eq!(told, [(1, "thread.gap"), (2, "custom")]);
    assert_eq!(stored[1].2, "z-ok");
}

#[tokio::test]
async fn a_reader_resumes_across_what_redis_has_forgotten() {
    let Some(house) = redis().await else { return };
    let _persister = house.persister();
    house.asks("x", "t1").await;
    for n in 0..100 {
        house
            .says("x", vec![delta("t1", &format!("d{n}"))])
            .await
            .unwrap();
    }
    house.catches_up("x").await;
    let first = eventually("Redis to forget what is stored", || async {
        let mut redis = house.redis().await;
        let found: redis::streams::StreamRangeReply = cmd("XRANGE")
            .arg(&[house.key("t:default/x:s"), "-".to_owned(), "+".to_owned()])
            .arg(&["COUNT", "1"])
            .query_async(&mut redis)
            .await
            .unwrap();
        let first = found.ids[0].id.split('-').next().unwrap().to_owned();
        let first: u64 = first.parse().unwrap();
        (first > 50).then_some(first)
    })
    .await;
    for from in [
        0,
        first - 3,
        first - 2,
        first - 1,
        first,
        first + 1,
        100,
        101,
    ] {
        let page = house.threads.events(
            &house.tenant,
            "x",
            None,
            (from, 1000),
            std::time::Duration::ZERO,
        );
        let seqs: Vec<_> = page.await.unwrap().iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (from + 1..=101).collect::<Vec<_>>(), "behind {from}");
    }
}

#[tokio::test]
async fn an_idle_thread_is_forgotten_and_taken_up_where_it_was() {
    let Some(mut house) = redis().await else {
        return;
    };
    let mut settings = house.settings.clone().unwrap();
    settings.idle = std::time::Duration::from_millis(50);
    house = House::with(settings).await;
    let _persister = house.persister();
    house
        .says("x", vec![delta("t1", "d1"), ending("t1", "completed")])
        .await
        .unwrap();
    let forgotten = || async {
        let mut redis = house.redis().await;
        let there: bool = cmd("EXISTS")
            .arg(house.key("t:default/x"))
            .query_async(&mut redis)
            .await
            .unwrap();
        (!there).then_some(())
    };
    eventually("the thread to be forgotten", forgotten).await;
    let again = house.says("x", vec![delta("t1", "d1"), delta("t1", "d2")]);
    let again = again.await.unwrap();
    assert_eq!((again[0].seq, again[0].duplicated), (1, true));
    assert_eq!((again[1].seq, again[1].duplicated), (3, false));
    assert_eq!(again[1].turn_status.unwrap().as_str(), "completed");
    house.catches_up("x").await;
}

/// The store's side has its own SQL.
#[every_engine]
async fn every_store_takes_what_is_moved(engine: Engine) {
    let Some(url) = servers::redis().await else {
        return;
    };
    let house = House::on_engine(engine, small(&url)).await;
    let _persister = house.persister();
    for thread in ["x", "y"] {
        house.asks(thread, "t1").await;
        house.asks(thread, "t2").await;
        let events = (0..30).map(|n| delta("t1", &format!("d{n}")));
        house.says(thread, events.collect()).await.unwrap();
        house
            .says(thread, vec![ending("t1", "completed")])
            .await
            .unwrap();
        house.catches_up(thread).await;
    }
    for _ in 0..2 {
        let job = house.claim("a").await;
        assert!(job.job.payload.get().contains("\"t2\""), "{:?}", job.job);
        let (id, token) = (job.job.id, job.lease_token);
        let failed = house
            .jobs
            .fail(&house.tenant, &id, token, "broken", None, true);
        failed.await.unwrap();
    }
    for thread in ["x", "y"] {
        eventually("the turn's end", || async {
            (house.status(thread, "t2").await == "failed").then_some(())
        })
        .await;
        house.catches_up(thread).await;
        let seqs: Vec<_> = house
            .stored(thread)
            .await
            .iter()
            .map(|(s, ..)| *s)
            .collect();
        assert_eq!(seqs, (1..=34).collect::<Vec<_>>());
    }
}
