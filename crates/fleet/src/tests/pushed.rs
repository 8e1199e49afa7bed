//! Versions, gates and schemas.

use serde_json::{Value, json};
use tidewire_testkit::{Engine, every_engine};

use super::house::House;

#[every_engine]
async fn versions_are_kept_as_they_were_pushed(engine: Engine) {
    let house = House::on(engine).await;
    let config =
        json!({"url": "https://example.com", "big": 12345678901234567890_u64, "z": 1, "a": 2});
    let body = json!({"config": config, "note": "the first", "author": "ann", "percent": 20, "gate": "failed<1%"});
    house.push_as(body).await;
    house.raise(1, 30).await.expect(409);
    house.push(json!({"url": "b"})).await;
    let back = json!({"version": 1, "author": "bob"});
    house
        .app
        .post("/v1/fleet/config/rollback", &back)
        .await
        .expect(201);
    let list = house.app.get("/config/versions").await.expect(200).json();
    let versions = list["versions"].as_array().unwrap();
    let told: Vec<_> = versions
        .iter()
        .map(|v| {
            (
                v["version"].as_u64(),
                v["rollback_of"].as_u64(),
                v["author"].as_str(),
                v["percent"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some(3), Some(1), Some("bob"), Some(100)),
            (Some(2), None, Some("operator"), Some(100)),
            (Some(1), None, Some("ann"), Some(20)),
        ]
    );
    let (third, first) = (&versions[0], &versions[2]);
    assert_eq!(first["note"], "the first");
    assert_eq!(first["config"], config);
    assert_eq!(third["config"], config);
    assert_ne!(third["etag"], first["etag"]);
    assert_eq!(
        house.app.get("/v1/fleet/config/versions/2").await.json(),
        versions[1]
    );
    house
        .app
        .get("/v1/fleet/config/versions/4")
        .await
        .expect(404);
    let nowhere = json!({"version": 9});
    house
        .app
        .post("/v1/fleet/config/rollback", &nowhere)
        .await
        .expect(404);
}

#[every_engine]
async fn a_gate_lets_a_share_grow_only_while_it_goes_well(engine: Engine) {
    let house = House::on(engine).await;
    house.push(json!({"url": "old"})).await;
    // As many as it takes to have some in the share and some outside.
    let ids: Vec<_> = (0..24).map(|n| format!("agent-{n}")).collect();
    for id in &ids {
        house.register(id, json!({})).await;
    }
    let body = json!({"config": {"url": "new"}, "percent": 30, "gate": "failed<40%"});
    house.push_as(body).await;
    let mut few = Vec::new();
    for id in &ids {
        if house.given(id).await == 2 {
            few.push(id);
        }
    }
    assert!(few.len() > 2 && few.len() < 20, "{few:?}");
    let why = |answer: tidewire_testkit::Answer| answer.expect(409).text;
    assert!(why(house.raise(2, 60).await).contains("nobody"));
    for id in &few[1..] {
        house.says(id, 2, None).await.expect(204);
    }
    assert!(
        why(house.raise(2, 60).await).contains("1 of"),
        "one is silent"
    );
    house.says(few[0], 2, Some("no")).await.expect(204);
    let raised = house.raise(2, 60).await.expect(200).json();
    assert_eq!(raised["percent"], 60);
    for id in &few {
        assert_eq!(house.given(id).await, 2, "nobody is taken out");
    }
    for id in &few {
        house.says(id, 2, Some("no")).await.expect(204);
    }
    assert!(why(house.raise(2, 100).await).contains("have failed"));
}

#[every_engine]
async fn what_does_not_fit_the_schema_is_refused(engine: Engine) {
    let house = House::on(engine).await;
    let put = async |schema: Value| {
        let request = house.app.request(reqwest::Method::PUT, "/v1/fleet/schema");
        tidewire_testkit::TestApp::send(request.json(&json!({"schema": schema}))).await
    };
    let schema =
        json!({"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}});
    house.push(json!({"n": 1})).await;
    put(json!({"type": 1})).await.expect(400);
    put(schema.clone()).await.expect(204);
    assert_eq!(
        house.app.get("/v1/fleet/schema").await.json()["schema"],
        schema
    );
    let bad = json!({"config": {"url": 7}});
    let bad = house
        .app
        .post("/v1/fleet/config", &bad)
        .await
        .expect(400)
        .json();
    assert_eq!(bad["errors"][0]["pointer"], "/config/url");
    house.push(json!({"url": "x"})).await;
    // What ran before may run again.
    let back = json!({"version": 1});
    house
        .app
        .post("/v1/fleet/config/rollback", &back)
        .await
        .expect(201);
    let gone = house
        .app
        .request(reqwest::Method::DELETE, "/v1/fleet/schema");
    tidewire_testkit::TestApp::send(gone).await.expect(204);
    house.app.get("/v1/fleet/schema").await.expect(404);
    house.push(json!({"n": 2})).await;
}

#[every_engine]
async fn what_makes_no_sense_is_refused_and_stores_nothing(engine: Engine) {
    let house = House::on(engine).await;
    for (bad, pointer) in [
        (json!({}), "config"),
        (json!({"config": [1]}), "/config"),
        (json!({"config": {}, "percent": 101}), "/percent"),
        (json!({"config": {}, "gate": "failed>1%"}), "/gate"),
        (json!({"config": {}, "labels": {"a b": "c"}}), "/labels/a b"),
        (json!({"config": {}, "labels": {"a": ""}}), "/labels/a"),
        (
            json!({"config": {"n": 0}, "labels": {"tidewire": "server"}}),
            "/config",
        ),
        (json!({"config": {}, "perzent": 1}), "perzent"),
    ] {
        let answer = house.app.post("/v1/fleet/config", &bad).await.expect(400);
        assert!(answer.text.contains(pointer), "{}", answer.text);
    }
    let list = house.app.get("/v1/fleet/config/versions").await.json();
    assert_eq!(list["versions"], json!([]));
}
