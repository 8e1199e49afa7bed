//! Migrations' words for types and options, as each engine says them.

use super::Engine;

pub(super) fn translate(engine: Engine, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            break;
        };
        let word = &rest[at + 1..at + end];
        match word.strip_prefix("where ") {
            Some(condition) if engine != Engine::MySql => {
                out.push_str("WHERE ");
                out.push_str(condition);
            }
            Some(_) => {}
            None => out.push_str(name(engine, word)),
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out
}

fn name(engine: Engine, word: &str) -> &'static str {
    match (engine, word) {
        (Engine::Sqlite, "id" | "key" | "text" | "json" | "time") => "TEXT",
        (Engine::Sqlite, "int") => "INTEGER",
        (Engine::Sqlite, "bytes") => "BLOB",
        (Engine::Sqlite, "clustered" | "churning") => "WITHOUT ROWID",

        // Compared by bytes: ids and times in them sort as they do everywhere else.
        (Engine::Postgres, "id" | "key") => "TEXT COLLATE \"C\"",
        (Engine::Postgres, "text") => "TEXT",
        (Engine::Postgres, "json") => "JSONB",
        (Engine::Postgres, "time") => "TIMESTAMPTZ",
        (Engine::Postgres, "int") => "BIGINT",
        (Engine::Postgres, "bytes") => "BYTEA",
        (Engine::Postgres, "clustered") => "",
        // Room on each page for the next version of its rows, and a vacuum that comes when a
        // thousand rows are dead and does not pause: a queue's table must stay small.
        (Engine::Postgres, "churning") => {
            "WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
             autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000)"
        }

        (Engine::MySql, "id") => "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin",
        // The collation is the one that does not take `a` and `a ` for equal: MariaDB and MySQL name
        // it differently, and each skips the comment of the other.
        (Engine::MySql, "key") => {
            "VARCHAR(512) CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */"
        }
        // MySQL's JSON type loses digits and MariaDB's validity check refuses what is nested deeper
        // than 32, so a document is text, checked before it comes here; their JSON functions take it.
        (Engine::MySql, "text" | "json") => {
            "LONGTEXT CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */"
        }
        (Engine::MySql, "time") => "DATETIME(6)",
        (Engine::MySql, "int") => "BIGINT",
        (Engine::MySql, "bytes") => "VARBINARY(64)",
        (Engine::MySql, "clustered" | "churning") => "ENGINE = InnoDB",
        _ => panic!("a migration uses the word {{{word}}}, which no dialect has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_says_it_once() {
        let text = "CREATE UNIQUE INDEX i ON t (a) {where a IS NOT NULL}";
        assert_eq!(
            translate(Engine::Postgres, text),
            "CREATE UNIQUE INDEX i ON t (a) WHERE a IS NOT NULL"
        );
        assert_eq!(
            translate(Engine::MySql, text),
            "CREATE UNIQUE INDEX i ON t (a) "
        );
        assert_eq!(
            translate(Engine::Sqlite, "CREATE TABLE t (a {id}) {churning}"),
            "CREATE TABLE t (a TEXT) WITHOUT ROWID"
        );
    }

    #[test]
    #[should_panic(expected = "{uuid}")]
    fn a_word_that_no_dialect_has_is_a_defect() {
        translate(Engine::Sqlite, "CREATE TABLE t (a {uuid})");
    }
}
