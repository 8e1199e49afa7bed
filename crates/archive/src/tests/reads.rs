//! Whatever is read, and wherever it is, it is what it was.

use std::time::Duration;

use serde_json::Value;
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{House, TENANT, all_trimmed};

/// What a client sees of everything, by every route.
async fn seen(house: &House) -> Vec<(String, Vec<Value>)> {
    let app = &house.app;
    let mut all = Vec::new();
    let log = pages(app, "/v1/events?limit=500").await;
    let at = |place: usize| log[place]["created_at"].as_str().unwrap().to_owned();
    let (early, late) = (at(log.len() - 20), at(30));
    let filters = [
        String::new(),
        "&type=type.1".to_owned(),
        "&stream=orders".to_owned(),
        "&stream=thread:t1".to_owned(),
        "&subject=user-3".to_owned(),
        "&source=source-2".to_owned(),
        "&type=message.delta".to_owned(),
        "&type=nothing".to_owned(),
        format!("&from={early}&to={late}"),
        format!("&to={early}&type=type.2"),
        format!("&from={late}&stream=audit"),
        "&stream=orders&subject=user-1&source=source-4".to_owned(),
    ];
    for filter in filters {
        for limit in [7, 500] {
            let path = format!("/v1/events?limit={limit}{filter}");
            all.push((path.clone(), pages(app, &path).await));
        }
    }
    for event in log.iter().step_by(9) {
        let path = format!("/v1/events/{}", event["id"].as_str().unwrap());
        all.push((path.clone(), vec![app.get(&path).await.expect(200).json()]));
    }
    for (thread, limit) in [("t1", 7), ("t1", 5000), ("t2", 13)] {
        let path = format!("/v1/threads/{thread}/events?limit={limit}");
        all.push((path.clone(), behind(app, &path).await));
        let path = format!("{path}&turn_id={thread}-turn-2");
        all.push((path.clone(), behind(app, &path).await));
    }
    let count = log.len();
    let middle = log[count / 2]["id"].as_str().unwrap();
    for (path, count) in [
        ("/v1/events/tail?after=0".to_owned(), count),
        (format!("/v1/events/tail?after={middle}"), count / 2),
        ("/v1/events/tail?after=0&type=type.1".to_owned(), 30),
        ("/v1/events/tail?after=0&stream=audit".to_owned(), 30),
        ("/v1/threads/t1/events/stream".to_owned(), 55),
        ("/v1/threads/t1/events/stream?after_seq=31".to_owned(), 24),
        (
            "/v1/threads/t2/events/stream?turn_id=t2-turn-1".to_owned(),
            10,
        ),
    ] {
        all.push((path.clone(), frames(app, &path, count).await));
    }
    all
}

/// All pages of a list behind a cursor.
async fn pages(app: &TestApp, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("{path}{cursor}")).await.expect(200).json();
        all.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// All pages of a thread.
async fn behind(app: &TestApp, path: &str) -> Vec<Value> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let page = app.get(&format!("{path}&from_seq={from}")).await;
        let page = page.expect(200).json();
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            return all;
        }
        all.extend(events.iter().cloned());
        from = page["next_from_seq"].as_u64().unwrap();
    }
}

/// The first frames of a stream.
async fn frames(app: &TestApp, path: &str, count: usize) -> Vec<Value> {
    let response = app.request(reqwest::Method::GET, path).send();
    let mut response = response.await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let (mut text, mut frames) = (String::new(), Vec::new());
    let reading = async {
        while frames.len() < count {
            let chunk = response.chunk().await.unwrap().expect("it stays open");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((frame, rest)) = text.split_once("\n\n") {
                if let Some((head, data)) = frame.split_once("data: ") {
                    let data: Value = serde_json::from_str(data).unwrap();
                    frames.push(serde_json::json!([head, data]));
                }
                text = rest.to_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .unwrap_or_else(|_| panic!("{count} frames of {path}"));
    frames.truncate(count);
    frames
}

#[track_caller]
fn assert_same(before: &[(String, Vec<Value>)], after: &[(String, Vec<Value>)]) {
    for ((path, before), (_, after)) in before.iter().zip(after) {
        assert_eq!(before.len(), after.len(), "{path}");
        for (before, after) in before.iter().zip(after) {
            assert_eq!(before, after, "{path}");
        }
    }
}

#[every_engine]
async fn nobody_can_tell_where_an_event_is(engine: Engine) {
    there_and_back(&House::on(engine).await).await;
}

/// Everything goes, some more comes, and all comes back.
pub async fn there_and_back(house: &House) {
    house.append("orders", 90, 900).await;
    house.say("t1", 25).await;
    house.append("audit", 50, 10).await;
    house.say("t2", 31).await;
    house.say("t1b", 3).await;
    let more = |n| serde_json::json!({"type": "custom", "turn_id": format!("t1-turn-{}", n % 4), "payload": n});
    let more: Vec<_> = (0..30).map(more).collect();
    house
        .app
        .post("/v1/threads/t1/events", &serde_json::json!(more))
        .await
        .expect(201);
    house.append("orders", 60, 2000).await;
    let (before, log) = (seen(house).await, house.log().await);

    let report = house.archive(all_trimmed()).await.unwrap();
    assert_eq!(report.events, 90 + 60 + 50 + 31 + 55 + 3);
    // The last one of each of the five streams stays.
    assert_eq!(report.trimmed, report.events - 5);
    assert_eq!(house.first("orders").await, 150);
    assert_eq!(house.ranges("orders").await.len(), 4);
    assert_same(&before, &seen(house).await);
    assert_eq!(log, house.log().await);

    // What comes behind it follows on.
    house.append("audit", 20, 10).await;
    let log = house.log().await;
    let before = seen(house).await;
    let report = house.archive(all_trimmed()).await.unwrap();
    assert_eq!((report.events, report.streams), (20, 1));
    assert_same(&before, &seen(house).await);
    assert_eq!(log, house.log().await);

    // And comes back.
    assert_eq!(house.restore("orders", 61).await, 150 - 61);
    assert_eq!(house.first("orders").await, 61);
    assert_same(&before, &seen(house).await);
    assert_eq!(house.restore("thread:t1", 1).await, 54);
    house.clock.advance(Duration::from_mins(2));
    house.archives.settle().await.unwrap();
    let marks = house.archives.marks(TENANT, "orders").await.unwrap();
    assert_eq!((marks.archived_until, marks.cold_until), (150, 60));
    assert_eq!(marks.trimmed_until, 60);
    assert_same(&before, &seen(house).await);
    assert_eq!(log, house.log().await);
    assert_eq!(house.restore("orders", 1).await, 60);
    assert_eq!(house.restore("audit", 1).await, 69);
    assert_eq!(house.restore("audit", 1).await, 0);
    assert_eq!(log, house.log().await);
    assert_eq!(house.verify(false).await.problems, []);
}

/// A filter that hardly anything passes looks at so much, and says how far.
#[every_engine(sqlite)]
async fn a_page_of_rare_events_costs_no_more_than_others(engine: Engine) {
    let settings = crate::ArchiveSettings::default();
    let house = House::with(engine, settings).await;
    // Each has a member for itself.
    house.append("large", 300, 70_000).await;
    house.archive(all_trimmed()).await.unwrap();
    let path = "/v1/events?limit=500&source=nobody";
    let page = house.app.get(path).await.expect(200).json();
    assert_eq!(page["events"].as_array().unwrap().len(), 0);
    let next = page["next_cursor"].as_str().expect("there is more");
    let path = format!("{path}&cursor={next}");
    let page = house.app.get(&path).await.expect(200).json();
    assert!(page["next_cursor"].is_null(), "{page}");
    // One subject of a stream is looked for to its end.
    let run = house
        .events
        .of_stream(
            (TENANT, "large"),
            Some("nobody"),
            (0, u64::MAX),
            tidewire_events::Stretch {
                events: 1,
                bytes: 1,
            },
        )
        .await
        .unwrap();
    assert!(run.is_all && run.events.is_empty());
}
