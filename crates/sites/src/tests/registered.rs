//! Registering sites, and what is shown of them.

use serde_json::json;
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{House, Shop, seal_key, settings, text};
use crate::{SealKeys, source::Sources};

#[every_engine]
async fn a_site_is_registered_once_its_source_accepts_the_key(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(0, 0, "").await;
    let made = house.register(&shop).await.expect(201);
    let site = made.json();
    assert_eq!(
        (&site["id"], &site["kind"], &site["state"]),
        (&json!(shop.site), &json!("builder"), &json!("active"))
    );
    assert_eq!(site["base_url"], shop.url());
    let mut again = json!({
        "site_id": shop.site, "access_key": shop.key, "base_url": shop.url(), "name": "My shop",
    });
    let replaced = house.app.post("/v1/sites", &again).await.expect(200).json();
    assert_eq!(
        (&replaced["name"], &replaced["created_at"]),
        (&json!("My shop"), &site["created_at"])
    );
    again["access_key"] = json!("wrong");
    let refused = house.app.post("/v1/sites", &again).await.expect(400);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/access_key");
    again["site_id"] = json!("nobody");
    house.app.post("/v1/sites", &again).await.expect(400);
    let listed = house.app.get("/v1/sites").await.expect(200);
    assert_eq!(listed.json()["sites"].as_array().unwrap().len(), 1);
    for shown in [
        made.text,
        listed.text,
        house.status(&shop).await.to_string(),
    ] {
        assert!(
            !shown.contains(&shop.key) && !shown.contains("access_key"),
            "{shown}"
        );
    }
}

#[every_engine]
async fn what_is_wrong_with_a_site_is_named(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(0, 0, "").await;
    let nobody = shop.url();
    shop.app.stop().await;
    for (change, status, pointer) in [
        (json!({"base_url": nobody}), 502, None),
        (
            json!({"base_url": "http://10.0.0.1"}),
            400,
            Some("/base_url"),
        ),
        (json!({"base_url": "ftp://shop"}), 400, Some("/base_url")),
        (
            json!({"base_url": "http://127.0.0.1:1/?a=b"}),
            400,
            Some("/base_url"),
        ),
        (json!({"site_id": "a/b"}), 400, Some("/site_id")),
        (json!({"access_key": ""}), 400, Some("/access_key")),
        (json!({"kind": "unknown"}), 400, Some("/kind")),
        (
            json!({"kind": "github", "base_url": null}),
            400,
            Some("/base_url"),
        ),
        (json!({"key": "k"}), 400, Some("/key")),
    ] {
        let mut body = json!({"site_id": "s", "access_key": "k", "base_url": "http://127.0.0.1:1"});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = house.app.post("/v1/sites", &body).await.expect(status);
        let found = answer.json()["errors"][0]["pointer"]
            .as_str()
            .map(str::to_owned);
        assert_eq!(found.as_deref(), pointer, "{}", answer.text);
    }
    assert_eq!(house.app.get("/v1/sites").await.json()["sites"], json!([]));
    house.app.get("/v1/sites/s").await.expect(404);
}

#[every_engine]
async fn a_removed_site_is_gone_and_its_events_stay(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(3, 0, "").await;
    house.register(&shop).await.expect(201);
    house.sync(&shop, "users").await.expect(200);
    let path = format!("/v1/sites/{}", shop.site);
    let delete = || house.app.request(reqwest::Method::DELETE, &path);
    TestApp::send(delete()).await.expect(204);
    TestApp::send(delete()).await.expect(404);
    house.app.get(&path).await.expect(404);
    house.sync(&shop, "users").await.expect(404);
    assert_eq!(house.stream(&shop).await.len(), 3);
    // It is a new one then, and still nothing is stored twice.
    house.register(&shop).await.expect(201);
    let again = house.sync(&shop, "users").await.expect(200).json();
    assert_eq!(
        (&again["inserted"], &again["duplicates"]),
        (&json!(0), &json!(3))
    );
}

#[every_engine]
async fn lists_go_page_by_page(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(0, 0, "").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let made = shop.app.post("/builder/sites", &json!({"name": "n"})).await;
        let made = made.expect(201).json();
        let body = json!({
            "site_id": made["id"], "access_key": made["access_key"], "base_url": shop.url(),
        });
        house.app.post("/v1/sites", &body).await.expect(201);
        ids.push(text(&made["id"]));
    }
    ids.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/sites?limit=2{cursor}");
        let page = house.app.get(&path).await.expect(200).json();
        found.extend(
            page["sites"]
                .as_array()
                .unwrap()
                .iter()
                .map(|site| text(&site["id"])),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
}

#[every_engine]
async fn another_key_of_the_server_opens_nothing_and_says_so(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(1, 0, "").await;
    house.register(&shop).await.expect(201);
    let inner = &house.sites.inner;
    let rooms = crate::Rooms {
        db: inner.db.clone(),
        clock: inner.clock.clone(),
        events: inner.events.clone(),
        jobs: inner.jobs.clone(),
        outbound: inner.client.clone(),
    };
    let other = crate::Sites::new(
        rooms,
        settings(),
        Sources::shipped(),
        SealKeys::given(vec![seal_key(8)]),
        inner.shutdown.clone(),
    );
    let options = tidewire_jobs::WorkerOptions::default();
    let worker = crate::sync_worker(&other, options);
    tokio::spawn(worker.run(inner.shutdown.clone()));
    let job = house.begin(&shop, "users").await;
    let (status, error) = house.ended(&job).await;
    assert_eq!(status, "failed");
    assert!(error.contains("--sites-key"), "{error}");
}
