//! A builder that fails, refuses and shifts its pages, and a server that is killed in the middle.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{Builder, log_rows, register};
use crate::support::{House, PATIENCE, Server, full, lasting_address};

#[every_engine(multi_thread)]
async fn all_orders_are_there_once_whatever_fails(engine: Engine) {
    let orders = if full() { 100_000 } else { 4_000 };
    let builder = Builder::start("");
    let shop = builder.site(200, orders).await;
    let before = builder.rows("orders", "user_id").await;
    assert_eq!(before.len(), orders as usize);
    // Every tenth request fails, some hundred a second are too many, and pages shift.
    let builder = builder.again("error-rate=0.1,rate-limit=400,shift");
    let house = House::on(engine).await.with(&[
        "--addr",
        &lasting_address(),
        "--lease",
        "1s",
        "--poll-interval",
        "100ms",
        "--job-retry-base",
        "50ms",
    ]);
    let mut server = house.start();
    register(&server, &builder, &shop).await;
    let path = format!("/v1/sites/{}/sync/orders?background=true", shop.0);
    let job = server.post(&path, &json!({})).await.expect(202).json();
    let job = job["id"].as_str().expect("an id").to_owned();
    let site = format!("/v1/sites/{}", shop.0);
    for round in 1..=5 {
        let target = round * u64::from(orders) / 10 / 7;
        let ended = follow(&server, &site, |pages| pages >= target).await;
        assert!(!ended, "it ended too soon");
        server.kill();
        server = house.start();
    }
    assert!(follow(&server, &site, |_| false).await, "it ends");
    eventually("its job is done", || async {
        let job = server
            .get(&format!("/v1/jobs/{job}"))
            .await
            .expect(200)
            .json();
        assert_ne!(job["status"], "failed", "{job}");
        (job["status"] == "done").then_some(())
    })
    .await;
    server.stop().await;
    // The judge: both databases, read by themselves.
    let now = builder.rows("orders", "user_id").await;
    let mut stored: BTreeMap<String, u32> = BTreeMap::new();
    for (_, _, key, _) in log_rows(&house, engine).await {
        *stored.entry(key).or_default() += 1;
    }
    assert!(stored.values().all(|times| *times == 1), "stored twice");
    let key = |order: &String| format!("order:{}:{order}", shop.0);
    let there_all_the_time = before.keys().filter(|order| now.contains_key(*order));
    let missing: Vec<_> = there_all_the_time
        .filter(|order| !stored.contains_key(&key(order)))
        .collect();
    assert!(
        missing.is_empty(),
        "{} of {orders}: {:?}",
        missing.len(),
        missing.first()
    );
}

/// Looks on until so many pages of the site's orders are stored, or all, and says whether it is all. How long
/// that takes is the builder's to say; that nothing happens for a minute is not.
async fn follow(server: &Server, site: &str, enough: impl Fn(u64) -> bool) -> bool {
    let (mut seen, mut moved) = (0, Instant::now());
    loop {
        let status = server.get(site).await.expect(200).json();
        let list = &status["resources"][1];
        if !list["finished_at"].is_null() {
            return true;
        }
        let pages = list["report"]["pages"].as_u64().unwrap_or(0);
        if enough(pages) {
            return false;
        }
        if pages > seen {
            (seen, moved) = (pages, Instant::now());
        }
        assert!(moved.elapsed() < PATIENCE, "nothing happens: {list}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
