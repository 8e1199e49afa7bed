//! `kill -9` in the middle of everything: what was acknowledged is there, once, as it was
//! acknowledged.
//!
//! Clients write down what they intend before they send it and what they were told after. After
//! each crash a server without a worker is started on the same folder, so that nothing moves while
//! the whole store is held against the clients' notes.

mod notes;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_client::{Client, NewEvent, Retry, TailQuery};
use tidewire_testkit::{Answer, eventually};
use tokio::{sync::watch, task::JoinSet};

use crate::support::{House, Server, full, lasting_address};
use notes::{BY_HAND, Notes, REQUEST_KEY};

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
            let output = json!({"try": notes.number()});
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
