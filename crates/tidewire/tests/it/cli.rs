//! The commands as a person runs them.

mod health;
mod local;
mod triggers;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::support::{Ended, House, Server, bare, run, run_with};

/// Rows of a table: each line's columns, which two spaces part.
fn rows(ended: &Ended) -> Vec<Vec<&str>> {
    let columns = |line| {
        let parts = str::split(line, "  ").map(str::trim);
        parts.filter(|part| !part.is_empty()).collect()
    };
    ended.stdout.lines().map(columns).collect()
}

fn lines(range: std::ops::Range<u32>) -> String {
    range
        .map(|n| {
            format!(
                "{{\"type\":\"imported\",\"payload\":{{\"n\":{n}}},\"dedupe_key\":\"line-{n}\"}}\n"
            )
        })
        .collect()
}

#[test]
fn events_are_appended_and_listed() {
    let server = House::new().start();
    let empty = server.ask(&["events", "list"]);
    assert_eq!(rows(&empty).len(), 1, "a header: {empty:#?}");
    server.ask(&[
        "events",
        "append",
        "user.signed-up",
        "--payload",
        r#"{"plan":"free"}"#,
        "--subject",
        "ann",
    ]);
    fs::write(server.house.path().join("payload.json"), "[1.50, 2]").expect("a file");
    server.ask(&[
        "events",
        "append",
        "from.file",
        "--payload",
        "@payload.json",
        "--stream",
        "files",
    ]);
    let mut piped = server.cli(&[
        "events",
        "append",
        "from.pipe",
        "--payload",
        "-",
        "-o",
        "json",
    ]);
    let piped = run_with(&mut piped, b" {\"piped\": true} ")
        .expect(0)
        .json();
    assert_eq!(
        (&piped["seq"], &piped["duplicated"]),
        (&json!(2), &json!(false))
    );

    let table = server.ask(&["events", "list"]);
    let table = rows(&table);
    assert_eq!(
        table[0],
        [
            "CREATED AT",
            "ID",
            "STREAM",
            "SEQ",
            "TYPE",
            "SUBJECT",
            "PAYLOAD"
        ]
    );
    assert_eq!(
        table[1][2..],
        ["default", "2", "from.pipe", "-", "{\"piped\":true}"]
    );
    assert_eq!(table[2][2..], ["files", "1", "from.file", "-", "[1.50,2]"]);
    assert_eq!(
        table[3][2..],
        [
            "default",
            "1",
            "user.signed-up",
            "ann",
            "{\"plan\":\"free\"}"
        ]
    );

    let page = server
        .ask(&["events", "list", "--limit", "2", "-o", "json"])
        .json();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(2));
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let page = server
        .ask(&["events", "list", "--cursor", cursor, "--output", "json"])
        .json();
    assert_eq!(
        (page["events"][0]["subject"].as_str(), &page["next_cursor"]),
        (Some("ann"), &Value::Null)
    );
    let all = server
        .ask(&[
            "events",
            "list",
            "--all",
            "--type",
            "from.file",
            "-o",
            "json",
        ])
        .json_lines();
    assert_eq!((all.len(), &all[0]["type"]), (1, &json!("from.file")));

    let late = server
        .cli(&["events", "append", "a", "--expected-seq", "9"])
        .output()
        .expect("it runs");
    assert_eq!(late.status.code(), Some(1));
    let bad = run(&mut server.cli(&["events", "append", "a", "--payload", "{oops"])).expect(2);
    assert!(bad.error().contains("{oops"), "{bad:#?}");
    let bad = run(&mut server.cli(&["events", "append", "no spaces please"])).expect(1);
    assert!(bad.error().contains("type"), "{bad:#?}");
}

#[test]
fn an_import_twice_stores_nothing_twice() {
    let server = House::new().start();
    fs::write(server.house.path().join("events.jsonl"), lines(0..2_500)).expect("a file");
    let import = |arguments: &[&str]| {
        let mut all = vec!["events", "import", "-o", "json"];
        all.extend(arguments);
        server.ask(&all).json()
    };
    let first = import(&["events.jsonl"]);
    assert_eq!(
        (
            &first["read"],
            &first["stored"],
            &first["duplicates"],
            &first["failed"]
        ),
        (&json!(2_500), &json!(2_500), &json!(0), &json!(0))
    );
    let again = import(&["events.jsonl", "--concurrency", "4", "--batch", "100"]);
    assert_eq!(
        (&again["stored"], &again["duplicates"]),
        (&json!(0), &json!(2_500))
    );
    // From a pipe, some of it known.
    let mut piped = server.cli(&["events", "import", "-", "-o", "json"]);
    let piped = run_with(&mut piped, lines(2_400..2_600).as_bytes())
        .expect(0)
        .json();
    assert_eq!(
        (&piped["stored"], &piped["duplicates"]),
        (&json!(100), &json!(100))
    );
    let all = server
        .ask(&["events", "list", "--all", "-o", "json"])
        .json_lines();
    let numbers: Vec<_> = all
        .iter()
        .rev()
        .map(|event| event["payload"]["n"].as_u64())
        .collect();
    let expected: Vec<_> = (0..2_600).map(Some).collect();
    assert_eq!(numbers, expected, "in the order of the file");
    let told = server.ask(&["events", "import", "events.jsonl"]);
    assert!(
        rows(&told).contains(&vec!["duplicates", "2500"]),
        "{told:#?}"
    );
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let server = House::new().start();
    let text = format!("{}\n{{\"type\": \"broken\"\n{}", lines(0..3), lines(3..5));
    let mut import = server.cli(&["events", "import", "-"]);
    let ended = run_with(&mut import, text.as_bytes()).expect(1);
    // Line 4 is empty and passed over.
    assert!(ended.stderr.contains("line 5: "), "{ended:#?}");
    assert!(
        rows(&ended).contains(&vec!["stored", "3"]),
        "all before it is stored: {ended:#?}"
    );
    // What only the server can find wrong is named too.
    let text = format!(
        "{}{{\"type\": \"no spaces please\"}}\n{}",
        lines(0..4),
        lines(4..6)
    );
    let mut import = server.cli(&["events", "import", "-", "--keep-going", "-o", "json"]);
    let ended = run_with(&mut import, text.as_bytes()).expect(1);
    assert!(ended.stderr.contains("line 5: /type"), "{ended:#?}");
    let tally = ended.json();
    assert_eq!(
        (&tally["stored"], &tally["duplicates"], &tally["failed"]),
        (&json!(3), &json!(3), &json!(1))
    );
    let missing = run(&mut server.cli(&["events", "import", "missing.jsonl"])).expect(1);
    assert!(missing.error().contains("missing.jsonl"), "{missing:#?}");
}

#[test]
fn a_tail_shows_history_and_what_comes_after() {
    let server = House::new().start();
    server.ask(&["events", "append", "before", "--subject", "ann"]);
    let mut tail = server
        .cli(&["events", "tail", "--after", "0", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = tail.stdout.take().expect("it is piped");
    let mut events = BufReader::new(stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"));
    let mut next = || events.next().expect("the tail goes on");
    assert_eq!(next()["subject"], "ann");
    server.ask(&["events", "append", "after", "--payload", "1.10"]);
    let event = next();
    assert_eq!(
        (&event["type"], &event["seq"]),
        (&json!("after"), &json!(2))
    );
    let pid = rustix::process::Pid::from_child(&tail);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(
        tail.wait().expect("it ends").code(),
        Some(0),
        "Ctrl-C is how following ends"
    );
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let server = House::new().start();
    let mut import = server.cli(&["events", "import", "-"]);
    run_with(&mut import, lines(0..1_000).as_bytes()).expect(0);
    for command in [
        "events list --all",
        "events list --all -o json",
        "events tail --after 0",
        "openapi",
    ] {
        let mut shell = bare("/bin/sh".as_ref());
        shell
            .arg("-c")
            // The status of the command, not of `head`, goes to standard error.
            .arg(format!("{{ \"$0\" {command}; echo \"status $?\" >&2; }} | head -1"))
            .arg(env!("CARGO_BIN_EXE_tidewire"))
            .env("TIDEWIRE_SERVER", server.url());
        let ended = run(&mut shell).expect(0);
        assert_eq!(ended.stdout.lines().count(), 1, "{command}: {ended:#?}");
        assert_eq!(ended.stderr.trim(), "status 0", "{command}");
    }
}

#[test]
fn jobs_are_enqueued_and_looked_after() {
    let server = House::new().with(&["--job-retry-base", "10ms"]).start();
    let done = server.ask(&[
        "jobs",
        "enqueue",
        "echo",
        "--payload",
        r#"{"n": 1.50}"#,
        "--wait",
    ]);
    assert_eq!(done.stdout.trim(), r#"{"n":1.50}"#);
    let failed = run(&mut server.cli(&[
        "jobs",
        "enqueue",
        "fail",
        "--payload",
        r#"{"times":9}"#,
        "--wait",
    ]))
    .expect(1);
    assert!(failed.stderr.contains("3 of 3 attempts"), "{failed:#?}");
    let listed = server
        .ask(&["jobs", "list", "--status", "failed", "-o", "json"])
        .json();
    let failed = listed["jobs"][0]["id"].as_str().expect("an id").to_owned();

    let shown = server.ask(&["jobs", "show", &failed]);
    let table = rows(&shown);
    assert!(table.contains(&vec!["status", "failed"]), "{shown:#?}");
    assert!(table.contains(&vec!["attempts", "3 of 3"]), "{shown:#?}");
    assert!(
        shown.stdout.contains("ATTEMPT") && shown.stdout.contains("OUTCOME"),
        "{shown:#?}"
    );
    let shown = server.ask(&["jobs", "show", &failed, "-o", "json"]).json();
    assert_eq!(shown["attempts_log"].as_array().map(Vec::len), Some(3));
    let retried = server.ask(&["jobs", "retry", &failed]);
    assert!(retried.stdout.contains("is pending"), "{retried:#?}");

    let later = server
        .ask(&[
            "jobs", "enqueue", "by.hand", "--delay", "2h", "--queue", "slow", "-o", "json",
        ])
        .json();
    assert_eq!(
        (&later["status"], &later["queue"]),
        (&json!("pending"), &json!("slow"))
    );
    let later = later["id"].as_str().expect("an id");
    let table = server.ask(&["jobs", "list", "--queue", "slow"]);
    let table = rows(&table);
    assert_eq!(table[0][..5], ["ID", "TYPE", "QUEUE", "STATUS", "ATTEMPTS"]);
    assert_eq!(table[1][..5], [later, "by.hand", "slow", "pending", "0/3"]);
    server.ask(&["jobs", "cancel", later]);
    let cancelled = server.ask(&["jobs", "show", later, "-o", "json"]).json();
    assert_eq!(cancelled["status"], "cancelled");
    let again = run(&mut server.cli(&["jobs", "cancel", later, "unknown"])).expect(1);
    assert!(again.stderr.contains("unknown"), "{again:#?}");

    let first = server
        .ask(&[
            "jobs",
            "enqueue",
            "by.hand",
            "--idempotency-key",
            "k",
            "-o",
            "json",
        ])
        .json();
    let second = server
        .ask(&[
            "jobs",
            "enqueue",
            "by.hand",
            "--idempotency-key",
            "k",
            "-o",
            "json",
        ])
        .json();
    assert_eq!(first["id"], second["id"]);
}

#[test]
fn failed_jobs_are_redriven_together() {
    let server = House::new().start();
    for _ in 0..3 {
        let mut enqueue = server.cli(&[
            "jobs",
            "enqueue",
            "fail",
            "--payload",
            r#"{"times":1}"#,
            "--max-attempts",
            "1",
            "--wait",
        ]);
        run(&mut enqueue).expect(1);
    }
    let retried = server.ask(&["jobs", "retry", "--all", "--type", "echo"]);
    assert!(retried.stdout.starts_with("0 jobs"), "{retried:#?}");
    let retried = server
        .ask(&["jobs", "retry", "--all", "--type", "fail", "-o", "json"])
        .json();
    assert_eq!(retried["retried"], 3);
}

#[test]
fn tenants_and_keys_are_made() {
    let server = House::new()
        .with_admin("the-operators-key-0123456789")
        .start();
    let made = server
        .ask(&["tenants", "create", "acme", "-o", "json"])
        .json();
    let (tenant, key) = (
        made["id"].as_str().expect("an id"),
        made["api_key"].as_str().expect("a key"),
    );
    let listed = server.ask(&["tenants", "list"]);
    assert!(
        rows(&listed).iter().any(|row| row[..2] == [tenant, "acme"]),
        "{listed:#?}"
    );
    let reader = server
        .ask(&[
            "tenants", "keys", "create", tenant, "--scopes", "read", "-o", "json",
        ])
        .json();
    let (reader_id, reader) = (
        reader["id"].as_str().expect("an id"),
        reader["api_key"].as_str().expect("a key"),
    );
    server.ask(&["--api-key", key, "events", "append", "mine"]);
    let seen = server
        .ask(&["--api-key", reader, "events", "list", "-o", "json"])
        .json();
    assert_eq!(seen["events"][0]["type"], "mine");
    let refused =
        run(&mut server.cli(&["--api-key", reader, "events", "append", "mine"])).expect(1);
    assert!(refused.error().contains("403"), "{refused:#?}");
    let seen = server
        .ask(&["--tenant", tenant, "events", "list", "-o", "json"])
        .json();
    assert_eq!(seen["events"][0]["type"], "mine");
    let listed = server.ask(&["tenants", "keys", "list", tenant]);
    assert!(
        listed.stdout.contains(reader_id) && !listed.stdout.contains(reader),
        "{listed:#?}"
    );
    server.ask(&["tenants", "keys", "revoke", tenant, reader_id]);
    let refused = run(&mut server.cli(&["--api-key", reader, "events", "list"])).expect(1);
    assert!(refused.error().contains("--api-key"), "{refused:#?}");
    let refused = run(server
        .cli(&["events", "list"])
        .env_remove("TIDEWIRE_API_KEY"))
    .expect(1);
    assert!(refused.error().contains("TIDEWIRE_API_KEY"), "{refused:#?}");
}

#[test]
fn days_are_counted() {
    let server = House::new().start();
    for _ in 0..3 {
        server.ask(&["events", "append", "a"]);
    }
    server.ask(&["jobs", "enqueue", "echo", "--wait"]);
    let summary = server.ask(&["analytics", "summary"]);
    let table = rows(&summary);
    assert!(
        table.contains(&vec!["events received", "3"]),
        "{summary:#?}"
    );
    assert!(table.contains(&vec!["jobs done", "1"]), "{summary:#?}");
    let series = server.ask(&[
        "analytics",
        "timeseries",
        "--from",
        "2026-01-30",
        "--to",
        "2026-02-02",
    ]);
    let days: Vec<_> = rows(&series)
        .into_iter()
        .map(|row| row[0].to_owned())
        .collect();
    assert_eq!(
        days,
        [
            "DAY",
            "2026-01-30",
            "2026-01-31",
            "2026-02-01",
            "2026-02-02"
        ]
    );
    let bad = run(&mut server.cli(&["analytics", "summary", "--from", "2026-02-30"])).expect(2);
    assert!(bad.stderr.contains("2026-02-30"), "{bad:#?}");
}

/// Somebody else's text must not speak to the terminal.
#[test]
fn control_characters_are_shown_and_not_obeyed() {
    let server = House::new().start();
    append_raw(
        &server,
        "{\"type\":\"a\",\"subject\":\"\\u001b[2Jgone\",\"payload\":\"\\u009b31mred\"}\n",
    );
    for arguments in [
        ["events", "list", "-o", "table"],
        ["events", "list", "-o", "json"],
    ] {
        let shown = server.ask(&arguments);
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!shown.stdout.contains(obeyed), "{shown:?}");
        assert!(shown.stdout.contains("gone"), "{shown:?}");
    }
}

fn append_raw(server: &Server, line: &str) {
    let mut import = server.cli(&["events", "import", "-"]);
    run_with(&mut import, line.as_bytes()).expect(0);
}

/// `curl … | tidewire events import -` with a slow writer: what has come is not held back for ever,
/// and the end of the input is the end of the import.
#[test]
fn an_import_takes_input_that_comes_slowly() {
    let server = House::new().start();
    let mut import = server
        .cli(&["events", "import", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = import.stdin.take().expect("it is piped");
    for n in 0..20 {
        stdin
            .write_all(lines(n..n + 1).as_bytes())
            .expect("it reads");
        stdin.flush().expect("it reads");
        std::thread::yield_now();
    }
    drop(stdin);
    let output = import.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let tally: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(tally["stored"], 20);
}
