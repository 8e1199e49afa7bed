//! `kill -9` in the middle of everything: what was acknowledged is there, once, as it was
//! acknowledged.
//!
//! Clients write down what they intend before they send it and what they were told after. After
//! each crash a server without a worker is started on the same folder, so that nothing moves while
//! the whole store is held against the clients' notes.

use std::sync::Arc;

use tidewire_client::{Client, NewEvent, Retry, TailQuery};
use tidewire_testkit::eventually;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    load::{Load, Notes, Patience},
    support::{House, full, lasting_address},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let house = House::new().with(&[
        "--lease",
        "1s",
        "--poll-interval",
        "50ms",
        "--job-retry-base",
        "10ms",
    ]);
    let notes = Arc::new(Notes::default());
    let rounds = if full() { 20 } else { 5 };
    for round in 0..rounds {
        let server = house.start();
        let load = Load::start(&[&server], &notes, Patience::None);
        // Another instant each time: early, in the middle, long after.
        load.told(20 + round * 7919 % 180).await;
        server.kill();
        load.ended().await;

        let server = house.with(&["--roles", "api"]).start();
        notes.send_again(&server).await;
        notes.hold_against(&server).await;
        server.kill();
    }
    let server = house.start();
    let hand = Load::complete(&[&server], &notes);
    // What is done stays done, so it does not matter that a list takes its time.
    eventually("every job is done", || async {
        let jobs = server.list("/v1/jobs", "jobs").await;
        let done = jobs.iter().all(|job| job["status"] == "done");
        done.then_some(())
    })
    .await;
    hand.ended().await;
    notes.hold_against(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_the_log_over_crashes_misses_nothing_and_sees_nothing_twice() {
    const WRITERS: usize = 4;
    const EACH: usize = 100;
    let house = House::new().with(&["--addr", &lasting_address()]);
    let mut server = house.start();
    let client = Client::builder(&server.url()).retry(Retry::patient());
    let client = client.build().expect("a client");
    let (count, mut seen) = watch::channel(0);
    let from_the_start = TailQuery {
        after: Some("0".to_owned()),
        ..TailQuery::default()
    };
    let mut tail = client.events().tail(from_the_start);
    let follower = tokio::spawn(async move {
        let mut ids = Vec::new();
        while ids.len() < WRITERS * EACH {
            let next = tail.next().await.expect("a tail has no end");
            ids.push(next.expect("it connects again").event.id);
            count.send_replace(ids.len());
        }
        ids
    });
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            for n in 0..EACH {
                // With a key the client sends it again when the answer is lost.
                let event = NewEvent::new("followed").dedupe_key(format!("{writer}-{n}"));
                client
                    .events()
                    .append(&event)
                    .await
                    .expect("it gets through at last");
            }
        });
    }
    for crash in 1..=3 {
        let enough = crash * WRITERS * EACH / 5;
        seen.wait_for(|seen| *seen >= enough)
            .await
            .expect("the follower goes on");
        server.kill();
        server = house.start();
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer does not fail");
    }
    let followed = follower.await.expect("the follower does not fail");
    let mut stored: Vec<_> = server
        .list("/v1/events", "events")
        .await
        .iter()
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect();
    stored.reverse();
    assert_eq!(followed, stored);
    server.stop().await;
}
