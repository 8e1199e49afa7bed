//! Lists and counts.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidewire_core::Clock;
use tidewire_testkit::{Engine, every_engine};

use crate::house::{Tail, house, house_at, list};

#[every_engine]
async fn lists_filter_and_page_newest_first(engine: Engine) {
    let clock = Clock::fake("2026-03-01T10:00:00Z".parse().unwrap());
    let house = house_at(engine, clock.clone()).await;
    for n in 0..6 {
        let kind = if n % 2 == 0 { "even" } else { "odd" };
        house.append(json!({"type": kind, "stream": format!("s{}", n % 3), "subject": format!("u{n}"), "source": "test", "payload": n})).await;
        clock.advance(Duration::from_secs(12 * 3600));
    }
    let numbers = async |query: &str| -> Vec<u64> {
        let page = house
            .app
            .get(&format!("/v1/events?{query}"))
            .await
            .expect(200)
            .json();
        page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["payload"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(numbers("").await, [5, 4, 3, 2, 1, 0]);
    assert_eq!(numbers("type=odd").await, [5, 3, 1]);
    assert_eq!(numbers("stream=s1").await, [4, 1]);
    assert_eq!(numbers("subject=u2").await, [2]);
    assert_eq!(numbers("source=test&type=even").await, [4, 2, 0]);
    assert_eq!(numbers("source=other").await, Vec::<u64>::new());
    assert_eq!(numbers("from=2026-03-02T10:00:00Z").await, [5, 4, 3, 2]);
    assert_eq!(
        numbers("from=2026-03-01T22:00:00Z&to=2026-03-02T10:00:00Z").await,
        [2, 1]
    );
    let first = house.app.get("/v1/events?limit=4").await.expect(200).json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = house
        .app
        .get(&format!("/v1/events?limit=4&cursor={cursor}"))
        .await
        .expect(200)
        .json();
    assert_eq!(second["events"].as_array().unwrap().len(), 2);
    assert_eq!(second["next_cursor"], Value::Null);
    for bad in [
        "limit=0",
        "limit=501",
        "cursor=nonsense",
        "nope=1",
        "from=yesterday",
        "limit=x",
    ] {
        house
            .app
            .get(&format!("/v1/events?{bad}"))
            .await
            .expect(400);
    }
}

/// A stream is read by its own numbers, whatever bounds are given in the log's.
#[every_engine]
async fn a_stream_is_listed_and_followed_from_any_place(engine: Engine) {
    let clock = Clock::fake("2026-03-01T00:00:00Z".parse().unwrap());
    let house = house_at(engine, clock.clone()).await;
    // Positions 1 to 60; every fifth is of the stream `rare`, and a day has 20 of them.
    for n in 1..=60 {
        let stream = if n % 5 == 0 { "rare" } else { "common" };
        house
            .append(json!({"type": format!("t{}", n % 2), "stream": stream, "payload": n}))
            .await;
        clock.advance(Duration::from_secs(86_400 / 20));
    }
    let rare: Vec<u64> = (1..=60).filter(|n| n % 5 == 0).collect();
    for limit in [1, 3, 500] {
        let mut listed = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/events?stream=rare&limit={limit}{cursor}");
            let page = house.app.get(&path).await.expect(200).json();
            let page = page.as_object().unwrap();
            let events = page["events"].as_array().unwrap();
            listed.extend(
                events
                    .iter()
                    .map(|event| event["payload"].as_u64().unwrap()),
            );
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(listed.iter().rev().eq(&rare), "{limit}: {listed:?}");
    }
    let numbers = async |query: &str| -> Vec<u64> {
        let listed = list(&house.app, query).await;
        let numbers = listed.iter().rev();
        numbers
            .map(|event| event["payload"].as_u64().unwrap())
            .collect()
    };
    let in_day = "from=2026-03-02T00:00:00Z&to=2026-03-02T23:59:59Z";
    assert_eq!(
        numbers(&format!("stream=rare&{in_day}")).await,
        [25, 30, 35, 40]
    );
    assert_eq!(
        numbers(&format!("stream=rare&type=t0&{in_day}")).await,
        [30, 40]
    );
    assert_eq!(
        numbers(&format!("type=t0&{in_day}")).await,
        [22, 24, 26, 28, 30, 32, 34, 36, 38, 40]
    );
    assert_eq!(
        numbers("stream=rare&from=2026-03-03T12:00:00Z").await,
        [55, 60]
    );
    assert_eq!(numbers("stream=rare&to=2026-03-01T06:00:00Z").await, [5]);
    assert_eq!(
        numbers("stream=rare&from=2027-01-01T00:00:00Z").await,
        Vec::<u64>::new()
    );
    assert_eq!(
        numbers("stream=rare&to=2025-01-01T00:00:00Z").await,
        Vec::<u64>::new()
    );
    assert_eq!(numbers("stream=none").await, Vec::<u64>::new());
    for after in [0, 1, 4, 5, 6, 29, 30, 59] {
        let mut tail = Tail::open(&house.app, &format!("?after={after}&stream=rare"), None).await;
        let behind: Vec<u64> = rare.iter().copied().filter(|n| *n > after).collect();
        assert_eq!(tail.numbers(behind.len()).await, behind, "after {after}");
    }
}

#[every_engine]
async fn days_are_counted_without_duplicates(engine: Engine) {
    let clock = Clock::fake("2026-03-01T23:59:00Z".parse().unwrap());
    let house = house_at(engine, clock.clone()).await;
    house
        .append(json!([{"type": "a", "dedupe_key": "k"}, {"type": "a"}, {"type": "a"}]))
        .await;
    clock.advance(Duration::from_secs(2 * 86_400));
    house
        .append(json!([{"type": "a", "dedupe_key": "k"}, {"type": "a"}]))
        .await;
    let day = |text: &str| text.parse().unwrap();
    let counted = async |from: &str, to: &str| {
        house
            .events
            .received_by_day("acme", day(from), day(to))
            .await
            .unwrap()
    };
    assert_eq!(
        counted("2026-02-01", "2026-03-31").await,
        [(day("2026-03-01"), 3), (day("2026-03-03"), 1)]
    );
    assert_eq!(
        counted("2026-03-01", "2026-03-01").await,
        [(day("2026-03-01"), 3)]
    );
    assert_eq!(counted("2026-03-02", "2026-03-02").await, []);
    assert_eq!(
        house
            .events
            .received_by_day("other", day("2026-03-01"), day("2026-03-31"))
            .await
            .unwrap(),
        []
    );
}

#[every_engine]
async fn tenants_do_not_see_each_other(engine: Engine) {
    let house = house(engine).await;
    let made = house.append(json!({"type": "a"})).await;
    let other: Arc<str> = "other".into();
    let id = made["id"].as_str().unwrap();
    assert!(house.events.get("acme", id).await.is_ok());
    assert!(house.events.get(&other, id).await.is_err());
    assert!(
        house
            .events
            .list(&other, &tidewire_events::Filter::default(), None, 10)
            .await
            .unwrap()
            .events
            .is_empty()
    );
}

/// Whatever the times, and however the events lie between them.
#[every_engine]
async fn how_far_the_log_was_at_a_time_is_told_by_the_log(engine: Engine) {
    let clock = Clock::fake("2026-03-01T10:00:00Z".parse().unwrap());
    let house = house_at(engine, clock.clone()).await;
    let start = clock.now();
    let at = |seconds: u64| start.plus(Duration::from_secs(seconds));
    let none = house.events.positions_at("acme", &[at(0), at(9)]).await;
    assert_eq!(none.unwrap(), [0, 0]);
    let mut stored = Vec::new();
    // Quiet for a while, then a crowd, then one by one.
    for (second, count) in [(1, 1), (5, 300), (6, 2), (7, 1), (60, 1)] {
        clock.advance(at(second).since(clock.now()));
        let facts: Vec<_> = (0..count).map(|_| json!({"type": "t"})).collect();
        house.append(json!(facts)).await;
        stored.extend(std::iter::repeat_n(second, count));
    }
    let times = [0, 1, 2, 5, 6, 7, 8, 60, 61];
    let before = |second: u64| stored.iter().filter(|at| **at < second).count() as u64;
    let expected: Vec<_> = times.iter().map(|second| before(*second)).collect();
    let times: Vec<_> = times.iter().map(|second| at(*second)).collect();
    let told = house.events.positions_at("acme", &times).await.unwrap();
    assert_eq!(told, expected);
    let other = house.events.positions_at("other", &times).await.unwrap();
    assert_eq!(other, vec![0; times.len()]);
}
