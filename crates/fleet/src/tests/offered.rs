//! What agents are given when they ask.

use serde_json::json;
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{House, etag};

#[every_engine]
async fn a_config_is_sent_once_and_then_only_said_to_be_the_same(engine: Engine) {
    let house = House::on(engine).await;
    let registered = house
        .app
        .post("/register", &json!({}))
        .await
        .expect(201)
        .json();
    let id = registered["agent_id"].as_str().unwrap();
    assert_eq!(registered["poll_interval_seconds"], 15);
    let url = registered["poll_url"].as_str().unwrap();
    let none = TestApp::send(house.app.client.get(url)).await;
    none.expect(404);

    let config = json!({"url": "https://example.com/a", "n": 1});
    assert_eq!(house.push(config.clone()).await, 1);
    let first = TestApp::send(house.app.client.get(url)).await.expect(200);
    assert_eq!(
        (&first.json()["version"], &first.json()["config"]),
        (&json!(1), &config)
    );
    let tag = etag(&first);
    let again = TestApp::send(house.app.client.get(url).header("if-none-match", &tag)).await;
    let again = again.expect(304);
    assert_eq!((again.text.as_str(), etag(&again)), ("", tag.clone()));

    // The same config is another version, with another tag.
    house.push(config).await;
    let second = house
        .ask(&format!("?agent_id={id}"), Some(&tag))
        .await
        .expect(200);
    assert_ne!(etag(&second), tag);
    // As the source design has it, and for somebody who does not say who it is.
    let plain = house.app.get("/config").await.expect(200);
    assert_eq!(plain.json(), second.json());
    // By a header, for who cannot change the URL.
    let request = house.asking("", None).header("x-agent-id", "nobody");
    let text = TestApp::send(request).await.expect(404).text;
    assert!(text.contains("register"), "{text}");
}

#[every_engine]
async fn labels_and_shares_choose_who_gets_what(engine: Engine) {
    let house = House::on(engine).await;
    house.register("eu-1", json!({"region": "eu"})).await;
    house.register("us-1", json!({"region": "us"})).await;
    house.push(json!({"url": "all"})).await;
    house
        .push_as(json!({"config": {"url": "eu"}, "labels": {"region": "eu"}}))
        .await;
    house
        .push_as(json!({"config": {"url": "few"}, "percent": 0}))
        .await;
    assert_eq!(
        (house.given("eu-1").await, house.given("us-1").await),
        (2, 1)
    );
    // Whoever moves is offered what is meant for it now.
    house.register("us-1", json!({"region": "eu"})).await;
    assert_eq!(house.given("us-1").await, 2);
    house.raise(3, 100).await.expect(200);
    assert_eq!(
        (house.given("eu-1").await, house.given("us-1").await),
        (3, 3)
    );
    assert_eq!(house.agent("us-1").await["offered"], 3);
    let lowered = house.raise(3, 50).await.expect(409);
    assert!(lowered.text.contains("roll back"), "{}", lowered.text);
}

#[every_engine]
async fn a_held_answer_comes_when_there_is_something_new(engine: Engine) {
    let house = House::on(engine).await;
    house.register("a", json!({})).await;
    house
        .register("server", json!({"tidewire": "server"}))
        .await;
    let none = house.asking("?agent_id=a&wait=60", None).send();
    let held = tokio::spawn(none);
    house
        .push_as(json!({"config": {"good": 1}, "labels": {"tidewire": "server"}}))
        .await;
    house.push(json!({"url": "one"})).await;
    let came = held.await.unwrap().unwrap();
    assert_eq!(came.status(), 200);
    let tag = came.headers()["etag"].to_str().unwrap().to_owned();
    let body: serde_json::Value = came.json().await.unwrap();
    assert_eq!(body["version"], 2, "what is for servers is not for it");
    let over = house.ask("?agent_id=a&wait=1", Some(&tag)).await;
    over.expect(304);
    house.ask("?wait=61", None).await.expect(400);
    assert_eq!(house.given("server").await, 1);
}

#[every_engine]
async fn a_watch_says_fetch_and_nothing_else(engine: Engine) {
    let house = House::on(engine).await;
    house.register("a", json!({"region": "eu"})).await;
    let request = house
        .app
        .request(reqwest::Method::GET, "/v1/fleet/watch?agent_id=a");
    let mut watch = request.send().await.unwrap();
    let mut frame = async || {
        let chunk = watch.chunk().await.unwrap().expect("a frame");
        String::from_utf8(chunk.to_vec()).unwrap()
    };
    // At once: whatever was missed while nobody watched.
    assert_eq!(
        frame().await,
        "id: 0\nevent: fetch\ndata: {\"revision\":0}\n\n"
    );
    house
        .push_as(json!({"config": {"url": "us"}, "labels": {"region": "us"}}))
        .await;
    house.push(json!({"secret": "hunter2"})).await;
    assert_eq!(
        frame().await,
        "id: 2\nevent: fetch\ndata: {\"revision\":2}\n\n"
    );
    // What the store does not know (any more) is not answered out of what it knows.
    house.ask("?agent_id=a&revision=2", None).await.expect(200);
    let ahead = house.ask("?agent_id=a&revision=3", None).await.expect(409);
    assert!(ahead.text.contains("revision 3"), "{}", ahead.text);
}

#[tokio::test]
async fn what_has_not_changed_is_answered_without_the_store() {
    let house = House::on(Engine::Sqlite).await;
    house.register("a", json!({})).await;
    house.push(json!({"url": "one"})).await;
    let tag = etag(&house.ask("?agent_id=a", None).await.expect(200));
    house.store.db.clone().close().await;
    let without = house.app.get("/v1/fleet/agents").await;
    assert_ne!(without.status, 200, "the store is closed");
    house.ask("?agent_id=a", Some(&tag)).await.expect(304);
    house
        .ask("?agent_id=a&revision=1&wait=1", Some(&tag))
        .await
        .expect(304);
    house.ask("?agent_id=a", None).await.expect(200);
}
