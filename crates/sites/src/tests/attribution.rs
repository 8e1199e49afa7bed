//! Where users came from, in what is stored of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidewire_testkit::{Engine, every_engine};

use super::house::{House, Shop, text};

async fn touch(house: &House, user: &str, utm: Option<&str>, at: Option<&str>) -> Value {
    let mut body = json!({"user_id": user});
    if let Some(utm) = utm {
        body["utm_source"] = json!(utm);
    }
    if let Some(at) = at {
        body["occurred_at"] = json!(at);
    }
    house
        .app
        .post("/v1/site-events", &body)
        .await
        .expect(201)
        .json()
}

async fn carried(house: &House, shop: &Shop) -> BTreeMap<String, Value> {
    let events = house.stream(shop).await;
    let first = events
        .iter()
        .filter(|event| !text(&event["type"]).ends_with(".corrected"));
    first
        .map(|event| {
            (
                text(&event["subject"]),
                event["payload"]["utm_source"].clone(),
            )
        })
        .collect()
}

#[every_engine]
async fn the_latest_touch_by_its_own_time_is_carried_forward(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(4, 0, "").await;
    house.register(&shop).await.expect(201);
    let users = shop.records("users").await;
    let id = |n: usize| text(&users[n]["id"]);
    touch(
        &house,
        &id(0),
        Some("newsletter"),
        Some("2026-02-01T00:00:00Z"),
    )
    .await;
    // It came later and happened before.
    touch(&house, &id(0), Some("google"), Some("2026-01-01T00:00:00Z")).await;
    touch(&house, &id(1), Some("partner"), None).await;
    // One that says nothing takes nothing away.
    touch(&house, &id(1), None, None).await;
    touch(&house, &id(2), None, None).await;
    house.sync(&shop, "users").await.expect(200);
    let carried = carried(&house, &shop).await;
    assert_eq!(carried[&id(0)], "newsletter");
    assert_eq!(carried[&id(1)], "partner");
    assert_eq!(carried[&id(2)], Value::Null);
    assert_eq!(carried[&id(3)], Value::Null);
}

#[every_engine]
async fn first_and_last_touch_can_be_asked_for(engine: Engine) {
    let house = House::on(engine).await;
    for (utm, at) in [
        (Some("direct"), "2026-01-01T00:00:00Z"),
        (Some("google"), "2026-01-03T00:00:00Z"),
        (Some("newsletter"), "2026-01-02T00:00:00Z"),
        (Some("direct"), "2026-01-04T00:00:00Z"),
        (None, "2026-01-05T00:00:00Z"),
    ] {
        touch(&house, "ann", utm, Some(at)).await;
    }
    let path = "/v1/subjects/ann/attribution";
    let found = house.app.get(path).await.expect(200).json();
    assert_eq!(found["subject"], "ann");
    for (which, utm, at) in [
        ("first_touch", "direct", "2026-01-01T00:00:00.000000Z"),
        ("last_touch", "direct", "2026-01-04T00:00:00.000000Z"),
        (
            "last_non_direct_touch",
            "google",
            "2026-01-03T00:00:00.000000Z",
        ),
    ] {
        assert_eq!(found[which]["utm_source"], utm, "{found}");
        assert_eq!(found[which]["occurred_at"], at, "{found}");
        let event = format!("/v1/events/{}", text(&found[which]["event_id"]));
        let event = house.app.get(&event).await.expect(200).json();
        assert_eq!(event["payload"]["utm_source"], utm);
    }
    let nobody = house
        .app
        .get("/v1/subjects/bob%20x/attribution")
        .await
        .expect(200)
        .json();
    assert_eq!(
        nobody,
        json!({"subject": "bob x", "first_touch": null, "last_touch": null, "last_non_direct_touch": null})
    );
}

#[every_engine]
async fn a_late_touch_corrects_by_a_new_version_and_edits_nothing(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(1, 2, "").await;
    house.register(&shop).await.expect(201);
    let user = text(&shop.records("users").await[0]["id"]);
    house.sync(&shop, "users").await.expect(200);
    house.sync(&shop, "orders").await.expect(200);
    let before = house.stream(&shop).await;
    assert_eq!(before.len(), 3);
    let versions = async || {
        let events = house.stream(&shop).await;
        assert_eq!(events[..3], before[..], "the log is as it was");
        let later = events[3..].iter().map(|event| {
            let payload = &event["payload"];
            (
                text(&event["type"]),
                payload["version"].as_u64().unwrap(),
                text(&payload["utm_source"]),
                text(&payload["corrects"]),
            )
        });
        later.collect::<Vec<_>>()
    };
    let ids: Vec<_> = before.iter().map(|event| text(&event["id"])).collect();
    let version = |n: usize, version: u64, utm: &str| {
        let kind = ["signup", "order_created", "order_created"][n];
        (
            format!("{kind}.corrected"),
            version,
            utm.to_owned(),
            ids[n].clone(),
        )
    };
    // It happened before them all, and nobody knew.
    touch(&house, &user, Some("google"), Some("2026-01-02T00:00:00Z")).await;
    let mut expected = vec![
        version(0, 2, "google"),
        version(1, 2, "google"),
        version(2, 2, "google"),
    ];
    assert_eq!(versions().await, expected);
    // An earlier one changes nothing, nor does one that came after.
    touch(&house, &user, Some("partner"), Some("2026-01-01T00:00:00Z")).await;
    touch(&house, &user, Some("later"), Some("2999-01-01T00:00:00Z")).await;
    touch(&house, &user, None, Some("2026-01-03T00:00:00Z")).await;
    assert_eq!(versions().await, expected);
    touch(&house, &user, Some("email"), Some("2026-01-03T00:00:00Z")).await;
    expected.extend([
        version(0, 3, "email"),
        version(1, 3, "email"),
        version(2, 3, "email"),
    ]);
    assert_eq!(versions().await, expected);
    let corrected = &house.stream(&shop).await[3];
    assert_eq!(
        corrected["payload"]["record"],
        before[0]["payload"]["record"]
    );
    assert_eq!(corrected["occurred_at"], before[0]["occurred_at"]);
    assert_eq!(corrected["subject"], user.as_str());
    assert_eq!(
        text(&corrected["dedupe_key"]),
        format!("{}:v2", text(&before[0]["dedupe_key"]))
    );
    // What is synced again is known, whatever was corrected.
    let again = house.sync(&shop, "orders").await.expect(200).json();
    assert_eq!(again["inserted"], 0);
}

#[every_engine]
async fn events_are_recorded_by_hand_once_and_listed_with_all_others(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(2, 0, "").await;
    house.register(&shop).await.expect(201);
    let body = json!({
        "user_id": "ann", "type": "page_view", "utm_source": "google", "dedupe_key": "view-1",
        "payload": {"path": "/", "n": 1.50}, "occurred_at": "2026-01-01T00:00:00Z",
    });
    let made = house
        .app
        .post("/v1/site-events", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(
        (
            &made["user_id"],
            &made["utm_source"],
            &made["type"],
            &made["source"]
        ),
        (
            &json!("ann"),
            &json!("google"),
            &json!("page_view"),
            &json!("sites")
        )
    );
    let again = house
        .app
        .post("/v1/site-events", &body)
        .await
        .expect(200)
        .json();
    assert_eq!(again["id"], made["id"]);
    let touches = house.app.get("/v1/subjects/ann/attribution").await.json();
    assert_eq!(touches["first_touch"]["event_id"], made["id"]);
    house
        .app
        .post("/v1/events", &json!({"type": "other"}))
        .await
        .expect(201);
    house.sync(&shop, "users").await.expect(200);
    let all = house.all("/v1/site-events").await;
    let kinds: Vec<_> = all.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(kinds, ["page_view", "signup", "signup"]);
    assert_eq!(all[1]["user_id"], all[1]["subject"]);
    assert_eq!(all[1]["utm_source"], Value::Null);
    let of_ann = house.all("/v1/site-events?user_id=ann").await;
    assert_eq!(of_ann.len(), 1);
    assert_eq!(house.all("/v1/site-events?type=signup").await.len(), 2);
    for (bad, pointer) in [
        (json!({"utm_source": "x"}), "/user_id"),
        (json!({"user_id": "a", "utm_source": ""}), "/utm_source"),
        (json!({"user_id": "a", "payload": [1]}), "/payload"),
        (json!({"user_id": "a", "type": "no spaces"}), "/type"),
    ] {
        let refused = house
            .app
            .post("/v1/site-events", &bad)
            .await
            .expect(400)
            .json();
        let detail = refused.to_string();
        assert!(detail.contains(pointer.trim_start_matches('/')), "{detail}");
    }
    let reserved = json!({"type": "signup", "stream": format!("site:{}", shop.site)});
    house.app.post("/v1/events", &reserved).await.expect(400);
}

#[every_engine]
async fn attributions_are_made_up_for_users_that_there_are(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(30, 0, "").await;
    house.register(&shop).await.expect(201);
    let users: Vec<_> = shop
        .records("users")
        .await
        .iter()
        .map(|u| text(&u["id"]))
        .collect();
    // Before the first sync the source knows them.
    let body = json!({"site_id": shop.site, "count": 20});
    let made = house
        .app
        .post("/v1/site-events/random", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(made["inserted"], 20);
    let mut latest: BTreeMap<String, String> = BTreeMap::new();
    for event in made["events"].as_array().unwrap() {
        assert!(users.contains(&text(&event["user_id"])), "{event}");
        assert_eq!(event["type"], "attribution");
        latest.insert(text(&event["user_id"]), text(&event["utm_source"]));
    }
    house.sync(&shop, "users").await.expect(200);
    for (user, utm) in carried(&house, &shop).await {
        assert_eq!(
            text(&utm),
            latest.get(&user).cloned().unwrap_or_default(),
            "{user}"
        );
    }
    let body = json!({"user_id": "ann", "count": 3});
    let made = house
        .app
        .post("/v1/site-events/random", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(made["events"][2]["user_id"], "ann");
    let made = house
        .app
        .post("/v1/site-events/random", &json!({}))
        .await
        .expect(201)
        .json();
    assert_eq!(made["inserted"], 1);
    house
        .app
        .post("/v1/site-events/random", &json!({"count": 0}))
        .await
        .expect(400);
    house
        .app
        .post("/v1/site-events/random", &json!({"site_id": "nobody"}))
        .await
        .expect(404);
}
