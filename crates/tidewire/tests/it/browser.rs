//! A thread in a real browser: a page follows it by `EventSource` over restarts of the server.
//!
//! Needs Chromium, and runs with `TIDEWIRE_TEST_FULL=1` alone.

mod dashboard;

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, response::Html, routing};
use serde_json::json;
use tempfile::TempDir;
use tidewire_testkit::eventually;
use tokio::net::TcpListener;

use crate::support::{House, Server, full, lasting_address};

/// What the page was told, in its order.
type Told = Arc<Mutex<Vec<u64>>>;

/// A page that reports each event that it gets, one after the other.
const PAGE: &str = r"<!doctype html><title>a thread</title><script>
let reported = Promise.resolve();
const source = new EventSource('SERVER/v1/threads/t/events/stream');
for (const type of ['turn.started', 'message.delta', 'turn.completed']) {
  source.addEventListener(type, (event) => {
    const seq = JSON.parse(event.data).seq;
    if (String(seq) !== event.lastEventId) throw new Error('the id is not the seq');
    reported = reported.then(() => fetch('/told', {method: 'POST', body: String(seq)}));
  });
}
</script>";

struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    /// `None` if there is none on this machine.
    fn open(url: &str) -> Option<Self> {
        let profile = TempDir::new().expect("a folder for its profile");
        let started = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => Some(Browser {
                child,
                _profile: profile,
            }),
            Err(error) if std::env::var_os("TIDEWIRE_TEST_REQUIRE_ENGINES").is_some() => {
                panic!("there is no chromium: {error}: install the package chromium")
            }
            Err(error) => {
                eprintln!("left out: there is no chromium: {error}");
                None
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves the page, and takes what it reports.
async fn page(server: &str) -> (String, Told) {
    let told = Told::default();
    let html = PAGE.replace("SERVER", server);
    let take = async |State(told): State<Told>, body: String| {
        let seq = body.parse().expect("a number");
        told.lock().expect("no test has panicked").push(seq);
    };
    let app = Router::new()
        .route("/", routing::get(async move || Html(html)))
        .route("/told", routing::post(take))
        .with_state(Arc::clone(&told));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}"), told)
}

async fn says(server: &Server, count: usize) {
    let delta = json!({"type": "message.delta", "turn_id": "a", "payload": {"delta": "x"}});
    for _ in 0..count {
        let path = "/v1/threads/t/events";
        server.post(path, &delta).await.expect(201);
    }
}

/// The page has been told of all events up to here, each once and in their order.
async fn told_up_to(told: &Told, last: u64) {
    eventually("the page has it all", || async {
        (told.lock().expect("no test has panicked").len() as u64 >= last).then_some(())
    })
    .await;
    let seqs = told.lock().expect("no test has panicked").clone();
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_misses_nothing_over_restarts_of_the_server() {
    if !full() {
        return;
    }
    let address = lasting_address();
    let (page, told) = page(&format!("http://{address}")).await;
    let house = House::new().with(&["--addr", &address, "--cors-origins", &page]);
    let server = house.start();
    let turn = json!({"thread_id": "t", "turn_id": "a", "input": "hello"});
    server.post("/v1/turns", &turn).await.expect(202);
    says(&server, 20).await;
    let Some(_browser) = Browser::open(&page) else {
        return;
    };
    told_up_to(&told, 21).await;
    says(&server, 20).await;
    told_up_to(&told, 41).await;
    // It says goodbye, …
    server.stop().await;
    let server = house.start();
    says(&server, 20).await;
    told_up_to(&told, 61).await;
    // … and it does not.
    says(&server, 5).await;
    server.kill();
    let server = house.start();
    says(&server, 20).await;
    told_up_to(&told, 86).await;
    server.stop().await;
}
