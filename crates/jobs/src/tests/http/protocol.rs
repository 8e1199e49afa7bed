//! Workers and their tokens.

use serde_json::json;
use tidewire_testkit::{Engine, every_engine};

use super::house;
use crate::tests::squeezed;

#[every_engine]
async fn a_job_goes_from_hand_to_hand(engine: Engine) {
    let house = house(engine).await;
    let payload = r#"{"z":1.10,"a":[12345678901234567890.5,null]}"#;
    let body = format!(
        r#"{{"type":"mail.send","payload":{payload},"queue":"mails","priority":-3,"max_attempts":5,
            "timeout_seconds":90,"event_id":"e-1","run_at":"2023-11-14T23:13:20+01:00"}}"#
    );
    let answer = house
        .app
        .post_raw("/v1/jobs", "application/json", body)
        .await
        .expect(201);
    assert!(answer.text.contains(payload), "{}", answer.text);
    let job = answer.json();
    assert_eq!(job["status"], "pending");
    assert_eq!(job["run_at"], "2023-11-14T22:13:20.000000Z");
    let fields = [
        "id",
        "type",
        "queue",
        "status",
        "payload",
        "priority",
        "run_at",
        "attempts",
        "max_attempts",
        "idempotency_key",
        "locked_at",
        "locked_by",
        "last_error",
        "event_id",
        "created_at",
        "updated_at",
        "started_at",
        "finished_at",
        "output",
        "timeout_seconds",
    ];
    for field in fields {
        assert!(job.get(field).is_some(), "{field} is missing: {job}");
    }
    assert_eq!(job.as_object().unwrap().len(), fields.len(), "{job}");

    let claimed = house.claim().await;
    assert_eq!(
        (&claimed["locked_by"], &claimed["attempts"]),
        (&json!("w-1"), &json!(1))
    );
    assert_eq!(claimed["lease_expires_at"], "2023-11-14T22:14:20.000000Z");
    let token = claimed["lease_token"].as_str().unwrap();
    assert!(token.len() >= 43);
    let beat = house
        .act(&claimed, "heartbeat", json!({"lease_seconds": 600}))
        .await
        .expect(200);
    assert_eq!(beat.json()["status"], "running");
    let said = json!({"progress": {"pages": 7}});
    house.act(&claimed, "heartbeat", said).await.expect(200);
    let long = json!({"progress": "x".repeat(4096)});
    let refused = house.act(&claimed, "heartbeat", long).await.expect(400);
    assert!(
        refused.text.contains("4096 are the most"),
        "{}",
        refused.text
    );
    // A heartbeat without a word leaves it as it was.
    house
        .act(&claimed, "heartbeat", json!({}))
        .await
        .expect(200);
    assert_eq!(house.get(&claimed).await["progress"], json!({"pages": 7}));
    let failed = house
        .act(
            &claimed,
            "fail",
            json!({"error": "no luck", "retry_in_seconds": 0}),
        )
        .await;
    assert_eq!(failed.expect(200).json()["status"], "pending");
    let again = house.claim().await;
    let done = house
        .act(&again, "complete", json!({"output": {"sent": 1.0}}))
        .await
        .expect(200);
    assert!(
        squeezed(&done.text).contains(r#""output":{"sent":1.0}"#),
        "{}",
        done.text
    );
    let detail = house.get(&claimed).await;
    let outcomes: Vec<_> = detail["attempts_log"].as_array().unwrap().iter().collect();
    assert_eq!(outcomes.len(), 2);
    assert_eq!(
        (&outcomes[0]["outcome"], &outcomes[0]["error"]),
        (&json!("failed"), &json!("no luck"))
    );
    assert_eq!(
        (&outcomes[1]["outcome"], &outcomes[1]["worker"]),
        (&json!("done"), &json!("w-1"))
    );

    let released = house.enqueue(json!({"type": "t"})).await;
    let claimed = house.claim().await;
    let back = house
        .act(&claimed, "release", json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&back["id"], &back["attempts"]),
        (&released["id"], &json!(0))
    );
}

#[every_engine]
async fn nobody_but_the_claimer_sees_a_token(engine: Engine) {
    let house = house(engine).await;
    house.enqueue(json!({"type": "t"})).await;
    let claimed = house.claim().await;
    let token = claimed["lease_token"].as_str().unwrap();
    let id = claimed["id"].as_str().unwrap();
    for path in [
        "/v1/jobs",
        "/v1/jobs?status=running",
        &format!("/v1/jobs/{id}"),
    ] {
        let text = house.app.get(path).await.expect(200).text;
        assert!(text.contains(id) && !text.contains(token), "{text}");
    }
    let beat = house
        .act(&claimed, "heartbeat", json!({}))
        .await
        .expect(200);
    assert!(!beat.text.contains(token));
}

#[every_engine]
async fn a_lost_lease_is_a_409_and_a_foreign_job_a_404(engine: Engine) {
    let house = house(engine).await;
    house.enqueue(json!({"type": "t"})).await;
    let mut claimed = house.claim().await;
    let id = claimed["id"].as_str().unwrap().to_owned();
    house
        .app
        .post(&format!("/v1/jobs/{id}/cancel"), &json!({}))
        .await
        .expect(200);
    for (action, more) in [
        ("heartbeat", json!({})),
        ("complete", json!({})),
        ("fail", json!({"error": "x"})),
        ("release", json!({})),
    ] {
        let answer = house.act(&claimed, action, more).await.expect(409);
        assert!(answer.text.contains("it was cancelled"), "{}", answer.text);
    }
    claimed["id"] = json!("01HF7YAT00WGG5W2NJKMXE8P9E");
    house.act(&claimed, "complete", json!({})).await.expect(404);
    house.app.get("/v1/jobs/nothing").await.expect(404);
    house
        .app
        .post("/v1/jobs/nothing/retry", &json!({}))
        .await
        .expect(404);
}

#[every_engine]
async fn a_report_whose_answer_got_lost_is_answered_again(engine: Engine) {
    let house = house(engine).await;
    house.enqueue(json!({"type": "t"})).await;
    let claimed = house.claim().await;
    let body = json!({"output": 1});
    let first = house.act(&claimed, "complete", body.clone()).await;
    let again = house.act(&claimed, "complete", body).await.expect(200);
    assert_eq!(again.json(), first.expect(200).json());
    let beat = house.act(&claimed, "heartbeat", json!({})).await;
    let beat = beat.expect(409);
    assert!(beat.text.contains("it has ended"), "{}", beat.text);

    house.enqueue(json!({"type": "t"})).await;
    let claimed = house.claim().await;
    let body = json!({"error": "no luck", "retry_in_seconds": 9});
    let first = house.act(&claimed, "fail", body.clone()).await;
    let again = house.act(&claimed, "fail", body).await.expect(200);
    assert_eq!(again.json(), first.expect(200).json());
    let beat = house.act(&claimed, "heartbeat", json!({})).await;
    let beat = beat.expect(409);
    assert!(beat.text.contains("gone back"), "{}", beat.text);
}
