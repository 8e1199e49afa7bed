//! What a follower needs that reads the table: stretches of the log, word of its growth, and how
//! deep an event is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{json, value::RawValue};
use tidewire_core::Clock;
use tidewire_events::{Events, Logs, NewEvent, Stretch, live::Growth};
use tidewire_testkit::{Engine, TestApp, TestStore, every_engine};

use crate::house::{NEVER, house, process};

fn event(bytes: usize) -> NewEvent {
    let payload = format!("\"{}\"", "x".repeat(bytes));
    NewEvent::new("t", RawValue::from_string(payload).unwrap()).unwrap()
}

async fn lengths(events: &Events, pos: u64, most: Stretch) -> Vec<u64> {
    let tenant = "acme";
    let found = events.after(tenant, pos, most).await.unwrap();
    found.iter().map(|event| event.pos).collect()
}

#[every_engine]
async fn a_stretch_of_the_log_is_bounded_by_count_and_bytes(engine: Engine) {
    let house = house(engine).await;
    let tenant: Arc<str> = "acme".into();
    let small = (0..100).map(|_| event(10)).collect();
    house.events.append(&tenant, small).await.unwrap();
    let large = (0..10).map(|_| event(100_000)).collect();
    house.events.append(&tenant, large).await.unwrap();
    let most = |events, bytes| Stretch { events, bytes };
    let span = |from, to| (from..=to).collect::<Vec<u64>>();
    let read = async |pos, most| lengths(&house.events, pos, most).await;
    assert_eq!(read(0, most(500, 1 << 30)).await, span(1, 110));
    assert_eq!(read(0, most(70, 1 << 30)).await, span(1, 70));
    assert_eq!(read(50, most(5, 1 << 30)).await, span(51, 55));
    assert_eq!(read(98, most(500, 250_100)).await, span(99, 102));
    // One is read whatever its size.
    assert_eq!(read(100, most(500, 1)).await, [101]);
    assert_eq!(read(110, most(500, 1 << 20)).await, span(111, 110));
    let heads = house
        .events
        .heads(&[tenant, "nobody".into()])
        .await
        .unwrap();
    let heads: HashMap<_, _> = heads.into_iter().collect();
    assert_eq!((heads["acme"], heads["nobody"]), (110, 0));
}

/// Waits until the log is told to reach `pos`.
async fn told(growth: &Growth<Logs>, tenant: &str, pos: u64) {
    let waiting = async {
        loop {
            growth.changed().await;
            if growth.take().get(tenant) == Some(&pos) {
                return;
            }
        }
    };
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, waiting).await.unwrap();
}

/// The poll interval is a day: what is told was told at once, or asked for since nobody tells.
#[every_engine(servers, multi_thread)]
async fn growth_is_told_whoever_appends_and_of_those_who_are_watched(engine: Engine) {
    let store = TestStore::on(engine, tidewire_events::MIGRATIONS).await;
    let (_here, here) = process(store.second().await, Clock::system(), NEVER).await;
    let (_there, there) = process(store.second().await, Clock::system(), NEVER).await;
    let (acme, other): (Arc<str>, Arc<str>) = ("acme".into(), "other".into());
    let growth = here.growth();
    growth.watch([Arc::clone(&acme)]);
    for round in 0..10 {
        here.append(&acme, vec![event(1)]).await.unwrap();
        told(&growth, "acme", 2 * round + 1).await;
        there.append(&other, vec![event(1)]).await.unwrap();
        there.append(&acme, vec![event(1)]).await.unwrap();
        told(&growth, "acme", 2 * round + 2).await;
        assert!(growth.take().is_empty());
    }
    growth.watch([Arc::clone(&other)]);
    here.append(&acme, vec![event(1)]).await.unwrap();
    there.append(&other, vec![event(1)]).await.unwrap();
    told(&growth, "other", 11).await;
    assert!(growth.take().is_empty());
}

#[every_engine]
async fn growth_is_told_within_one_process_and_found_by_the_poll(engine: Engine) {
    let house = house(engine).await;
    let tenant: Arc<str> = "acme".into();
    house.events.append(&tenant, vec![event(1)]).await.unwrap();
    let (first, second) = (house.events.growth(), house.events.growth());
    first.watch([Arc::clone(&tenant)]);
    second.watch([Arc::clone(&tenant)]);
    // What was there before is found by asking.
    told(&first, "acme", 1).await;
    house.events.append(&tenant, vec![event(1)]).await.unwrap();
    told(&first, "acme", 2).await;
    told(&second, "acme", 2).await;
    drop(second);
    house.events.append(&tenant, vec![event(1)]).await.unwrap();
    told(&first, "acme", 3).await;
}

#[every_engine]
async fn an_event_keeps_how_many_triggers_deep_it_is(engine: Engine) {
    let house = house(engine).await;
    let send = async |headers: &[(&str, &str)], body: String| {
        let mut request = house.app.request(reqwest::Method::POST, "/v1/events");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        TestApp::send(request.body(body)).await
    };
    let json = ("content-type", "application/json");
    let one = || json!({"type": "t"}).to_string();
    let cloud = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}).to_string();
    send(&[json], one()).await.expect(201);
    send(&[json, ("x-tidewire-depth", "0")], one())
        .await
        .expect(201);
    send(&[json, ("x-tidewire-depth", "3")], one())
        .await
        .expect(201);
    let two = format!("[{0},{0}]", one());
    send(&[json, ("x-tidewire-depth", "4")], two)
        .await
        .expect(201);
    let media_type = ("content-type", "application/cloudevents+json");
    send(&[media_type, ("x-tidewire-depth", "15")], cloud)
        .await
        .expect(201);
    let binary = [
        json,
        ("ce-specversion", "1.0"),
        ("ce-id", "2"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("x-tidewire-depth", "6"),
    ];
    send(&binary, "{}".to_owned()).await.expect(201);
    for bad in ["16", "17", "-1", "many"] {
        let answer = send(&[json, ("x-tidewire-depth", bad)], one())
            .await
            .expect(400);
        assert_eq!(answer.json()["errors"][0]["pointer"], "x-tidewire-depth");
    }
    let all = Stretch {
        events: 100,
        bytes: 1 << 20,
    };
    let found = house.events.after("acme", 0, all).await.unwrap();
    let depths: Vec<_> = found.iter().map(|event| event.depth).collect();
    assert_eq!(depths, [0, 0, 3, 4, 4, 15, 6]);
    // It is nobody's business but the triggers'.
    let shown = house.app.get(&format!("/v1/events/{}", found[2].id)).await;
    assert!(shown.expect(200).json().get("depth").is_none());
}
