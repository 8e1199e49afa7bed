//! What clients wrote down, and how a store is held against it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::{TestApp, eventually};
use tokio::sync::watch;

use crate::support::{Server, assert_gapless};

const STREAMS: u64 = 4;
const STATUSES: [&str; 5] = ["pending", "running", "done", "failed", "cancelled"];
/// The type of job that only a client works on.
pub const BY_HAND: &str = "crash.by-hand";
pub const REQUEST_KEY: &str = "idempotency-key";

/// What clients intended and what they were told.
#[derive(Default)]
pub struct Notes {
    next: AtomicU64,
    pub told: watch::Sender<u64>,
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

    pub fn event(&self) -> (u64, Value) {
        let marker = self.number();
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

    pub fn job(&self) -> (u64, Value, Option<String>) {
        let marker = self.number();
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

    pub fn told_event(&self, marker: u64, answer: &Value) {
        if let Some(event) = self.book().events.get_mut(&marker) {
            event.told = Some(answer.clone());
        }
        self.count();
    }

    pub fn told_job(&self, marker: u64, answer: &Value) {
        if let Some(job) = self.book().jobs.get_mut(&marker) {
            job.told = Some(answer.clone());
        }
        self.count();
    }

    pub fn told_completed(&self, job: &str, output: Value) {
        let before = self.book().completed.insert(job.to_owned(), output);
        assert!(before.is_none(), "{job} was completed twice: {before:?}");
        self.count();
    }

    /// A number that is given once.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self) {
        self.told.send_modify(|told| *told += 1);
    }

    /// What has a key and was not answered is sent again, as a careful client does.
    pub async fn send_again(&self, server: &Server) {
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

    pub async fn hold_against(&self, server: &Server) {
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
