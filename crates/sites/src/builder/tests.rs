//! The builder as who syncs from it sees it.

use std::{collections::BTreeSet, path::Path};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_core::Clock;
use tidewire_testkit::{Answer, TestApp};
use tokio_util::sync::CancellationToken;

use super::{Builder, BuilderOptions, Faults, places, routes};

struct Shop {
    app: TestApp,
    builder: Builder,
}

impl Shop {
    async fn open(folder: &Path, faults: &str) -> Self {
        let options = BuilderOptions {
            db: folder.join("builder.db"),
            seed: Some(7),
            faults: faults.parse::<Faults>().unwrap(),
        };
        let builder = Builder::open(options, Clock::system()).await.unwrap();
        let served = routes(builder.clone());
        let app = TestApp::start(CancellationToken::new(), |app| app.public(served)).await;
        Shop { app, builder }
    }

    async fn site(&self, users: u32, orders: u32) -> (String, String) {
        let body = json!({"name": "shop"});
        let made = self.app.post("/builder/sites", &body).await;
        let made = made.expect(201).json();
        let id = made["id"].as_str().unwrap().to_owned();
        for (what, count) in [("random-user", users), ("random-order", orders)] {
            if count > 0 {
                let path = format!("/builder/sites/{id}/{what}");
                self.app
                    .post(&path, &json!({"count": count}))
                    .await
                    .expect(201);
            }
        }
        (id, made["access_key"].as_str().unwrap().to_owned())
    }

    async fn ask(&self, path: &str, key: &str) -> Answer {
        let request = self.app.request(Method::GET, path);
        TestApp::send(request.header("X-Access-Key", key)).await
    }

    /// All records of a list, page by page.
    async fn all(&self, id: &str, key: &str, what: &str) -> Vec<Value> {
        let (mut all, mut page) = (Vec::new(), 1);
        loop {
            let path = format!("/builder/api/sites/{id}/{what}?page={page}");
            let answer = self.ask(&path, key).await.expect(200).json();
            assert_eq!(
                (answer["page"].as_u64(), answer["page_size"].as_u64()),
                (Some(page), Some(10))
            );
            let records = answer[what].as_array().unwrap();
            assert!(records.len() <= 10);
            all.extend(records.iter().cloned());
            if answer["has_more"] == false {
                return all;
            }
            page += 1;
        }
    }
}

fn ids(records: &[Value]) -> Vec<&str> {
    records.iter().map(|r| r["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lists_come_ten_at_a_time_and_end() {
    let folder = TempDir::new().unwrap();
    let shop = Shop::open(folder.path(), "").await;
    let (id, key) = shop.site(23, 40).await;
    let users = shop.all(&id, &key, "users").await;
    let orders = shop.all(&id, &key, "orders").await;
    assert_eq!((users.len(), orders.len()), (23, 40));
    let known: BTreeSet<_> = ids(&users).into_iter().collect();
    assert_eq!(known.len(), 23, "no two are alike");
    for order in &orders {
        assert!(
            known.contains(order["user_id"].as_str().unwrap()),
            "{order}"
        );
    }
    let behind = format!("/builder/api/sites/{id}/users?page=4");
    let behind = shop.ask(&behind, &key).await.expect(200).json();
    assert_eq!(
        (&behind["users"], &behind["has_more"], &behind["total"]),
        (&json!([]), &json!(false), &json!(23))
    );
    let other = shop.site(0, 0).await;
    assert!(shop.all(&other.0, &other.1, "users").await.is_empty());
}

#[tokio::test]
async fn a_site_is_its_keys_alone_and_keys_are_not_listed() {
    let folder = TempDir::new().unwrap();
    let shop = Shop::open(folder.path(), "").await;
    let ((one, key), (_, other)) = (shop.site(1, 0).await, shop.site(0, 0).await);
    let path = format!("/builder/api/sites/{one}/profile");
    let profile = shop.ask(&path, &key).await.expect(200).json();
    assert_eq!(profile["site_id"], one.as_str());
    shop.ask(&path, &other).await.expect(401);
    shop.app.get(&path).await.expect(401);
    shop.ask("/builder/api/sites/nobody/users", &key)
        .await
        .expect(404);
    let listed = shop.app.get("/builder/sites").await.expect(200);
    assert_eq!(listed.json()["sites"].as_array().unwrap().len(), 2);
    assert!(!listed.text.contains(&key) && !listed.text.contains("access_key"));
}

#[tokio::test]
async fn what_cannot_be_made_is_refused() {
    let folder = TempDir::new().unwrap();
    let shop = Shop::open(folder.path(), "").await;
    let (id, _) = shop.site(0, 0).await;
    let order = format!("/builder/sites/{id}/random-order");
    shop.app.post(&order, &json!({})).await.expect(409);
    let user = format!("/builder/sites/{id}/random-user");
    shop.app
        .post(&user, &json!({"count": 1001}))
        .await
        .expect(400);
    shop.app
        .post(&user, &json!({"number": 1}))
        .await
        .expect(400);
    shop.app
        .post("/builder/sites/nobody/random-user", &json!({}))
        .await
        .expect(404);
    // No body at all is one user.
    let made = TestApp::send(shop.app.request(Method::POST, &user)).await;
    let made = made.expect(201).json();
    assert_eq!(made["created"], 1);
    let made = shop.app.post(&order, &json!({})).await.expect(201).json();
    assert_eq!(made["orders"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_data_and_a_restart_goes_on() {
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let shop = Shop::open(one.path(), "").await;
    let (id, key) = shop.site(5, 5).await;
    let first = shop.all(&id, &key, "users").await;
    shop.app.stop().await;
    shop.builder.close().await;
    let shop = Shop::open(one.path(), "").await;
    let path = format!("/builder/sites/{id}/random-user");
    shop.app.post(&path, &json!({"count": 5})).await.expect(201);
    let users = shop.all(&id, &key, "users").await;
    assert_eq!(users[..5], first[..]);
    assert_eq!(ids(&users).into_iter().collect::<BTreeSet<_>>().len(), 10);
    let same = Shop::open(other.path(), "").await;
    let (id, key) = same.site(5, 5).await;
    assert_eq!(ids(&same.all(&id, &key, "users").await), ids(&first));
}

#[tokio::test]
async fn shifting_pages_come_newest_first_and_change_between_requests() {
    let folder = TempDir::new().unwrap();
    let shop = Shop::open(folder.path(), "shift").await;
    let (id, key) = shop.site(100, 0).await;
    let mut totals = BTreeSet::new();
    for _ in 0..40 {
        let path = format!("/builder/api/sites/{id}/users?page=1");
        let page = shop.ask(&path, &key).await.expect(200).json();
        totals.insert(page["total"].as_u64().unwrap());
    }
    assert!(totals.len() > 1, "{totals:?}");
    let revoked = TempDir::new().unwrap();
    let shop = Shop::open(revoked.path(), "revoked").await;
    let (id, key) = shop.site(1, 0).await;
    let path = format!("/builder/api/sites/{id}/profile");
    shop.ask(&path, &key).await.expect(401);
}

#[test]
fn pages_cover_a_list_from_either_end() {
    for newest_first in [false, true] {
        for total in 0..45 {
            let pages = (1..).map_while(|page| places(page, total, newest_first));
            let mut seqs: Vec<_> = pages
                .flat_map(|(from, to)| {
                    assert!(to - from < 10);
                    let mut page: Vec<_> = (from..=to).collect();
                    if newest_first {
                        page.reverse();
                    }
                    page
                })
                .collect();
            if newest_first {
                seqs.reverse();
            }
            assert_eq!(seqs, (1..=total).collect::<Vec<_>>());
        }
    }
    assert_eq!(places(u64::MAX, 5, false), None);
}
