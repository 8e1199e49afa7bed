//! Threads and jobs on a store, with one hot log or the other.

use std::{sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use serde_json::{json, value::to_raw_value};
use tidewire_core::Clock;
use tidewire_db::Migration;
use tidewire_events::Events;
use tidewire_jobs::{ClaimRequest, ClaimedJob, Filter, Followers, JobSettings, Jobs};
use tidewire_redis::{RedisLog, RedisSettings};
use tidewire_testkit::{Engine, TestStore, eventually, servers};
use tidewire_threads::{
    Accepted, Error, FOLLOWER, NAMESPACE, NewThreadEvent, NewTurn, OnBusy, Rooms, Stored,
    ThreadEvent, ThreadSettings, Threads, Turn, Turns, hot::OpenHotLog,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    Embedded,
    Redis,
}

/// One process.
pub struct House {
    pub threads: Threads,
    pub jobs: Jobs,
    pub tenant: Arc<str>,
    pub settings: Option<RedisSettings>,
    pub store: Arc<TestStore>,
    _stop: DropGuard,
}

fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        tidewire_threads::MIGRATIONS,
    ]
    .concat()
}

/// A persister, until it is dropped.
pub struct Persister(JoinHandle<()>);

impl Persister {
    /// Gone at once, with all that it had in hand, as by -9.
    pub fn kill(self) {}
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Small numbers, so that tests meet every border.
pub fn small(url: &str) -> RedisSettings {
    RedisSettings {
        prefix: servers::own_prefix(),
        block: 20,
        keep: 8,
        lease: Duration::from_millis(600),
        ..RedisSettings::new(url)
    }
}

impl House {
    /// On a SQLite file; nothing where there is no Redis.
    pub async fn on(log: Log) -> Option<Self> {
        let settings = match log {
            Log::Embedded => None,
            Log::Redis => Some(small(&servers::redis().await?)),
        };
        let store = TestStore::open(&migrations()).await;
        Some(House::over(Arc::new(store), settings))
    }

    /// On a Redis of the test's own.
    pub async fn with(settings: RedisSettings) -> Self {
        let store = TestStore::open(&migrations()).await;
        House::over(Arc::new(store), Some(settings))
    }

    pub async fn on_engine(engine: Engine, settings: RedisSettings) -> Self {
        let store = TestStore::on(engine, &migrations()).await;
        House::over(Arc::new(store), Some(settings))
    }

    /// Another process on the same store and Redis.
    pub fn second(&self) -> Self {
        House::over(Arc::clone(&self.store), self.settings.clone())
    }

    fn over(store: Arc<TestStore>, settings: Option<RedisSettings>) -> Self {
        let (db, clock, stop) = (store.db.clone(), Clock::system(), CancellationToken::new());
        let of_events = tidewire_events::Settings {
            reserved: &[NAMESPACE],
            ..tidewire_events::Settings::default()
        };
        let events = Events::new(db.clone(), clock.clone(), of_events, stop.clone());
        let turns = Turns::default();
        let followers = Followers::default().with(FOLLOWER, turns.clone());
        let (_, of_jobs) = watch::channel(JobSettings::default());
        let jobs = Jobs::new(db.clone(), clock.clone(), of_jobs, followers, stop.clone());
        let (keeper, until) = (jobs.clone(), stop.clone());
        tokio::spawn(async move { keeper.keep(until).await });
        let rooms = Rooms {
            db,
            clock,
            events,
            jobs: jobs.clone(),
        };
        let open = settings.clone().map(|settings| {
            let stop = stop.clone();
            let open: OpenHotLog = Box::new(move |kept| RedisLog::open(settings, kept, &stop));
            open
        });
        let settings_of = ThreadSettings {
            affinity: Duration::ZERO,
            ..ThreadSettings::default()
        };
        let threads = Threads::with_hot_log(rooms, settings_of, open, stop.clone());
        turns.write_to(&threads);
        House {
            threads,
            jobs,
            tenant: "default".into(),
            settings,
            store,
            _stop: stop.drop_guard(),
        }
    }

    pub fn persister(&self) -> Persister {
        let log = Arc::clone(self.threads.hot_log());
        let run = async move { log.persist(CancellationToken::new()).await };
        Persister(tokio::spawn(run))
    }

    // --- those who ask ---

    pub async fn ask(&self, thread: &str, turn: &str, on_busy: OnBusy) -> Result<Accepted, Error> {
        let new = NewTurn {
            thread_id: Some(thread.to_owned()),
            turn_id: Some(turn.to_owned()),
            input: to_raw_value(&json!({"ask": turn})).unwrap(),
            agent: None,
            on_busy,
        };
        self.threads.accept(&self.tenant, new).await
    }

    pub async fn asks(&self, thread: &str, turn: &str) -> Accepted {
        self.ask(thread, turn, OnBusy::Enqueue).await.unwrap()
    }

    pub async fn says(
        &self,
        thread: &str,
        events: Vec<NewThreadEvent>,
    ) -> Result<Vec<Stored>, Error> {
        self.threads.append(&self.tenant, thread, events).await
    }

    pub async fn cancels(&self, thread: &str, turn: &str) -> Result<Turn, Error> {
        let reason = Some("enough");
        self.threads
            .cancel(&self.tenant, thread, turn, reason)
            .await
    }

    pub async fn turn(&self, thread: &str, turn: &str) -> Turn {
        self.threads.turn(&self.tenant, thread, turn).await.unwrap()
    }

    pub async fn status(&self, thread: &str, turn: &str) -> &'static str {
        self.turn(thread, turn).await.status.as_str()
    }

    /// All events of a thread, a page at a time.
    pub async fn events(&self, thread: &str) -> Vec<ThreadEvent> {
        let mut all: Vec<ThreadEvent> = Vec::new();
        loop {
            let from = all.last().map_or(0, |event| event.seq);
            let page = self
                .threads
                .events(&self.tenant, thread, None, (from, 7), Duration::ZERO)
                .await
                .unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    pub async fn kinds(&self, thread: &str) -> Vec<String> {
        let events = self.events(thread).await;
        let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
        assert!(seqs.windows(2).all(|two| two[0] < two[1]), "{seqs:?}");
        let told = events.iter().map(|event| match &event.turn_id {
            Some(turn) => format!("{turn} {}", event.kind),
            None => event.kind.clone(),
        });
        told.collect()
    }

    // --- agents ---

    pub async fn claims(&self, worker: &str) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            filter: Filter::default(),
            worker: worker.to_owned(),
            limit: 1,
            wait: Duration::ZERO,
            lease: None,
        };
        self.jobs.claim(request).await.unwrap()
    }

    /// Waits until there is a turn to run.
    pub async fn claim(&self, worker: &str) -> ClaimedJob {
        eventually("a turn to run", || async {
            self.claims(worker).await.into_iter().next()
        })
        .await
    }

    // --- the store by itself ---

    /// What the store has of a thread: `seq`, type and event id.
    pub async fn stored(&self, thread: &str) -> Vec<(u64, String, String)> {
        let alone = House::over(Arc::clone(&self.store), None);
        let there = alone.threads.thread(&alone.tenant, thread).await;
        if there.is_err() {
            return Vec::new();
        }
        let events = alone.events(thread).await;
        events
            .into_iter()
            .map(|event| (event.seq, event.kind, event.event_id))
            .collect()
    }

    /// Waits until the store has what the hot log has.
    pub async fn catches_up(&self, thread: &str) {
        let hot: Vec<_> = self.events(thread).await;
        let hot: Vec<_> = hot
            .into_iter()
            .map(|event| (event.seq, event.kind, event.event_id))
            .collect();
        eventually("the store to have it all", || async {
            (self.stored(thread).await == hot).then_some(())
        })
        .await;
    }

    /// Redis itself.
    pub async fn redis(&self) -> MultiplexedConnection {
        let url = &self.settings.as_ref().unwrap().url;
        let client = redis::Client::open(url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.settings.as_ref().unwrap().prefix)
    }
}

pub fn event(kind: &str, turn: Option<&str>, id: Option<&str>) -> NewThreadEvent {
    let mut event = json!({"type": kind, "payload": {"delta": id}});
    if let Some(turn) = turn {
        event["turn_id"] = turn.into();
    }
    if let Some(id) = id {
        event["event_id"] = id.into();
    }
    serde_json::from_value(event).unwrap()
}

pub fn delta(turn: &str, id: &str) -> NewThreadEvent {
    event("message.delta", Some(turn), Some(id))
}

pub fn ending(turn: &str, how: &str) -> NewThreadEvent {
    event(&format!("turn.{how}"), Some(turn), None)
}

pub fn seqs(stored: &[Stored]) -> Vec<u64> {
    stored.iter().map(|one| one.seq).collect()
}
