//! `tidewire demo`: what somebody sees who runs nothing else.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use tempfile::TempDir;
use tidewire_testkit::TestApp;

use crate::support::{Ended, House, PATIENCE, Pid, Signal, client, run, tidewire};

const STEPS: [&str; 7] = [
    "log", "site", "webhook", "clock", "agent", "fleet", "archive",
];

/// A demo whose temporary folders are made in this one.
fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = tidewire();
    command
        .current_dir(folder)
        .env("TMPDIR", folder)
        .arg("demo")
        .args(arguments);
    command
}

#[track_caller]
fn assert_empty(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What is told of a step, from its title to the next one's.
#[track_caller]
fn told<'a>(ended: &'a Ended, step: &str) -> &'a str {
    let number = STEPS.iter().position(|name| *name == step).unwrap() + 1;
    let title = format!("{number}/{} {step}", STEPS.len());
    let start = ended.stdout.find(&title);
    let rest = &ended.stdout[start.unwrap_or_else(|| panic!("no {title}: {ended:#?}"))..];
    let next = format!("\n{}/{} ", number + 1, STEPS.len());
    rest.split(&next).next().unwrap_or(rest)
}

#[test]
fn a_run_verifies_every_step_and_leaves_nothing_behind() {
    let folder = TempDir::new().expect("a temporary folder");
    // Whoever's settings these are: they are no concern of a demo.
    let ended = run(demo(folder.path(), &["--once", "--addr", "127.0.0.1:0"])
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .env("TIDEWIRE_ADMIN_KEY", "a-key-of-somebody-who-serves"))
    .expect(0);
    for step in STEPS {
        assert!(told(&ended, step).contains("\n  ✓ "), "{step}: {ended:#?}");
    }
    assert!(
        ended.stdout.contains("all 7 steps were verified"),
        "{ended:#?}"
    );
    assert!(
        told(&ended, "agent").contains("6 * 7 = 42.\n"),
        "{ended:#?}"
    );
    // Nobody sees a terminal here.
    assert!(!ended.stdout.contains('\x1b'), "{ended:#?}");
    assert_empty(folder.path());
}

#[test]
fn an_address_that_cannot_be_had_is_an_error_before_anything_runs() {
    let folder = TempDir::new().expect("a temporary folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let ended = run(&mut demo(folder.path(), &["--once", "--addr", &address])).expect(1);
    let expected = format!("error: cannot listen on {address}: ");
    assert!(ended.error().starts_with(&expected), "{ended:#?}");
    assert_eq!(ended.stdout, "");
    let ended = run(&mut demo(folder.path(), &["--addr", "0.0.0.0:0"])).expect(2);
    assert!(
        ended.stderr.contains("nothing here asks for a key"),
        "{ended:#?}"
    );
    assert_empty(folder.path());
}

#[test]
fn a_step_that_fails_is_told_and_the_others_go_on() {
    let folder = TempDir::new().expect("a temporary folder");
    // No folder of archives can be made where a file is.
    let objects = folder.path().join("data/objects");
    fs::create_dir_all(&objects).expect("a folder");
    fs::write(objects.join("streams"), "in the way").expect("a file");
    let arguments = ["--once", "--addr", "127.0.0.1:0", "--data-dir", "data"];
    let ended = run(&mut demo(folder.path(), &arguments)).expect(1);
    let failed = told(&ended, "archive");
    assert!(
        failed.contains("\n  ✗ archive was not verified: expected the archive to be made, came "),
        "{ended:#?}"
    );
    for step in &STEPS[..6] {
        assert!(told(&ended, step).contains("\n  ✓ "), "{step}: {ended:#?}");
    }
    assert!(
        ended
            .stderr
            .ends_with("error: 6 of 7 steps were verified; not verified: archive\n"),
        "{ended:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_stay_can_be_shown_again_and_served() {
    let folder = TempDir::new().expect("a temporary folder");
    let data = folder.path().join("data").display().to_string();
    let arguments = ["--once", "--addr", "127.0.0.1:0", "--data-dir", &data];
    run(&mut demo(folder.path(), &arguments)).expect(0);
    run(&mut demo(folder.path(), &arguments)).expect(0);

    let server = House::new().with(&["--data-dir", &data]).start();
    let count = |list: &[serde_json::Value]| list.len();
    assert_eq!(count(&server.list("/v1/threads", "threads").await), 2);
    assert_eq!(count(&server.list("/v1/sites", "sites").await), 2);
    // The second run's took the place of the first one's, and nobody would take what they deliver.
    let triggers = server.get("/v1/triggers").await.expect(200).json();
    let triggers = triggers["triggers"].as_array().expect("a list").clone();
    assert_eq!(triggers.len(), 2, "{triggers:?}");
    let by_clock = triggers
        .iter()
        .find(|trigger| trigger["type"] == "interval_scheduled")
        .expect("it is there");
    assert_eq!(by_clock["status"], "inactive");
    server.stop().await;
}

/// A demo that runs. Killed when it is dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut child = demo(folder, &["--addr", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (said, lines) = mpsc::channel();
        thread::spawn(move || {
            // Read to its end, or it could not say any more.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        Running { child, lines }
    }

    /// The next line that has this in it.
    #[track_caller]
    fn line(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("no line with `{part}`: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Ends it by a signal; its exit status.
    #[track_caller]
    fn end(mut self, signal: Signal) -> Option<i32> {
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .expect("it can be signalled");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_running_and_tidies_up_at_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = TempDir::new().expect("a temporary folder");
        let demo = Running::start(folder.path());
        let line = demo.line("its dashboard, its API");
        let url = line.split_whitespace().next().expect("a URL").to_owned();
        let worker = demo.line("goes by that config");
        let worker = worker.split_whitespace().next().expect("a URL").to_owned();
        demo.line("It keeps running");

        let get = |url: String| TestApp::send(client().get(url));
        let page = get(format!("{url}/")).await.expect(200);
        assert!(page.text.contains("<html"), "{}", page.text);
        let hit = get(format!("{worker}/hit")).await.expect(200);
        assert_eq!(hit.text, "hello from the receiver\n");

        assert_eq!(demo.end(signal), Some(0), "{signal:?}");
        assert_empty(folder.path());
        let gone = client().get(format!("{url}/health")).send().await;
        assert!(gone.is_err(), "{gone:?}");
    }
}

#[test]
fn it_can_be_ended_in_the_middle_of_a_step() {
    let folder = TempDir::new().expect("a temporary folder");
    let demo = Running::start(folder.path());
    demo.line("4/7 clock");
    assert_eq!(demo.end(Signal::TERM), Some(0));
    assert_empty(folder.path());
}
