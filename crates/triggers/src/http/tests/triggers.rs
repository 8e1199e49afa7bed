//! Triggers as they are made, read, changed and deleted.

use std::time::Duration;

use reqwest::{Method, header};
use serde_json::json;
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{SECRET, UNKNOWN, endpoint, house, pointers};

#[every_engine]
async fn a_trigger_is_made_read_changed_and_deleted(engine: Engine) {
    let house = house(engine).await;
    let config = r#"{"endpoint":"http://127.0.0.1:9/in","payload":{"n":1.10}}"#;
    let body = format!(r#"{{"name":"first","type":"webhook","config":{config}}}"#);
    let request = house
        .request(Method::POST, "/v1/triggers")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let made = TestApp::send(request).await.expect(201);
    assert!(made.text.contains("1.10"), "{}", made.text);
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({
            "id": id,
            "name": "first",
            "type": "webhook",
            "status": "active",
            "config": {"endpoint": "http://127.0.0.1:9/in", "payload": {"n": 1.10}},
            "webhook_url": house.app.url(&format!("/v1/webhook/{id}")),
            "created_at": "2023-11-14T22:13:20.000000Z",
            "updated_at": "2023-11-14T22:13:20.000000Z",
        })
    );
    let path = format!("/v1/triggers/{id}");
    assert_eq!(house.get(&path).await.expect(200).json(), made);
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["triggers"], json!([made]));

    house.clock.advance(Duration::from_secs(5));
    let changed = house
        .put(&path, &json!({"name": "second"}))
        .await
        .expect(200);
    let changed = changed.json();
    assert_eq!(
        (&changed["name"], &changed["updated_at"]),
        (&json!("second"), &json!("2023-11-14T22:13:25.000000Z"))
    );
    assert_eq!(changed["config"], made["config"]);
    let edit = json!({"status": "inactive", "config": {"job": {"type": "echo"}}});
    let changed = house.put(&path, &edit).await.expect(200).json();
    assert_eq!(
        (&changed["status"], &changed["config"], &changed["name"]),
        (&json!("inactive"), &edit["config"], &json!("second"))
    );
    assert_eq!(changed["webhook_url"], made["webhook_url"]);

    let gone = house.delete(&path).await.expect(204);
    assert_eq!(gone.text, "");
    house.get(&path).await.expect(404);
    house.put(&path, &json!({})).await.expect(404);
    house.delete(&path).await.expect(404);
}

#[every_engine]
async fn triggers_by_the_clock_show_when_they_fire(engine: Engine) {
    let house = house(engine).await;
    for (kind, more, next) in [
        (
            "time_scheduled",
            json!({"run_at": "2023-11-15T00:13:21+01:00"}),
            Some("2023-11-14T23:13:21.000000Z"),
        ),
        (
            "time_scheduled",
            json!({"delay": "10m"}),
            Some("2023-11-14T22:23:20.000000Z"),
        ),
        (
            "cron_scheduled",
            json!({"cron": "0 9 * * *", "timezone": "Europe/Berlin"}),
            Some("2023-11-15T08:00:00.000000Z"),
        ),
        (
            "interval_scheduled",
            json!({"every": "30m"}),
            Some("2023-11-14T22:43:20.000000Z"),
        ),
        ("event", json!({"event_type": "order.*"}), None),
        ("webhook", json!({}), None),
    ] {
        let trigger = house.create(kind, endpoint(more)).await;
        assert_eq!(trigger["next_scheduled_run"].as_str(), next, "{trigger}");
        assert_eq!(trigger["webhook_url"].is_string(), kind == "webhook");
        let path = format!("/v1/triggers/{}", trigger["id"].as_str().unwrap());
        let schedules = format!("{path}/schedules");
        let listed = house.get(&schedules).await.expect(200).json();
        let occurrences = listed["schedules"].as_array().unwrap().clone();
        assert_eq!(occurrences.len(), usize::from(next.is_some()), "{listed}");
        assert_eq!(listed["pagination"]["total_records"], occurrences.len());
        let Some(next) = next else { continue };
        assert_eq!(
            occurrences[0],
            json!({
                "id": occurrences[0]["id"],
                "fire_at": next,
                "status": "pending",
                "attempt_count": 0,
                "last_attempt_at": null,
            })
        );
        let rested = house.put(&path, &json!({"status": "inactive"})).await;
        let rested = rested.expect(200).json();
        assert_eq!(rested.get("next_scheduled_run"), None);
        let listed = house.get(&schedules).await.expect(200).json();
        assert_eq!(listed["schedules"][0]["status"], "cancelled");
        let pending = format!("{schedules}?status=pending");
        let listed = house.get(&pending).await.expect(200).json();
        assert_eq!(listed["schedules"], json!([]));
    }
    house
        .get(&format!("/v1/triggers/{UNKNOWN}/schedules"))
        .await
        .expect(404);
}

#[every_engine]
async fn bad_triggers_are_refused_whole(engine: Engine) {
    let house = house(engine).await;
    let cron = |cron: &str| endpoint(json!({"cron": cron}));
    for (body, at) in [
        (json!({}), &[""][..]),
        (
            json!({"name": "", "type": "webhook", "config": endpoint(json!({}))}),
            &["/name"],
        ),
        (
            json!({"name": "n", "type": "timer", "config": endpoint(json!({}))}),
            &["/type"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": []}),
            &["/config"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": {}}),
            &["/config/endpoint"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": endpoint(json!({})), "extra": 1}),
            &["/extra"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": endpoint(json!({})), "status": "on"}),
            &["/status"],
        ),
        (
            json!({"name": "", "type": "cron_scheduled", "config": cron("61 * * * *")}),
            &["/name", "/config/cron"],
        ),
        (
            json!({"name": "n", "type": "cron_scheduled", "config": cron("0 0 30 2 *")}),
            &["/config/cron"],
        ),
        (
            json!({"name": "n", "type": "time_scheduled",
                "config": endpoint(json!({"run_at": "2023-11-14T22:13:19Z"}))}),
            &["/config/run_at"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": {"endpoint": "http://10.0.0.1/"}}),
            &["/config/endpoint"],
        ),
        (
            json!({"name": "n", "type": "webhook", "config": endpoint(json!({"schema": {"type": 5}}))}),
            &["/config/schema/type"],
        ),
        (
            json!({"name": "n", "type": "webhook",
                "config": endpoint(json!({"colour": 1, "timeout_seconds": 61}))}),
            &["/config/timeout_seconds", "/config/colour"],
        ),
    ] {
        let refused = house.post("/v1/triggers", &body).await.expect(400);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        for pointer in at {
            assert!(
                pointers(&refused).iter().any(|known| known == pointer),
                "{pointer}: {}",
                refused.text
            );
        }
    }
    let text = house
        .request(Method::POST, "/v1/triggers")
        .header(header::CONTENT_TYPE, "text/plain")
        .body("{}");
    TestApp::send(text).await.expect(415);
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["triggers"], json!([]));

    let id = house.webhook(json!({})).await;
    let path = format!("/v1/triggers/{id}");
    for (edit, pointer) in [
        (json!({"type": "event"}), "/type"),
        (json!({"name": "x".repeat(256)}), "/name"),
        (json!({"status": "paused"}), "/status"),
        (json!({"config": {"endpoint": 5}}), "/config/endpoint"),
        (
            json!({"config": endpoint(json!({"secret": "…aaaa"}))}),
            "/config/secret",
        ),
    ] {
        let refused = house.put(&path, &edit).await.expect(400);
        assert_eq!(pointers(&refused), [pointer], "{}", refused.text);
    }
    for query in [
        "type=timer",
        "status=on",
        "page=0",
        "limit=0",
        "limit=501",
        "cursor=x",
        "page=-1",
    ] {
        let refused = house.get(&format!("/v1/triggers?{query}")).await;
        let name = query.split('=').next().unwrap();
        assert_eq!(pointers(&refused.expect(400)), [name], "{query}");
    }
}

#[every_engine]
async fn lists_have_numbered_pages_and_filters(engine: Engine) {
    let house = house(engine).await;
    for n in 0..5 {
        let kind = if n % 2 == 0 { "webhook" } else { "event" };
        let config = endpoint(if n % 2 == 0 {
            json!({})
        } else {
            json!({"event_type": "a"})
        });
        let status = if n == 4 { "inactive" } else { "active" };
        let body =
            json!({"name": format!("n-{n}"), "type": kind, "config": config, "status": status});
        house.post("/v1/triggers", &body).await.expect(201);
        house.clock.advance(Duration::from_millis(1));
    }
    let page = async |query: &str| {
        let page = house.get(&format!("/v1/triggers{query}")).await;
        let page = page.expect(200).json();
        let names = page["triggers"].as_array().unwrap().iter();
        let names = names.map(|one| one["name"].as_str().unwrap().to_owned());
        (names.collect::<Vec<_>>(), page["pagination"].clone())
    };
    let pagination = |current: u64, size: u64, pages: u64, records: u64| json!({"current_page": current, "page_size": size, "total_pages": pages, "total_records": records});
    assert_eq!(
        page("?limit=2").await,
        (vec!["n-4".into(), "n-3".into()], pagination(1, 2, 3, 5))
    );
    assert_eq!(
        page("?limit=2&page=3").await,
        (vec!["n-0".into()], pagination(3, 2, 3, 5))
    );
    assert_eq!(page("?page=9").await, (vec![], pagination(9, 50, 1, 5)));
    assert_eq!(
        page("?type=event").await,
        (vec!["n-3".into(), "n-1".into()], pagination(1, 50, 1, 2))
    );
    assert_eq!(
        page("?type=webhook&status=inactive").await,
        (vec!["n-4".into()], pagination(1, 50, 1, 1))
    );
    assert_eq!(
        page("?type=cron_scheduled").await,
        (vec![], pagination(1, 50, 0, 0))
    );
}

#[every_engine]
async fn one_idempotency_key_is_one_trigger(engine: Engine) {
    let house = house(engine).await;
    let send = async |name: &str| {
        let config = endpoint(json!({"run_at": "2023-11-14T22:14:00Z", "secret": SECRET}));
        let body = json!({"name": name, "type": "time_scheduled", "config": config});
        let request = house.request(Method::POST, "/v1/triggers");
        TestApp::send(request.header("Idempotency-Key", "k").json(&body)).await
    };
    let first = send("a").await.expect(201);
    // Its time has come since; the request was the same all the same.
    house.clock.advance(Duration::from_mins(5));
    let again = send("a").await.expect(201);
    assert_eq!(first.text, again.text);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert!(!again.text.contains(SECRET), "{}", again.text);
    send("b").await.expect(422);
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["pagination"]["total_records"], 1);
}
