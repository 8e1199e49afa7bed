//! What is appended, and what is refused.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};
use tidewire_testkit::{Engine, every_engine};

use crate::house::{House, house, list, serve};

#[every_engine]
async fn an_event_comes_back_as_it_was_sent(engine: Engine) {
    let house = house(engine).await;
    // Digits that a float would lose, and text that a careless statement would.
    let payload = r#"{"z":1,"a":[1.10,12345678901234567890.123456789,1e-300,"é\n\ud83d\ude00\"\\'?$1"],"n":null}"#;
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
    for digits in ["1.10", "12345678901234567890.123456789"] {
        assert!(read.text.contains(digits), "{}", read.text);
    }
    let read = read.json();
    let payload: Value = serde_json::from_str(payload).unwrap();
    assert_eq!(read["payload"], payload);
    assert_eq!(read["type"], "payment.completed");
    assert_eq!(read["subject"], "user-1");
    assert_eq!(read["dedupe_key"], "k-1");
    assert_eq!(read["source"], "shop");
    assert_eq!(read["occurred_at"], "2026-01-31T11:00:00.000000Z");
    assert_eq!(read["created_at"], made["created_at"]);
}

/// The ends of what a field takes.
#[every_engine]
async fn what_is_as_long_or_as_far_away_as_may_be_comes_back(engine: Engine) {
    let house = house(engine).await;
    let text = "\u{1f980}".repeat(512);
    let fact = |occurred_at: &str| {
        json!({
            "type": "t".repeat(255), "stream": "s".repeat(128), "subject": text, "source": text,
            "dedupe_key": format!("{}{}", &text[..4 * 500], &occurred_at[..4]),
            "occurred_at": occurred_at, "payload": "x".repeat(262_142),
        })
    };
    for occurred_at in ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"] {
        let fact = fact(occurred_at);
        let made = house.append(fact.clone()).await;
        let read = house
            .app
            .get(&format!("/v1/events/{}", made["id"].as_str().unwrap()))
            .await
            .expect(200)
            .json();
        for (field, value) in fact.as_object().unwrap() {
            assert_eq!(read[field], *value, "{field}");
        }
        let again = house.append(fact).await;
        assert_eq!(
            (&again["id"], &again["duplicated"]),
            (&made["id"], &json!(true))
        );
    }
}

#[every_engine]
async fn keys_and_subjects_that_differ_in_a_bit_are_different(engine: Engine) {
    let house = house(engine).await;
    // What collations, paddings and conversions between character sets would take for equal.
    let texts = [
        "a",
        "A",
        "a ",
        " a",
        "ä",
        "a\u{308}",
        "\u{e4}\u{200b}",
        "ß",
        "ss",
        "\u{ff41}",
    ];
    for (n, text) in texts.iter().enumerate() {
        let made = house
            .append(json!({"type": "t", "subject": text, "source": text, "dedupe_key": text, "payload": n}))
            .await;
        assert_eq!(made["duplicated"], false, "{text:?}");
    }
    for (n, text) in texts.iter().enumerate() {
        for field in ["subject", "source"] {
            let query: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let found = list(&house.app, &format!("{field}={query}")).await;
            let found: Vec<_> = found.iter().map(|event| &event["payload"]).collect();
            assert_eq!(found, [n], "{field} {text:?}");
        }
    }
}

#[every_engine]
async fn null_is_a_payload_and_a_missing_one_is_an_empty_object(engine: Engine) {
    let house = house(engine).await;
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

#[every_engine]
async fn a_key_that_was_seen_gives_the_first_answer(engine: Engine) {
    let house = house(engine).await;
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

#[every_engine]
async fn an_array_is_stored_whole_or_not_at_all(engine: Engine) {
    let house = house(engine).await;
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

#[every_engine]
async fn expected_seq_guards_a_stream(engine: Engine) {
    let house = house(engine).await;
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

#[every_engine(multi_thread)]
async fn concurrent_appends_leave_no_gap_and_store_each_key_once(engine: Engine) {
    let house = Arc::new(house(engine).await);
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

#[every_engine]
async fn what_was_stored_outlives_a_restart_and_so_do_its_keys(engine: Engine) {
    let house = house(engine).await;
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

#[every_engine]
async fn bad_events_name_their_place_and_store_nothing(engine: Engine) {
    let house = house(engine).await;
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
