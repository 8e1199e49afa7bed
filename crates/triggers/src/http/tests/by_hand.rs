//! Test runs.

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{UNKNOWN, endpoint, house, pointers};

#[every_engine]
async fn a_test_run_is_one_job_and_no_schedule(engine: Engine) {
    let house = house(engine).await;
    let schema = json!({"type": "object", "required": ["id"]});
    let id = house
        .webhook(json!({"schema": schema, "payload": {"id": 7}}))
        .await;
    let path = format!("/v1/triggers/{id}");
    let refused = house
        .post(&format!("{path}/test"), &json!({"payload": {"no": "id"}}))
        .await
        .expect(400);
    assert_eq!(pointers(&refused), ["/payload"], "{}", refused.text);
    house
        .post(&format!("{path}/test"), &json!({"pay": 1}))
        .await
        .expect(400);
    assert_eq!(house.jobs().await.len(), 0);

    // An inactive one too, and without a body.
    house
        .put(&path, &json!({"status": "inactive"}))
        .await
        .expect(200);
    let test = house.request(Method::POST, &format!("{path}/test"));
    let run = TestApp::send(test).await.expect(202).json();
    let jobs = house.jobs().await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        (&jobs[0]["id"], &jobs[0]["event_id"], &jobs[0]["payload"]),
        (&run["job_id"], &run["execution_id"], &json!({"id": 7}))
    );
    assert_eq!(
        (
            &jobs[0]["type"],
            &jobs[0]["queue"],
            &jobs[0]["max_attempts"]
        ),
        (&json!("http.dispatch"), &json!("deliveries"), &json!(8))
    );
    assert_eq!(run.as_object().unwrap().len(), 2, "{run}");
    let body = json!({"type": "webhook", "config": endpoint(json!({})), "payload": null});
    let null = house
        .post("/v1/triggers/test", &body)
        .await
        .expect(202)
        .json();
    let path = format!("/v1/jobs/{}", null["job_id"].as_str().unwrap());
    assert_eq!(
        house.get(&path).await.expect(200).json()["payload"],
        Value::Null
    );

    let cron = house
        .create("cron_scheduled", endpoint(json!({"cron": "0 0 * * *"})))
        .await;
    let path = format!("/v1/triggers/{}", cron["id"].as_str().unwrap());
    house
        .post(&format!("{path}/test"), &json!({"payload": [1]}))
        .await
        .expect(202);
    let schedules = house
        .get(&format!("{path}/schedules"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        schedules["pagination"]["total_records"], 1,
        "the coming one"
    );
    let config = json!({"job": {"type": "echo", "queue": "mine"}});
    house
        .post(
            "/v1/triggers/test",
            &json!({"type": "event", "config": config}),
        )
        .await
        .expect(400);
    let config = json!({"job": {"type": "echo", "queue": "mine"}, "event_type": "a"});
    house
        .post(
            "/v1/triggers/test",
            &json!({"type": "event", "config": config}),
        )
        .await
        .expect(202);
    let jobs = house.jobs().await;
    assert_eq!(
        (&jobs[0]["type"], &jobs[0]["queue"]),
        (&json!("echo"), &json!("mine"))
    );
    house
        .post(&format!("/v1/triggers/{UNKNOWN}/test"), &json!({}))
        .await
        .expect(404);
}
