//! The API's own description of itself, and where else its routes are found.

use serde_json::{Value, json};
use tidewire_testkit::{Answer, Engine};

use super::house::{SECRET, TOKEN, endpoint, house};

/// What is wrong with an answer, by the API's own description of it.
fn faults(api: &Value, method: &str, path: &str, answer: &Answer) -> Vec<String> {
    let declared = &api["paths"][path][method]["responses"][answer.status.to_string()];
    let mut schema = declared["content"]["application/json"]["schema"].clone();
    let schema_fields = schema.as_object_mut();
    let fields = schema_fields.unwrap_or_else(|| panic!("{method} {path}: {}", answer.status));
    fields.insert("components".to_owned(), api["components"].clone());
    let schema = jsonschema::validator_for(&schema).unwrap();
    let answer = answer.json();
    let faults = schema.iter_errors(&answer);
    faults
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

#[tokio::test]
async fn answers_are_as_they_are_described() {
    let house = house(Engine::Sqlite).await;
    let api = house.app.get("/openapi.json").await.expect(200).json();
    let fits = |method: &str, path: &str, answer: Answer| {
        let faults = faults(&api, method, path, &answer);
        assert!(faults.is_empty(), "{method} {path}: {faults:#?}");
        answer.json()
    };
    for (kind, more) in [
        (
            "webhook",
            json!({"secret": ["a", SECRET], "headers": {"Authorization": TOKEN}, "schema": true, "payload": null,
                "retry": {"max_attempts": 1, "base_seconds": 0.5}, "timeout_seconds": 1, "http_method": "PUT"}),
        ),
        ("time_scheduled", json!({"delay": "1s", "secret": SECRET})),
        (
            "cron_scheduled",
            json!({"cron": "* * * * * *", "misfire": "skip", "starts_at": null}),
        ),
        ("interval_scheduled", json!({"every": "1s"})),
        (
            "event",
            json!({"event_type": "a*", "filter": {"type": "ab"}}),
        ),
    ] {
        let config = endpoint(more);
        let new = json!({"name": "n", "type": kind, "config": config});
        let made = house.post("/v1/triggers", &new).await.expect(201);
        let made = fits("post", "/v1/triggers", made);
        let path = format!("/v1/triggers/{}", made["id"].as_str().unwrap());
        fits(
            "get",
            "/v1/triggers/{id}",
            house.get(&path).await.expect(200),
        );
        let edit = json!({"config": made["config"]});
        fits(
            "put",
            "/v1/triggers/{id}",
            house.put(&path, &edit).await.expect(200),
        );
        let tested = house.post(&format!("{path}/test"), &json!({})).await;
        let tested = fits("post", "/v1/triggers/{id}/test", tested.expect(202));
        let test = json!({"type": kind, "config": config});
        let unstored = house.post("/v1/triggers/test", &test).await;
        fits("post", "/v1/triggers/test", unstored.expect(202));
        if made["next_scheduled_run"].is_string() {
            let stored = house.get(&format!("{path}/preview")).await;
            fits("get", "/v1/triggers/{id}/preview", stored.expect(200));
            let unstored = house.post("/v1/triggers/preview", &test).await;
            fits("post", "/v1/triggers/preview", unstored.expect(200));
        }
        let schedules = house.get(&format!("{path}/schedules")).await;
        fits("get", "/v1/triggers/{id}/schedules", schedules.expect(200));
        let execution = tested["execution_id"].as_str().unwrap();
        let execution = house.get(&format!("/v1/executions/{execution}")).await;
        fits("get", "/v1/executions/{id}", execution.expect(200));
    }
    let id = house.webhook(json!({})).await;
    let called = house.call(&id, &json!({})).await.expect(202);
    fits("post", "/v1/webhook/{trigger_id}", called);
    for path in [
        "/v1/triggers",
        "/v1/executions",
        "/v1/executions/summary",
        "/v1/endpoints",
    ] {
        fits("get", path, house.get(path).await.expect(200));
    }
    let types = &api["components"]["schemas"]["TriggerType"]["enum"];
    let names: Vec<_> = crate::TriggerType::ALL
        .iter()
        .map(|one| one.as_str())
        .collect();
    assert_eq!(*types, json!(names));
}

#[tokio::test]
async fn every_answer_is_declared() {
    let house = house(Engine::Sqlite).await;
    let api = house.app.get("/openapi.json").await.expect(200).json();
    for (method, path, statuses) in [
        (
            "post",
            "/v1/triggers",
            "201 400 401 403 409 413 415 422 503",
        ),
        ("get", "/v1/triggers", "200 400 401 403 503"),
        ("get", "/v1/triggers/{id}", "200 400 401 403 404 503"),
        (
            "put",
            "/v1/triggers/{id}",
            "200 400 401 403 404 409 413 415 503",
        ),
        ("delete", "/v1/triggers/{id}", "204 400 401 403 404 503"),
        (
            "get",
            "/v1/triggers/{id}/schedules",
            "200 400 401 403 404 503",
        ),
        (
            "get",
            "/v1/triggers/{id}/preview",
            "200 400 401 403 404 503",
        ),
        (
            "post",
            "/v1/triggers/{id}/test",
            "202 400 401 403 404 413 415 503",
        ),
        (
            "post",
            "/v1/triggers/preview",
            "200 400 401 403 413 415 503",
        ),
        ("post", "/v1/triggers/test", "202 400 401 403 413 415 503"),
        ("get", "/v1/executions", "200 400 401 403 503"),
        ("get", "/v1/endpoints", "200 401 403 503"),
        ("get", "/v1/executions/summary", "200 400 401 403 503"),
        ("get", "/v1/executions/{id}", "200 400 401 403 404 503"),
        (
            "post",
            "/v1/executions/{id}/retry",
            "200 400 401 403 404 409 503",
        ),
        (
            "post",
            "/v1/webhook/{trigger_id}",
            "202 400 401 403 404 409 413 415 422 503",
        ),
    ] {
        let operation = &api["paths"][path][method];
        let declared = operation["responses"].as_object();
        let declared = declared.unwrap_or_else(|| panic!("{method} {path}"));
        for status in statuses.split(' ') {
            assert!(declared.contains_key(status), "{method} {path}: {status}");
        }
    }
    let schemas = api["components"]["schemas"].as_object().unwrap();
    for name in [
        "Trigger",
        "NewTrigger",
        "TriggerEdit",
        "WebhookConfig",
        "DeliveryConfig",
        "Schedule",
        "Pagination",
    ] {
        assert!(schemas.contains_key(name), "{name}");
    }
    assert_eq!(
        api["paths"]["/v1/webhook/{trigger_id}"]["post"]["security"][0],
        json!({})
    );
}

#[tokio::test]
async fn the_paths_of_the_source_design_lead_here() {
    let house = house(Engine::Sqlite).await;
    let body = json!({"name": "n", "type": "webhook", "config": endpoint(json!({}))});
    let made = house
        .post("/api/v1/triggers", &body)
        .await
        .expect(201)
        .json();
    let id = made["id"].as_str().unwrap();
    house
        .get(&format!("/api/v1/triggers/{id}"))
        .await
        .expect(200);
    house
        .app
        .post(&format!("/api/v1/webhook/{id}"), &json!({}))
        .await
        .expect(202);
    house
        .post(&format!("/api/v1/triggers/{id}/test"), &json!({}))
        .await
        .expect(202);
}
