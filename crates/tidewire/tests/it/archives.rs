//! Archives of the built binary: killed in the middle of everything, and asked for on the command line.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tidewire_testkit::{Engine, eventually, every_engine};

use crate::support::{Ended, House, Server, full, run, tidewire};

const STREAMS: usize = 40;
const EVENTS: usize = 60;

/// What everybody can see of the log.
async fn log(server: &Server) -> Vec<Value> {
    server.list("/v1/events", "events").await
}

async fn archived(server: &Server) -> usize {
    server.list("/v1/archives", "archives").await.len()
}

async fn write(server: &Server, round: usize) {
    for stream in 0..STREAMS {
        let event = |n| {
            json!({"stream": format!("s{stream}"), "type": "t", "subject": format!("u{}", n % 3),
                   "payload": {"round": round, "n": n}})
        };
        let events: Vec<_> = (0..EVENTS).map(event).collect();
        server.post("/v1/events", &json!(events)).await.expect(201);
    }
    let said: Vec<_> = (0..EVENTS)
        .map(|n| json!({"type": "custom", "payload": n}))
        .collect();
    server
        .post("/v1/threads/t/events", &json!(said))
        .await
        .expect(201);
}

#[every_engine(multi_thread)]
async fn an_archiver_may_be_killed_at_any_instant(engine: Engine) {
    let house = House::on(engine).await.with(&[
        "--lease",
        "1s",
        "--poll-interval",
        "50ms",
        "--job-retry-base",
        "10ms",
    ]);
    let rounds = if full() { 12 } else { 4 };
    let mut archives = 0;
    for round in 0..rounds {
        let server = house.start();
        write(&server, round).await;
        let before = log(&server).await;
        let body = json!({"all": true, "trim": true});
        let job = server.post("/v1/archives", &body).await.expect(202).json();
        // Another instant each time, of some forty.
        let enough = archives + (round * 7919 + 3) % STREAMS;
        eventually("it is under way", || async {
            (archived(&server).await >= enough).then_some(())
        })
        .await;
        server.kill();

        let server = house.start();
        let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
        assert_eq!(log(&server).await, before, "round {round}");
        eventually("another worker goes on", || async {
            let job = server.get(&path).await.expect(200).json();
            (job["status"] == "done").then_some(())
        })
        .await;
        assert_eq!(log(&server).await, before, "round {round}, at the end");
        archives += STREAMS + 1;
        assert_eq!(
            archived(&server).await,
            archives,
            "each event is sealed once"
        );
        server.stop().await;
    }
    let server = house.start();
    let verified = asked(&server, &["archive", "verify", "-o", "json"], 0).json();
    assert_eq!(verified["problems_found"], 0, "{verified}");
    let events = rounds * (STREAMS + 1) * EVENTS;
    assert_eq!(verified["events"], events, "{verified}");
    server.stop().await;
}

/// A trigger looks at every event from its saving on, wherever that is kept when it gets to it.
#[every_engine(multi_thread)]
async fn what_is_trimmed_before_it_was_looked_at_sets_off_its_triggers(engine: Engine) {
    let house = House::on(engine).await.with(&["--poll-interval", "50ms"]);
    // Nobody matches yet.
    let server = house.with(&["--roles", "api,worker,archiver"]).start();
    let trigger = json!({"name": "large", "type": "event", "config": {
        "event_type": "order", "filter": {"payload": {"n": {"$gte": 5}}}, "job": {"type": "echo"}}});
    server.post("/v1/triggers", &trigger).await.expect(201);
    let orders: Vec<_> = (0..10)
        .map(|n| json!({"stream": "shop", "type": "order", "payload": {"n": n}}))
        .collect();
    let orders = json!(orders);
    server.post("/v1/events", &orders).await.expect(201);
    let written = log(&server).await;
    asked(&server, &["archive", "--stream", "shop", "--trim"], 0);
    let path = "/v1/executions";
    assert_eq!(server.list(path, "events").await.len(), 0);
    server.stop().await;

    let server = house.start();
    let fired = eventually("the events are matched", || async {
        let fired = server.list(path, "events").await;
        (fired.len() == 5).then_some(fired)
    })
    .await;
    let mut of: Vec<_> = fired
        .iter()
        .map(|it| it["payload"]["payload"]["n"].clone())
        .collect();
    of.sort_by_key(Value::as_u64);
    assert_eq!(json!(of), json!([5, 6, 7, 8, 9]), "{fired:?}");
    assert_eq!(log(&server).await, written);
    server.stop().await;
}

/// Runs a client command that is to end so.
#[track_caller]
fn asked(server: &Server, arguments: &[&str], status: i32) -> Ended {
    run(&mut server.cli(arguments)).expect(status)
}

fn gunzip(path: &std::path::Path) -> Vec<Value> {
    let output = Command::new("gzip").arg("-dc").arg(path).output();
    let output = output.expect("gzip runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is text");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_made_listed_read_checked_and_undone_by_command() {
    let house = House::new();
    let server = house.start();
    let health = server.get("/health").await.expect(200).json();
    assert_eq!(health["checks"]["objects"], "ok", "{health}");
    write(&server, 0).await;
    let before = log(&server).await;

    let said = asked(&server, &["archive", "--thread", "t", "--to", "20"], 0);
    assert!(
        said.stdout.contains("20 events of 1 streams are in 1 new"),
        "{said:#?}"
    );
    let again = asked(&server, &["archive", "--thread", "t", "--to", "20"], 0);
    assert!(again.stdout.contains("nothing new"), "{again:#?}");
    let hole = asked(&server, &["archive", "--thread", "t", "--from", "30"], 1);
    assert!(hole.error().contains("begin at 21"), "{hole:#?}");
    asked(&server, &["archive"], 2);
    asked(&server, &["archive", "--all", "--thread", "t"], 2);
    asked(&server, &["archive", "--stream", "nothing"], 1);
    let done = asked(&server, &["archive", "--all", "--trim", "-o", "json"], 0).json();
    assert_eq!(done["archives"], STREAMS + 1, "{done}");
    assert_eq!(done["trimmed"], (STREAMS + 1) * (EVENTS - 1), "{done}");
    assert_eq!(log(&server).await, before);

    let listed = asked(
        &server,
        &["archive", "list", "--thread", "t", "-o", "json"],
        0,
    )
    .json();
    let archive = &listed["archives"][1];
    assert_eq!(
        (&archive["from_seq"], &archive["to_seq"]),
        (&json!(1), &json!(20))
    );
    let id = archive["archive_id"].as_str().expect("an id");
    let file = house.path().join("t.jsonl.gz");
    let name = file.to_str().expect("a name");
    asked(&server, &["archive", "get", id, "--out", name], 0);
    let lines = gunzip(&file);
    assert_eq!((lines.len(), &lines[7]["payload"]), (20, &json!(7)));
    let key = archive["object_key"].as_str().expect("a key");
    let object = house.path().join("data/objects").join(key);
    assert_eq!(
        fs::read(&object).expect("an object"),
        fs::read(&file).expect("a file")
    );

    let verified = asked(&server, &["archive", "verify"], 0);
    assert!(verified.stdout.contains("0 problems"), "{verified:#?}");
    fs::remove_file(&object).expect("an object");
    let verified = asked(&server, &["archive", "verify", "--repair"], 1);
    assert!(
        verified.stdout.contains("cannot be written anew"),
        "{verified:#?}"
    );
    fs::copy(&file, &object).expect("an object");

    let restored = asked(
        &server,
        &["archive", "restore", "--thread", "t", "--from", "5"],
        0,
    );
    assert!(restored.stdout.contains("55 events"), "{restored:#?}");
    assert_eq!(log(&server).await, before);
    asked(&server, &["archive", "restore"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_the_command_leaves_the_job_to_go_on() {
    // Nobody works, so the job waits.
    let server = House::new().with(&["--roles", "api"]).start();
    write(&server, 0).await;
    let mut command = server.cli(&["archive", "--all"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says something");
    assert!(line.contains("waiting for its end"), "{line}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    line.clear();
    said.read_line(&mut line).expect("it says something");
    assert!(line.contains("goes on"), "{line}");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let jobs = server.list("/v1/jobs", "jobs").await;
    assert_eq!(jobs[0]["status"], "pending", "{jobs:?}");
    server.stop().await;
}

/// The role does by itself what the command asks for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_enough_goes_by_itself() {
    let flags = [
        "--archive-older-than",
        "1s",
        "--archive-trim",
        "true",
        "--archive-every",
        "10s",
    ];
    let house = House::new();
    let server = house.start();
    let events: Vec<_> = (0..EVENTS)
        .map(|n| json!({"type": "t", "payload": n}))
        .collect();
    server.post("/v1/events", &json!(events)).await.expect(201);
    let before = log(&server).await;
    server.stop().await;
    // Few, and old enough for too short a time to be worth an object: they wait.
    let server = house.with(&flags).start();
    eventually("the archiver has looked", || async {
        let jobs = server.list("/v1/jobs?type=archive.run", "jobs").await;
        let done = jobs.first().is_some_and(|job| job["status"] == "done");
        done.then_some(())
    })
    .await;
    assert_eq!(archived(&server).await, 0);
    assert_eq!(log(&server).await, before);
    server.stop().await;
}

#[test]
fn settings_of_archives_are_checked() {
    let house = House::new();
    let refused = house.with(&["--archive-trim", "true"]).refused().expect(64);
    assert!(
        refused.error().contains("--archive-older-than"),
        "{refused:#?}"
    );
    let refused = house
        .with(&["--objects", "s3://b/../c"])
        .refused()
        .expect(64);
    assert!(
        refused.error().contains("--objects `s3://b/../c`"),
        "{refused:#?}"
    );
    let mut check = tidewire();
    check.args(["config", "show", "--s3-secret-access-key", "hunter2"]);
    let shown = run(check.current_dir(house.path())).expect(0);
    assert!(!shown.stdout.contains("hunter2"), "{shown:#?}");
}
