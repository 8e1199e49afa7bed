//! Tails of the log.

use std::sync::Arc;

use serde_json::json;
use tidewire_testkit::{Engine, TestApp, every_engine};

use crate::house::{Tail, house};

#[every_engine(multi_thread)]
async fn a_tail_joins_history_to_live_without_gap_or_repeat(engine: Engine) {
    let house = Arc::new(house(engine).await);
    let writer = tokio::spawn({
        let house = Arc::clone(&house);
        async move {
            for n in 0..1500u64 {
                house
                    .append(json!({"type": "t", "stream": format!("s{}", n % 3), "payload": n}))
                    .await;
            }
        }
    });
    let mut tails = Vec::new();
    for _ in 0..8 {
        tails.push(Tail::open(&house.app, "?after=0", None).await);
    }
    let mut filtered = Tail::open(&house.app, "?after=0&stream=s1", None).await;
    for tail in &mut tails {
        assert_eq!(tail.numbers(1500).await, (0..1500).collect::<Vec<_>>());
    }
    assert_eq!(
        filtered.numbers(500).await,
        (0..1500).filter(|n| n % 3 == 1).collect::<Vec<_>>()
    );
    writer.await.unwrap();
}

#[every_engine]
async fn a_tail_resumes_behind_what_was_seen(engine: Engine) {
    let house = house(engine).await;
    let made = house.append(json!([{"type": "a", "payload": 0}, {"type": "b", "payload": 1}, {"type": "a", "payload": 2}])).await;
    let mut tail = Tail::open(&house.app, "?after=0", None).await;
    let (first, _) = tail.next().await;
    drop(tail);
    assert_eq!(
        Tail::open(&house.app, "?after=0", Some(&first))
            .await
            .numbers(2)
            .await,
        [1, 2]
    );
    let id = made[1]["id"].as_str().unwrap();
    assert_eq!(
        Tail::open(&house.app, &format!("?after={id}"), None)
            .await
            .numbers(1)
            .await,
        [2]
    );
    assert_eq!(
        Tail::open(&house.app, "?after=0&type=a", None)
            .await
            .numbers(2)
            .await,
        [0, 2]
    );
    let mut now = Tail::open(&house.app, "", None).await;
    house.append(json!({"type": "a", "payload": 3})).await;
    assert_eq!(now.numbers(1).await, [3]);
    house
        .app
        .get("/v1/events/tail?after=nonsense")
        .await
        .expect(400);
}

#[every_engine]
async fn a_tail_does_not_wait_beyond_the_end_of_the_log(engine: Engine) {
    let house = house(engine).await;
    house.append(json!([{"type": "a"}, {"type": "b"}])).await;
    // As a follower would ask whose log was restored from a copy that is older than it is.
    let ahead = house.app.get("/v1/events/tail?after=3").await.expect(400);
    assert_eq!(ahead.json()["errors"][0]["pointer"], "after");
    let resumed = house.app.request(reqwest::Method::GET, "/v1/events/tail");
    let resumed = TestApp::send(resumed.header("Last-Event-ID", "3")).await;
    assert_eq!(
        resumed.expect(400).json()["errors"][0]["pointer"],
        "Last-Event-ID"
    );
    let mut tail = Tail::open(&house.app, "?after=2", None).await;
    house.append(json!({"type": "c", "payload": 2})).await;
    assert_eq!(tail.numbers(1).await, [2]);
}

/// As if the process that committed it had died before it could tell anybody.
#[every_engine]
async fn what_nobody_told_of_is_found_by_asking(engine: Engine) {
    let house = house(engine).await;
    house.append(json!({"type": "t", "payload": 1})).await;
    let mut tails = Vec::new();
    for query in ["?after=0", "?after=0&stream=default", "?after=1"] {
        tails.push(Tail::open(&house.app, query, None).await);
    }
    for tail in &mut tails[..2] {
        assert_eq!(tail.numbers(1).await, [1]);
    }
    let db = &house.store.db;
    let insert = db.dialect().sql(
        "INSERT INTO events (tenant, pos, id, stream, seq, type, payload, occurred_at, created_at)
         SELECT tenant, pos + 1, 'untold', stream, seq + 1, type, payload, occurred_at, created_at
         FROM events WHERE tenant = 'acme' AND pos = 1",
    );
    db.transact("untold", move |tx| {
        let insert = insert.clone();
        Box::pin(async move { tx.push(&insert, Vec::new()).await })
    })
    .await
    .unwrap();
    for tail in &mut tails {
        let (place, event) = tail.next().await;
        assert_eq!((place.as_str(), &event["id"]), ("2", &json!("untold")));
    }
}

#[every_engine]
async fn a_tail_ends_when_the_server_stops(engine: Engine) {
    let house = house(engine).await;
    let tail = Tail::open(&house.app, "", None).await;
    assert_eq!(house.app.stop().await, 0, "a connection had to be cut");
    drop(tail);
}
