//! A controller, and what its operator and its agents do.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidewire_core::{Clock, Problem, Time};
use tidewire_db::Db;
use tidewire_testkit::{Answer, Engine, TestApp, TestStore};
use tokio_util::sync::CancellationToken;

use crate::{Fleet, FleetSettings, MIGRATIONS};

pub struct House {
    pub app: TestApp,
    pub clock: Clock,
    pub store: Arc<TestStore>,
}

impl House {
    pub async fn on(engine: Engine) -> Self {
        let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
        let store = TestStore::on_with_clock(engine, MIGRATIONS, clock.clone()).await;
        let db = store.db.clone();
        House::over(Arc::new(store), db, clock, "default").await
    }

    /// The same store for another tenant.
    pub async fn of(&self, tenant: &'static str) -> Self {
        let db = self.store.db.clone();
        House::over(Arc::clone(&self.store), db, self.clock.clone(), tenant).await
    }

    /// Another controller on the same store.
    pub async fn second(&self) -> Self {
        let db = self.store.second().await;
        House::over(Arc::clone(&self.store), db, self.clock.clone(), "default").await
    }

    async fn over(store: Arc<TestStore>, db: Db, clock: Clock, tenant: &'static str) -> Self {
        let shutdown = CancellationToken::new();
        let settings = FleetSettings::default();
        let check = |config: &serde_json::value::RawValue| match config.get().contains("good") {
            true => Ok(()),
            false => Err(Problem::invalid("/config", "is no good")),
        };
        let fleet = Fleet::new(db, clock.clone(), settings, check, shutdown.clone());
        let (keeper, stop) = (fleet.clone(), shutdown.clone());
        tokio::spawn(async move { keeper.keep(stop).await });
        let app = TestApp::start(shutdown, |app| {
            app.routes(crate::routes(fleet, None))
                .authenticate(TestApp::as_tenant(tenant))
        })
        .await;
        House { app, clock, store }
    }

    // --- the operator ---

    pub async fn push(&self, config: Value) -> u64 {
        self.push_as(json!({"config": config})).await
    }

    pub async fn push_as(&self, body: Value) -> u64 {
        let pushed = self.app.post("/v1/fleet/config", &body).await.expect(201);
        pushed.json()["version"].as_u64().unwrap()
    }

    pub async fn agent(&self, id: &str) -> Value {
        let agents = self.app.get("/v1/fleet/agents").await.expect(200).json();
        let agents = agents["agents"].as_array().unwrap().clone();
        let found = agents.iter().find(|agent| agent["agent_id"] == id);
        found
            .unwrap_or_else(|| panic!("{id} in {agents:?}"))
            .clone()
    }

    pub async fn raise(&self, version: u64, percent: u32) -> Answer {
        let path = format!("/v1/fleet/config/versions/{version}/share");
        self.app.post(&path, &json!({"percent": percent})).await
    }

    // --- agents ---

    pub async fn register(&self, id: &str, labels: Value) {
        let body = json!({"agent_id": id, "labels": labels});
        self.app.post("/v1/fleet/register", &body).await.expect(201);
    }

    pub fn asking(&self, query: &str, etag: Option<&str>) -> RequestBuilder {
        let request = self
            .app
            .request(Method::GET, &format!("/v1/fleet/config{query}"));
        match etag {
            Some(etag) => request.header("if-none-match", etag),
            None => request,
        }
    }

    pub async fn ask(&self, query: &str, etag: Option<&str>) -> Answer {
        TestApp::send(self.asking(query, etag)).await
    }

    /// The version that an agent is given.
    pub async fn given(&self, id: &str) -> u64 {
        let answer = self.ask(&format!("?agent_id={id}"), None).await;
        answer.expect(200).json()["version"].as_u64().unwrap()
    }

    pub async fn says(&self, id: &str, version: u64, error: Option<&str>) -> Answer {
        let state = error.map_or("applied", |_| "failed");
        let body = json!({"version": version, "state": state, "error": error});
        let path = format!("/v1/fleet/agents/{id}/status");
        self.app.post(&path, &body).await
    }
}

pub fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}
