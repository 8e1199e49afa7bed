//! Commands that need no server, and what all commands say of wrong usage.

use std::{fs, net::TcpListener, process::Command};

use serde_json::json;

use super::rows;
use crate::support::{House, run, tidewire};

fn local(house: &House, arguments: &[&str]) -> Command {
    let mut command = tidewire();
    command.current_dir(house.path()).args(arguments);
    command
}

#[test]
fn settings_are_shown_checked_and_documented() {
    let house = House::new();
    let secret = "an-admin-key-that-nobody-sees";
    let mut show = local(&house, &["config", "show", "--lease", "30s"]);
    let shown = run(show.env("TIDEWIRE_ADMIN_KEY", secret).env("PORT", "9123")).expect(0);
    assert!(!shown.stdout.contains(secret), "{shown:#?}");
    let table = rows(&shown);
    assert!(table.contains(&vec!["lease", "30s", "flag"]), "{shown:#?}");
    assert!(
        table.contains(&vec!["addr", "9123", "environment: PORT"]),
        "{shown:#?}"
    );
    assert!(
        table.contains(&vec!["drain", "30s", "default"]),
        "{shown:#?}"
    );
    let shown = run(&mut local(&house, &["config", "show", "-o", "json"]))
        .expect(0)
        .json();
    assert_eq!(shown["lease"], json!({"value": "60s", "origin": "default"}));

    run(&mut local(&house, &["config", "check"])).expect(0);
    let bad = run(&mut local(
        &house,
        &["config", "check", "--lease", "forever"],
    ))
    .expect(64);
    assert!(
        bad.error().contains("--lease") && bad.error().contains("forever"),
        "{bad:#?}"
    );

    // What it documents can be used as it stands.
    let env = run(&mut local(&house, &["config", "env"])).expect(0);
    let set: String = env
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("#TIDEWIRE_"))
        .map(|line| format!("TIDEWIRE_{line}\n"))
        .collect();
    assert!(set.contains("TIDEWIRE_LEASE=60s\n"), "{set}");
    fs::write(
        house.path().join(".env"),
        set.replace("LEASE=60s", "LEASE=45s"),
    )
    .expect("a file");
    run(&mut local(&house, &["config", "check"])).expect(0);
    let shown = run(&mut local(&house, &["config", "show", "-o", "json"]))
        .expect(0)
        .json();
    assert_eq!(shown["lease"]["value"], "45s");
}

#[test]
fn the_store_is_migrated_by_itself_or_by_hand() {
    let house = House::new();
    let first = run(&mut local(
        &house,
        &["migrate", "--data-dir", "data", "-o", "json"],
    ))
    .expect(0)
    .json();
    let applied = first["applied"].as_array().expect("a list").len();
    assert!(applied > 0, "{first}");
    let again = run(&mut local(
        &house,
        &["migrate", "--data-dir", "data", "-o", "json"],
    ))
    .expect(0)
    .json();
    assert_eq!(
        (&again["applied"], &again["already"]),
        (&json!([]), &json!(applied))
    );
    let server = house.start();
    server.ask(&["events", "append", "a"]);
    let busy = run(&mut local(&house, &["migrate", "--data-dir", "data"])).expect(1);
    let holder = format!("process {}", server.pid().as_raw_nonzero());
    assert!(busy.error().contains(&holder), "{busy:#?}");
}

#[test]
fn what_is_pending_is_told_and_nothing_is_changed() {
    let house = House::new();
    let check = || {
        let check = ["migrate", "--check", "--data-dir", "data", "-o", "json"];
        run(&mut local(&house, &check))
    };
    let pending = check().expect(1).json();
    assert_eq!(pending["pending"][0], "0001_access", "{pending}");
    assert!(!house.path().join("data").exists(), "nothing was made");
    run(&mut local(&house, &["migrate", "--data-dir", "data"])).expect(0);
    assert_eq!(check().expect(0).json()["pending"], json!([]));
    // A server that has the file does not mind.
    let server = house.start();
    check().expect(0);
    server.ask(&["events", "append", "a"]);
}

#[test]
fn a_stores_password_is_never_shown() {
    let house = House::new();
    for (name, value) in [
        (
            "DATABASE_URL",
            "me:hunter2@tcp(127.0.0.1:9)/tide?parseTime=true",
        ),
        (
            "DATABASE_URL",
            "host=127.0.0.1 port=9 password='hunter2' dbname=tide",
        ),
        (
            "TIDEWIRE_DATABASE_URL",
            "postgres://me:hunter2@127.0.0.1:9/tide",
        ),
        (
            "TIDEWIRE_DATABASE_URL",
            "postgres://me:hunter2@127.0.0.1:port/tide",
        ),
        (
            "TIDEWIRE_DATABASE_URL",
            "mariadb:/me:hunter2@127.0.0.1:9/tide",
        ),
    ] {
        for (arguments, statuses) in [
            (["config", "show"].as_slice(), [0, 0]),
            (&["config", "check"], [0, 64]),
            (&["migrate"], [1, 64]),
            (&["serve", "--addr", "127.0.0.1:0"], [1, 64]),
        ] {
            let mut command = local(&house, arguments);
            let ended = run(command.env(name, value));
            assert!(
                ended
                    .status
                    .is_some_and(|status| statuses.contains(&status)),
                "{ended:#?}"
            );
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    let mut command = local(&house, &["config", "show", "-o", "json"]);
    command.env("POSTGRES_SERVER", "db");
    let shown = run(command.env("POSTGRES_PASSWORD", "hunter2"))
        .expect(0)
        .json();
    let url = &shown["database-url"];
    assert_eq!(url["value"], "postgres://eventide:***@db:5433/eventide");
    assert_eq!(url["origin"], "environment: POSTGRES_SERVER");
}

#[tokio::test]
async fn the_description_is_the_servers() {
    let house = House::new();
    let printed = run(&mut local(&house, &["openapi"])).expect(0).json();
    let server = house.start();
    let served = server.get("/openapi.json").await.expect(200).json();
    assert_eq!(printed["paths"], served["paths"]);
    assert_eq!(printed["openapi"], "3.1.0");
    server.stop().await;
}

#[test]
fn completions_and_manual_pages_are_written() {
    let house = House::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&mut local(&house, &["completions", shell])).expect(0);
        assert!(
            script.stdout.contains("tidewire") && script.stdout.contains("enqueue"),
            "{shell}"
        );
    }
    run(&mut local(&house, &["man", "pages/man1"])).expect(0);
    for page in ["tidewire.1", "tidewire-events-import.1", "tidewire-serve.1"] {
        let text = fs::read_to_string(house.path().join("pages/man1").join(page)).expect(page);
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn wrong_usage_and_a_server_that_is_not_there_are_told_apart() {
    let house = House::new();
    let version = run(&mut local(&house, &["--version"])).expect(0).stdout;
    let expected = concat!("tidewire ", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(expected), "{version}");
    let help = run(&mut local(&house, &["--help"])).expect(0);
    assert!(help.stdout.contains("Exit status"), "{help:#?}");
    run(&mut local(&house, &[])).expect(2);
    run(&mut local(&house, &["evnets"])).expect(2);
    run(&mut local(&house, &["events", "list", "--limit", "501"])).expect(2);
    run(&mut local(&house, &["jobs", "list", "--status", "asleep"])).expect(2);
    let bad = run(&mut local(
        &house,
        &["--server", "localhost:8080", "events", "list"],
    ))
    .expect(2);
    assert!(bad.error().contains("http://127.0.0.1:8080"), "{bad:#?}");
    let bad = run(&mut local(&house, &["serve", "--api-key", "k"])).expect(2);
    assert!(bad.error().contains("--api-key"), "{bad:#?}");

    // Bound and given back: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("a bound port");
    let url = format!("http://{nobody}");
    for command in [
        ["events", "list"].as_slice(),
        &["events", "append", "a"],
        &["events", "import", "-"],
        &["events", "tail"],
        &["jobs", "enqueue", "echo", "--wait"],
        &["analytics", "summary"],
    ] {
        let ended = run(local(&house, command).env("TIDEWIRE_SERVER", &url)).expect(1);
        let line = ended.error();
        assert!(
            line.contains("connection refused")
                && line.contains(&url)
                && line.contains("tidewire serve"),
            "{line}"
        );
    }
}
