//! Who may do what, and what nobody is shown.

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{SECRET, TOKEN, UNKNOWN, endpoint, house};

#[every_engine]
async fn secrets_go_in_and_never_come_out(engine: Engine) {
    let house = house(engine).await;
    let config = endpoint(
        json!({"secret": SECRET, "headers": {"Authorization": TOKEN, "X-Plain": "plain"}}),
    );
    let made = house.create("webhook", config.clone()).await;
    let masked =
        json!({"secret": "whsec_…LaSw", "headers": {"Authorization": "…cdef", "X-Plain": "plain"}});
    assert_eq!(made["config"], endpoint(masked));
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/triggers/{id}");
    // What was shown goes back with one field changed, and the masks stand for the secrets.
    let mut edited = made["config"].clone();
    edited["timeout_seconds"] = json!(5);
    let put = house
        .put(&path, &json!({"config": edited}))
        .await
        .expect(200);
    let stored = house.triggers.get(&house.tenant, id).await.unwrap();
    let stored: Value = serde_json::from_str(stored.config.raw().get()).unwrap();
    let mut expected = config;
    expected["timeout_seconds"] = json!(5);
    assert_eq!(stored, expected);
    house.call(id, &json!({})).await.expect(202);
    let tested = house
        .post(&format!("{path}/test"), &json!({}))
        .await
        .expect(202);
    for answer in [
        put,
        tested,
        house.get(&path).await,
        house.get("/v1/triggers").await,
        house.get("/v1/jobs").await,
        // One that is wrong in another place.
        house
            .post(
                "/v1/triggers/test",
                &json!({"type": "webhook", "config": endpoint(json!({"secret": SECRET, "timeout_seconds": 0}))}),
            )
            .await
            .expect(400),
    ] {
        assert!(!answer.text.contains("MfKQ9r8G"), "{}", answer.text);
        assert!(!answer.text.contains("0123456789"), "{}", answer.text);
    }
}

#[every_engine]
async fn tenants_do_not_see_each_other(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    let other = house
        .access
        .create_tenant("other".to_owned())
        .await
        .unwrap();
    let path = format!("/v1/triggers/{id}");
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::PUT, path.clone(), Some(json!({}))),
        (Method::DELETE, path.clone(), None),
        (Method::GET, format!("{path}/schedules"), None),
        (Method::GET, format!("{path}/preview"), None),
        (Method::POST, format!("{path}/test"), Some(json!({}))),
    ] {
        let request = house.app.request(method.clone(), &path);
        let request = request.bearer_auth(&other.api_key);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = TestApp::send(request).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
    }
    let list = house.app.request(Method::GET, "/v1/triggers");
    let list = TestApp::send(list.bearer_auth(&other.api_key)).await;
    assert_eq!(list.expect(200).json()["triggers"], json!([]));
    house.get(&path).await.expect(200);
}

#[every_engine]
async fn each_route_wants_its_scope(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    let cron = endpoint(json!({"cron": "* * * * *"}));
    for (scopes, read, write) in [
        ("read", true, false),
        ("write", false, true),
        ("worker", false, false),
    ] {
        let key = house.key(scopes).await;
        let ask =
            async |method: Method, path: &str, body: Option<Value>, allowed: bool, fine: u16| {
                let request = house.app.request(method, path).bearer_auth(&key);
                let request = match &body {
                    Some(body) => request.json(body),
                    None => request,
                };
                let expected = if allowed { fine } else { 403 };
                let answer = TestApp::send(request).await;
                assert_eq!(answer.status, expected, "{scopes} {path}: {}", answer.text);
            };
        let path = format!("/v1/triggers/{id}");
        ask(Method::GET, "/v1/triggers", None, read, 200).await;
        ask(Method::GET, "/v1/executions", None, read, 200).await;
        ask(Method::GET, "/v1/endpoints", None, read, 200).await;
        ask(Method::GET, &path, None, read, 200).await;
        ask(Method::GET, &format!("{path}/schedules"), None, read, 200).await;
        ask(Method::GET, &format!("{path}/preview"), None, read, 400).await;
        let new = json!({"name": "n", "type": "webhook", "config": endpoint(json!({}))});
        ask(Method::POST, "/v1/triggers", Some(new.clone()), write, 201).await;
        ask(Method::PUT, &path, Some(json!({})), write, 200).await;
        ask(Method::POST, &format!("{path}/test"), None, write, 202).await;
        let test = json!({"type": "webhook", "config": endpoint(json!({}))});
        ask(Method::POST, "/v1/triggers/test", Some(test), write, 202).await;
        let preview = json!({"type": "cron_scheduled", "config": cron});
        ask(
            Method::POST,
            "/v1/triggers/preview",
            Some(preview),
            write,
            200,
        )
        .await;
        let unknown = format!("/v1/triggers/{UNKNOWN}");
        ask(Method::DELETE, &unknown, None, write, 404).await;
    }
    house.app.get("/v1/triggers").await.expect(401);
}
