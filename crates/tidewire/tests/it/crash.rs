//! `kill -9` in the middle of everything: what was acknowledged is there, once, as it was
//! acknowledged.
//!
//! Clients write down what they intend before they send it and what they were told after. After
//! each crash a server without a worker is started on the same folder, so that nothing moves while
//! the whole store is held against the clients' notes.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_client::{Client, NewEvent, Retry, TailQuery};
use tidewire_testkit::{Answer, TestApp, eventually};
use tokio::{sync::watch, task::JoinSet};

use crate::support::{House, Server, assert_gapless, full, lasting_address};

const STREAMS: u64 = 4;
const STATUSES: [&str; 5] = ["pending", "running", "done", "failed", "cancelled"];
/// The type of job that only a client works on.
const BY_HAND: &str = "crash.by-hand";
const REQUEST_KEY: &str = "idempotency-key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let house = House::new().with(&[
        "--lease",
        "1s",
        "--poll-interval",
        "50ms",
        "--job-retry-base",
        "10ms",
    ]);
    let notes = Arc::new(Notes::default());
    let rounds = if full() { 20 } else { 5 };
    for round in 0..rounds {
        let server = house.start();
        let load = Load::start(&server, &notes);
        // Another instant each time: early, in the middle, long after.
        load.told(20 + round * 7919 % 180).await;
        server.kill();
        load.ended().await;

        let server = house.with(&["--roles", "api"]).start();
        notes.send_again(&server).await;
        notes.hold_against(&server).await;
        server.kill();
    }
    let server = house.start();
    let hand = tokio::spawn(complete(Line::to(&server), Arc::clone(&notes)));
    // What is done stays done, so it does not matter that a list takes its time.
    eventually("every job is done", || async {
        let jobs = server.list("/v1/jobs", "jobs").await;
        let done = jobs.iter().all(|job| job["status"] == "done");
        done.then_some(())
    })
    .await;
    hand.abort();
    notes.hold_against(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_the_log_over_crashes_misses_nothing_and_sees_nothing_twice() {
    const WRITERS: usize = 4;
    const EACH: usize = 100;
    let house = House::new().with(&["--addr", &lasting_address()]);
    let mut server = house.start();
    let client = Client::builder(&server.url()).retry(Retry::patient());
    let client = client.build().expect("a client");
    let (count, mut seen) = watch::channel(0);
    let from_the_start = TailQuery {
        after: Some("0".to_owned()),
        ..TailQuery::default()
    };
    let mut tail = client.events().tail(from_the_start);
    let follower = tokio::spawn(async move {
        let mut ids = Vec::new();
        while ids.len() < WRITERS * EACH {
            let next = tail.next().await.expect("a tail has no end");
            ids.push(next.expect("it connects again").event.id);
            count.send_replace(ids.len());
        }
        ids
    });
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            for n in 0..EACH {
                // With a key the client sends it again when the answer is lost.
                let event = NewEvent::new("followed").dedupe_key(format!("{writer}-{n}"));
                client
                    .events()
                    .append(&event)
                    .await
                    .expect("it gets through at last");
            }
        });
    }
    for crash in 1..=3 {
        let enough = crash * WRITERS * EACH / 5;
        seen.wait_for(|seen| *seen >= enough)
            .await
            .expect("the follower goes on");
        server.kill();
        server = house.start();
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer does not fail");
    }
    let followed = follower.await.expect("the follower does not fail");
    let mut stored: Vec<_> = server
        .list("/v1/events", "events")
        .await
        .iter()
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect();
    stored.reverse();
    assert_eq!(followed, stored);
    server.stop().await;
}

/// What clients intended and what they were told.
#[derive(Default)]
struct Notes {
    next: AtomicU64,
    told: watch::Sender<u64>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// By marker.
    events: HashMap<u64, Intended>,
    jobs: HashMap<u64, Intended>,
    /// Outputs that were acknowledged, by job.
    completed: HashMap<String, Value>,
}

struct Intended {
    body: Value,
    /// It has a key, so it may be sent again.
    keyed: bool,
    /// The answer, once there was one.
    told: Option<Value>,
}

impl Notes {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no task panics with the book")
    }

    fn event(&self) -> (u64, Value) {
        let marker = self.next.fetch_add(1, Ordering::Relaxed);
        let keyed = !marker.is_multiple_of(3);
        let mut body = json!({
            "type": "crash.event",
            "stream": format!("stream-{}", marker % STREAMS),
            "payload": {"marker": marker},
        });
        if keyed {
            body["dedupe_key"] = json!(format!("event-{marker}"));
        }
        self.intend(|book| &mut book.events, marker, &body, keyed);
        (marker, body)
    }

    fn job(&self) -> (u64, Value, Option<String>) {
        let marker = self.next.fetch_add(1, Ordering::Relaxed);
        let kind = if marker.is_multiple_of(2) {
            "echo"
        } else {
            BY_HAND
        };
        // Each crash may cost a running job an attempt.
        let mut body = json!({"type": kind, "payload": {"marker": marker}, "max_attempts": 100});
        // One such job, one such request, or neither.
        let request_key = match marker % 3 {
            1 => {
                body["idempotency_key"] = json!(format!("job-{marker}"));
                None
            }
            2 => Some(request_key(marker)),
            _ => None,
        };
        self.intend(
            |book| &mut book.jobs,
            marker,
            &body,
            !marker.is_multiple_of(3),
        );
        (marker, body, request_key)
    }

    fn intend(
        &self,
        part: impl Fn(&mut Book) -> &mut HashMap<u64, Intended>,
        marker: u64,
        body: &Value,
        keyed: bool,
    ) {
        let intended = Intended {
            body: body.clone(),
            keyed,
            told: None,
        };
        part(&mut self.book()).insert(marker, intended);
    }

    fn told_event(&self, marker: u64, answer: &Value) {
        if let Some(event) = self.book().events.get_mut(&marker) {
            event.told = Some(answer.clone());
        }
        self.count();
    }

    fn told_job(&self, marker: u64, answer: &Value) {
        if let Some(job) = self.book().jobs.get_mut(&marker) {
            job.told = Some(answer.clone());
        }
        self.count();
    }

    fn told_completed(&self, job: &str, output: Value) {
        let before = self.book().completed.insert(job.to_owned(), output);
        assert!(before.is_none(), "{job} was completed twice: {before:?}");
        self.count();
    }

    fn count(&self) {
        self.told.send_modify(|told| *told += 1);
    }

    /// What has a key and was not answered is sent again, as a careful client does.
    async fn send_again(&self, server: &Server) {
        let unanswered = |part: &HashMap<u64, Intended>| -> Vec<(u64, Value)> {
            let open = part.iter().filter(|(_, it)| it.keyed && it.told.is_none());
            open.map(|(marker, it)| (*marker, it.body.clone()))
                .collect()
        };
        let (events, jobs) = {
            let book = self.book();
            (unanswered(&book.events), unanswered(&book.jobs))
        };
        for (marker, body) in events {
            let answer = server.post("/v1/events", &body).await;
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
            self.told_event(marker, &answer.json());
        }
        for (marker, body) in jobs {
            let mut request = server.request(Method::POST, "/v1/jobs").json(&body);
            if body["idempotency_key"].is_null() {
                request = request.header(REQUEST_KEY, request_key(marker));
            }
            let answer = TestApp::send(request).await;
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
            self.told_job(marker, &answer.json());
        }
    }

    async fn hold_against(&self, server: &Server) {
        let stored = server.list("/v1/events", "events").await;
        self.check_events(&stored);
        let (jobs, states) = still_jobs(server).await;
        self.check_jobs(&jobs, &states);
        let summary = server.get("/v1/analytics/summary").await.expect(200).json();
        assert_eq!(summary["events_received"], stored.len(), "{summary}");
        for (status, count) in [("done", "jobs_done"), ("failed", "jobs_failed")] {
            let have = jobs.iter().filter(|job| job["status"] == status).count();
            assert_eq!(summary[count], have, "{status}: {summary}");
        }
    }

    fn check_events(&self, stored: &[Value]) {
        let book = self.book();
        let by_marker = by_marker("event", stored, &book.events);
        for (marker, intended) in &book.events {
            let Some(told) = &intended.told else { continue };
            let event = by_marker.get(marker).unwrap_or_else(|| {
                panic!("the event {marker} was acknowledged and is lost: {told}")
            });
            for field in ["id", "stream", "seq", "created_at"] {
                assert_eq!(
                    event[field], told[field],
                    "{field}: told {told}, found {event}"
                );
            }
        }
        for stream in 0..STREAMS {
            let name = format!("stream-{stream}");
            let of_stream = stored
                .iter()
                .filter(|event| event["stream"] == name.as_str());
            let numbers = of_stream.map(|event| event["seq"].as_u64().expect("a number"));
            assert_gapless(&name, numbers.collect());
        }
    }

    fn check_jobs(&self, jobs: &[Value], states: &HashMap<String, Vec<&str>>) {
        assert_eq!(states.len(), jobs.len(), "jobs by state and jobs in all");
        let book = self.book();
        let by_marker = by_marker("job", jobs, &book.jobs);
        for job in jobs {
            let id = job["id"].as_str().expect("an id");
            assert_eq!(
                states[id],
                [job["status"].as_str().expect("a status")],
                "{job}"
            );
            if let Some(output) = book.completed.get(id) {
                assert_eq!(
                    (&job["status"], &job["output"]),
                    (&json!("done"), output),
                    "{job}"
                );
            }
        }
        for (marker, intended) in &book.jobs {
            let Some(told) = &intended.told else { continue };
            let job = by_marker
                .get(marker)
                .unwrap_or_else(|| panic!("the job {marker} was acknowledged and is lost: {told}"));
            assert_eq!(job["id"], told["id"], "told {told}, found {job}");
        }
    }
}

/// All jobs, and the states in which each is listed, at one moment: leases run out meanwhile, so it
/// is looked again until nothing has changed between the first look and the last.
async fn still_jobs(server: &Server) -> (Vec<Value>, HashMap<String, Vec<&'static str>>) {
    eventually("nothing moves", || async {
        let jobs = server.list("/v1/jobs", "jobs").await;
        let mut states: HashMap<String, Vec<_>> = HashMap::new();
        for status in STATUSES {
            for job in server
                .list(&format!("/v1/jobs?status={status}"), "jobs")
                .await
            {
                let id = job["id"].as_str().expect("an id").to_owned();
                states.entry(id).or_default().push(status);
            }
        }
        let again = server.list("/v1/jobs", "jobs").await;
        (jobs == again).then_some((jobs, states))
    })
    .await
}

/// Finds each row's marker: none may come twice, none may be unheard of.
fn by_marker<'v>(
    what: &str,
    rows: &'v [Value],
    intended: &HashMap<u64, Intended>,
) -> HashMap<u64, &'v Value> {
    let mut found = HashMap::new();
    let mut ids = HashSet::new();
    for row in rows {
        let marker = row["payload"]["marker"].as_u64().expect("a marker");
        assert!(
            intended.contains_key(&marker),
            "nobody sent this {what}: {row}"
        );
        assert!(
            ids.insert(row["id"].to_string()),
            "the id comes twice: {row}"
        );
        if let Some(before) = found.insert(marker, row) {
            panic!("the {what} is there twice: {before} and {row}");
        }
    }
    found
}

fn request_key(marker: u64) -> String {
    format!("request-{marker}")
}

/// Clients that go on until their server is gone.
struct Load {
    notes: Arc<Notes>,
    tasks: JoinSet<()>,
    before: u64,
}

impl Load {
    fn start(server: &Server, notes: &Arc<Notes>) -> Self {
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            tasks.spawn(append(Line::to(server), Arc::clone(notes)));
        }
        for most in [3, 40] {
            tasks.spawn(append_batches(Line::to(server), Arc::clone(notes), most));
        }
        for _ in 0..3 {
            tasks.spawn(enqueue(Line::to(server), Arc::clone(notes)));
        }
        for _ in 0..2 {
            tasks.spawn(complete(Line::to(server), Arc::clone(notes)));
        }
        Load {
            notes: Arc::clone(notes),
            tasks,
            before: *notes.told.borrow(),
        }
    }

    /// Waits until so many more answers have come.
    async fn told(&self, more: u64) {
        let enough = self.before + more;
        let mut told = self.notes.told.subscribe();
        told.wait_for(|told| *told >= enough)
            .await
            .expect("the notes stay");
    }

    async fn ended(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not fail");
        }
    }
}

/// A client's way to a server that may go away.
struct Line {
    client: reqwest::Client,
    url: String,
}

impl Line {
    fn to(server: &Server) -> Self {
        Line {
            client: server.client.clone(),
            url: server.url(),
        }
    }

    /// The answer, or `None` if none came whole.
    async fn post(&self, path: &str, body: &Value) -> Option<Answer> {
        self.post_with(path, body, None).await
    }

    async fn post_with(&self, path: &str, body: &Value, key: Option<String>) -> Option<Answer> {
        let mut request = self
            .client
            .request(Method::POST, format!("{}{path}", self.url));
        if let Some(key) = key {
            request = request.header(REQUEST_KEY, key);
        }
        let response = request.json(body).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.ok()?;
        Some(Answer {
            status,
            headers,
            text,
        })
    }
}

async fn append(line: Line, notes: Arc<Notes>) {
    loop {
        let (marker, body) = notes.event();
        let Some(answer) = line.post("/v1/events", &body).await else {
            return;
        };
        notes.told_event(marker, &answer.expect(201).json());
    }
}

async fn append_batches(line: Line, notes: Arc<Notes>, most: u64) {
    for size in (1..=most).cycle() {
        let (markers, bodies): (Vec<_>, Vec<_>) = (0..size).map(|_| notes.event()).unzip();
        let Some(answer) = line.post("/v1/events", &Value::Array(bodies)).await else {
            return;
        };
        let told = answer.expect(201).json();
        assert_eq!(told.as_array().map(Vec::len), Some(markers.len()), "{told}");
        for (marker, told) in markers.iter().zip(told.as_array().into_iter().flatten()) {
            notes.told_event(*marker, told);
        }
    }
}

async fn enqueue(line: Line, notes: Arc<Notes>) {
    loop {
        let (marker, body, key) = notes.job();
        let Some(answer) = line.post_with("/v1/jobs", &body, key).await else {
            return;
        };
        notes.told_job(marker, &answer.expect(201).json());
    }
}

/// A worker in another process, as the protocol has it.
async fn complete(line: Line, notes: Arc<Notes>) {
    let claim = json!({
        "worker": "hand", "types": [BY_HAND], "limit": 5, "wait_seconds": 5, "lease_seconds": 1,
    });
    loop {
        let Some(answer) = line.post("/v1/jobs/claim", &claim).await else {
            return;
        };
        let claimed = answer.expect(200).json();
        for job in claimed["jobs"].as_array().expect("jobs") {
            let id = job["id"].as_str().expect("an id");
            // Another output each time, so that it can be told whose it is.
            let output = json!({"try": notes.next.fetch_add(1, Ordering::Relaxed)});
            let body = json!({"lease_token": job["lease_token"], "output": output});
            match line.post(&format!("/v1/jobs/{id}/complete"), &body).await {
                None => return,
                // The lease ran out and somebody else has the job.
                Some(answer) if answer.status == 409 => {}
                Some(answer) => {
                    answer.expect(200);
                    notes.told_completed(id, output);
                }
            }
        }
    }
}
