//! Firings that are to come.

use serde_json::json;
use tidewire_testkit::{Engine, every_engine};

use super::house::{UNKNOWN, endpoint, house, pointers};

#[every_engine]
async fn a_preview_says_what_a_pattern_means(engine: Engine) {
    let house = house(engine).await;
    let config = endpoint(json!({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}));
    let body = json!({"type": "cron_scheduled", "config": config, "from": "2026-03-28T00:00:00Z", "count": 3});
    let preview = house.post("/v1/triggers/preview", &body).await.expect(200);
    // The second is the first instant after a gap of the local clock.
    let runs = json!([
        "2026-03-28T01:30:00.000000Z",
        "2026-03-29T01:00:00.000000Z",
        "2026-03-30T00:30:00.000000Z"
    ]);
    assert_eq!(preview.json(), json!({"runs": runs}));
    let list = house.get("/v1/triggers").await.expect(200).json();
    assert_eq!(list["triggers"], json!([]), "nothing is stored");

    let stored = house.create("cron_scheduled", config.clone()).await;
    let path = format!("/v1/triggers/{}/preview", stored["id"].as_str().unwrap());
    let query = "?from=2026-03-28T00:00:00Z&count=3";
    let again = house.get(&format!("{path}{query}")).await.expect(200);
    assert_eq!(again.json(), json!({"runs": runs}));
    let usual = house.get(&path).await.expect(200).json();
    assert_eq!(usual["runs"].as_array().unwrap().len(), 5);
    assert_eq!(usual["runs"][0], stored["next_scheduled_run"]);

    for (body, pointer) in [
        (
            json!({"type": "cron_scheduled", "config": config, "count": 101}),
            "/count",
        ),
        (
            json!({"type": "webhook", "config": endpoint(json!({}))}),
            "/type",
        ),
        (
            json!({"type": "cron_scheduled", "config": endpoint(json!({"cron": "x"}))}),
            "/config/cron",
        ),
        (
            json!({"type": "cron_scheduled", "config": config, "from": "soon"}),
            "/from",
        ),
    ] {
        let refused = house.post("/v1/triggers/preview", &body).await.expect(400);
        assert_eq!(pointers(&refused), [pointer], "{}", refused.text);
    }
    let refused = house.get(&format!("{path}?count=0")).await.expect(400);
    assert_eq!(pointers(&refused), ["count"]);
    house
        .get(&format!("/v1/triggers/{UNKNOWN}/preview"))
        .await
        .expect(404);
}
