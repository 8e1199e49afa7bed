//! A server of threads and jobs, and what its users do.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidewire_access::{AccessConfig, Authenticate, Service as Access};
use tidewire_core::{Clock, Time};
use tidewire_db::{Db, Migration};
use tidewire_events::Events;
use tidewire_jobs::{Followers, JobSettings, Jobs};
use tidewire_testkit::{Answer, Engine, TestApp, TestStore};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{AGENT_TURN, FOLLOWER, NAMESPACE, Rooms, ThreadSettings, Threads, Turns};

pub struct House {
    pub app: TestApp,
    pub clock: Clock,
    pub store: Arc<TestStore>,
}

/// What an agent has in hand.
pub struct Held {
    pub job: String,
    pub token: String,
    pub turn: String,
    pub payload: Value,
}

fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat()
}

impl House {
    pub async fn on(engine: Engine) -> Self {
        let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
        let store = TestStore::on_with_clock(engine, &migrations(), clock.clone()).await;
        let db = store.db.clone();
        House::over(Arc::new(store), db, clock, "default").await
    }

    /// The same store for another tenant.
    pub async fn of(&self, tenant: &'static str) -> Self {
        let db = self.store.db.clone();
        House::over(Arc::clone(&self.store), db, self.clock.clone(), tenant).await
    }

    /// Another process on the same store.
    pub async fn second(&self) -> Self {
        let db = self.store.second().await;
        House::over(Arc::clone(&self.store), db, self.clock.clone(), "default").await
    }

    async fn over(store: Arc<TestStore>, db: Db, clock: Clock, tenant: &'static str) -> Self {
        let shutdown = CancellationToken::new();
        let config = AccessConfig {
            open: true,
            ..AccessConfig::default()
        };
        let access = Access::new(db.clone(), clock.clone(), &config);
        access.start().await.unwrap();
        let (hears, stop) = (access.clone(), shutdown.clone().cancelled_owned());
        tokio::spawn(tidewire_access::worker::hear_revocations(hears, stop));
        let settings = tidewire_events::Settings {
            reserved: &[NAMESPACE],
            ..tidewire_events::Settings::default()
        };
        let events = Events::new(db.clone(), clock.clone(), settings, shutdown.clone());
        let turns = Turns::default();
        let followers = Followers::default().with(FOLLOWER, turns.clone());
        let (_, settings) = watch::channel(JobSettings::default());
        let jobs = Jobs::new(
            db.clone(),
            clock.clone(),
            settings,
            followers,
            shutdown.clone(),
        );
        let keeper = jobs.clone();
        let stop = shutdown.clone();
        tokio::spawn(async move { keeper.keep(stop).await });
        let rooms = Rooms {
            db,
            clock: clock.clone(),
            events: events.clone(),
            jobs: jobs.clone(),
        };
        let threads = Threads::new(rooms, ThreadSettings::default(), shutdown.clone());
        turns.write_to(&threads);
        let of_jobs =
            tidewire_jobs::routes(jobs.clone(), access.request_keys().clone(), events.clone());
        let authenticate = Authenticate::new(access.clone());
        let app = TestApp::start(shutdown, |app| {
            app.routes(tidewire_access::routes(access.clone()))
                .routes(crate::routes(threads.clone(), access))
                .routes(crate::live_routes(threads))
                .routes(tidewire_events::routes(events))
                .routes(of_jobs)
                .authenticate(move |router| match tenant {
                    // The operator, and those who show a key.
                    "default" => router.layer(authenticate),
                    tenant => TestApp::as_tenant(tenant)(router),
                })
        })
        .await;
        House { app, clock, store }
    }

    // --- those who ask ---

    pub async fn ask(&self, thread: &str, turn: &str) -> Answer {
        let body = json!({"thread_id": thread, "turn_id": turn, "input": turn});
        self.app.post("/v1/turns", &body).await
    }

    pub async fn turn(&self, thread: &str, turn: &str) -> Value {
        let path = format!("/v1/threads/{thread}/turns/{turn}");
        self.app.get(&path).await.expect(200).json()
    }

    pub async fn status(&self, thread: &str, turn: &str) -> String {
        let turn = self.turn(thread, turn).await;
        turn["status"].as_str().unwrap().to_owned()
    }

    /// All events of a thread, a page at a time.
    pub async fn events(&self, thread: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let from = all.last().map_or(0, |event| event["seq"].as_u64().unwrap());
            let path = format!("/v1/threads/{thread}/events?from_seq={from}&limit=7");
            let page = self.app.get(&path).await.expect(200).json();
            let page = page["events"].as_array().unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.iter().cloned());
        }
    }

    /// The types of a thread's events, each with its turn; their numbers are checked to have no gap.
    pub async fn story(&self, thread: &str) -> Vec<String> {
        let events = self.events(thread).await;
        for (place, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], place + 1, "{events:#?}");
        }
        let told = events.iter().map(|event| {
            let kind = event["type"].as_str().unwrap();
            match event["turn_id"].as_str() {
                Some(turn) => format!("{turn} {kind}"),
                None => kind.to_owned(),
            }
        });
        told.collect()
    }

    // --- agents ---

    /// What an agent of this name is given, if there is anything.
    pub async fn claims(&self, worker: &str) -> Vec<Held> {
        let body = json!({"worker": worker, "types": [AGENT_TURN], "limit": 10});
        let claimed = self.app.post("/v1/jobs/claim", &body).await.expect(200);
        let claimed = claimed.json();
        let jobs = claimed["jobs"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        jobs.map(|job| Held {
            job: text(&job["id"]),
            token: text(&job["lease_token"]),
            turn: text(&job["payload"]["turn_id"]),
            payload: job["payload"].clone(),
        })
        .collect()
    }

    pub async fn claim(&self, worker: &str) -> Held {
        let mut held = self.claims(worker).await;
        assert_eq!(held.len(), 1, "there is one turn to run");
        held.remove(0)
    }

    pub async fn says(&self, thread: &str, event: Value) -> Answer {
        let path = format!("/v1/threads/{thread}/events");
        self.app.post(&path, &event).await
    }

    /// The word of a worker about a job that it holds.
    pub async fn report(&self, held: &Held, what: &str, mut body: Value) -> Answer {
        body["lease_token"] = held.token.as_str().into();
        let path = format!("/v1/jobs/{}/{what}", held.job);
        self.app.post(&path, &body).await
    }

    /// Time goes by, and what it makes due is done.
    pub async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

pub fn delta(turn: &str, text: &str) -> Value {
    json!({"type": "message.delta", "turn_id": turn, "payload": {"delta": text}})
}

pub fn ending(turn: &str, how: &str) -> Value {
    json!({"type": format!("turn.{how}"), "turn_id": turn})
}
