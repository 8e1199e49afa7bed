//! Syncing: everything, once, whatever goes wrong in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::{Engine, TestApp, every_engine};

use super::house::{House, Shop, settings, text};
use crate::SiteSettings;

fn counts(report: &Value) -> (u64, u64, u64, u64) {
    let count = |name: &str| report[name].as_u64().unwrap();
    (
        count("pages"),
        count("fetched"),
        count("inserted"),
        count("duplicates"),
    )
}

/// Each of the shop's records is there exactly once, as what it is.
async fn assert_all_there_once(house: &House, shop: &Shop, what: &str) {
    let (kind, key) = match what {
        "users" => ("signup", "signup"),
        _ => ("order_created", "order"),
    };
    let mut events: BTreeMap<String, Value> = BTreeMap::new();
    for event in house.stream(shop).await {
        if event["type"] == kind {
            let known = events.insert(text(&event["dedupe_key"]), event.clone());
            assert!(known.is_none(), "twice: {event}");
        }
    }
    for record in shop.records(what).await {
        let key = format!("{key}:{}:{}", shop.site, text(&record["id"]));
        let event = events.get(&key);
        let event = event.unwrap_or_else(|| panic!("{key} is missing"));
        assert_eq!(event["payload"]["record"], record);
        let subject = if what == "users" { "id" } else { "user_id" };
        assert_eq!(event["subject"], record[subject]);
        assert_eq!(event["source"], "sites");
    }
}

#[every_engine]
async fn a_site_is_synced_whole_and_the_second_time_brings_nothing(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(47, 120, "").await;
    house.register(&shop).await.expect(201);
    let users = house.sync(&shop, "users").await.expect(200).json();
    assert_eq!(counts(&users), (5, 47, 47, 0), "{users}");
    assert_eq!(
        (&users["site_id"], &users["resource"], &users["total"]),
        (&json!(shop.site), &json!("users"), &json!(47))
    );
    assert!(users["duration_ms"].is_u64());
    let orders = house.sync(&shop, "orders").await.expect(200).json();
    assert_eq!(counts(&orders), (12, 120, 120, 0), "{orders}");
    let again = house.sync(&shop, "orders").await.expect(200).json();
    assert_eq!(counts(&again), (12, 120, 0, 120), "{again}");
    shop.more("random-order", 7).await;
    let more = house.sync(&shop, "orders").await.expect(200).json();
    assert_eq!(counts(&more), (13, 127, 7, 120), "{more}");
    assert_all_there_once(&house, &shop, "users").await;
    assert_all_there_once(&house, &shop, "orders").await;
    let status = house.status(&shop).await;
    let lists = status["resources"].as_array().unwrap();
    assert_eq!(lists[0]["resource"], "users");
    assert_eq!(
        (&lists[1]["is_open"], &lists[1]["error"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(lists[1]["report"]["inserted"], 7);
}

#[every_engine]
async fn a_list_that_is_empty_or_unknown_is_told_apart(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(0, 0, "").await;
    house.register(&shop).await.expect(201);
    let users = house.sync(&shop, "users").await.expect(200).json();
    assert_eq!(counts(&users), (1, 0, 0, 0));
    let unknown = house.sync(&shop, "invoices").await.expect(404).json();
    assert!(
        text(&unknown["detail"]).contains("users, orders"),
        "{unknown}"
    );
}

#[every_engine]
async fn failing_and_shifting_pages_lose_nothing(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(20, 300, "error-rate=0.1,shift").await;
    house.register(&shop).await.expect(201);
    let before = shop.records("orders").await;
    house.sync(&shop, "orders").await.expect(200);
    let there: BTreeSet<_> = house
        .stream(&shop)
        .await
        .iter()
        .map(|event| text(&event["payload"]["record"]["id"]))
        .collect();
    let now: BTreeSet<_> = shop
        .records("orders")
        .await
        .iter()
        .map(|o| text(&o["id"]))
        .collect();
    // What was there all the time is there.
    for order in &before {
        let id = text(&order["id"]);
        assert!(
            there.contains(&id) || !now.contains(&id),
            "{id} slipped through"
        );
    }
    // And what came meanwhile is, once pages stand still.
    let shop = shop.again("error-rate=0.1").await;
    house.register(&shop).await.expect(200);
    house.sync(&shop, "orders").await.expect(200);
    assert_all_there_once(&house, &shop, "orders").await;
}

#[every_engine]
async fn a_source_that_wants_less_is_asked_slower(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(100, 0, "rate-limit=6").await;
    // The profile takes one of the first second's.
    house.register(&shop).await.expect(201);
    let users = house.sync(&shop, "users").await.expect(200).json();
    assert_eq!(counts(&users), (10, 100, 100, 0));
    let metrics = house.app.get("/metrics").await.text;
    assert!(metrics.contains("tidewire_site_requests_total{outcome=\"too_many\"}"));
}

#[every_engine]
async fn a_revoked_key_stops_the_site_until_it_is_registered_again(engine: Engine) {
    let house = House::on(engine).await;
    let shop = Shop::open(30, 0, "").await;
    house.register(&shop).await.expect(201);
    let old = shop.url();
    let shop = shop.again("revoked").await;
    // The same site, at its new address.
    move_site(&house, &shop).await;
    let refused = house.sync(&shop, "users").await.expect(409).json();
    let detail = text(&refused["detail"]);
    assert!(
        detail.contains("revoked") && detail.contains("users"),
        "{detail}"
    );
    assert!(!detail.contains(&shop.key) && !old.is_empty());
    let status = house.status(&shop).await;
    assert_eq!(status["state"], "revoked");
    assert!(
        text(&status["resources"][0]["error"]).contains("page 1 of users"),
        "{status}"
    );
    house.sync(&shop, "users").await.expect(409);
    let shop = shop.again("").await;
    let active = house.register(&shop).await.expect(200).json();
    assert_eq!(
        (&active["state"], &active["state_reason"]),
        (&json!("active"), &Value::Null)
    );
    let users = house.sync(&shop, "users").await.expect(200).json();
    assert_eq!(users["inserted"], 30);
}

/// Lets a site that was registered at another address be found at this one.
async fn move_site(house: &House, shop: &Shop) {
    let inner = std::sync::Arc::clone(&house.sites.inner);
    let (site, url) = (shop.site.clone(), shop.url());
    let db = inner.db.clone();
    let moved = db.transact("test.move", move |tx| {
        let (inner, site, url) = (inner.clone(), site.clone(), url.clone());
        Box::pin(async move {
            let mut row = inner.store.lock_site(tx, "default", &site).await?.unwrap();
            row.site.base_url = url;
            inner.store.update_site(tx, "default", &row).await
        })
    });
    let _: () = moved.await.unwrap();
}

#[every_engine]
async fn an_error_says_which_page(engine: Engine) {
    let quick = SiteSettings {
        tries: 2,
        ..settings()
    };
    let house = House::idle(engine, quick).await;
    let _working = house.work("worker");
    let shop = Shop::open(30, 0, "").await;
    house.register(&shop).await.expect(201);
    shop.app.stop().await;
    let path = format!("/v1/sites/{}/sync/users", shop.site);
    let failed = house.app.post(&path, &json!({})).await.expect(502).json();
    let detail = text(&failed["detail"]);
    assert!(detail.starts_with("page 1 of users: "), "{detail}");
}

#[every_engine]
async fn a_sync_that_is_killed_goes_on_where_it_was(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(10, 1_500, "latency=1ms").await;
    house.register(&shop).await.expect(201);
    let job = house.begin(&shop, "orders").await;
    let mut pages = 0;
    for round in 0..3 {
        let working = house.work(&format!("worker-{round}"));
        let target = pages + 20;
        tidewire_testkit::eventually("some pages are stored", || async {
            let status = house.status(&shop).await;
            let now = status["resources"][1]["report"]["pages"].as_u64()?;
            (now >= target).then_some(())
        })
        .await;
        working.kill().await;
        let status = house.status(&shop).await;
        pages = status["resources"][1]["report"]["pages"].as_u64().unwrap();
        assert_eq!(status["resources"][1]["is_open"], true, "{status}");
    }
    let _working = house.work("last");
    // Whether a killed attempt is noted as one depends on who comes first.
    assert_eq!(house.ended(&job).await.0, "done");
    assert_all_there_once(&house, &shop, "orders").await;
    let report = house.status(&shop).await["resources"][1]["report"].clone();
    assert_eq!(report["inserted"], 1_500);
    let fetched = report["fetched"].as_u64().unwrap();
    assert!(fetched < 1_800, "it did not begin anew each time: {report}");
}

#[every_engine(multi_thread)]
async fn two_syncs_of_a_site_never_run_at_once(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(60, 60, "latency=3ms").await;
    house.register(&shop).await.expect(201);
    let workers = [house.work("one"), house.work("two")];
    let asked = ["users", "orders", "users", "orders"];
    let jobs = asked.map(|what| house.begin(&shop, what));
    let mut ids = Vec::new();
    for job in jobs {
        ids.push(job.await);
    }
    for id in &ids {
        assert_eq!(house.ended(id).await.0, "done");
    }
    // Two at once would have written their pages between each other's.
    let mut kinds: Vec<_> = house
        .stream(&shop)
        .await
        .iter()
        .map(|event| text(&event["type"]))
        .collect();
    assert_eq!(kinds.len(), 120);
    kinds.dedup();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert_all_there_once(&house, &shop, "users").await;
    assert_all_there_once(&house, &shop, "orders").await;
    for worker in workers {
        worker.stop().await;
    }
}

/// Who is told nothing.
fn silent<'f>(_: crate::Report) -> tidewire_db::BoxFuture<'f, ()> {
    Box::pin(async {})
}

#[every_engine]
async fn a_sync_that_was_taken_over_writes_nothing_more(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(10, 0, "").await;
    house.register(&shop).await.expect(201);
    let inner = &house.sites.inner;
    let (first, _) = inner
        .take(&house.tenant, &shop.site, "job-1")
        .await
        .unwrap();
    let busy = inner.take(&house.tenant, &shop.site, "job-2").await;
    assert!(matches!(busy, Err(crate::sync::Ended::Busy)));
    // A later attempt of the same job need not wait for the lease.
    let (second, row) = inner
        .take(&house.tenant, &shop.site, "job-1")
        .await
        .unwrap();
    let source = inner.source("builder").unwrap();
    let users = source.resource("users").unwrap();
    let key = inner
        .keys
        .open("default", &shop.site, &row.sealed_key)
        .unwrap();
    let asker = inner.asker(&source, &shop.site, shop.url().parse().unwrap(), &key);
    let run = |hold| {
        let (asker, users) = (&asker, users);
        async move {
            let run = crate::sync::Run {
                inner,
                hold,
                asker,
                resource: users,
                until: std::time::Instant::now() + Duration::from_secs(60),
                tell: &silent,
            };
            run.run(&crate::store::ResourceRow::default()).await
        }
    };
    assert!(matches!(run(&first).await, Err(crate::sync::Ended::Lost)));
    assert!(house.stream(&shop).await.is_empty());
    assert_eq!(run(&second).await.unwrap().inserted, 10);
    inner.let_go(&second).await;
    assert!(inner.take(&house.tenant, &shop.site, "job-2").await.is_ok());
}

#[every_engine]
async fn a_site_that_is_removed_stops_its_sync(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let _working = house.work("worker");
    let shop = Shop::open(10, 900, "latency=5ms").await;
    house.register(&shop).await.expect(201);
    let job = house.begin(&shop, "orders").await;
    tidewire_testkit::eventually("it has begun", || async {
        (!house.stream(&shop).await.is_empty()).then_some(())
    })
    .await;
    let path = format!("/v1/sites/{}", shop.site);
    TestApp::send(house.app.request(Method::DELETE, &path))
        .await
        .expect(204);
    let stored = house.stream(&shop).await.len();
    let (status, error) = house.ended(&job).await;
    assert_eq!(status, "failed");
    assert!(error.contains("no site"), "{error}");
    assert_eq!(house.stream(&shop).await.len(), stored);
}

#[every_engine]
async fn a_long_sync_gives_others_their_turn(engine: Engine) {
    let impatient = SiteSettings {
        turn: Duration::ZERO,
        concurrency: 1,
        ..settings()
    };
    let house = House::idle(engine, impatient).await;
    let (long, short) = (
        Shop::open(300, 0, "latency=2ms").await,
        Shop::open(1, 0, "").await,
    );
    house.register(&long).await.expect(201);
    house.register(&short).await.expect(201);
    let (first, second) = (
        house.begin(&long, "users").await,
        house.begin(&short, "users").await,
    );
    let _working = house.work("worker");
    assert_eq!(house.ended(&second).await.0, "done");
    assert_eq!(house.ended(&first).await.0, "done");
    let ended = async |id: &str| house.jobs.get("default", id).await.unwrap().job.finished_at;
    assert!(ended(&second).await < ended(&first).await);
    let report = house.status(&long).await["resources"][0]["report"].clone();
    assert_eq!(counts(&report), (30, 300, 300, 0));
}

#[every_engine]
async fn what_a_later_sync_covers_is_not_read_again(engine: Engine) {
    let house = House::idle(engine, settings()).await;
    let shop = Shop::open(20, 0, "").await;
    house.register(&shop).await.expect(201);
    let jobs = [
        house.begin(&shop, "users").await,
        house.begin(&shop, "users").await,
        house.begin(&shop, "users").await,
    ];
    let _working = house.work("worker");
    for job in &jobs {
        assert_eq!(house.ended(job).await.0, "done");
    }
    let mut outputs = Vec::new();
    for job in &jobs {
        let job = house.jobs.get("default", job).await.unwrap().job;
        outputs.push(job.output.unwrap().get().to_owned());
    }
    assert_eq!(
        outputs[0].replace(' ', ""),
        outputs[2].replace(' ', ""),
        "one was enough for all"
    );
}

#[every_engine(servers, multi_thread)]
async fn two_processes_share_the_sites(engine: Engine) {
    let one = House::idle(engine, settings()).await;
    let two = one.second(settings()).await;
    let _workers = (one.work("one"), two.work("two"));
    let shop = Shop::open(30, 200, "error-rate=0.05").await;
    one.register(&shop).await.expect(201);
    let (a, b) = (
        one.begin(&shop, "orders").await,
        two.begin(&shop, "users").await,
    );
    assert_eq!(one.ended(&a).await.0, "done");
    assert_eq!(two.ended(&b).await.0, "done");
    assert_all_there_once(&one, &shop, "orders").await;
    assert_all_there_once(&two, &shop, "users").await;
}
