//! The two services of the source design: a builder and Tidewire, each a process of its own.

mod faults;
mod stripe;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_db::{Db, Options, Query as _, StoreUrl};
use tidewire_testkit::{Answer, Engine, TestApp, eventually, every_engine};

use crate::support::{House, PATIENCE, Server, client, lasting_address, run, tidewire};

/// A builder that runs. Killed when it is dropped.
pub struct Builder {
    child: Child,
    url: String,
    folder: Arc<TempDir>,
    address: String,
    client: reqwest::Client,
}

impl Builder {
    pub fn start(faults: &str) -> Self {
        let folder = Arc::new(TempDir::new().expect("a temporary folder"));
        Builder::on(folder, lasting_address(), faults)
    }

    fn on(folder: Arc<TempDir>, address: String, faults: &str) -> Self {
        let log = File::create(folder.path().join("builder.log")).expect("a log file");
        let mut child = tidewire()
            .current_dir(folder.path())
            .args(["builder", "--db", "builder.db", "--seed", "7"])
            .args(["--addr", &address, "--fault", faults])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the builder starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (said, listening) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let first = listening
            .recv_timeout(PATIENCE)
            .expect("it says where it listens");
        let url = first
            .strip_prefix("listening on ")
            .expect(&first)
            .to_owned();
        assert_eq!(url, format!("http://{address}"));
        Builder {
            child,
            url,
            folder,
            address,
            client: client(),
        }
    }

    /// The same data at the same address, with other faults.
    fn again(mut self, faults: &str) -> Self {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let (folder, address) = (Arc::clone(&self.folder), self.address.clone());
        Builder::on(folder, address, faults)
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self
            .client
            .request(Method::POST, format!("{}{path}", self.url));
        TestApp::send(request.json(body)).await
    }

    /// Makes a site with so many users and orders; its id and key.
    pub async fn site(&self, users: u32, orders: u32) -> (String, String) {
        let made = self.post("/builder/sites", &json!({"name": "shop"})).await;
        let made = made.expect(201).json();
        let text = |name: &str| made[name].as_str().expect(name).to_owned();
        let (id, key) = (text("id"), text("access_key"));
        for (what, count) in [("random-user", users), ("random-order", orders)] {
            for some in (0..count).step_by(1000) {
                let body = json!({"count": (count - some).min(1000)});
                let path = format!("/builder/sites/{id}/{what}");
                self.post(&path, &body).await.expect(201);
            }
        }
        (id, key)
    }

    /// What its database holds, by another way than its API: id and user of each row.
    async fn rows(&self, table: &str, user: &str) -> BTreeMap<String, String> {
        // A file belongs to one process: a copy is looked into.
        let copy = TempDir::new().expect("a temporary folder");
        for name in ["builder.db", "builder.db-wal"] {
            let from = self.folder.path().join(name);
            if from.exists() {
                std::fs::copy(from, copy.path().join(name)).expect("it can be copied");
            }
        }
        let url = StoreUrl::Sqlite(copy.path().join("builder.db"));
        let db = Db::open(Options::new(url)).await.expect("it opens");
        let sql = db.dialect().sql(&format!("SELECT id, {user} FROM {table}"));
        let rows = db.read().rows(&sql, Vec::new()).await.expect("it is read");
        let pairs = rows.iter().map(|row| {
            let text = |column| row.text(column).expect("a text");
            (text(0), text(1))
        });
        let pairs = pairs.collect();
        db.close().await;
        pairs
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("builder.log"));
            eprintln!("--- builder\n{}\n---", log.unwrap_or_default());
        }
    }
}

/// A row of the log: type, subject, dedupe key, and the `utm_source` that it carries.
type LogRow = (String, String, String, Option<String>);

/// The site events in a stopped server's store, by another way than its API.
async fn log_rows(house: &House, engine: Engine) -> Vec<LogRow> {
    let url = match engine {
        Engine::Sqlite => StoreUrl::Sqlite(house.path().join("data/tidewire.db")),
        Engine::Postgres | Engine::MySql => house.database_url().parse().expect("a URL"),
    };
    let db = Db::open(Options::new(url)).await.expect("the store opens");
    let sql = "SELECT type, subject, dedupe_key, payload FROM events WHERE stream LIKE 'site:%' ORDER BY pos";
    let rows = db.read().rows(&db.dialect().sql(sql), Vec::new()).await;
    let rows = rows.expect("it is read");
    let read = rows.iter().map(|row| {
        let text = |column| row.text(column).expect("a text");
        let payload = row.json(3).expect("a document");
        let payload: Value = serde_json::from_str(payload.get()).expect("JSON");
        let utm = payload["utm_source"].as_str().map(str::to_owned);
        (text(0), text(1), text(2), utm)
    });
    let read = read.collect();
    db.close().await;
    read
}

pub async fn register(server: &Server, builder: &Builder, (site, key): &(String, String)) {
    let body = json!({"site_id": site, "access_key": key, "base_url": builder.url});
    let registered = server.post("/worker/sites", &body).await;
    assert!(
        matches!(registered.status, 200 | 201),
        "{}",
        registered.text
    );
}

async fn sync(server: &Server, site: &str, what: &str) -> Value {
    let path = format!("/worker/sites/{site}/sync/{what}");
    server.post(&path, &json!({})).await.expect(200).json()
}

#[every_engine(multi_thread)]
async fn the_two_services_of_the_source_design(engine: Engine) {
    const USERS: u32 = 2_345;
    const ORDERS: u32 = 6_789;
    let builder = Builder::start("");
    let shop = builder.site(USERS, ORDERS).await;
    let house = House::on(engine).await;
    let server = house.start();
    register(&server, &builder, &shop).await;
    let (site, _) = &shop;

    // Where some users came from; of some twice, the later one first.
    let users = builder.rows("users", "email").await;
    let mut latest: BTreeMap<String, String> = BTreeMap::new();
    for (n, user) in users.keys().take(200).enumerate() {
        let last = if n % 3 == 0 { "newsletter" } else { "partner" };
        let mut touches = vec![
            json!({"user_id": user, "utm_source": last, "occurred_at": "2026-02-02T00:00:00Z"}),
        ];
        if n % 2 == 0 {
            touches.push(json!({"user_id": user, "utm_source": "google", "occurred_at": "2026-01-01T00:00:00Z"}));
            touches.push(json!({"user_id": user, "type": "visit"}));
        }
        for touch in touches {
            server.post("/worker/events", &touch).await.expect(201);
        }
        latest.insert(user.clone(), last.to_owned());
    }
    let body = json!({"site_id": site, "count": 300});
    let random = server
        .post("/worker/events/random", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(random["inserted"], 300);
    for event in random["events"].as_array().expect("a list") {
        let text = |name: &str| event[name].as_str().expect(name).to_owned();
        latest.insert(text("user_id"), text("utm_source"));
    }

    let first = sync(&server, site, "users").await;
    assert_eq!(
        (&first["pages"], &first["fetched"], &first["inserted"]),
        (&json!(235), &json!(USERS), &json!(USERS))
    );
    let first = sync(&server, site, "orders").await;
    assert_eq!(
        (&first["pages"], &first["fetched"], &first["inserted"]),
        (&json!(679), &json!(ORDERS), &json!(ORDERS))
    );
    for (what, count) in [("users", USERS), ("orders", ORDERS)] {
        let again = sync(&server, site, what).await;
        assert_eq!(
            (&again["inserted"], &again["duplicates"]),
            (&json!(0), &json!(count)),
            "{again}"
        );
    }
    let listed = server
        .get("/worker/events?type=order_created&limit=1")
        .await
        .expect(200)
        .json();
    assert!(listed["events"][0]["user_id"].is_string(), "{listed}");
    server.stop().await;

    // The judge: both databases, read by themselves.
    let orders = builder.rows("orders", "user_id").await;
    let mut expected: BTreeSet<LogRow> = BTreeSet::new();
    for user in users.keys() {
        let utm = latest.get(user).cloned();
        expected.insert((
            "signup".to_owned(),
            user.clone(),
            format!("signup:{site}:{user}"),
            utm,
        ));
    }
    for (order, user) in &orders {
        let utm = latest.get(user).cloned();
        expected.insert((
            "order_created".to_owned(),
            user.clone(),
            format!("order:{site}:{order}"),
            utm,
        ));
    }
    let rows = log_rows(&house, engine).await;
    assert_eq!(rows.len(), (USERS + ORDERS) as usize);
    let stored: BTreeSet<LogRow> = rows.into_iter().collect();
    assert_eq!(stored.len(), expected.len());
    let missing: Vec<_> = expected.difference(&stored).take(3).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_are_looked_after_from_the_command_line() {
    let builder = Builder::start("");
    let (site, key) = builder.site(25, 40).await;
    let server = House::new().start();
    let added = server.ask(&[
        "sites",
        "add",
        &site,
        "--access-key",
        &key,
        "--base-url",
        &builder.url,
        "--cron",
        "0 4 * * *",
    ]);
    assert!(added.stdout.contains("is active"), "{added:?}");
    let synced = server.ask(&["sites", "sync", &site, "--follow", "-o", "json"]);
    let reports = synced.json_lines();
    assert_eq!(
        (&reports[0]["inserted"], &reports[1]["inserted"]),
        (&json!(25), &json!(40))
    );
    let listed = server.ask(&["sites", "list"]).stdout;
    assert!(listed.contains(&site) && !listed.contains(&key), "{listed}");
    let shown = server.ask(&["sites", "show", &site]).stdout;
    assert!(
        shown.contains("orders") && shown.contains("synced"),
        "{shown}"
    );
    let background = server.ask(&["sites", "sync", &site, "users"]).stdout;
    let job = background
        .split_whitespace()
        .next()
        .expect("a job")
        .to_owned();
    eventually("the job has ended", || async {
        let job = server
            .get(&format!("/v1/jobs/{job}"))
            .await
            .expect(200)
            .json();
        (job["status"] == "done").then_some(())
    })
    .await;
    let triggers = server.get("/v1/triggers").await.json();
    assert_eq!(
        triggers["triggers"][0]["config"]["job"]["payload"]["site_id"],
        site.as_str()
    );
    server.ask(&["sites", "remove", &site]);
    assert_eq!(
        server.get("/v1/triggers").await.json()["triggers"],
        json!([])
    );
    server.get(&format!("/v1/sites/{site}")).await.expect(404);

    let tried = server.ask(&[
        "sites",
        "try",
        "builder",
        "--resource",
        "orders",
        "--site",
        &site,
        "--base-url",
        &builder.url,
        "--access-key",
        &key,
        "-o",
        "json",
    ]);
    let tried = tried.json();
    assert_eq!(
        (&tried["records"], &tried["total"], &tried["has_more"]),
        (&json!(10), &json!(40), &json!(true))
    );
    assert!(
        tried["events"][0]["dedupe_key"]
            .as_str()
            .expect("a key")
            .starts_with("order:")
    );
    let file = server.house.path().join("bad.toml");
    std::fs::write(&file, "kind = \"shop\"\nauth = 7\n").expect("a file");
    let file = file.display().to_string();
    let bad = run(&mut server.cli(&["sites", "try", &file, "--resource", "orders"])).expect(1);
    assert!(bad.error().contains("bad.toml:2: "), "{bad:?}");
    run(&mut server.cli(&["sites", "try", "builder", "--resource", "invoices"])).expect(2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_keeps_a_site_up_to_date() {
    let builder = Builder::start("");
    let shop = builder.site(5, 5).await;
    let server = House::new().start();
    register(&server, &builder, &shop).await;
    let trigger = json!({
        "name": "every second", "type": "cron_scheduled",
        "config": {"cron": "* * * * * *", "job": {"type": "site.sync", "payload": {"site_id": shop.0}}},
    });
    server.post("/v1/triggers", &trigger).await.expect(201);
    let all_there = async |count: usize| {
        eventually("it is synced", || async {
            let events = server.list("/v1/site-events", "events").await;
            (events.len() == count).then_some(())
        })
        .await;
    };
    all_there(10).await;
    builder
        .post(
            &format!("/builder/sites/{}/random-user", shop.0),
            &json!({"count": 3}),
        )
        .await
        .expect(201);
    all_there(13).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_keys_are_sealed_in_the_store_and_in_no_log() {
    let builder = Builder::start("");
    let (site, key) = builder.site(3, 0).await;
    let house = House::new().with(&["--log-level", "debug"]);
    let server = house.start();
    register(&server, &builder, &(site.clone(), key.clone())).await;
    sync(&server, &site, "users").await;
    for path in [
        "/v1/sites".to_owned(),
        format!("/v1/sites/{site}"),
        "/v1/jobs".to_owned(),
    ] {
        let shown = server.get(&path).await.expect(200).text;
        assert!(!shown.contains(&key), "{path}");
    }
    let log = server.stop().await;
    assert!(!log.contains(&key), "{log}");
    let data = house.path().join("data");
    for entry in std::fs::read_dir(&data).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        let found = bytes
            .windows(key.len())
            .any(|window| window == key.as_bytes());
        assert!(!found, "{}", path.display());
    }
    // The key that seals is beside the store, and opens it after a restart.
    let server = house.start();
    assert_eq!(sync(&server, &site, "users").await["inserted"], 0);
    server.stop().await;
    std::fs::remove_file(data.join("sites.key")).expect("it is there");
    let server = house.start();
    let path = format!("/v1/sites/{site}/sync/users");
    let refused = server.post(&path, &json!({})).await.expect(502).text;
    assert!(refused.contains("--sites-key"), "{refused}");
    server.stop().await;
}
