//! Events of threads: what is taken, and how it is read.

use std::time::Duration;

use serde_json::{Value, json};
use tidewire_testkit::{Engine, every_engine};

use super::{
    House,
    house::{delta, ending},
};

#[every_engine]
async fn an_event_comes_back_as_it_was_sent_and_an_id_counts_once(engine: Engine) {
    let house = House::on(engine).await;
    let sent = json!({
        "spec_version": "agent-events/1.0", "type": "custom.component", "event_id": "e:1", "thread_id": "t",
        "ts": "2024-05-01T10:00:00.123000Z", "level": "warn", "payload": [1, 2.50, {"ü": null}],
        "content_type": "application/vnd.card+json", "source": "agent/7",
        "trace": {"traceparent": "00-0af7"}, "tags": ["x"]
    });
    let stored = house.says("t", sent.clone()).await.expect(201).json();
    assert_eq!(
        stored,
        json!({"event_id": "e:1", "seq": 1, "duplicated": false, "turn_status": null})
    );
    let again = json!([{"type": "custom", "event_id": "e:1"}, {"type": "custom"}]);
    let stored = house.says("t", again).await.expect(201).json();
    assert_eq!(
        (&stored[0]["seq"], &stored[0]["duplicated"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(stored[1]["seq"], 2);
    // Another thread's event of the same id is another.
    let other = json!({"type": "custom", "event_id": "e:1"});
    let other = house.says("other", other).await.expect(201).json();
    assert_eq!(
        (&other["seq"], &other["duplicated"]),
        (&json!(1), &json!(false))
    );

    let events = house.events("t").await;
    let mut expected = sent;
    expected["turn_id"] = Value::Null;
    expected["seq"] = json!(1);
    assert_eq!(events[0], expected);
    assert_eq!(events[1]["payload"], json!({}));
    assert_eq!(events[1]["level"], "info");
    assert_eq!(events[1]["event_id"].as_str().unwrap().len(), 26);
}

#[every_engine]
async fn a_second_end_is_refused_whole_and_a_repeated_one_is_not(engine: Engine) {
    let house = House::on(engine).await;
    let mut end = ending("a", "completed");
    end["event_id"] = json!("end");
    let all = json!([delta("a", "x"), end]);
    house.says("t", all.clone()).await.expect(201);
    // The answer was lost, and the agent sends it again; without its id the delta is another.
    let again = house.says("t", all).await.expect(201).json();
    assert_eq!(
        (&again[1]["seq"], &again[1]["duplicated"]),
        (&json!(2), &json!(true))
    );
    let second = json!([delta("a", "y"), ending("a", "failed")]);
    let refused = house.says("t", second).await.expect(409);
    assert!(refused.text.contains("it is completed"), "{}", refused.text);
    let twice = json!([ending("b", "completed"), ending("b", "cancelled")]);
    house.says("t", twice).await.expect(409);
    assert_eq!(
        house.story("t").await,
        ["a message.delta", "a turn.completed", "a message.delta"]
    );
}

#[every_engine(sqlite)]
async fn what_breaks_a_rule_is_named_and_nothing_is_stored(engine: Engine) {
    let house = House::on(engine).await;
    let pointer = async |event: Value| {
        let refused = house.says("t", event).await.expect(400).json();
        refused["errors"][0]["pointer"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(pointer(json!({"type": "message.delat"})).await, "/type");
    assert_eq!(pointer(json!({"type": "turn.completed"})).await, "/turn_id");
    assert_eq!(
        pointer(json!({"type": "custom", "event_id": "a b"})).await,
        "/event_id"
    );
    assert_eq!(
        pointer(json!({"type": "custom", "thread_id": "u"})).await,
        "/thread_id"
    );
    assert_eq!(
        pointer(json!({"type": "custom", "spec_version": "2"})).await,
        "/spec_version"
    );
    assert_eq!(
        pointer(json!({"type": "custom", "payload": "x".repeat(300_000)})).await,
        "/payload"
    );
    assert_eq!(
        pointer(json!([{"type": "custom"}, {"type": "nope"}])).await,
        "/1/type"
    );
    // Numbers are given here.
    house
        .says("t", json!({"type": "custom", "seq": 5}))
        .await
        .expect(400);
    house.app.get("/v1/threads/t").await.expect(404);
    house.app.get("/v1/threads/t/events").await.expect(404);
    let turn = json!({"thread_id": "t", "turn_id": "no spaces", "input": 1});
    house.app.post("/v1/turns", &turn).await.expect(400);
    house
        .app
        .post("/v1/turns", &json!({"thread_id": "t"}))
        .await
        .expect(400);
    let log = json!({"type": "x", "stream": "thread:t"});
    let refused = house.app.post("/v1/events", &log).await.expect(400);
    assert!(refused.text.contains("thread:"), "{}", refused.text);
    house
        .app
        .post("/v1/events", &json!([log]))
        .await
        .expect(400);
    house.app.get("/v1/threads/t").await.expect(404);
}

#[every_engine]
async fn lists_page_and_a_silent_thread_is_idle(engine: Engine) {
    let house = House::on(engine).await;
    for n in 0..5 {
        house.ask(&format!("t{n}"), "a").await.expect(202);
        house.ask("t0", &format!("more-{n}")).await.expect(202);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = house
            .app
            .get(&format!("/v1/threads?limit=2{cursor}"))
            .await
            .expect(200)
            .json();
        let threads = page["threads"].as_array().unwrap();
        seen.extend(
            threads
                .iter()
                .map(|t| t["thread_id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["t4", "t3", "t2", "t1", "t0"], "newest first");
    let page = house
        .app
        .get("/v1/threads/t0/turns?limit=4")
        .await
        .expect(200)
        .json();
    assert_eq!(page["turns"][0]["turn_id"], "more-4");
    let next = page["next_cursor"].as_str().unwrap();
    let path = format!("/v1/threads/t0/turns?limit=4&cursor={next}");
    let page = house.app.get(&path).await.expect(200).json();
    assert_eq!(page["turns"].as_array().unwrap().len(), 2);
    assert_eq!(page["next_cursor"], Value::Null);

    let thread = async || house.app.get("/v1/threads/t1").await.expect(200).json();
    house.pass(Duration::from_hours(2)).await;
    assert_eq!(thread().await["status"], "active", "its turn is open");
    house.says("t1", ending("a", "completed")).await.expect(201);
    let now = thread().await;
    assert_eq!(
        (&now["status"], &now["last_seq"]),
        (&json!("active"), &json!(2))
    );
    assert_eq!(now["idle_timeout_seconds"], 1800);
    house.pass(Duration::from_mins(31)).await;
    assert_eq!(thread().await["status"], "idle");
    house
        .says("t1", json!({"type": "custom"}))
        .await
        .expect(201);
    assert_eq!(thread().await["status"], "active");
}

#[every_engine]
async fn tenants_do_not_see_each_others_threads(engine: Engine) {
    let house = House::on(engine).await;
    let other = house.of("other").await;
    house.ask("t", "a").await.expect(202);
    for path in [
        "/v1/threads/t",
        "/v1/threads/t/turns",
        "/v1/threads/t/turns/a",
        "/v1/threads/t/events",
        "/v1/threads/t/events/stream",
    ] {
        other.app.get(path).await.expect(404);
    }
    let cancel = json!({"thread_id": "t"});
    other
        .app
        .post("/v1/turns/a/cancel", &cancel)
        .await
        .expect(404);
    let list = other.app.get("/v1/threads").await.expect(200).json();
    assert_eq!(list["threads"], json!([]));
    // The same names are others of theirs.
    assert_eq!(other.ask("t", "a").await.expect(202).json()["seq"], 1);
    house.says("t", ending("a", "completed")).await.expect(201);
    assert_eq!(other.status("t", "a").await, "accepted");
}

#[every_engine]
async fn a_long_poll_waits_for_the_first_event_and_for_no_longer(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    let page = house
        .app
        .get("/v1/threads/t/events?from_seq=1")
        .await
        .expect(200)
        .json();
    assert_eq!(page, json!({"events": [], "next_from_seq": 1}));
    let waits = async {
        let path = "/v1/threads/t/events?from_seq=1&turn_id=a&wait=30";
        house.app.get(path).await.expect(200).json()
    };
    let speaks = async {
        // Not what is waited for, and then that.
        house.says("t", json!({"type": "custom"})).await.expect(201);
        house.says("t", delta("a", "x")).await.expect(201);
    };
    let (page, ()) = tokio::join!(waits, speaks);
    assert_eq!(page["events"][0]["seq"], 3);
    assert_eq!(page["next_from_seq"], 3);
    house
        .app
        .get("/v1/threads/t/events?wait=61")
        .await
        .expect(400);
    house
        .app
        .get("/v1/threads/t/events?limit=5001")
        .await
        .expect(400);
}
