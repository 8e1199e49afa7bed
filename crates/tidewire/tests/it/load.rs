//! Clients that write down what they intend before they send it and what they were told after, so
//! that a store can be held against their notes.

mod notes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::Answer;
use tokio::task::JoinSet;

use crate::support::{Server, assert_problem};
pub use notes::Notes;
use notes::{BY_HAND, REQUEST_KEY};

/// A client that was refused comes back after this: sooner than it is told to, to meet more of a
/// fault.
const PAUSE: Duration = Duration::from_millis(50);

/// What a client does when it gets no answer, or is told to come back.
#[derive(Clone, Copy, PartialEq)]
pub enum Patience {
    /// It ends when its server is gone, and is never told to come back.
    None,
    /// It goes on until it is stopped.
    Endless,
}

/// Clients at work.
pub struct Load {
    line: Line,
    notes: Arc<Notes>,
    tasks: JoinSet<()>,
    before: u64,
}

impl Load {
    /// Appends, enqueues and completes jobs on these servers, which have one store.
    pub fn start(servers: &[&Server], notes: &Arc<Notes>, patience: Patience) -> Self {
        let mut load = Self::idle(servers, notes, patience);
        for _ in 0..6 {
            load.spawn(append);
        }
        for most in [3, 40] {
            load.spawn(move |line, notes| append_batches(line, notes, most));
        }
        for _ in 0..3 {
            load.spawn(enqueue);
        }
        for _ in 0..2 {
            load.spawn(complete);
        }
        load
    }

    /// Completes jobs only.
    pub fn complete(servers: &[&Server], notes: &Arc<Notes>) -> Self {
        let mut load = Self::idle(servers, notes, Patience::Endless);
        load.spawn(complete);
        load
    }

    fn idle(servers: &[&Server], notes: &Arc<Notes>, patience: Patience) -> Self {
        let ways = servers
            .iter()
            .map(|server| (server.client.clone(), server.url()));
        Load {
            line: Line {
                ways: ways.collect(),
                turn: Arc::default(),
                patience,
                stopped: Arc::default(),
                refused: Arc::default(),
            },
            notes: Arc::clone(notes),
            tasks: JoinSet::new(),
            before: *notes.told.borrow(),
        }
    }

    fn spawn<F>(&mut self, work: impl FnOnce(Line, Arc<Notes>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks
            .spawn(work(self.line.clone(), Arc::clone(&self.notes)));
    }

    /// Waits until so many more answers have come than when it was started.
    pub async fn told(&self, more: u64) {
        self.beyond(self.before + more).await;
    }

    /// Waits until so many more answers have come from now.
    pub async fn goes_on(&self, more: u64) {
        let now = *self.notes.told.borrow();
        self.beyond(now + more).await;
    }

    async fn beyond(&self, enough: u64) {
        let mut told = self.notes.told.subscribe();
        let enough = told.wait_for(|told| *told >= enough);
        tokio::time::timeout(crate::support::PATIENCE, enough)
            .await
            .expect("the load goes on")
            .expect("the notes stay");
    }

    /// How often a client was told to come back.
    pub fn refused(&self) -> usize {
        self.line.refused.load(Ordering::Relaxed)
    }

    /// Waits until all clients have ended: by themselves, or after what they are about.
    pub async fn ended(mut self) {
        if self.line.patience == Patience::Endless {
            self.line.stopped.store(true, Ordering::Relaxed);
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not fail");
        }
    }
}

/// A client's ways to servers that may go away.
#[derive(Clone)]
struct Line {
    ways: Vec<(reqwest::Client, String)>,
    turn: Arc<AtomicUsize>,
    patience: Patience,
    stopped: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

/// What came of a request.
enum Told {
    Answer(Answer),
    /// Not known: perhaps it was done, perhaps not.
    Nothing,
    /// There is nobody to ask, or no more is to be asked.
    Over,
}

impl Line {
    async fn post(&self, path: &str, body: &Value) -> Told {
        self.post_with(path, body, None).await
    }

    async fn post_with(&self, path: &str, body: &Value, key: Option<String>) -> Told {
        if self.stopped.load(Ordering::Relaxed) {
            return Told::Over;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (client, url) = &self.ways[turn % self.ways.len()];
        let mut request = client.request(Method::POST, format!("{url}{path}"));
        if let Some(key) = key {
            request = request.header(REQUEST_KEY, key);
        }
        let answer = answered(request.json(body)).await;
        match (answer, self.patience) {
            (None, Patience::None) => Told::Over,
            (Some(answer), Patience::Endless) if answer.status == 503 => {
                assert_problem(&answer);
                self.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
                Told::Nothing
            }
            (None, Patience::Endless) => {
                tokio::time::sleep(PAUSE).await;
                Told::Nothing
            }
            (Some(answer), _) => Told::Answer(answer),
        }
    }
}

/// The answer, or `None` if none came whole.
async fn answered(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.ok()?;
    Some(Answer {
        status,
        headers,
        text,
    })
}

async fn append(line: Line, notes: Arc<Notes>) {
    loop {
        let (marker, body) = notes.event();
        match line.post("/v1/events", &body).await {
            Told::Answer(answer) => notes.told_event(marker, &answer.expect(201).json()),
            Told::Nothing => {}
            Told::Over => return,
        }
    }
}

async fn append_batches(line: Line, notes: Arc<Notes>, most: u64) {
    for size in (1..=most).cycle() {
        let (markers, bodies): (Vec<_>, Vec<_>) = (0..size).map(|_| notes.event()).unzip();
        let told = match line.post("/v1/events", &Value::Array(bodies)).await {
            Told::Answer(answer) => answer.expect(201).json(),
            Told::Nothing => continue,
            Told::Over => return,
        };
        assert_eq!(told.as_array().map(Vec::len), Some(markers.len()), "{told}");
        for (marker, told) in markers.iter().zip(told.as_array().into_iter().flatten()) {
            notes.told_event(*marker, told);
        }
    }
}

async fn enqueue(line: Line, notes: Arc<Notes>) {
    loop {
        let (marker, body, key) = notes.job();
        match line.post_with("/v1/jobs", &body, key).await {
            Told::Answer(answer) => notes.told_job(marker, &answer.expect(201).json()),
            Told::Nothing => {}
            Told::Over => return,
        }
    }
}

/// A worker in another process, as the protocol has it.
async fn complete(line: Line, notes: Arc<Notes>) {
    let claim = json!({
        "worker": "hand", "types": [BY_HAND], "limit": 5, "wait_seconds": 2, "lease_seconds": 1,
    });
    loop {
        let claimed = match line.post("/v1/jobs/claim", &claim).await {
            Told::Answer(answer) => answer.expect(200).json(),
            Told::Nothing => continue,
            Told::Over => return,
        };
        for job in claimed["jobs"].as_array().expect("jobs") {
            let id = job["id"].as_str().expect("an id");
            // Another output each time, so that it can be told whose it is.
            let output = json!({"try": notes.number()});
            let body = json!({"lease_token": job["lease_token"], "output": output});
            match line.post(&format!("/v1/jobs/{id}/complete"), &body).await {
                Told::Over => return,
                // It comes again when its lease has run out.
                Told::Nothing => {}
                // The lease ran out and somebody else has the job.
                Told::Answer(answer) if answer.status == 409 => {}
                Told::Answer(answer) => {
                    answer.expect(200);
                    notes.told_completed(id, output);
                }
            }
        }
    }
}
