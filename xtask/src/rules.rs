//! The architecture's rules that neither the compiler nor its linter knows: where SQL may stand, where server HTTP and
//! where outgoing HTTP may stand, how many places know which engine they talk to, and which files have grown into two rooms.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::root;
use crate::source::{Token, tokens};
use crate::steps::Outcome;

/// Past this a file is looked at again: it may be two.
const LINES: usize = 500;

/// What a look at the tree has found.
#[derive(Default)]
struct Findings {
    /// These fail the check.
    breaches: Vec<String>,
    /// Places outside `crates/db` and the tests' servers that name an engine: a figure of health, which ought to be none.
    engine_places: Vec<String>,
    /// Places of the dialect at which a statement or a part of one differs between engines.
    differences: usize,
    long_files: Vec<String>,
}

pub fn check() -> Result<Outcome> {
    let findings = look(&root())?;
    for place in &findings.engine_places {
        println!("engine named outside crates/db: {place}");
    }
    for file in &findings.long_files {
        println!("more than {LINES} lines: {file}");
    }
    for breach in &findings.breaches {
        println!("breach: {breach}");
    }
    if !findings.breaches.is_empty() {
        bail!(
            "house rules are broken in {} places",
            findings.breaches.len()
        );
    }
    Ok(Outcome::Noted(format!(
        "{} per-engine statements outside the dialect, {} named differences in it, {} files over {LINES} lines",
        findings.engine_places.len(),
        findings.differences,
        findings.long_files.len()
    )))
}

fn look(root: &Path) -> Result<Findings> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask", "bench"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut findings = Findings::default();
    for file in files {
        let source =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let place = Place::of(file.strip_prefix(root).unwrap_or(&file));
        judge(&place, &source, &mut findings);
    }
    Ok(findings)
}

/// All Rust files below, without what was built.
pub fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Where in the house a file stands.
struct Place {
    path: String,
    /// The crate's folder name, if the file is part of what the crate ships (not of its tests).
    shipped_by: Option<String>,
    /// The rooms it is in: its folders below `src`, and its own name without `.rs`.
    rooms: Vec<String>,
}

impl Place {
    fn of(path: &Path) -> Place {
        let parts: Vec<String> = path
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        let (shipped_by, rooms) = match parts.as_slice() {
            [crates, name, src, rooms @ ..] if crates == "crates" && src == "src" => {
                (Some(name.clone()), rooms.to_vec())
            }
            _ => (None, Vec::new()),
        };
        Place {
            path: path.display().to_string(),
            shipped_by,
            rooms,
        }
    }

    fn is_in(&self, rooms: &[&str]) -> bool {
        self.rooms.iter().any(|room| rooms.contains(&room.as_str()))
    }
}

fn judge(place: &Place, source: &str, findings: &mut Findings) {
    let lines = source.lines().count();
    if lines > LINES {
        findings
            .long_files
            .push(format!("{} ({lines})", place.path));
    }
    let Some(shipped_by) = place.shipped_by.as_deref() else {
        return;
    };
    let sql_is_home = shipped_by == "db" || place.is_in(&["store", "migrations"]);
    let http_is_home = ["http", "dashboard", "tidewire", "testkit"].contains(&shipped_by)
        || place.is_in(&["http"]);

    let is_dialect = shipped_by == "db" && place.is_in(&["dialect"]);
    // `client` calls our own API. What calls an address that somebody configured goes through `outbound`.
    let calls_are_home =
        ["outbound", "client", "testkit"].contains(&shipped_by) || place.is_in(&["tests"]);
    let engine_is_home = ["db", "testkit", "testkit-macros", "testservers"].contains(&shipped_by);

    let tokens = tokens(source);
    for (index, (line, token)) in tokens.iter().enumerate() {
        let at = format!("{}:{line}", place.path);
        match token {
            Token::Text(text) if !sql_is_home => {
                if let Some(statement) = sql_in(text) {
                    findings.breaches.push(format!(
                        "{at}: {statement} in a text: SQL stands in store.rs, migrations.rs and crates/db"
                    ));
                }
            }
            Token::Word(name @ ("axum" | "utoipa_axum")) if !http_is_home => {
                findings.breaches.push(format!(
                    "{at}: {name}: server HTTP stands in http.rs, crates/http and the binary"
                ));
            }
            // `match self.engine`, `match engine` and `match (engine, …)`.
            Token::Word("match") if is_dialect => {
                let after = tokens.get(index + 1..index + 4).unwrap_or_default();
                let asks = after
                    .iter()
                    .any(|(_, token)| *token == Token::Word("engine"));
                findings.differences += usize::from(asks);
            }
            Token::Word("reqwest") if !calls_are_home => {
                findings.breaches.push(format!(
                    "{at}: reqwest: outgoing HTTP stands in crates/outbound, and in crates/client for our own API"
                ));
            }
            Token::Word("Engine") if !engine_is_home => {
                let after = tokens.get(index + 1..index + 3).unwrap_or_default();
                if after.iter().all(|(_, mark)| *mark == Token::Mark(':')) && after.len() == 2 {
                    findings.engine_places.push(at);
                }
            }
            _ => {}
        }
    }
}

/// The statement that a text seems to hold.
fn sql_in(text: &str) -> Option<&'static str> {
    // A statement may run over several lines, with the breaks written out or escaped.
    let flat = text.replace("\\n", " ").replace("\\\n", " ");
    let words: Vec<&str> = flat
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    let pair = |first: &str, second: &str| words.windows(2).any(|two| two == [first, second]);
    let follows = |first: &str, second: &str| {
        words
            .iter()
            .position(|word| *word == first)
            .is_some_and(|at| words[at + 1..].contains(&second))
    };
    if words.iter().rev().skip(1).any(|word| *word == "SELECT") {
        Some("SELECT")
    } else if pair("INSERT", "INTO") {
        Some("INSERT INTO")
    } else if pair("DELETE", "FROM") {
        Some("DELETE FROM")
    } else if follows("UPDATE", "SET") {
        Some("UPDATE … SET")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dialect_tells_apart_is_counted() {
        let source = "fn a() { match self.engine { _ => 1 } } fn b() { match (engine, x) { _ => 1 } } fn c() { match x {} }";
        let mut findings = Findings::default();
        let path = Path::new("crates/db/src/dialect/rows.rs");
        judge(&Place::of(path), source, &mut findings);
        assert_eq!(findings.differences, 2);
    }

    fn breaches(path: &str, source: &str) -> Vec<String> {
        let mut findings = Findings::default();
        judge(&Place::of(Path::new(path)), source, &mut findings);
        findings.breaches
    }

    const SELECT: &str = "fn f() { run(\"SELECT id FROM jobs\") }";
    const AXUM: &str = "use axum::Router;";

    #[test]
    fn sql_stands_only_where_it_is_at_home() {
        for home in [
            "crates/jobs/src/store.rs",
            "crates/jobs/src/store/claim.rs",
            "crates/jobs/src/migrations.rs",
            "crates/jobs/src/migrations/first.rs",
            "crates/db/src/writer.rs",
            "crates/jobs/tests/claims.rs",
            "bench/src/peers/river.rs",
        ] {
            assert!(breaches(home, SELECT).is_empty(), "{home}");
        }
        for elsewhere in [
            "crates/jobs/src/service.rs",
            "crates/jobs/src/http.rs",
            "crates/testkit/src/lib.rs",
            "crates/jobs/src/restore.rs",
        ] {
            assert_eq!(breaches(elsewhere, SELECT).len(), 1, "{elsewhere}");
        }
    }

    #[test]
    fn a_breach_says_where_and_what() {
        assert_eq!(
            breaches(
                "crates/jobs/src/service.rs",
                "\n\nconst A: &str = r#\"DELETE FROM jobs\"#;"
            ),
            [
                "crates/jobs/src/service.rs:3: DELETE FROM in a text: SQL stands in store.rs, migrations.rs and crates/db"
            ]
        );
    }

    #[test]
    fn statements_are_known_and_prose_is_left_alone() {
        for statement in [
            "SELECT 1",
            "WITH due AS (SELECT\n id FROM jobs)",
            "INSERT\\n INTO jobs",
            "UPDATE jobs\n   SET state = ?1",
            "DELETE FROM jobs",
        ] {
            assert!(sql_in(statement).is_some(), "{statement}");
        }
        for prose in [
            "update the settings",
            "select one of the following",
            "an UPDATE is due",
            "not in the SELECTED set",
            "SELECT",
        ] {
            assert!(sql_in(prose).is_none(), "{prose}");
        }
    }

    #[test]
    fn comments_may_speak_of_sql_and_of_axum() {
        let source = "//! SELECT id FROM jobs, and axum\n/// INSERT INTO jobs\nfn f() {}";
        assert!(breaches("crates/jobs/src/service.rs", source).is_empty());
    }

    #[test]
    fn server_http_stands_only_where_it_is_at_home() {
        for home in [
            "crates/jobs/src/http.rs",
            "crates/jobs/src/http/claim.rs",
            "crates/http/src/problem.rs",
            "crates/tidewire/src/roles.rs",
            "crates/testkit/src/lib.rs",
        ] {
            assert!(breaches(home, AXUM).is_empty(), "{home}");
        }
        for elsewhere in ["crates/jobs/src/service.rs", "crates/core/src/lib.rs"] {
            assert_eq!(breaches(elsewhere, AXUM).len(), 1, "{elsewhere}");
        }
    }

    #[test]
    fn outgoing_http_stands_only_where_it_is_at_home() {
        let source = "let client = reqwest::Client::builder();";
        for home in [
            "crates/outbound/src/client.rs",
            "crates/client/src/client.rs",
            "crates/testkit/src/app.rs",
            "crates/jobs/src/tests/http.rs",
            "crates/tidewire/tests/it/support.rs",
        ] {
            assert!(breaches(home, source).is_empty(), "{home}");
        }
        for elsewhere in [
            "crates/jobs/src/service.rs",
            "crates/tidewire/src/server/mod.rs",
        ] {
            assert_eq!(breaches(elsewhere, source).len(), 1, "{elsewhere}");
        }
    }

    #[test]
    fn engines_are_counted_outside_the_database_crate() {
        let source =
            "match engine { Engine::Sqlite => 1, db::Engine::Postgres => 2 }\nstruct Engine;";
        let mut findings = Findings::default();
        judge(
            &Place::of(Path::new("crates/jobs/src/store.rs")),
            source,
            &mut findings,
        );
        judge(
            &Place::of(Path::new("crates/db/src/dialect.rs")),
            source,
            &mut findings,
        );
        assert_eq!(
            findings.engine_places,
            ["crates/jobs/src/store.rs:1", "crates/jobs/src/store.rs:1"]
        );
        assert!(findings.breaches.is_empty());
    }
}
