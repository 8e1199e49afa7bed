//! CloudEvents over HTTP.

use serde_json::json;
use tidewire_testkit::{Engine, TestApp, every_engine};

use crate::house::house;

#[every_engine]
async fn cloudevents_come_in_all_three_modes(engine: Engine) {
    let house = house(engine).await;
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
