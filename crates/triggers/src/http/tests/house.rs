//! Triggers behind a real socket, and one tenant with its key.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidewire_access::{AccessConfig, Authenticate, Service as Access};
use tidewire_core::{Clock, Scopes, Time};
use tidewire_events::Events;
use tidewire_jobs::{Followers, JobSettings, Jobs};
use tidewire_outbound::{AddressPolicy, LOOPBACK};
use tidewire_testkit::{Answer, Engine, TestApp, TestStore};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Executions, FOLLOWER, TriggerSettings, Triggers, http};

const ADMIN: &str = "the-operators-key";
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const TOKEN: &str = "Bearer 0123456789abcdef";
pub(super) const UNKNOWN: &str = "01HF7YAT00WGG5W2NJKMXE8P9E";

pub(super) struct House {
    pub app: TestApp,
    pub access: Access,
    pub triggers: Triggers,
    pub clock: Clock,
    pub tenant: Arc<str>,
    key: String,
    _store: TestStore,
}

pub(super) async fn house(engine: Engine) -> House {
    house_at(engine, None).await
}

pub(super) async fn house_at(engine: Engine, public_url: Option<&str>) -> House {
    let migrations = [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat();
    let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
    let store = TestStore::on_with_clock(engine, &migrations, clock.clone()).await;
    let (db, shutdown) = (store.db.clone(), CancellationToken::new());
    let config = AccessConfig {
        admin_key: Some(ADMIN.to_owned()),
        ..AccessConfig::default()
    };
    let access = Access::new(db.clone(), clock.clone(), &config);
    access.start().await.unwrap();
    let (_, settings) = watch::channel(JobSettings::default());
    let followers = Followers::default().with(FOLLOWER, Executions::new(&db, clock.clone()));
    let jobs = Jobs::new(
        db.clone(),
        clock.clone(),
        settings,
        followers,
        shutdown.clone(),
    );
    let settings = tidewire_events::Settings::default();
    let events = Events::new(db.clone(), clock.clone(), settings, shutdown.clone());
    let triggers = Triggers::new(
        db,
        clock.clone(),
        TriggerSettings::default(),
        AddressPolicy::allowing(LOOPBACK),
        (jobs.clone(), events.clone()),
    );
    let public_url = public_url.map(|url| url.parse().unwrap());
    let routes = http::routes(triggers.clone(), access.clone(), public_url);
    let public = http::public_routes(triggers.clone(), access.clone());
    let of_jobs = tidewire_jobs::routes(jobs, access.request_keys().clone(), events);
    let authenticate = Authenticate::new(access.clone());
    let app = TestApp::start(shutdown, |app| {
        app.routes(routes)
            .routes(of_jobs)
            .public(public)
            .authenticate(move |router| router.layer(authenticate))
    })
    .await;
    let tenant = access.create_tenant("acme".to_owned()).await.unwrap();
    House {
        app,
        access,
        triggers,
        clock,
        tenant: tenant.id.into(),
        key: tenant.api_key,
        _store: store,
    }
}

impl House {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.request(method, path).bearer_auth(&self.key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        TestApp::send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        TestApp::send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        TestApp::send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        TestApp::send(self.request(Method::DELETE, path)).await
    }

    pub async fn create(&self, kind: &str, config: Value) -> Value {
        let body = json!({"name": "a trigger", "type": kind, "config": config});
        self.post("/v1/triggers", &body).await.expect(201).json()
    }

    pub async fn webhook(&self, more: Value) -> String {
        let trigger = self.create("webhook", endpoint(more)).await;
        trigger["id"].as_str().unwrap().to_owned()
    }

    /// Calls a webhook as a stranger.
    pub async fn call(&self, id: &str, body: &Value) -> Answer {
        self.app.post(&format!("/v1/webhook/{id}"), body).await
    }

    pub async fn jobs(&self) -> Vec<Value> {
        let jobs = self.get("/v1/jobs").await.expect(200).json();
        jobs["jobs"].as_array().unwrap().clone()
    }

    /// A key of the tenant with these scopes.
    pub async fn key(&self, scopes: &str) -> String {
        let scopes: Scopes = scopes.parse().unwrap();
        let minted = self.access.mint_key(&self.tenant, Some(scopes)).await;
        minted.unwrap().api_key
    }
}

/// A config that delivers, and more.
pub(super) fn endpoint(more: Value) -> Value {
    let mut config = json!({"endpoint": "http://127.0.0.1:9/in"});
    let fields = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(fields);
    config
}

pub(super) fn pointers(answer: &Answer) -> Vec<String> {
    let problem = answer.json();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let pointers = errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap());
    pointers.map(str::to_owned).collect()
}
