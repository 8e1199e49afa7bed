//! What is known of agents.

use std::time::Duration;

use serde_json::{Value, json};
use tidewire_testkit::{Engine, eventually, every_engine};

use super::house::House;

#[every_engine]
async fn offered_tried_and_running_are_three_things(engine: Engine) {
    let house = House::on(engine).await;
    house.register("a", json!({})).await;
    let known = house.agent("a").await;
    assert_eq!(
        (&known["offered"], &known["last_attempt"], &known["running"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    house.push(json!({"url": "good"})).await;
    house.says("a", 1, None).await.expect(204);
    house.push(json!({"url": "bad"})).await;
    house.says("a", 2, Some("no such host")).await.expect(204);
    // It works again with what it had, and that hides nothing.
    house.says("a", 1, None).await.expect(204);
    let known = house.agent("a").await;
    assert_eq!(
        (&known["offered"], &known["running"]),
        (&json!(2), &json!(1))
    );
    let attempt = &known["last_attempt"];
    assert_eq!(
        (&attempt["version"], &attempt["state"]),
        (&json!(2), &json!("failed"))
    );
    assert_eq!(attempt["error"], "no such host");

    let back = json!({"version": 1, "note": "the host is gone"});
    let back = house
        .app
        .post("/v1/fleet/config/rollback", &back)
        .await
        .expect(201);
    assert_eq!(back.json()["version"], 3);
    assert_eq!(house.given("a").await, 3);
    house.says("a", 3, None).await.expect(204);
    let known = house.agent("a").await;
    let attempt = &known["last_attempt"];
    assert_eq!(
        (&known["offered"], &known["running"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        (&attempt["version"], &attempt["error"]),
        (&json!(3), &Value::Null)
    );
}

#[every_engine]
async fn an_agent_keeps_its_id_and_what_it_says_counts_for_known_versions_alone(engine: Engine) {
    let house = House::on(engine).await;
    let body = json!({"name": "first", "labels": {"a": "1"}});
    let made = house
        .app
        .post("/v1/fleet/register", &body)
        .await
        .expect(201)
        .json();
    let id = made["agent_id"].as_str().unwrap();
    let body = json!({"agent_id": id, "name": "renamed", "labels": {"a": "2"}});
    let again = house
        .app
        .post("/v1/fleet/register", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(again["agent_id"], id);
    let known = house.agent(id).await;
    assert_eq!(
        (&known["name"], &known["labels"]),
        (&json!("renamed"), &json!({"a": "2"}))
    );
    house.says(id, 1, None).await.expect(400);
    house.says("nobody", 1, None).await.expect(404);
    let bad = json!({"agent_id": "not an id"});
    house.app.post("/v1/fleet/register", &bad).await.expect(400);
    // Another tenant's agents and versions are nobody's here.
    let other = house.of("other").await;
    house.push(json!({"url": "x"})).await;
    other.ask("", None).await.expect(404);
    other
        .ask(&format!("?agent_id={id}"), None)
        .await
        .expect(404);
    assert_eq!(
        other.app.get("/v1/fleet/agents").await.json()["agents"],
        json!([])
    );
}

#[every_engine]
async fn an_agent_that_is_gone_is_forgotten_and_known_again_if_it_is_not(engine: Engine) {
    let house = House::on(engine).await;
    house.push(json!({"url": "x"})).await;
    house.register("a", json!({})).await;
    house.register("b", json!({})).await;
    house.says("a", 1, None).await.expect(204);
    assert_eq!(house.given("a").await, 1);
    let forget = async |id: &str| {
        let path = format!("/v1/fleet/agents/{id}");
        let request = house.app.request(reqwest::Method::DELETE, &path);
        tidewire_testkit::TestApp::send(request).await
    };
    forget("a").await.expect(204);
    forget("a").await.expect(404);
    house.ask("?agent_id=a", None).await.expect(404);
    house.says("a", 1, None).await.expect(404);
    let agents = house.app.get("/v1/fleet/agents").await.json();
    assert_eq!(agents["agents"].as_array().map(Vec::len), Some(1));
    house.register("a", json!({})).await;
    assert_eq!(house.given("a").await, 1);
    assert_eq!(house.agent("a").await["last_attempt"], Value::Null);
}

#[every_engine]
async fn when_an_agent_was_seen_is_written_down_later(engine: Engine) {
    let house = House::on(engine).await;
    house.register("a", json!({})).await;
    house.push(json!({"url": "x"})).await;
    house.clock.advance(Duration::from_secs(100));
    let seen = house.clock.now();
    house.given("a").await;
    // Known here at once, and to a process that has not seen it itself when it is written.
    assert_eq!(house.agent("a").await["last_seen_at"], json!(seen));
    let other = house.of("default").await;
    eventually("it is written", async || {
        let known = other.agent("a").await;
        (known["last_seen_at"] == json!(seen)).then_some(())
    })
    .await;
}

#[every_engine]
async fn many_reports_at_once_are_all_noted(engine: Engine) {
    let house = House::on(engine).await;
    house.push(json!({"url": "x"})).await;
    for n in 0..40 {
        house.register(&format!("a-{n}"), json!({})).await;
    }
    let ids: Vec<_> = (0..40).map(|n| format!("a-{n}")).collect();
    let said = ids.iter().map(|id| house.says(id, 1, None));
    for answer in futures_util::future::join_all(said).await {
        answer.expect(204);
    }
    let page = house.app.get("/v1/fleet/agents?limit=25").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = house
        .app
        .get(&format!("/v1/fleet/agents?limit=25&cursor={cursor}"))
        .await
        .json();
    let all = [&page, &rest]
        .map(|page| page["agents"].as_array().unwrap().clone())
        .concat();
    assert_eq!(all.len(), 40);
    assert!(all.iter().all(|agent| agent["running"] == 1), "{all:?}");
    assert_eq!(rest["next_cursor"], Value::Null);
}
