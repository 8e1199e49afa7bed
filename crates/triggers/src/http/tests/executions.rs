//! Executions as they are read and tried again.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{UNKNOWN, house, pointers};

#[every_engine]
async fn executions_are_read_and_tried_again(engine: Engine) {
    let house = house(engine).await;
    let config = json!({"job": {"type": "mail", "queue": "mine"}, "retry": {"max_attempts": 1}});
    let trigger = house.create("webhook", config).await;
    let id = trigger["id"].as_str().unwrap();
    let called = house.call(id, &json!({"n": 1.0})).await.expect(202).json();
    house.clock.advance(Duration::from_millis(1));
    let test = format!("/v1/triggers/{id}/test");
    let tested = house.post(&test, &json!({})).await.expect(202).json();

    let path = format!(
        "/v1/executions/{}",
        called["execution_id"].as_str().unwrap()
    );
    let one = house.get(&path).await.expect(200).json();
    assert_eq!(
        one,
        json!({
            "id": called["execution_id"],
            "trigger_id": id,
            "trigger_type": "webhook",
            "fired_at": "2023-11-14T22:13:20.000000Z",
            "payload": {"n": 1.0},
            "source": "webhook",
            "execution_status": "pending",
            "error_message": null,
            "retention_status": "active",
            "is_test_run": false,
            "job_id": called["job_id"],
            "attempts": [],
            "created_at": "2023-11-14T22:13:20.000000Z",
        })
    );
    let listed = async |query: &str| {
        let list = house.get(&format!("/v1/executions{query}")).await;
        let list = list.expect(200).json();
        let events = list["events"].as_array().unwrap().iter();
        let ids: Vec<_> = events.map(|one| one["id"].clone()).collect();
        assert_eq!(list["pagination"]["total_records"], ids.len());
        ids
    };
    let (called_id, tested_id) = (&called["execution_id"], &tested["execution_id"]);
    assert_eq!(listed("").await, [tested_id.clone(), called_id.clone()]);
    assert_eq!(
        listed("?is_test_run=true").await,
        std::slice::from_ref(tested_id)
    );
    assert_eq!(
        listed("?source=webhook&execution_status=pending").await,
        std::slice::from_ref(called_id)
    );
    assert_eq!(
        listed(&format!("?trigger_id={id}&limit=500&page=1"))
            .await
            .len(),
        2
    );
    for query in [
        "retention_status=archived",
        "execution_status=failure",
        "source=event",
        "trigger_id=none",
    ] {
        assert!(listed(&format!("?{query}")).await.is_empty(), "{query}");
    }
    for query in ["is_test_run=maybe", "source=me", "status=pending", "page=0"] {
        let refused = house
            .get(&format!("/v1/executions?{query}"))
            .await
            .expect(400);
        assert_eq!(pointers(&refused), [query.split('=').next().unwrap()]);
    }

    let retry = format!("{path}/retry");
    house.post(&retry, &json!({})).await.expect(409);
    let claim = json!({"worker": "w", "types": ["mail"], "limit": 1});
    let claimed = house
        .post("/v1/jobs/claim", &claim)
        .await
        .expect(200)
        .json();
    assert_eq!(claimed["jobs"][0]["id"], called["job_id"]);
    let fail = json!({"lease_token": claimed["jobs"][0]["lease_token"], "error": "no stamps"});
    let job = format!("/v1/jobs/{}/fail", called["job_id"].as_str().unwrap());
    house.post(&job, &fail).await.expect(200);
    let failed = house.get(&path).await.expect(200).json();
    assert_eq!(
        (&failed["execution_status"], &failed["error_message"]),
        (&json!("failure"), &json!("no stamps"))
    );
    let summary = house
        .get("/v1/executions/summary?hours=1")
        .await
        .expect(200)
        .json();
    assert_eq!(
        summary["by_status"],
        json!({"pending": 1, "success": 0, "failure": 1})
    );
    assert_eq!(
        (
            &summary["triggers"][0]["trigger_id"],
            &summary["triggers"][0]["name"]
        ),
        (&json!(id), &json!("a trigger"))
    );
    let refused = house
        .get("/v1/executions/summary?hours=0")
        .await
        .expect(400);
    assert_eq!(pointers(&refused), ["hours"]);
    let again = house.request(Method::POST, &retry);
    let again = TestApp::send(again).await.expect(200).json();
    assert_eq!(again["execution_status"], "pending");

    // Executions outlive their trigger.
    house
        .delete(&format!("/v1/triggers/{id}"))
        .await
        .expect(204);
    assert_eq!(listed(&format!("?trigger_id={id}")).await.len(), 2);
    house
        .get(&format!("/v1/executions/{UNKNOWN}"))
        .await
        .expect(404);
    house
        .post("/v1/executions/nothing/retry", &json!({}))
        .await
        .expect(404);

    let other = house
        .access
        .create_tenant("other".to_owned())
        .await
        .unwrap();
    let reader = house.key("read").await;
    for (method, path, key, status) in [
        (Method::GET, &path, &other.api_key, 404),
        (Method::POST, &retry, &other.api_key, 404),
        (Method::GET, &path, &reader, 200),
        (Method::POST, &retry, &reader, 403),
    ] {
        let request = house.app.request(method, path).bearer_auth(key);
        TestApp::send(request).await.expect(status);
    }
    let api = house
        .get(&format!("/api/v1/events/{}", called_id.as_str().unwrap()))
        .await;
    assert_eq!(api.expect(200).json()["id"], *called_id);
}
