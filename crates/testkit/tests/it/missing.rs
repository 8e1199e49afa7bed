//! What happens where an engine is missing: this program, run again with no servers to find.

use std::process::{Command, Output};

const SCENARIO: &str = "store::each_test_has_a_store_of_its_own";

fn run_without_servers(required: bool) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(SCENARIO);
    // A URL that nobody answers would be an engine that is there and broken; no program at all is one
    // that is missing.
    for name in ["TIDEWIRE_TEST_POSTGRES_URL", "TIDEWIRE_TEST_MYSQL_URL"] {
        command.env_remove(name);
    }
    command.env("TIDEWIRE_TEST_PROGRAMS", "/nowhere");
    match required {
        true => command.env("TIDEWIRE_TEST_REQUIRE_ENGINES", "1"),
        false => command.env_remove("TIDEWIRE_TEST_REQUIRE_ENGINES"),
    };
    command.output().unwrap()
}

#[test]
fn a_missing_engine_is_left_out_with_one_line() {
    let output = run_without_servers(false);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for engine in ["PostgreSQL", "MySQL"] {
        let lines = said.lines().filter(|line| {
            line.starts_with(&format!("left out: all tests on {engine}"))
                && line.contains("apt-get")
        });
        assert_eq!(lines.count(), 1, "{said}");
    }
}

#[test]
fn a_missing_engine_fails_where_all_are_required() {
    let output = run_without_servers(true);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed; 2 failed"), "{said}");
}
