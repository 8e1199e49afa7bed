//! Which store: read from a URL before anything opens.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::{ConnectOptions as _, mysql::MySqlConnectOptions, postgres::PgConnectOptions};

/// A store's address. Its password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite://PATH` (relative or, with a third slash, absolute).
    Sqlite(PathBuf),
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`, or `postgresql://…`.
    Postgres(ServerUrl),
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`, or `mariadb://…`.
    MySql(ServerUrl),
}

/// The address of a database on a server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// With the password in it.
    text: String,
    /// Without.
    shown: String,
    /// The URL says `pgbouncer=true`: a pooler hands out another connection for each transaction.
    pooled: bool,
}

impl ServerUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let shown = masked(text);
        let (_, rest) = text.split_once("://").unwrap_or_default();
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = place.rsplit_once('@').map_or(place, |(_, host)| host);
        let database = path.split_once('/').map_or("", |(_, database)| database);
        if database.is_empty() {
            return Err(format!(
                "`{shown}` names no database: write {}://USER:PASSWORD@HOST:PORT/DATABASE",
                text.split_once("://")
                    .map_or("postgres", |(scheme, _)| scheme)
            ));
        }
        let (ours, theirs): (Vec<&str>, Vec<&str>) = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .partition(|pair| pair.starts_with("pgbouncer="));
        let pooled = match ours.as_slice() {
            [] | ["pgbouncer=false"] => false,
            ["pgbouncer=true"] => true,
            other => {
                return Err(format!(
                    "`{shown}`: `{}` is not one of pgbouncer=true and pgbouncer=false",
                    other.join("&")
                ));
            }
        };
        let bare = text.split('?').next().unwrap_or(text);
        let text = match theirs.as_slice() {
            [] => bare.to_owned(),
            pairs => format!("{bare}?{}", pairs.join("&")),
        };
        Ok(ServerUrl {
            text,
            shown,
            pooled,
        })
    }

    /// Whether a pooler in transaction mode stands between.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    pub(crate) fn postgres(&self) -> Result<PgConnectOptions, String> {
        let options: PgConnectOptions = self.text.parse().map_err(|error| self.bad(&error))?;
        let options = match bare_v6(options.get_host()) {
            Some(host) => options.host(&host),
            None => options,
        };
        Ok(options.disable_statement_logging())
    }

    pub(crate) fn mysql(&self) -> Result<MySqlConnectOptions, String> {
        let options: MySqlConnectOptions = self
            .text
            .replacen("mariadb://", "mysql://", 1)
            .parse()
            .map_err(|error| self.bad(&error))?;
        let options = match bare_v6(options.get_host()) {
            Some(host) => options.host(&host),
            None => options,
        };
        Ok(options.disable_statement_logging())
    }

    fn bad(&self, error: &sqlx::Error) -> String {
        format!("`{}` cannot be read: {error}", self.shown)
    }
}

/// An address of version 6 without the brackets that a URL needs and a resolver does not take.
fn bare_v6(host: &str) -> Option<String> {
    let bare = host.strip_prefix('[')?.strip_suffix(']')?;
    Some(bare.to_owned())
}

/// The text with stars for the password.
fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return "…".to_owned();
    };
    let place = rest.split(['/', '?']).next().unwrap_or(rest);
    // A password may contain a slash that nobody encoded: look for the last @ of the whole, too.
    let Some(at) = rest.rfind('@').or_else(|| place.rfind('@')) else {
        return hidden_parameters(text);
    };
    let user = rest[..at].split(':').next().unwrap_or_default();
    let password = if rest[..at].contains(':') { ":***" } else { "" };
    hidden_parameters(&format!("{scheme}://{user}{password}@{}", &rest[at + 1..]))
}

/// Parameters may hold a password too.
fn hidden_parameters(text: &str) -> String {
    match text.split_once("password=") {
        Some((before, rest)) => {
            let after = rest.find('&').map_or("", |at| &rest[at..]);
            format!("{before}password=***{after}")
        }
        None => text.to_owned(),
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "sqlite" => sqlite(text),
            "postgres" | "postgresql" => {
                let url = ServerUrl::parse(text)?;
                url.postgres()?;
                Ok(StoreUrl::Postgres(url))
            }
            "mysql" | "mariadb" => {
                let url = ServerUrl::parse(text)?;
                if url.pooled {
                    return Err(format!("`{}`: pgbouncer=true is PostgreSQL's", url.shown));
                }
                url.mysql()?;
                Ok(StoreUrl::MySql(url))
            }
            _ => Err(format!(
                "the store `{scheme}://…` is not one that Tidewire knows: write sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@HOST:PORT/DATABASE"
            )),
        }
    }
}

fn sqlite(text: &str) -> Result<StoreUrl, String> {
    match text.strip_prefix("sqlite://").unwrap_or_default() {
        "" => Err(format!(
            "`{text}` names no file: write sqlite://PATH, for example sqlite://tidewire.db"
        )),
        path if path.contains('?') => Err(format!(
            "`{text}`: a sqlite:// URL takes no parameters, Tidewire sets the pragmas itself"
        )),
        path => Ok(StoreUrl::Sqlite(PathBuf::from(path))),
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            StoreUrl::Postgres(url) | StoreUrl::MySql(url) => f.write_str(&url.shown),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_engine_and_a_place() {
        let url: StoreUrl = "sqlite:///var/lib/tidewire.db".parse().unwrap();
        assert_eq!(url, StoreUrl::Sqlite("/var/lib/tidewire.db".into()));
        assert_eq!(url.to_string(), "sqlite:///var/lib/tidewire.db");
        for bad in [
            "",
            "sqlite://",
            "oracle://x",
            "tidewire.db",
            "sqlite://x.db?mode=ro",
            "postgres://host",
            "postgres://host/",
            "mysql://host/db?pgbouncer=true",
            "postgres://host/db?pgbouncer=maybe",
            "postgres://host:port/db",
        ] {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_are_read_with_their_parameters() {
        let url = "postgres://me@db:5433/tide?pgbouncer=true&sslmode=disable";
        let Ok(StoreUrl::Postgres(url)) = url.parse() else {
            panic!("no PostgreSQL URL");
        };
        assert!(url.is_pooled());
        assert_eq!(url.text, "postgres://me@db:5433/tide?sslmode=disable");
        let options = url.postgres().unwrap();
        assert_eq!(options.get_database(), Some("tide"));
        let url: StoreUrl = "mariadb://me:x@[::1]/tide".parse().unwrap();
        let StoreUrl::MySql(url) = url else {
            panic!("no MySQL URL");
        };
        assert_eq!(url.mysql().unwrap().get_host(), "::1");
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "oracle://me:hunter2@host/db",
            "postgres://me:hunter2@host",
            "postgres://me:hunter2@host:port/db",
            "mysql://me:a/hunter2@host:x/db",
            "postgres://host:port/db?user=me&password=hunter2&sslmode=disable",
        ] {
            let refusal = url.parse::<StoreUrl>().unwrap_err();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
        let url: StoreUrl = "postgres://me:hunter2@host/db".parse().unwrap();
        assert_eq!(format!("{url:?}"), "postgres://me:***@host/db");
    }
}
