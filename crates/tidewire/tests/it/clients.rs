//! The clients of other languages in `clients/` against a live server: their own tests, and the examples that the pages
//! show, each a process of its own.
//!
//! Needs what `cargo xtask test` installs; elsewhere a line says what was left out.

mod pages;

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, mpsc},
    thread,
};

use serde_json::json;
use tidewire_testkit::{TestApp, eventually};

use crate::support::{House, PATIENCE, Pid, Server, Signal, run};

/// A Python that has what the client and its tests need.
const PYTHON: &str = "TIDEWIRE_TEST_CLIENTS";
const REQUIRED: &str = "TIDEWIRE_TEST_REQUIRE_ENGINES";
const ADMIN: &str = "the-operator-of-the-clients-tests";

#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    TypeScript,
}

/// A place below the workspace's root.
fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(PYTHON) {
        return Some(named.into());
    }
    let installed = place("target/tools/clients/bin/python");
    installed.exists().then_some(installed)
}

/// Compiles the client, its tests and its examples, which is the test of their types; whether that could be done.
static COMPILED: LazyLock<bool> = LazyLock::new(|| {
    let home = place("clients/typescript");
    let compiler = home.join("node_modules/.bin/tsc");
    if !compiler.exists() {
        return false;
    }
    for project in ["tsconfig.json", "tsconfig.test.json"] {
        let compiled = run(Command::new(&compiler)
            .args(["--project", project])
            .current_dir(&home));
        assert_eq!(compiled.status, Some(0), "{}", compiled.stdout);
    }
    true
});

impl Language {
    const ALL: [Language; 2] = [Language::Python, Language::TypeScript];

    /// Those that this machine has.
    fn here() -> Vec<Language> {
        let (here, missing): (Vec<_>, Vec<_>) =
            Language::ALL
                .into_iter()
                .partition(|language| match language {
                    Language::Python => python().is_some(),
                    Language::TypeScript => *COMPILED,
                });
        if !missing.is_empty() {
            assert!(
                std::env::var_os(REQUIRED).is_none_or(|value| value != "1"),
                "{PYTHON} and clients/typescript/node_modules do not have {missing:?}"
            );
            eprintln!("left out: the clients for {missing:?}: run `cargo xtask test`");
        }
        here
    }

    /// The client's tests.
    fn suite(self) -> Command {
        match self {
            Language::Python => {
                let mut command = Command::new(python().expect("it is here"));
                command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command.current_dir(place("clients/python"));
                command
            }
            Language::TypeScript => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", "exec node --test build/test/*.test.js"]);
                command.current_dir(place("clients/typescript"));
                command
            }
        }
    }

    /// One of the client's examples.
    fn example(self, name: &str) -> Command {
        let mut command = match self {
            Language::Python => {
                let mut command = Command::new(python().expect("it is here"));
                let file = format!("clients/python/examples/{name}.py");
                command.arg("-u").arg(place(&file));
                command.env("PYTHONPATH", place("clients/python/src"));
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Language::TypeScript => {
                let mut command = Command::new("node");
                let file = format!("clients/typescript/build/examples/{name}.js");
                command.arg(place(&file));
                command
            }
        };
        for name in ["TIDEWIRE_SERVER", "TIDEWIRE_API_KEY"] {
            command.env_remove(name);
        }
        command
    }
}

/// A running example. Killed when it is dropped.
struct Example {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Example {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("it is piped");
        let (say, said) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        Example { child, said }
    }

    /// The next line that it prints.
    #[track_caller]
    fn line(&self) -> String {
        let line = self.said.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| panic!("it says nothing: {error}"))
    }

    /// Asks it to end, and waits until it has.
    async fn stop(mut self) {
        let id = Pid::from_child(&self.child);
        rustix::process::kill_process(id, Signal::TERM).expect("it can be signalled");
        let status = eventually("it ends", || {
            let status = self.child.try_wait().expect("it can be waited for");
            async move { status }
        })
        .await;
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with keys, and one of a tenant of its own.
async fn server() -> (Server, String) {
    let house = House::new()
        .with_admin(ADMIN)
        .with(&["--allow-subnet", "127.0.0.0/8"]);
    let server = house.start();
    let name = json!({"name": "clients"});
    let tenant = server.post("/v1/tenants", &name).await.expect(201).json();
    let key = tenant["api_key"].as_str().expect("a key").to_owned();
    (server, key)
}

/// Asks as the tenant does.
async fn post(
    server: &Server,
    key: &str,
    path: &str,
    body: &serde_json::Value,
) -> serde_json::Value {
    let url = format!("{}{path}", server.url());
    let request = server.client.post(url).bearer_auth(key).json(body);
    let answer = TestApp::send(request).await;
    assert!(answer.status < 300, "{} {}", answer.status, answer.text);
    answer.json()
}

async fn get(server: &Server, key: &str, path: &str) -> serde_json::Value {
    let url = format!("{}{path}", server.url());
    TestApp::send(server.client.get(url).bearer_auth(key))
        .await
        .expect(200)
        .json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_pass_their_own_tests() {
    for language in Language::here() {
        let (server, key) = server().await;
        let passed = run(language
            .suite()
            .env("TIDEWIRE_SERVER", server.url())
            .env("TIDEWIRE_API_KEY", &key));
        assert_eq!(passed.status, Some(0), "{language:?}: {passed:#?}");
    }
}

#[test]
fn the_python_client_keeps_to_its_types() {
    if !Language::here()
        .iter()
        .any(|one| matches!(one, Language::Python))
    {
        return;
    }
    let python = python().expect("it is here");
    for tool in [
        ["mypy", "--cache-dir=/dev/null"].as_slice(),
        &["ruff", "check", "--quiet", "--no-cache", "."],
        &["ruff", "format", "--check", "--quiet", "--no-cache", "."],
    ] {
        let checked = run(Command::new(&python)
            .arg("-m")
            .args(tool)
            .current_dir(place("clients/python")));
        assert_eq!(checked.status, Some(0), "{tool:?}: {checked:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tours_show_what_their_pages_say() {
    for language in Language::here() {
        let (server, key) = server().await;
        let toured = run(language
            .example("tour")
            .env("TIDEWIRE_SERVER", server.url())
            .env("TIDEWIRE_API_KEY", &key))
        .expect(0);
        let page = match language {
            Language::Python => "clients/python/README.md",
            Language::TypeScript => "clients/typescript/README.md",
        };
        let page = std::fs::read_to_string(place(page)).expect("the page");
        assert!(page.contains(&toured.stdout), "{}", toured.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workers_of_the_page_work() {
    for language in Language::here() {
        let (server, key) = server().await;
        let worker = Example::start(
            language
                .example("worker")
                .env("TIDEWIRE_SERVER", server.url())
                .env("TIDEWIRE_API_KEY", &key),
        );
        for (payload, status, said) in [
            (
                json!({"text": " the quick brown fox "}),
                "done",
                json!({"words": 4}),
            ),
            (
                json!({"text": 4}),
                "failed",
                json!("the payload has no text"),
            ),
        ] {
            let new = json!({"type": "word-count", "queue": "texts", "payload": payload});
            let job = post(&server, &key, "/v1/jobs", &new).await;
            let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
            let ended = eventually("the job ends", || async {
                let job = get(&server, &key, &path).await;
                (job["status"] == status).then_some(job)
            })
            .await;
            let field = if status == "done" {
                "output"
            } else {
                "last_error"
            };
            assert_eq!(ended[field], said, "{language:?}");
        }
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receivers_of_the_page_believe_what_is_signed() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
    for language in Language::here() {
        let (server, key) = server().await;
        let receiver = Example::start(
            language
                .example("receiver")
                .env("SECRET", SECRET)
                .env("PORT", "0"),
        );
        let line = receiver.line();
        let endpoint = line.strip_prefix("listening on ").expect("an address");
        let test = async |secret: &str| {
            let config = json!({"endpoint": endpoint, "secret": secret, "payload": {"n": 1}});
            let new = json!({"type": "webhook", "config": config});
            let fired = post(&server, &key, "/v1/triggers/test", &new).await;
            let path = format!(
                "/v1/executions/{}",
                fired["execution_id"].as_str().expect("an id")
            );
            eventually("it is delivered or given up", || async {
                let execution = get(&server, &key, &path).await;
                (execution["execution_status"] != "pending").then_some(execution)
            })
            .await
        };
        let taken = test(SECRET).await;
        assert_eq!(taken["attempts"][0]["response_status"], 204, "{taken}");
        let line = receiver.line();
        let id = taken["id"].as_str().expect("an id");
        assert!(line.starts_with(&format!("{id} attempt 1: {{")), "{line}");
        let refused = test("another").await;
        assert_eq!(refused["attempts"][0]["response_status"], 401, "{refused}");
    }
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumers_of_the_page_hear_what_is_fired() {
    let Some(brokers) = tidewire_testkit::servers::kafka().await else {
        return;
    };
    let name = format!("clients{}", std::process::id());
    let topic = format!("{name}-events");
    let bus = format!(
        "kafka://{brokers}?group={name}&jobs-topic={name}-jobs&events-topic={topic}&partitions=1"
    );
    let house = House::new().with(&["--job-bus", &bus]);
    let server = house.start();
    let config = json!({"job": {"type": "echo"}});
    let new = json!({"name": "t", "type": "webhook", "config": config});
    let trigger = server.post("/v1/triggers", &new).await.expect(201).json();
    let path = format!("/v1/webhook/{}", trigger["id"].as_str().expect("an id"));
    let mut fired = Vec::new();
    for n in 0..3 {
        let call = server.post(&path, &json!({ "n": n })).await.expect(202);
        fired.push(call.json()["event_id"].as_str().expect("an id").to_owned());
    }
    for language in Language::here() {
        let group = format!("{name}-{language:?}");
        let consumer = Example::start(
            language
                .example("kafka_consumer")
                .env("KAFKA_BROKERS", &brokers)
                .env("TOPIC", &topic)
                .env("GROUP", &group),
        );
        for id in &fired {
            let line = consumer.line();
            assert!(line.starts_with(&format!("{id} webhook: {{")), "{line}");
        }
    }
}
