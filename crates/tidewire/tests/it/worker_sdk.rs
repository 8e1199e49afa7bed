//! The SDK's example, a worker in a process of its own, against a server in another.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::SystemTime,
};

use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tidewire_testkit::{Engine, eventually, every_engine};

use crate::support::{House, Server, Signal, bare, lasting_address};

/// The built example. Cargo builds examples along with all of a workspace's tests; where it built
/// this target alone, the example may be missing or old, and is built here.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let binary = Path::new(env!("CARGO_BIN_EXE_tidewire"));
        let example = binary.with_file_name("examples").join("worker");
        if !is_fresh(&example) {
            eprintln!("building the example worker");
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args([
                "build",
                "--package",
                "tidewire-client",
                "--example",
                "worker",
            ]);
            if binary
                .parent()
                .is_some_and(|folder| folder.ends_with("release"))
            {
                cargo.arg("--release");
            }
            let target = binary.ancestors().nth(2).expect("the target folder");
            cargo.arg("--target-dir").arg(target);
            let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "the example is built"
            );
        }
        example
    })
}

/// Whether it is newer than every source that cargo noted it was built from.
fn is_fresh(example: &Path) -> bool {
    let changed = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    let Some(built) = changed(example) else {
        return false;
    };
    let Ok(noted) = fs::read_to_string(example.with_extension("d")) else {
        return false;
    };
    let sources = noted.split_once(": ").map_or("", |(_, sources)| sources);
    sources
        .split_whitespace()
        .all(|source| changed(Path::new(source)).is_some_and(|source| source <= built))
}

/// A running example. Killed when it is dropped.
struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn start(server: &Server) -> Self {
        let log = server.house.path().join("worker.log");
        let child = bare(example())
            .arg(server.url())
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .expect("the worker starts");
        Worker { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn ends(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        let status = eventually("the worker ends", || {
            let ended = self.child.try_wait().expect("a child can be waited for");
            async move { ended }
        })
        .await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- worker\n{}\n---", self.log());
        }
    }
}

async fn enqueue(server: &Server, body: Value) -> String {
    let job = server.post("/v1/jobs", &body).await.expect(201).json();
    job["id"].as_str().expect("an id").to_owned()
}

async fn job_that(server: &Server, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async {
        let job = server
            .get(&format!("/v1/jobs/{id}"))
            .await
            .expect(200)
            .json();
        is(&job).then_some(job)
    })
    .await
}

fn has_status(status: &'static str) -> impl Fn(&Value) -> bool {
    move |job| job["status"] == status
}

#[every_engine]
async fn a_worker_in_another_process_runs_jobs_and_survives_a_restart_of_the_server(
    engine: Engine,
) {
    let house = House::on(engine)
        .await
        .with(&["--addr", &lasting_address()]);
    let server = house.start();
    let worker = Worker::start(&server);
    let mut jobs = Vec::new();
    for n in 0..20 {
        let payload = json!({"text": "word ".repeat(n)});
        jobs.push(enqueue(&server, json!({"type": "word-count", "payload": payload})).await);
    }
    for (n, id) in jobs.iter().enumerate() {
        let job = job_that(&server, id, "done", has_status("done")).await;
        assert_eq!(
            (&job["output"]["words"], &job["attempts"]),
            (&json!(n), &json!(1))
        );
    }
    let greeted = enqueue(&server, json!({"type": "greet", "payload": "ann"})).await;
    let job = job_that(&server, &greeted, "done", has_status("done")).await;
    assert_eq!(job["output"], "good morning, ann");
    // An error that trying again does not mend.
    let nobody = enqueue(&server, json!({"type": "greet", "payload": ""})).await;
    let job = job_that(&server, &nobody, "failed", has_status("failed")).await;
    assert_eq!(job["attempts"], 1);
    assert!(
        job["last_error"]
            .as_str()
            .is_some_and(|error| error.contains("nobody to greet")),
        "{job}"
    );
    // What the worker has no processor for is nobody's.
    let foreign = enqueue(&server, json!({"type": "by.somebody-else"})).await;

    // The server dies with a job on its way, and comes back on its port.
    let long = enqueue(&server, json!({"type": "countdown", "payload": 2})).await;
    job_that(&server, &long, "running", has_status("running")).await;
    server.kill();
    let server = house.start();
    let job = job_that(&server, &long, "done over the restart", has_status("done")).await;
    assert_eq!(job["attempts"], 1, "its lease held: {job}");
    let after = enqueue(
        &server,
        json!({"type": "word-count", "payload": {"text": "a b c"}}),
    )
    .await;
    let job = job_that(
        &server,
        &after,
        "done after the restart",
        has_status("done"),
    )
    .await;
    assert_eq!(job["output"]["words"], 3);
    let foreign = server
        .get(&format!("/v1/jobs/{foreign}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&foreign["status"], &foreign["attempts"]),
        (&json!("pending"), &json!(0))
    );
    worker.ends(Signal::TERM).await;
    server.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_finishes_what_it_has() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = House::new().start();
        let worker = Worker::start(&server);
        let running = enqueue(&server, json!({"type": "countdown", "payload": 2})).await;
        // A job is running for the server before its worker has heard of it.
        eventually("the worker counts", || async {
            worker.log().contains("counting").then_some(())
        })
        .await;
        worker.ends(signal).await;
        // No waiting: a worker that has ended has said how its jobs ended.
        let job = server
            .get(&format!("/v1/jobs/{running}"))
            .await
            .expect(200)
            .json();
        assert_eq!(job["status"], "done", "{job}");
        server.stop().await;
    }
}
