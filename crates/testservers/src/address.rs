//! URLs of servers, as far as tests take them apart: `scheme://user:password@host:port/database?more`.

use std::net::SocketAddr;

use crate::{Error, Result};

/// The same server and account, another database.
#[must_use]
pub fn of_database(url: &str, database: &str) -> String {
    let parts = Parts::of(url);
    format!("{}{}/{database}{}", parts.login, parts.host, parts.query)
}

/// The same account and database, reached elsewhere: through a proxy or a pooler.
#[must_use]
pub fn at_address(url: &str, address: SocketAddr) -> String {
    let parts = Parts::of(url);
    format!("{}{address}{}{}", parts.login, parts.database, parts.query)
}

struct Parts<'a> {
    /// With the scheme and the `@`.
    login: &'a str,
    host: &'a str,
    /// With the slash.
    database: &'a str,
    /// With the question mark.
    query: &'a str,
}

impl Parts<'_> {
    fn of(url: &str) -> Parts<'_> {
        let (url, query) = url.split_at(url.find('?').unwrap_or(url.len()));
        let authority = url.find("://").map_or(0, |at| at + 3);
        let slash = url[authority..]
            .find('/')
            .map_or(url.len(), |at| authority + at);
        let (server, database) = url.split_at(slash);
        let host = server.rfind('@').map_or(authority, |at| at + 1);
        let (login, host) = server.split_at(host);
        Parts {
            login,
            host,
            database,
            query,
        }
    }
}

/// Who logs in where.
pub struct Login {
    pub user: String,
    pub password: String,
    pub host: String,
    pub port: u16,
}

impl Login {
    pub fn of(url: &str, usual_port: u16) -> Result<Login> {
        let parts = Parts::of(url);
        let login = parts.login.split_once("://").map_or("", |(_, login)| login);
        let (user, password) = login
            .trim_end_matches('@')
            .split_once(':')
            .ok_or_else(|| Error::new("the server's URL names no user and password"))?;
        let (host, port) = match parts.host.rsplit_once(':') {
            Some((host, port)) => {
                let port = port.parse();
                (
                    host,
                    port.map_err(|_| Error::new("the server's URL has a bad port"))?,
                )
            }
            None => (parts.host, usual_port),
        };
        Ok(Login {
            user: decoded(user),
            password: decoded(password),
            host: host.to_owned(),
            port,
        })
    }
}

/// `%41` as `A`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.get(at + 1..at + 3).unwrap_or_default();
        match u8::from_str_radix(code, 16) {
            Ok(byte) => {
                bytes.push(byte);
                rest = &rest[at + 3..];
            }
            Err(_) => {
                bytes.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_changes_and_the_rest_stays() {
        let url = "postgres://me:p%40s@db.local:5433/postgres?sslmode=disable";
        assert_eq!(
            of_database(url, "t1"),
            "postgres://me:p%40s@db.local:5433/t1?sslmode=disable"
        );
        assert_eq!(
            at_address(url, ([127, 0, 0, 1], 9).into()),
            "postgres://me:p%40s@127.0.0.1:9/postgres?sslmode=disable"
        );
        assert_eq!(
            of_database("mysql://localhost", "t1"),
            "mysql://localhost/t1"
        );
    }

    #[test]
    fn a_login_is_read_as_it_was_meant() {
        let login = Login::of("postgres://me:p%40%2Fs@db.local/x", 5432).unwrap();
        assert_eq!((&*login.user, &*login.password), ("me", "p@/s"));
        assert_eq!((&*login.host, login.port), ("db.local", 5432));
        assert!(Login::of("postgres://db.local/x", 5432).is_err());
    }
}
