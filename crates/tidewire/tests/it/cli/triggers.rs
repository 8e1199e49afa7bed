//! Triggers, executions and webhooks, as a person has them.

use std::fs;

use serde_json::json;

use super::rows;
use crate::support::{House, run, run_with};

#[test]
fn a_trigger_is_made_by_flags_and_looked_after() {
    let server = House::new().start();
    let made = server.ask(&[
        "triggers",
        "create",
        "--name",
        "report",
        "--cron",
        "*/5 * * * *",
        "--timezone",
        "Europe/Berlin",
        "--endpoint",
        "http://127.0.0.1:9/in",
        "--payload",
        r#"{"n": 1.10}"#,
        "--secret",
        "hunter2 hunter2 hunter2",
    ]);
    assert!(
        made.stdout.contains("is active: report, cron_scheduled"),
        "{made:#?}"
    );
    assert_eq!(
        made.stdout.lines().count(),
        7,
        "and its next runs: {made:#?}"
    );
    assert!(!made.stdout.contains("hunter2"), "{made:#?}");
    let id = made.stdout.split_whitespace().next().expect("an id");

    let table = server.ask(&["triggers", "list"]);
    let table = rows(&table);
    assert_eq!(table[0], ["ID", "NAME", "TYPE", "STATUS", "NEXT RUN"]);
    assert_eq!(table[1][..4], [id, "report", "cron_scheduled", "active"]);
    let shown = server.ask(&["triggers", "show", id, "-o", "json"]);
    assert!(
        shown.stdout.contains(r#""payload":{"n":1.10}"#),
        "{shown:#?}"
    );
    let coming = server
        .ask(&["triggers", "schedules", id, "-o", "json"])
        .json();
    assert_eq!(
        coming["schedules"][0]["fire_at"],
        shown.json()["next_scheduled_run"]
    );

    // One field is changed, and the secret stays what it was though only its mask came along.
    let updated = server.ask(&[
        "triggers",
        "update",
        id,
        "--cron",
        "0 9 * * *",
        "--name",
        "daily",
    ]);
    assert!(updated.stdout.contains("is active: daily"), "{updated:#?}");
    let shown = server.ask(&["triggers", "show", id, "-o", "json"]).json();
    assert_eq!(
        (
            &shown["config"]["cron"],
            &shown["config"]["timezone"],
            &shown["config"]["secret"]
        ),
        (
            &json!("0 9 * * *"),
            &json!("Europe/Berlin"),
            &json!("…ter2")
        )
    );
    server.ask(&["triggers", "update", id, "--status", "inactive"]);
    let inactive = server.ask(&[
        "triggers", "list", "--status", "inactive", "--type", "cron", "--all", "-o", "json",
    ]);
    assert_eq!(inactive.json_lines().len(), 1);
    let nothing = run(&mut server.cli(&["triggers", "update", id])).expect(2);
    assert!(nothing.error().contains("--status"), "{nothing:#?}");
    let other = run(&mut server.cli(&["triggers", "update", id, "--type", "event"])).expect(2);
    assert!(other.error().contains("cron_scheduled"), "{other:#?}");

    let gone = server.ask(&["triggers", "delete", id]);
    assert!(gone.stdout.contains("is deleted"), "{gone:#?}");
    run(&mut server.cli(&["triggers", "delete", id])).expect(1);
    let bad = run(&mut server.cli(&["triggers", "create", "--name", "x"])).expect(1);
    assert!(bad.error().contains("/config/endpoint"), "{bad:#?}");
}

#[test]
fn a_trigger_is_made_of_json_and_called() {
    let server = House::new().start();
    let config = r#"{"job": {"type": "echo"}, "schema": {"required": ["n"]}}"#;
    fs::write(server.house.path().join("trigger.json"), config).expect("a file");
    let of_file = [
        "triggers",
        "create",
        "--name",
        "hook",
        "--config",
        "trigger.json",
        "-o",
        "json",
    ];
    let made = server.ask(&of_file).json();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        made["webhook_url"],
        format!("{}/v1/webhook/{id}", server.url())
    );
    let mut piped = server.cli(&[
        "triggers", "create", "--name", "late", "--config", "-", "--delay", "1h", "-o", "json",
    ]);
    let piped = run_with(&mut piped, br#"{"job": {"type": "echo"}}"#)
        .expect(0)
        .json();
    assert_eq!(piped["type"], "time_scheduled");

    let sent = server
        .ask(&[
            "webhooks",
            "send",
            id,
            r#"{"n": 1.50}"#,
            "--wait",
            "-o",
            "json",
        ])
        .json();
    assert_eq!(
        (&sent["execution_status"], &sent["payload"]),
        (&json!("success"), &json!({"n": 1.5}))
    );
    let mut piped = server.cli(&[
        "webhooks",
        "send",
        id,
        "-",
        "--idempotency-key",
        "k",
        "-o",
        "json",
    ]);
    let first = run_with(&mut piped, b"{\"n\": 2}").expect(0).json();
    let again = server.ask(&[
        "webhooks",
        "send",
        id,
        "{\"n\": 2}",
        "--idempotency-key",
        "k",
        "-o",
        "json",
    ]);
    assert_eq!(first, again.json());
    let refused = run(&mut server.cli(&["webhooks", "send", id, "{}"])).expect(1);
    assert!(refused.error().contains("status 400"), "{refused:#?}");
    run(&mut server.cli(&["webhooks", "send", id, "{oops"])).expect(2);

    let tested = server.ask(&["triggers", "test", id, "--payload", "{\"n\": 3}", "--wait"]);
    assert!(
        rows(&tested).contains(&vec!["status", "success"]),
        "{tested:#?}"
    );
    let tested = server
        .ask(&[
            "triggers",
            "test",
            "--job",
            "echo",
            "--payload",
            "[1]",
            "--wait",
            "-o",
            "json",
        ])
        .json();
    assert_eq!(
        (&tested["trigger_id"], &tested["payload"]),
        (&json!(null), &json!([1]))
    );
    let failed = run(&mut server.cli(&[
        "triggers",
        "test",
        "--endpoint",
        "http://127.0.0.1:9/",
        "--max-attempts",
        "1",
        "--wait",
    ]))
    .expect(1);
    assert!(
        failed
            .stderr
            .contains("ended as failure after 1 attempts: cannot connect"),
        "{failed:#?}"
    );
    run(&mut server.cli(&["triggers", "test", id, "--endpoint", "http://a"])).expect(2);

    let all = server
        .ask(&["executions", "list", "--all", "-o", "json"])
        .json_lines();
    assert_eq!(all.len(), 5);
    let page = server.ask(&["executions", "list", "--limit", "2"]);
    assert!(page.stderr.contains("--page 2"), "{page:#?}");
    let tests = server
        .ask(&[
            "executions",
            "list",
            "--tests",
            "--status",
            "failure",
            "-o",
            "json",
        ])
        .json();
    assert_eq!(tests["pagination"]["total_records"], 1);
    let failed = tests["events"][0]["id"].as_str().expect("an id");
    let shown = server.ask(&["executions", "show", failed]);
    assert!(
        shown.stdout.contains("cannot connect to 127.0.0.1:9"),
        "{shown:#?}"
    );
    server.ask(&["executions", "retry", failed]);
    run(&mut server.cli(&["executions", "retry", sent["id"].as_str().expect("an id")])).expect(1);
    let summary = server
        .ask(&["executions", "summary", "--hours", "1", "-o", "json"])
        .json();
    assert_eq!(
        (&summary["total"], &summary["test_runs"]),
        (&json!(5), &json!(3))
    );
    server.ask(&["executions", "endpoints"]);
}

#[test]
fn a_pattern_is_looked_at_before_it_is_saved() {
    let server = House::new().start();
    let preview = server.ask(&[
        "triggers",
        "preview",
        "--cron",
        "30 2 * * *",
        "--timezone",
        "Europe/Berlin",
        "--from",
        "2026-03-28T00:00:00Z",
        "--count",
        "2",
    ]);
    assert_eq!(
        preview.stdout,
        "2026-03-28T01:30:00.000000Z\n2026-03-29T01:00:00.000000Z\n"
    );
    let bad = run(&mut server.cli(&["triggers", "preview", "--cron", "61 * * * *"])).expect(1);
    assert!(bad.error().contains("/config/cron"), "{bad:#?}");
    let none = server.ask(&["triggers", "list", "-o", "json"]).json();
    assert_eq!(none["triggers"], json!([]));
}
