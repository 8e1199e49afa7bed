//! Turns from the command line to an agent in another process and back.

mod sticky;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tidewire_testkit::Answer;

use crate::support::{Ended, House, PATIENCE, Server, run, run_with, tidewire};

/// A server, for tests that wait for processes and not for answers.
struct Gateway {
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Gateway {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        let server = House::new().start();
        Gateway { server, runtime }
    }

    fn url(&self) -> String {
        self.server.url()
    }

    fn cli(&self, arguments: &[&str]) -> Command {
        self.server.cli(arguments)
    }

    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Ended {
        self.server.ask(arguments)
    }

    fn get(&self, path: &str) -> Answer {
        self.runtime.block_on(self.server.get(path))
    }

    /// What was said in a thread; nothing in one that is not there.
    fn events(&self, thread: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/threads/{thread}/events"));
        let events = if answer.status == 200 {
            answer.json()["events"].as_array().cloned()
        } else {
            None
        };
        events.unwrap_or_default()
    }

    fn append(&self, thread: &str, turn: &str, kind: &str, payload: Value) {
        let event = json!({"type": kind, "turn_id": turn, "payload": payload});
        let path = format!("/v1/threads/{thread}/events");
        let answer = self.runtime.block_on(self.server.post(&path, &event));
        answer.expect(201);
    }

    /// How many live streams of threads are open.
    fn followers(&self) -> u64 {
        let metrics = self.get("/metrics").expect(200).text;
        let name = "tidewire_thread_subscribers ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    fn types(&self, thread: &str) -> Vec<String> {
        let name = |event: &Value| event["type"].as_str().expect("a type").to_owned();
        self.events(thread).iter().map(name).collect()
    }

    #[track_caller]
    fn until(&self, what: &str, is: impl Fn(&Gateway) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(Instant::now() < deadline, "never: {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A command that runs on. Killed when it is dropped.
struct Running(Child);

impl Running {
    /// A reference agent that is up.
    #[track_caller]
    fn agent(gateway: &Gateway, flags: &[&str]) -> Self {
        let mut command = tidewire();
        command
            .current_dir(std::env::temp_dir())
            .arg("reference-agent")
            .args(flags)
            .env("EVENT_GATEWAY_URL", gateway.url())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut agent = Running(command.spawn().expect("it starts"));
        let mut said = String::new();
        let stdout = agent.0.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut said)
            .expect("it says that it is up");
        let expected = format!(" takes turns from {}\n", gateway.url());
        assert!(said.ends_with(&expected), "{said}");
        agent
    }

    #[track_caller]
    fn ends_well(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child can be waited for") {
                assert_eq!(status.code(), Some(0));
                return;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const QUESTION: &str = "what is 6 * 7?";
const ANSWER: &str = "You said “what is 6 * 7?”, which is 5 words. 6 * 7 = 42.\n";

#[test]
fn a_turn_is_answered_as_it_is_followed() {
    let gateway = Gateway::start();
    let _agent = Running::agent(&gateway, &["--delay", "1ms"]);
    let told = gateway.ask(&["turns", "start", QUESTION, "--follow"]);
    assert_eq!(told.stdout, ANSWER);
    let beside: Vec<_> = told.stderr.lines().collect();
    assert!(beside[0].starts_with("thread "), "{told:#?}");
    assert_eq!(
        beside[1..],
        [
            "calling calculator",
            r#"calculator({"expression":"6 * 7"}) 42"#
        ]
    );

    // The thread goes on, from standard input, with the events themselves.
    let thread = beside[0].trim_start_matches("thread ");
    let flags = ["turns", "start", "-", "--thread", thread, "-f", "--json"];
    let told = run_with(&mut gateway.cli(&flags), b"good\nmorning\n").expect(0);
    assert_eq!(told.stderr, "");
    let events = told.json_lines();
    assert_eq!(events[0]["payload"]["input"], "good\nmorning");
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str()).collect();
    let (first, rest) = types.split_at(4);
    assert_eq!(
        first,
        [
            Some("turn.started"),
            Some("tool.call.started"),
            Some("tool.call.args.delta"),
            Some("tool.call.completed")
        ]
    );
    let (deltas, last) = rest.split_at(rest.len() - 2);
    assert!(deltas.iter().all(|name| *name == Some("message.delta")));
    assert_eq!(last, [Some("message.completed"), Some("turn.completed")]);

    // What was said is read again, by number.
    let all = gateway.ask(&["threads", "events", thread, "--all", "-o", "json"]);
    let all = all.json_lines();
    let seqs: Vec<_> = all.iter().map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=all.len() as u64).map(Some).collect::<Vec<_>>());
    let turns = gateway
        .ask(&["turns", "list", "--thread", thread, "-o", "json"])
        .json();
    assert_eq!(turns["turns"].as_array().map(Vec::len), Some(2));
    assert_eq!(turns["turns"][0]["status"], "completed");
}

#[test]
fn a_turn_that_does_not_end_well_is_a_failure() {
    let gateway = Gateway::start();
    for (end, reason) in [
        ("turn.failed", "the turn u failed: no model"),
        ("turn.cancelled", "the turn u was cancelled"),
    ] {
        let flags = ["turns", "start", "hi", "--thread", end, "--id", "u", "-f"];
        let mut command = gateway.cli(&flags);
        let told = thread::scope(|scope| {
            let follower = scope.spawn(|| run(&mut command));
            let started = |gateway: &Gateway| !gateway.events(end).is_empty();
            gateway.until("the turn is started", started);
            let delta = json!({"message_id": "m", "delta": "well, \u{1b}[2J"});
            gateway.append(end, "u", "message.delta", delta);
            gateway.append(end, "u", end, json!({"error": "no model"}));
            follower.join().expect("it ends")
        })
        .expect(1);
        assert_eq!(told.stdout, "well, \\u{1b}[2J\n");
        assert_eq!(told.error(), format!("error: {reason}"));
    }
    let refused = run(&mut gateway.cli(&["turns", "list", "--thread", "none"])).expect(1);
    assert!(refused.error().contains("404"), "{refused:#?}");
}

#[test]
fn an_agent_that_is_told_to_stop_hands_its_turn_over() {
    let gateway = Gateway::start();
    let slow = Running::agent(&gateway, &["--agent", "poet", "--delay", "1h"]);
    let start = [
        "turns", "start", QUESTION, "--thread", "t", "--agent", "poet",
    ];
    let told = gateway.ask(&start);
    assert!(
        told.stdout.ends_with(" is accepted: thread t\n"),
        "{told:#?}"
    );
    let said = |gateway: &Gateway| gateway.types("t").contains(&"message.delta".to_owned());
    gateway.until("the first word", said);
    slow.ends_well(Signal::TERM);
    // It was given back, and no attempt of it was lost.
    let jobs = gateway.get("/v1/jobs?type=agent.turn").expect(200).json();
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["status"], &job["attempts"]),
        (&json!("pending"), &json!(0))
    );

    let _other = Running::agent(&gateway, &["--agent", "poet", "--delay", "0ms"]);
    let done = |gateway: &Gateway| gateway.types("t").contains(&"turn.completed".to_owned());
    gateway.until("another takes it over", done);
    let last = gateway.events("t").pop().expect("an event");
    assert_eq!(last["payload"]["output"], ANSWER.trim_end());
}

#[test]
fn a_cancelled_turn_leaves_its_place_to_the_next() {
    let gateway = Gateway::start();
    let agent = Running::agent(&gateway, &["--delay", "1h", "--concurrency", "1"]);
    for thread in ["a", "b"] {
        gateway.ask(&["turns", "start", "hi", "--thread", thread, "--id", thread]);
        let said = |gateway: &Gateway| gateway.types(thread).contains(&"message.delta".to_owned());
        gateway.until("the first word", said);
        let told = gateway.ask(&["turns", "cancel", thread, "--thread", thread]);
        assert_eq!(told.stdout, format!("{thread} is cancelled\n"));
    }
    for thread in ["a", "b"] {
        let types = gateway.types(thread);
        assert_eq!(types.last().map(String::as_str), Some("turn.cancelled"));
    }
    agent.ends_well(Signal::INT);
}

#[test]
fn a_thread_is_followed_from_where_it_is_asked() {
    let gateway = Gateway::start();
    gateway.ask(&["turns", "start", "hi", "--thread", "t", "--id", "u"]);
    let mut tail = gateway.cli(&["threads", "tail", "t", "-o", "json"]);
    let mut tail = Running(tail.stdout(Stdio::piped()).spawn().expect("it starts"));
    gateway.until("it follows", |gateway| gateway.followers() == 1);
    gateway.append("t", "u", "turn.completed", json!({"output": null}));
    let mut line = String::new();
    let mut stdout = BufReader::new(tail.0.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).expect("an event");
    let event: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&event["seq"], &event["type"]),
        (&json!(2), &json!("turn.completed"))
    );
    tail.ends_well(Signal::INT);

    // A turn's own tail ends with the turn.
    let told = gateway.ask(&["threads", "tail", "t", "--turn", "u"]);
    let lines: Vec<_> = told.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{told:#?}");
    assert!(
        lines[1].contains("  t 2  turn.completed  u  {\"output\":null}"),
        "{told:#?}"
    );
    let shown = gateway.ask(&["threads", "show", "t", "-o", "json"]).json();
    assert_eq!(
        (&shown["thread_id"], &shown["last_seq"]),
        (&json!("t"), &json!(2))
    );
    let listed = gateway.ask(&["threads", "list"]);
    assert!(
        listed
            .stdout
            .lines()
            .nth(1)
            .is_some_and(|line| line.starts_with("t  ")),
        "{listed:#?}"
    );
}
