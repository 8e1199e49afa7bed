//! Webhooks as their callers see them.

use reqwest::{Method, header};
use serde_json::{Value, json};
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{UNKNOWN, endpoint, house, house_at, pointers};

#[every_engine]
async fn a_webhook_takes_what_its_schema_allows(engine: Engine) {
    let house = house(engine).await;
    let schema = json!({
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
    });
    let id = house.webhook(json!({"schema": schema})).await;
    let refused = house
        .call(&id, &json!({"id": "x", "name": 5}))
        .await
        .expect(400);
    let mut found = pointers(&refused);
    found.sort();
    assert_eq!(found, ["/id", "/name"], "{}", refused.text);
    house.call(&id, &json!([])).await.expect(400);
    assert_eq!(house.jobs().await.len(), 0, "nothing is stored");

    let accepted = house.call(&id, &json!({"id": 1})).await.expect(202).json();
    assert_eq!(accepted["event_id"], accepted["execution_id"]);
    assert_eq!(accepted.as_object().unwrap().len(), 3, "{accepted}");
    let jobs = house.jobs().await;
    assert_eq!(
        (jobs.len(), &jobs[0]["id"], &jobs[0]["payload"]),
        (1, &accepted["job_id"], &json!({"id": 1}))
    );

    let inactive = house.webhook(json!({})).await;
    let path = format!("/v1/triggers/{inactive}");
    house
        .put(&path, &json!({"status": "inactive"}))
        .await
        .expect(200);
    let deleted = house.webhook(json!({})).await;
    house
        .delete(&format!("/v1/triggers/{deleted}"))
        .await
        .expect(204);
    let event = house
        .create("event", endpoint(json!({"event_type": "a"})))
        .await;
    let event = event["id"].as_str().unwrap();
    for id in [UNKNOWN, "nothing", &inactive, &deleted, event] {
        house.call(id, &json!({"id": 1})).await.expect(404);
    }
    assert_eq!(house.jobs().await.len(), 1);
    let get = TestApp::send(house.app.request(Method::GET, &format!("/v1/webhook/{id}"))).await;
    get.expect(405);
}

#[every_engine]
async fn a_webhook_takes_json_in_any_dress(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    let path = format!("/v1/webhook/{id}");
    for (media_type, body, payload) in [
        ("application/json", "[1.50]", "[1.50]"),
        ("application/json; charset=utf-8", "null", "null"),
        (
            "application/cloudevents+json",
            r#"{"a":"ü"}"#,
            r#"{"a":"ü"}"#,
        ),
        ("Application/Vnd.X+JSON", "\"text\"", "\"text\""),
        ("application/x-www-form-urlencoded", "", "{}"),
    ] {
        let answer = house
            .app
            .post_raw(&path, media_type, body)
            .await
            .expect(202);
        let job = answer.json()["job_id"].as_str().unwrap().to_owned();
        let job = house.get(&format!("/v1/jobs/{job}")).await.expect(200);
        let squeezed: String = job.text.split_whitespace().collect();
        let expected = format!("\"payload\":{payload},");
        assert!(squeezed.contains(&expected), "{}", job.text);
    }
    let bare = TestApp::send(house.app.request(Method::POST, &path)).await;
    bare.expect(202);
    let stored = house.jobs().await.len();
    let long = format!("\"{}\"", "x".repeat(256 << 10));
    for (media_type, body, status) in [
        ("application/x-www-form-urlencoded", "a=1", 415),
        ("text/plain", "{}", 415),
        ("application/json; charset=latin1", "{}", 415),
        ("application/json", "{oops", 400),
        ("application/json", "{} {}", 400),
        ("application/json", r#"{"a":"\u0000"}"#, 400),
        ("application/json", &long, 413),
    ] {
        let answer = house.app.post_raw(&path, media_type, body.to_owned()).await;
        assert_eq!(answer.status, status, "{media_type}: {}", answer.text);
    }
    assert_eq!(house.jobs().await.len(), stored);
}

#[every_engine]
async fn a_webhook_may_want_a_key_besides(engine: Engine) {
    let house = house(engine).await;
    let open = house.webhook(json!({})).await;
    let closed = house.webhook(json!({"require_key": true})).await;
    let reader = house.key("read").await;
    let writer = house.key("write").await;
    let other = house
        .access
        .create_tenant("other".to_owned())
        .await
        .unwrap();
    let call = async |id: &str, authorization: Option<&str>| {
        let request = house
            .app
            .request(Method::POST, &format!("/v1/webhook/{id}"));
        let request = match authorization {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        };
        TestApp::send(request.json(&json!({}))).await
    };
    for (authorization, status) in [
        (None, 401),
        (Some("Basic YTpi".to_owned()), 401),
        (
            Some(format!("Bearer {}x", &writer[..writer.len() - 1])),
            401,
        ),
        (Some(format!("Bearer {}", other.api_key)), 401),
        (Some(format!("Bearer {reader}")), 403),
        (Some(format!("Bearer {writer}")), 202),
    ] {
        let answer = call(&closed, authorization.as_deref()).await.expect(status);
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            status == 401
        );
        // Where none is asked for, what a caller sends of its own is none of ours.
        call(&open, authorization.as_deref()).await.expect(202);
    }
    assert_eq!(house.jobs().await.len(), 7);
}

#[every_engine]
async fn one_idempotency_key_is_one_call(engine: Engine) {
    let house = house(engine).await;
    let [first, second] = [
        house.webhook(json!({})).await,
        house.webhook(json!({})).await,
    ];
    let call = async |id: &str, body: &Value| {
        let request = house
            .app
            .request(Method::POST, &format!("/v1/webhook/{id}"));
        TestApp::send(request.header("Idempotency-Key", "k").json(body)).await
    };
    let one = call(&first, &json!([1])).await.expect(202);
    let again = call(&first, &json!([1])).await.expect(202);
    assert_eq!(
        (&one.text, &again.headers["idempotent-replayed"]),
        (&again.text, &"true".parse().unwrap())
    );
    call(&first, &json!([2])).await.expect(422);
    let elsewhere = call(&second, &json!([2])).await.expect(202);
    assert_ne!(one.text, elsewhere.text);
    assert_eq!(house.jobs().await.len(), 2);
}

#[every_engine]
async fn triggers_that_set_each_other_off_come_to_an_end(engine: Engine) {
    let house = house(engine).await;
    let id = house.webhook(json!({})).await;
    for (path, fine) in [
        (format!("/v1/webhook/{id}"), 202),
        (format!("/v1/triggers/{id}/test"), 202),
    ] {
        let at = async |depth: &str| {
            let request = house
                .request(Method::POST, &path)
                .header("x-tidewire-depth", depth);
            TestApp::send(request.json(&json!({}))).await
        };
        at("15").await.expect(fine);
        for depth in ["16", "4294967295", "4294967296", "deep", "-1", ""] {
            let refused = at(depth).await.expect(400);
            assert_eq!(pointers(&refused), ["x-tidewire-depth"], "{depth}");
        }
    }
    assert_eq!(house.jobs().await.len(), 2);
}

#[tokio::test]
async fn the_operator_says_where_webhooks_are_called() {
    let house = house_at(Engine::Sqlite, Some("https://tide.example/in/")).await;
    let made = house.create("webhook", endpoint(json!({}))).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made["webhook_url"],
        format!("https://tide.example/in/v1/webhook/{id}")
    );
}
