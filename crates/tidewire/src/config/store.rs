//! Which store, and how it is reached.
//!
//! A store is named by a URL. Programs that Tidewire takes the place of name theirs in other forms,
//! which are made into URLs: Go's for MySQL (`user:pw@tcp(host:3306)/db?parseTime=true`) and
//! PostgreSQL's pairs (`host=… user=… dbname=…`). What cannot be translated is refused by name: a
//! setting that is dropped in silence is one that somebody relies on.

mod go;
mod masked;
mod pairs;
mod parameters;

use std::path::{Path, PathBuf};

use tidewire_db::StoreUrl;

use super::{Bad, Values, values::Nearness};

pub use masked::masked;

const FORMS: &str = "write sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@HOST:PORT/DATABASE";

/// Where the store is.
#[derive(Clone, Debug)]
pub struct Store {
    pub url: StoreUrl,
    /// Where PostgreSQL is reached without a pooler, to listen there.
    pub listen_url: Option<StoreUrl>,
    /// At most so many connections to a server.
    pub connections: u32,
}

impl Store {
    pub(super) fn new(values: &Values, connections: u32) -> Result<Self, Bad> {
        let url = place(values)?;
        let listen_url = values.read("database-listen-url", |text| {
            match (read(text)?, &url) {
                (StoreUrl::Postgres(direct), StoreUrl::Postgres(_)) if !direct.is_pooled() => {
                    Ok(StoreUrl::Postgres(direct))
                }
                (StoreUrl::Postgres(_), StoreUrl::Postgres(_)) => Err(
                    "leads through a pooler, which hands notifications to nobody: name the server itself, without pgbouncer=true".to_owned(),
                ),
                _ => Err(
                    "is for PostgreSQL behind a pooler: leave it out unless --database-url and this are both postgres://…".to_owned(),
                ),
            }
        })?;
        Ok(Store {
            url,
            listen_url,
            connections,
        })
    }

    /// The place as the operator is told: without a password.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.url {
            StoreUrl::Sqlite(path) => path.display().to_string(),
            server => server.to_string(),
        }
    }
}

/// `--db` is short for a `--database-url`: of the two the nearer one holds.
fn place(values: &Values) -> Result<StoreUrl, Bad> {
    let of_file = values.nearness("db");
    let of_url = values.nearness("database-url");
    match (of_file, of_url) {
        (Some(file), Some(url)) if file == url => Err(Bad(
            "--db and --database-url name two stores: leave one of them out".to_owned(),
        )),
        (Some(file), url) if url.is_none_or(|url: Nearness| file < url) => {
            let file = values.text("db").unwrap_or_default();
            Ok(StoreUrl::Sqlite(PathBuf::from(file)))
        }
        _ => Ok(values.read("database-url", read)?.unwrap_or_else(|| {
            let folder = values.text("data-dir").unwrap_or("tidewire-data");
            StoreUrl::Sqlite(Path::new(folder).join("tidewire.db"))
        })),
    }
}

/// Reads a store's address in any of its forms. The error does not repeat the value.
fn read(text: &str) -> Result<StoreUrl, String> {
    let url = match scheme(text) {
        Some("sqlite") => text.to_owned(),
        Some("postgres" | "postgresql") => parameters::postgres(text)?,
        Some("mysql" | "mariadb") => parameters::mysql(text)?,
        Some(scheme) => {
            return Err(format!(
                "`{scheme}` is no store that Tidewire knows: {FORMS}"
            ));
        }
        None if go::is(text) => go::url(text)?,
        None if pairs::are(text) => pairs::url(text)?,
        None => return Err(format!("is no URL: {FORMS}")),
    };
    url.parse().map_err(|why: String| without_value(&why))
}

/// The word before `://`, if it is one.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (!scheme.is_empty() && scheme.chars().all(is_word)).then_some(scheme)
}

/// What an error says behind the value in backticks that it begins with: who reads it is told the
/// value as they wrote it.
fn without_value(why: &str) -> String {
    let behind = why.strip_prefix('`').and_then(|why| why.split_once('`'));
    let why = behind.map_or(why, |(_, why)| why);
    why.trim_start_matches([':', ' ']).to_owned()
}

/// Writes what a URL's part could be mistaken for as `%XX`.
fn encoded(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// `USER:PASSWORD@`, or nothing.
pub(super) fn account(user: &str, password: &str) -> String {
    match (user, password) {
        ("", "") => String::new(),
        (user, "") => format!("{}@", encoded(user)),
        (user, password) => format!("{}:{}@", encoded(user), encoded(password)),
    }
}

/// A host as a URL has it.
pub(super) fn host(name: &str) -> String {
    if name.contains(':') && !name.starts_with('[') {
        format!("[{name}]")
    } else if name.starts_with('[') {
        name.to_owned()
    } else {
        encoded(name)
    }
}

/// The `POSTGRES_…` variables of a server's own image, as one URL.
pub(super) fn from_postgres_variables(values: &[String]) -> String {
    let [server, port, database, user, password] = values else {
        return String::new();
    };
    format!(
        "postgres://{}{}:{port}/{}",
        account(user, password),
        host(server),
        encoded(database)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        read(text)
            .unwrap_or_else(|why| panic!("{text}: {why}"))
            .to_string()
    }

    #[test]
    fn urls_are_taken_as_they_are() {
        for text in [
            "sqlite:///var/lib/tidewire.db",
            "postgres://me@db:5433/tide?sslmode=disable",
            "postgresql://me@db/tide?pgbouncer=true",
            "mysql://me@db/tide?ssl-mode=REQUIRED",
            "mariadb://me@db/tide",
        ] {
            assert_eq!(url(text), text);
        }
        // Of other programs' tuning nothing is left.
        assert_eq!(
            url("postgres://me@db/tide?connect_timeout=10&sslmode=require"),
            "postgres://me@db/tide?sslmode=require"
        );
        assert_eq!(
            url("mysql://me@db/tide?charset=utf8mb4&parseTime=true"),
            "mysql://me@db/tide"
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (text, says) in [
            ("oracle://me:hunter2@host/db", "`oracle`"),
            ("tidewire.db", "sqlite://PATH"),
            ("postgres://me:hunter2@host", "names no database"),
            ("postgres://me:hunter2@host:port/db", "cannot be read"),
            ("postgres://me:hunter2@host/db?schema=x", "`schema`"),
            ("postgres://me:?hunter2@host/db", "%3F"),
            ("mysql://me:hunter2@host/db?useSSL=true", "`useSSL`"),
            ("mysql://me:hunter2@host/db?pgbouncer=true", "PostgreSQL"),
            ("me:hunter2@tcp(host)/", "names no database"),
            ("me:hunter2@cloudsql(x)/db", "`cloudsql`"),
            ("me:hunter2@tcp(host)/db?tls=mine", "`tls=mine`"),
            ("host=db password=hunter2", "names no database"),
            ("host=db password=hunter2 dbname=d port=x", "cannot be read"),
            ("host=db dbname='d", "quote"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
            assert!(!why.contains("hunter2") && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn the_variables_of_a_server_become_a_url() {
        let all = |values: [&str; 5]| from_postgres_variables(&values.map(str::to_owned));
        assert_eq!(
            all(["127.0.0.1", "5433", "eventide", "eventide", ""]),
            "postgres://eventide@127.0.0.1:5433/eventide"
        );
        assert_eq!(
            all(["::1", "5432", "a b", "me@home", "p:w/@?#%"]),
            "postgres://me%40home:p%3Aw%2F%40%3F%23%25@[::1]:5432/a%20b"
        );
        assert_eq!(
            all(["/run/postgresql", "5432", "d", "u", ""]),
            "postgres://u@%2Frun%2Fpostgresql:5432/d"
        );
    }
}
