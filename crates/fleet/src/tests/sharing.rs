//! Several controllers on one store.

use serde_json::json;
use tidewire_testkit::{Engine, eventually, every_engine};

use super::house::{House, etag};

#[every_engine(servers)]
async fn what_one_controller_is_told_reaches_those_who_wait_at_another(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    here.register("a", json!({})).await;
    here.push(json!({"url": "one"})).await;
    let tag = etag(&there.ask("?agent_id=a", None).await.expect(200));
    let held = tokio::spawn(there.asking("?agent_id=a&wait=60", Some(&tag)).send());
    here.push(json!({"url": "two"})).await;
    let came = held.await.unwrap().unwrap();
    assert_eq!(came.status(), 200, "told across processes");
    let tag = came.headers()["etag"].to_str().unwrap().to_owned();

    // Told at one, it asks the other at once: never a stale 304.
    for n in 0..20 {
        here.push(json!({"url": n})).await;
        let asked = format!("?agent_id=a&revision={}", n + 3);
        let fresh = there.ask(&asked, Some(&tag)).await.expect(200);
        assert_eq!(fresh.json()["config"]["url"], n);
    }
}

#[every_engine(servers)]
async fn new_labels_count_at_every_controller(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    here.push(json!({"url": "all"})).await;
    here.push_as(json!({"config": {"url": "eu"}, "labels": {"region": "eu"}}))
        .await;
    here.register("a", json!({})).await;
    assert_eq!(there.given("a").await, 1);
    here.register("a", json!({"region": "eu"})).await;
    eventually("the other controller hears of it", async || {
        (there.given("a").await == 2).then_some(())
    })
    .await;
}

#[every_engine(servers)]
async fn an_agent_that_registers_at_two_controllers_at_once_is_one_to_both(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    for region in ["eu", "us"] {
        let config = json!({"config": {"url": region}, "labels": {"region": region}});
        here.push_as(config).await;
    }
    let ids: Vec<_> = (0..20).map(|n| format!("agent-{n}")).collect();
    for id in &ids {
        tokio::join!(
            here.register(id, json!({"region": "eu"})),
            there.register(id, json!({"region": "us"})),
        );
    }
    for id in &ids {
        eventually("both offer the same", async || {
            (here.given(id).await == there.given(id).await).then_some(())
        })
        .await;
    }
}

#[every_engine(servers)]
async fn controllers_number_versions_without_a_gap(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    let pushes = (0..20).map(|n| match n % 2 {
        0 => here.push(json!({"n": n})),
        _ => there.push(json!({"n": n})),
    });
    let mut numbers = futures_util::future::join_all(pushes).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
}
