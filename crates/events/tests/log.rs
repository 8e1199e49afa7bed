//! The log on a real store, through its real routes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidewire_core::Clock;
use tidewire_events::{Events, Settings};
use tidewire_testkit::{TestApp, TestStore};
use tokio_util::sync::CancellationToken;

struct House {
    app: TestApp,
    events: Events,
    store: TestStore,
}

async fn house() -> House {
    house_at(Clock::system()).await
}

async fn house_at(clock: Clock) -> House {
    let store = TestStore::with_clock(tidewire_events::MIGRATIONS, clock).await;
    serve(store).await
}

async fn serve(store: TestStore) -> House {
    let shutdown = CancellationToken::new();
    let settings = Settings {
        poll_interval: Duration::from_millis(200),
    };
    let events = Events::new(
        store.db.clone(),
        store.clock.clone(),
        settings,
        shutdown.clone(),
    );
    let routes = tidewire_events::routes(events.clone());
    let app = TestApp::start(shutdown, |app| {
        app.routes(routes).authenticate(TestApp::as_tenant("acme"))
    })
    .await;
    House { app, events, store }
}

impl House {
    async fn append(&self, body: Value) -> Value {
        let answer = self.app.post("/v1/events", &body).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
        answer.json()
    }

    async fn count(&self) -> usize {
        let mut count = 0;
        let mut cursor = String::new();
        loop {
            let page = self
                .app
                .get(&format!("/v1/events?limit=500{cursor}"))
                .await
                .expect(200)
                .json();
            count += page["events"].as_array().unwrap().len();
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return count,
            }
        }
    }
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_sent() {
    let house = house().await;
    // Digits, order and white space that a float or a map would lose.
    let payload =
        r#"{"z":1,"a":[1.10,12345678901234567890.123456789,1e-300,"é\n\ud83d\ude00"],"n":null}"#;
    let body = format!(
        r#"{{"type":"payment.completed","payload":{payload},"stream":"orders","subject":"user-1",
            "dedupe_key":"k-1","occurred_at":"2026-01-31T12:00:00+01:00","source":"shop"}}"#
    );
    let made = house
        .app
        .post_raw("/v1/events", "application/json", body)
        .await
        .expect(201)
        .json();
    assert_eq!(
        (made["stream"].as_str(), made["seq"].as_u64()),
        (Some("orders"), Some(1))
    );
    assert_eq!(made["duplicated"], false);
    let id = made["id"].as_str().unwrap();
    let read = house.app.get(&format!("/v1/events/{id}")).await.expect(200);
    assert!(read.text.contains(payload), "{}", read.text);
    let read = read.json();
    assert_eq!(read["type"], "payment.completed");
    assert_eq!(read["subject"], "user-1");
    assert_eq!(read["dedupe_key"], "k-1");
    assert_eq!(read["source"], "shop");
    assert_eq!(read["occurred_at"], "2026-01-31T11:00:00.000000Z");
    assert_eq!(read["created_at"], made["created_at"]);
}

#[tokio::test]
async fn null_is_a_payload_and_a_missing_one_is_an_empty_object() {
    let house = house().await;
    let made = house.append(json!([{"type": "a", "payload": null}, {"type": "b"}, {"type": "c", "payload_json": [1]}])).await;
    let mut payloads = Vec::new();
    for made in made.as_array().unwrap() {
        let read = house
            .app
            .get(&format!("/v1/events/{}", made["id"].as_str().unwrap()))
            .await
            .expect(200)
            .json();
        payloads.push(read["payload"].clone());
    }
    assert_eq!(payloads, [json!(null), json!({}), json!([1])]);
}

#[tokio::test]
async fn a_key_that_was_seen_gives_the_first_answer() {
    let house = house().await;
    let first = house
        .append(json!({"type": "a", "dedupe_key": "k", "stream": "one"}))
        .await;
    let again = house
        .app
        .post(
            "/v1/events",
            &json!({"type": "b", "dedupe_key": "k", "stream": "two"}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&again["id"], &again["stream"], &again["seq"]),
        (&first["id"], &first["stream"], &first["seq"])
    );
    assert_eq!(
        (&again["created_at"], &again["duplicated"]),
        (&first["created_at"], &json!(true))
    );
    // Partly new: 201, and what is new follows without a gap.
    let mixed = house
        .app
        .post(
            "/v1/events",
            &json!([{"type": "a", "dedupe_key": "k"}, {"type": "a", "stream": "one"}]),
        )
        .await;
    let mixed = mixed.expect(201).json();
    assert_eq!(
        (mixed[0]["duplicated"].as_bool(), mixed[1]["seq"].as_u64()),
        (Some(true), Some(2))
    );
    assert_eq!(house.count().await, 2);
}

#[tokio::test]
async fn an_array_is_stored_whole_or_not_at_all() {
    let house = house().await;
    let answer = house
        .app
        .post("/v1/events", &json!([{"type": "ok"}, {"type": "not ok"}]))
        .await
        .expect(400)
        .json();
    assert_eq!(answer["errors"][0]["pointer"], "/1/type");
    assert_eq!(house.count().await, 0);
    house.app.post("/v1/events", &json!([])).await.expect(201);
}

#[tokio::test]
async fn expected_seq_guards_a_stream() {
    let house = house().await;
    house
        .append(json!({"type": "a", "stream": "s", "expected_seq": 0}))
        .await;
    let lost = house
        .app
        .post(
            "/v1/events",
            &json!({"type": "a", "stream": "s", "expected_seq": 0}),
        )
        .await;
    assert!(
        lost.expect(409).json()["detail"]
            .as_str()
            .unwrap()
            .contains("ends at seq 1")
    );
    house
        .append(json!({"type": "a", "stream": "s", "expected_seq": 1}))
        .await;
    house
        .app
        .post("/v1/events", &json!([{"type": "a", "expected_seq": 0}]))
        .await
        .expect(400);
    assert_eq!(house.count().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_leave_no_gap_and_store_each_key_once() {
    let house = Arc::new(house().await);
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                for n in 0..25 {
                    // Every key is sent by all writers; every stream by four of them.
                    let body = json!({"type": "t", "stream": format!("s{}", writer % 4), "dedupe_key": format!("k{n}-{}", writer % 8)});
                    house.append(body).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(house.count().await, 25 * 8);
    let mut ids = HashSet::new();
    for stream in 0..4 {
        let page = house
            .app
            .get(&format!("/v1/events?stream=s{stream}&limit=500"))
            .await
            .expect(200)
            .json();
        let page = page["events"].as_array().unwrap().clone();
        let seqs: Vec<_> = page
            .iter()
            .rev()
            .map(|event| event["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        ids.extend(
            page.iter()
                .map(|event| event["id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(ids.len(), 25 * 8);
}

#[tokio::test]
async fn lists_filter_and_page_newest_first() {
    let clock = Clock::fake("2026-03-01T10:00:00Z".parse().unwrap());
    let house = house_at(clock.clone()).await;
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

#[tokio::test]
async fn days_are_counted_without_duplicates() {
    let clock = Clock::fake("2026-03-01T23:59:00Z".parse().unwrap());
    let house = house_at(clock.clone()).await;
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

#[tokio::test]
async fn what_was_stored_outlives_a_restart_and_so_do_its_keys() {
    let house = house().await;
    let first = house.append(json!({"type": "a", "dedupe_key": "k"})).await;
    let House { app, events, store } = house;
    app.stop().await;
    drop(events);
    let house = serve(store.reopen(tidewire_events::MIGRATIONS).await).await;
    let again = house.append(json!({"type": "a", "dedupe_key": "k"})).await;
    assert_eq!(
        (&again["id"], &again["duplicated"]),
        (&first["id"], &json!(true))
    );
    assert_eq!(house.append(json!({"type": "a"})).await["seq"], 2);
}

#[tokio::test]
async fn bad_events_name_their_place_and_store_nothing() {
    let house = house().await;
    let cases = [
        (json!({}), ""),
        (json!({"type": ""}), "/type"),
        (json!({"type": "x".repeat(256)}), "/type"),
        (json!({"type": 5}), "/type"),
        (json!({"type": "a", "stream": "a b"}), "/stream"),
        (json!({"type": "a", "subject": "a\0b"}), "/subject"),
        (
            json!({"type": "a", "payload": {"deep": ["a\0b"]}}),
            "/payload/deep/0",
        ),
        (json!({"type": "a", "surprise": 1}), "/surprise"),
        (json!({"type": "a", "occurred_at": "soon"}), "/occurred_at"),
        (
            json!({"type": "a", "payload": 1, "payload_json": 2}),
            "/payload_json",
        ),
        (
            json!({"type": "a", "payload": "x".repeat(262_144)}),
            "/payload",
        ),
        (json!([{"type": "a"}, 7]), "/1"),
    ];
    for (body, pointer) in cases {
        let answer = house.app.post("/v1/events", &body).await.expect(400);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let places: Vec<_> = answer.json()["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["pointer"].as_str().unwrap().to_owned())
            .collect();
        assert!(places.contains(&pointer.to_owned()), "{body} → {places:?}");
    }
    for (text, status) in [
        ("{", 400),
        ("", 400),
        ("{\"type\":\"a\"} x", 400),
        ("[1e999]", 400),
        ("nul", 400),
    ] {
        house
            .app
            .post_raw("/v1/events", "application/json", text)
            .await
            .expect(status);
    }
    house
        .app
        .post_raw(
            "/v1/events",
            "application/json",
            r#"{"type":"a","payload":1e400}"#,
        )
        .await
        .expect(400);
    house
        .app
        .post_raw(
            "/v1/events",
            "application/json",
            r#"{"type":"a","payload":"\ud800"}"#,
        )
        .await
        .expect(400);
    house
        .app
        .post_raw("/v1/events", "application/json", vec![b'{', 0xff, b'}'])
        .await
        .expect(400);
    house
        .app
        .post_raw("/v1/events", "text/plain", "{}")
        .await
        .expect(415);
    house
        .app
        .post_raw("/v1/events", "application/json", vec![b' '; 9 << 20])
        .await
        .expect(413);
    let million = format!("[{}1]", "1,".repeat(1_000_000));
    house
        .app
        .post_raw("/v1/events", "application/json", million)
        .await
        .expect(400);
    let many: Vec<_> = (0..1001).map(|_| json!({"type": "a"})).collect();
    house.app.post("/v1/events", &json!(many)).await.expect(400);
    assert_eq!(house.count().await, 0);
    for id in ["nope", "01JZ8Q4V7R0000000000000001", "%00"] {
        let answer = house.app.get(&format!("/v1/events/{id}")).await;
        assert!(matches!(answer.status, 400 | 404), "{}", answer.text);
    }
}

#[tokio::test]
async fn cloudevents_come_in_all_three_modes() {
    let house = house().await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "subject": "u1",
        "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json", "traceparent": "x", "data": {"n": 1}});
    let structured = house
        .app
        .post_raw(
            "/v1/events",
            "application/cloudevents+json",
            event.to_string(),
        )
        .await
        .expect(201)
        .json();
    let batch = json!([event, {"specversion": "1.0", "id": "2", "source": "/shop", "type": "t", "data_base64": "AAEC"}]);
    let batch = house
        .app
        .post_raw(
            "/v1/events",
            "application/cloudevents-batch+json; charset=UTF-8",
            batch.to_string(),
        )
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&batch[0]["id"], &batch[0]["duplicated"]),
        (&structured["id"], &json!(true))
    );
    let binary = house
        .app
        .request(reqwest::Method::POST, "/v1/events")
        .header("content-type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/shop")
        .header("ce-type", "order.created")
        .header("ce-subject", "u%20%C3%A9")
        .body(r#"{"n":1}"#);
    assert_eq!(
        TestApp::send(binary).await.expect(200).json()["id"],
        structured["id"]
    );
    let text = house
        .app
        .request(reqwest::Method::POST, "/v1/events")
        .header("content-type", "text/plain")
        .header("ce-specversion", "1.0")
        .header("ce-id", "3")
        .header("ce-source", "/shop")
        .header("ce-type", "t")
        .header("ce-subject", "u%20%C3%A9")
        .body("plain");
    let text = TestApp::send(text).await.expect(201).json();
    let read = house
        .app
        .get(&format!("/v1/events/{}", text["id"].as_str().unwrap()))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (
            &read["payload"],
            &read["subject"],
            &read["source"],
            &read["dedupe_key"]
        ),
        (
            &json!("plain"),
            &json!("u é"),
            &json!("/shop"),
            &json!("/shop 3")
        )
    );
    let missing = house
        .app
        .post_raw(
            "/v1/events",
            "application/cloudevents+json",
            r#"{"specversion":"0.3","type":"t"}"#,
        )
        .await
        .expect(400)
        .json();
    assert_eq!(missing["errors"].as_array().unwrap().len(), 3, "{missing}");
    let bad = house
        .app
        .request(reqwest::Method::POST, "/v1/events")
        .header("ce-specversion", "1.0")
        .header("ce-id", "9")
        .header("ce-source", "/s")
        .header("ce-type", "a b");
    assert_eq!(
        TestApp::send(bad).await.expect(400).json()["errors"][0]["pointer"],
        "ce-type"
    );
}

/// Reads whole frames off a tail.
struct Tail {
    response: reqwest::Response,
    buffer: String,
}

impl Tail {
    async fn open(house: &House, query: &str, last: Option<&str>) -> Self {
        let mut request = house
            .app
            .request(reqwest::Method::GET, &format!("/v1/events/tail{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Tail {
            response,
            buffer: String::new(),
        }
    }

    /// The next event's frame: its id and its data.
    async fn next(&mut self) -> (String, Value) {
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, async {
            loop {
                if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                    let frame = frame.to_owned();
                    self.buffer = rest.to_owned();
                    let field = |name: &str| {
                        frame
                            .lines()
                            .find_map(|line| line.strip_prefix(name))
                            .map(str::to_owned)
                    };
                    if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                        let data: Value = serde_json::from_str(&data).unwrap();
                        assert_eq!(field("event: ").as_deref(), data["type"].as_str());
                        return (id, data);
                    }
                    continue;
                }
                let chunk = self
                    .response
                    .chunk()
                    .await
                    .unwrap()
                    .expect("the stream stays open");
                self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        })
        .await
        .expect("a frame")
    }

    async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.next().await.1["payload"].as_u64().unwrap());
        }
        numbers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_joins_history_to_live_without_gap_or_repeat() {
    let house = Arc::new(house().await);
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
        tails.push(Tail::open(&house, "?after=0", None).await);
    }
    let mut filtered = Tail::open(&house, "?after=0&stream=s1", None).await;
    for tail in &mut tails {
        assert_eq!(tail.numbers(1500).await, (0..1500).collect::<Vec<_>>());
    }
    assert_eq!(
        filtered.numbers(500).await,
        (0..1500).filter(|n| n % 3 == 1).collect::<Vec<_>>()
    );
    writer.await.unwrap();
}

#[tokio::test]
async fn a_tail_resumes_behind_what_was_seen() {
    let house = house().await;
    let made = house.append(json!([{"type": "a", "payload": 0}, {"type": "b", "payload": 1}, {"type": "a", "payload": 2}])).await;
    let mut tail = Tail::open(&house, "?after=0", None).await;
    let (first, _) = tail.next().await;
    drop(tail);
    assert_eq!(
        Tail::open(&house, "?after=0", Some(&first))
            .await
            .numbers(2)
            .await,
        [1, 2]
    );
    let id = made[1]["id"].as_str().unwrap();
    assert_eq!(
        Tail::open(&house, &format!("?after={id}"), None)
            .await
            .numbers(1)
            .await,
        [2]
    );
    assert_eq!(
        Tail::open(&house, "?after=0&type=a", None)
            .await
            .numbers(2)
            .await,
        [0, 2]
    );
    let mut now = Tail::open(&house, "", None).await;
    house.append(json!({"type": "a", "payload": 3})).await;
    assert_eq!(now.numbers(1).await, [3]);
    house
        .app
        .get("/v1/events/tail?after=nonsense")
        .await
        .expect(400);
}

#[tokio::test]
async fn a_tail_does_not_wait_beyond_the_end_of_the_log() {
    let house = house().await;
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
    let mut tail = Tail::open(&house, "?after=2", None).await;
    house.append(json!({"type": "c", "payload": 2})).await;
    assert_eq!(tail.numbers(1).await, [2]);
}

#[tokio::test]
async fn a_tail_ends_when_the_server_stops() {
    let house = house().await;
    let tail = Tail::open(&house, "", None).await;
    assert_eq!(house.app.stop().await, 0, "a connection had to be cut");
    drop(tail);
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let house = house().await;
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
            .is_empty()
    );
}
