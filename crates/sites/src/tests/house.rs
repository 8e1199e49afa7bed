//! A server that syncs, and a shop to sync from.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_core::{Clock, backoff::Backoff};
use tidewire_db::{Db, Migration};
use tidewire_events::Events;
use tidewire_jobs::{Followers, JobSettings, Jobs, WorkerOptions};
use tidewire_outbound::{AddressPolicy, Client, ClientOptions, LOOPBACK};
use tidewire_testkit::{Answer, Engine, TestApp, TestStore, eventually};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    NAMESPACE, Rooms, SealKey, SealKeys, SiteSettings, Sites,
    builder::{self, Builder, BuilderOptions},
    source::Sources,
    sync_worker,
};

pub struct House {
    pub app: TestApp,
    pub sites: Sites,
    pub jobs: Jobs,
    pub tenant: Arc<str>,
    pub store: Arc<TestStore>,
    _upkeep: DropGuard,
}

fn migrations() -> Vec<Migration> {
    [
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat()
}

/// Quick to try again, and patient.
pub fn settings() -> SiteSettings {
    SiteSettings {
        backoff: Backoff {
            base: Duration::from_millis(5),
            cap: Duration::from_millis(50),
        },
        tries: 12,
        ..SiteSettings::default()
    }
}

pub fn seal_key(byte: u8) -> SealKey {
    format!("{byte:02x}").repeat(32).parse().unwrap()
}

/// A worker that syncs; it stops when it is told to.
pub struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it at this instant, as a crash would.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl House {
    /// A server with a worker.
    pub async fn on(engine: Engine) -> Self {
        let house = House::idle(engine, settings()).await;
        drop(house.work("worker"));
        house
    }

    /// A server without one.
    pub async fn idle(engine: Engine, settings: SiteSettings) -> Self {
        let store = TestStore::on(engine, &migrations()).await;
        let db = store.db.clone();
        House::over(Arc::new(store), db, settings).await
    }

    /// Another process on the same store.
    pub async fn second(&self, settings: SiteSettings) -> Self {
        let db = self.store.second().await;
        House::over(Arc::clone(&self.store), db, settings).await
    }

    async fn over(store: Arc<TestStore>, db: Db, settings: SiteSettings) -> Self {
        let (clock, shutdown) = (Clock::system(), CancellationToken::new());
        let log = tidewire_events::Settings {
            reserved: &[NAMESPACE],
            ..tidewire_events::Settings::default()
        };
        let events = Events::new(db.clone(), clock.clone(), log, shutdown.clone());
        let (_, live) = watch::channel(JobSettings {
            lease: Duration::from_secs(1),
            poll_interval: Duration::from_millis(200),
            backoff: Backoff {
                base: Duration::from_millis(20),
                cap: Duration::from_millis(200),
            },
            ..JobSettings::default()
        });
        let jobs = Jobs::new(
            db.clone(),
            clock.clone(),
            live,
            Followers::default(),
            shutdown.clone(),
        );
        let (kept, stop) = (jobs.clone(), shutdown.clone());
        tokio::spawn(async move { kept.keep(stop).await });
        let client = Client::new(ClientOptions {
            policy: AddressPolicy::allowing(LOOPBACK),
            ..ClientOptions::default()
        });
        let rooms = Rooms {
            db,
            clock,
            events: events.clone(),
            jobs: jobs.clone(),
            outbound: client.unwrap(),
        };
        let keys = SealKeys::given(vec![seal_key(7)]);
        let sites = Sites::new(rooms, settings, Sources::shipped(), keys, shutdown.clone());
        let routes = (
            crate::routes(sites.clone()),
            tidewire_events::routes(events.clone()),
        );
        let app = TestApp::start(shutdown.clone(), |app| {
            app.routes(routes.0)
                .routes(routes.1)
                .authenticate(TestApp::as_tenant("default"))
        });
        House {
            app: app.await,
            sites,
            jobs,
            tenant: "default".into(),
            store,
            _upkeep: shutdown.drop_guard(),
        }
    }

    pub fn work(&self, name: &str) -> Working {
        let options = WorkerOptions {
            name: name.to_owned(),
            drain: Duration::from_secs(5),
            ..WorkerOptions::default()
        };
        let worker = sync_worker(&self.sites, options);
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone()));
        Working { stop, task }
    }

    pub async fn register(&self, shop: &Shop) -> Answer {
        let body = json!({"site_id": shop.site, "access_key": shop.key, "base_url": shop.url()});
        self.app.post("/v1/sites", &body).await
    }

    pub async fn sync(&self, shop: &Shop, what: &str) -> Answer {
        let path = format!("/v1/sites/{}/sync/{what}", shop.site);
        self.app.post(&path, &json!({})).await
    }

    /// Asks for a sync in the background; its job's id.
    pub async fn begin(&self, shop: &Shop, what: &str) -> String {
        let path = format!("/v1/sites/{}/sync/{what}?background=true", shop.site);
        let job = self.app.post(&path, &json!({})).await.expect(202).json();
        job["id"].as_str().unwrap().to_owned()
    }

    /// A job's status and last error when it has ended.
    pub async fn ended(&self, job: &str) -> (String, String) {
        eventually("the job has ended", || async {
            let job = self.jobs.get("default", job).await.unwrap().job;
            let ended = job.status.is_final();
            ended.then(|| (job.status.to_string(), job.last_error.unwrap_or_default()))
        })
        .await
    }

    pub async fn status(&self, shop: &Shop) -> Value {
        let path = format!("/v1/sites/{}", shop.site);
        self.app.get(&path).await.expect(200).json()
    }

    /// All events of a site, oldest first, by the log itself.
    pub async fn stream(&self, shop: &Shop) -> Vec<Value> {
        self.all(&format!("/v1/events?stream=site:{}", shop.site))
            .await
    }

    pub async fn all(&self, path: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        let join = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = format!("{path}{join}limit=500{cursor}");
            let page = self.app.get(&page).await.expect(200).json();
            all.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        all.reverse();
        all
    }
}

/// A builder with one site.
pub struct Shop {
    pub app: TestApp,
    pub site: String,
    pub key: String,
    pub builder: Builder,
    pub folder: Arc<TempDir>,
}

impl Shop {
    pub async fn open(users: u32, orders: u32, faults: &str) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        let shop = Shop::at(&folder, "").await;
        let made = shop
            .app
            .post("/builder/sites", &json!({"name": "shop"}))
            .await;
        let made = made.expect(201).json();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let shop = Shop {
            site: text("id"),
            key: text("access_key"),
            ..shop
        };
        shop.more("random-user", users).await;
        shop.more("random-order", orders).await;
        if faults.is_empty() {
            return shop;
        }
        shop.again(faults).await
    }

    async fn at(folder: &Arc<TempDir>, faults: &str) -> Self {
        let options = BuilderOptions {
            db: folder.path().join("builder.db"),
            seed: Some(7),
            faults: faults.parse().unwrap(),
        };
        let builder = Builder::open(options, Clock::system()).await.unwrap();
        let routes = builder::routes(builder.clone());
        let app = TestApp::start(CancellationToken::new(), |app| app.public(routes)).await;
        Shop {
            app,
            site: String::new(),
            key: String::new(),
            builder,
            folder: Arc::clone(folder),
        }
    }

    /// The same data with other faults, at another address.
    pub async fn again(self, faults: &str) -> Self {
        let Shop {
            app,
            site,
            key,
            builder,
            folder,
        } = self;
        app.stop().await;
        builder.close().await;
        let shop = Shop::at(&folder, faults).await;
        Shop { site, key, ..shop }
    }

    pub fn url(&self) -> String {
        self.app.url("")
    }

    pub async fn more(&self, what: &str, count: u32) {
        for some in (0..count).step_by(1000) {
            let path = format!("/builder/sites/{}/{what}", self.site);
            let body = json!({"count": (count - some).min(1000)});
            self.app.post(&path, &body).await.expect(201);
        }
    }

    /// What the shop has at this moment, as it shows it.
    pub async fn records(&self, what: &str) -> Vec<Value> {
        let (mut all, mut page) = (Vec::new(), 1);
        loop {
            let path = format!("/builder/api/sites/{}/{what}?page={page}", self.site);
            let request = self.app.request(Method::GET, &path);
            let answer = TestApp::send(request.header("X-Access-Key", &self.key)).await;
            if answer.status != 200 {
                continue;
            }
            let answer = answer.json();
            all.extend(answer[what].as_array().unwrap().iter().cloned());
            if answer["has_more"] == false {
                return all;
            }
            page += 1;
        }
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
