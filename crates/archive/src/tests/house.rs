//! A server with archives, and what its users do.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_access::{AccessConfig, Service as Access};
use tidewire_core::{Clock, Time};
use tidewire_db::{Db, Migration};
use tidewire_events::{Event, Events, Stretch};
use tidewire_jobs::{Followers, JobSettings, Jobs, Processors, Worker, WorkerOptions};
use tidewire_testkit::{Engine, TestApp, TestStore};
use tidewire_threads::{FOLLOWER, NAMESPACE, ThreadSettings, Threads, Turns};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    ArchiveSettings, Archives, Cache, CacheSettings, ColdReader, Error, Format, Objects,
    ObjectsSettings, Rooms, RunReport, Wanted, progress::Meter,
};

pub const TENANT: &str = "default";

pub struct House {
    pub app: TestApp,
    pub clock: Clock,
    pub store: Arc<TestStore>,
    pub folder: Arc<TempDir>,
    pub events: Events,
    pub jobs: Jobs,
    pub archives: Archives,
    stop: CancellationToken,
}

fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        tidewire_threads::MIGRATIONS,
        crate::MIGRATIONS,
    ]
    .concat()
}

fn in_folder(folder: &TempDir) -> ObjectsSettings {
    ObjectsSettings::folder(folder.path()).unwrap()
}

/// Archives of few events, so that a stream has several.
pub fn small() -> ArchiveSettings {
    ArchiveSettings {
        most_events: 40,
        ..ArchiveSettings::default()
    }
}

impl House {
    pub async fn on(engine: Engine) -> Self {
        House::with(engine, small()).await
    }

    pub async fn with(engine: Engine, settings: ArchiveSettings) -> Self {
        House::in_place(engine, settings, None).await
    }

    /// The same with objects elsewhere.
    pub async fn in_place(
        engine: Engine,
        settings: ArchiveSettings,
        objects: Option<ObjectsSettings>,
    ) -> Self {
        let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
        let store = TestStore::on_with_clock(engine, &migrations(), clock.clone()).await;
        let folder = Arc::new(TempDir::new().unwrap());
        let db = store.db.clone();
        let objects = objects.unwrap_or_else(|| in_folder(&folder));
        House::over(Arc::new(store), db, folder, clock, settings, objects).await
    }

    /// Another process on the same store and the same objects.
    pub async fn second(&self) -> Self {
        let db = self.store.second().await;
        let (store, folder) = (Arc::clone(&self.store), Arc::clone(&self.folder));
        let objects = in_folder(&folder);
        House::over(store, db, folder, self.clock.clone(), small(), objects).await
    }

    async fn over(
        store: Arc<TestStore>,
        db: Db,
        folder: Arc<TempDir>,
        clock: Clock,
        settings: ArchiveSettings,
        objects: ObjectsSettings,
    ) -> Self {
        let stop = CancellationToken::new();
        let access = Access::new(db.clone(), clock.clone(), &AccessConfig::default());
        access.start().await.unwrap();
        let objects = Objects::open(&objects).unwrap();
        let reader = ColdReader::new(
            db.clone(),
            Cache::new(objects.clone(), CacheSettings::default()),
        );
        let of_log = tidewire_events::Settings {
            reserved: &[NAMESPACE],
            ..tidewire_events::Settings::default()
        };
        let cold = Some(Arc::new(reader.clone()) as _);
        let events = Events::with_cold(db.clone(), clock.clone(), of_log, cold, stop.clone());
        let turns = Turns::default();
        let followers = Followers::default().with(FOLLOWER, turns.clone());
        let (_, of_jobs) = watch::channel(JobSettings::default());
        let jobs = Jobs::new(db.clone(), clock.clone(), of_jobs, followers, stop.clone());
        let keeper = (jobs.clone(), stop.clone());
        tokio::spawn(async move { keeper.0.keep(keeper.1).await });
        let rooms = tidewire_threads::Rooms {
            db: db.clone(),
            clock: clock.clone(),
            events: events.clone(),
            jobs: jobs.clone(),
        };
        let threads = Threads::new(rooms, ThreadSettings::default(), stop.clone());
        turns.write_to(&threads);
        let rooms = Rooms {
            db,
            clock: clock.clone(),
            access: access.clone(),
            events: events.clone(),
            jobs: jobs.clone(),
            threads: threads.clone(),
        };
        let archives = Archives::new(rooms, objects, reader, settings, stop.clone());
        let of_jobs =
            tidewire_jobs::routes(jobs.clone(), access.request_keys().clone(), events.clone());
        let app = TestApp::start(stop.clone(), |app| {
            app.routes(tidewire_threads::routes(threads.clone(), access))
                .routes(tidewire_threads::live_routes(threads))
                .routes(tidewire_events::routes(events.clone()))
                .routes(of_jobs)
                .routes(crate::routes(archives.clone()))
                .authenticate(TestApp::as_tenant(TENANT))
        })
        .await;
        House {
            app,
            clock,
            store,
            folder,
            events,
            jobs,
            archives,
            stop,
        }
    }

    /// Runs the jobs of archives, until the house is gone.
    pub fn works(&self) {
        let mut processors = Processors::new();
        self.archives.register(&mut processors);
        let worker = Worker::new(self.jobs.clone(), processors, WorkerOptions::default());
        tokio::spawn(worker.run(self.stop.clone()));
    }

    // --- what is there ---

    /// Appends as many events to a stream, of three types and about five subjects, a minute apart; about
    /// `bytes` each.
    pub async fn append(&self, stream: &str, count: usize, bytes: usize) {
        for first in (0..count).step_by(20) {
            let now = self.clock.now().millis();
            let some = (first..count.min(first + 20)).map(|n| {
                json!({
                    "stream": stream, "type": format!("type.{}", n % 3), "subject": format!("user-{}", n % 5),
                    "source": format!("source-{}", n % 7), "payload": {"n": n, "text": "x".repeat(bytes)},
                    "dedupe_key": (n % 2 == 0).then(|| format!("{stream}-{now}-{n}")),
                })
            });
            let some: Vec<_> = some.collect();
            self.app.post("/v1/events", &json!(some)).await.expect(201);
            self.clock.advance(Duration::from_mins(20));
        }
    }

    /// Says as much in a thread, in turns of ten.
    pub async fn say(&self, thread: &str, count: usize) {
        let some = (0..count).map(|n| {
            json!({
                "type": "message.delta", "turn_id": format!("{thread}-turn-{}", n / 10),
                "payload": {"delta": format!("word {n}")}, "tags": [n],
                "event_id": (n % 3 == 0).then(|| format!("{thread}-{n}")),
            })
        });
        let some: Vec<_> = some.collect();
        let path = format!("/v1/threads/{thread}/events");
        self.app.post(&path, &json!(some)).await.expect(201);
        self.clock.advance(Duration::from_mins(20));
    }

    /// All of the log, with what is not shown.
    pub async fn log(&self) -> Vec<String> {
        let mut all: Vec<Event> = Vec::new();
        loop {
            let pos = all.last().map_or(0, |event| event.pos);
            let most = Stretch {
                events: 33,
                bytes: 1 << 20,
            };
            let some = self.events.after(TENANT, pos, most).await.unwrap();
            if some.is_empty() {
                return all.iter().map(told).collect();
            }
            all.extend(some);
        }
    }

    // --- archives ---

    pub async fn archive(&self, wanted: Wanted) -> Result<RunReport, Error> {
        let meter = Arc::<Meter>::default();
        self.archives.run(&TENANT.into(), &wanted, &meter).await
    }

    pub async fn restore(&self, stream: &str, from: u64) -> u64 {
        let report = self
            .archives
            .restore(TENANT, stream, from, &Meter::default())
            .await;
        report.unwrap().events
    }

    pub async fn verify(&self, repair: bool) -> crate::VerifyReport {
        let meter = Arc::<Meter>::default();
        self.archives.verify(repair, &meter).await.unwrap()
    }

    /// The ranges of a stream's archives, the first one first.
    pub async fn ranges(&self, stream: &str) -> Vec<(u64, u64)> {
        let listed = self
            .archives
            .list_of_stream((TENANT, stream), None, 500)
            .await;
        let archives = listed.unwrap().0.into_iter().rev();
        archives
            .map(|archive| (archive.from_seq, archive.to_seq))
            .collect()
    }

    /// The keys of all objects.
    pub async fn objects(&self) -> Vec<String> {
        use futures_util::TryStreamExt as _;
        let listed = self.archives.objects().list("");
        let mut listed: Vec<_> = listed.map_ok(|one| one.key).try_collect().await.unwrap();
        listed.sort_unstable();
        listed
    }

    /// The first place of a stream that is in the database.
    pub async fn first(&self, stream: &str) -> u64 {
        let first = self.events.first_stored((TENANT, stream)).await;
        first.unwrap().unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An event with what is not shown, its payload as JSON.
fn told(event: &Event) -> String {
    let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
    let shown = serde_json::to_value(event).unwrap();
    format!("{} {} {shown} {payload}", event.pos, event.depth)
}

/// All streams, trimmed.
pub fn all_trimmed() -> Wanted {
    Wanted {
        stream: None,
        from_seq: None,
        to_seq: None,
        older_than: None,
        trim: true,
        format: Format::Jsonl,
        gather: false,
    }
}

/// One stream, which stays.
pub fn only(stream: &str) -> Wanted {
    Wanted {
        stream: Some(stream.to_owned()),
        trim: false,
        ..all_trimmed()
    }
}
