//! Where Redis is, and what is kept there.

use std::{fs, time::Duration};

use redis::{Client, RedisResult, TlsCertificates};
use tidewire_core::name;

/// How the hot log uses a Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`
    pub url: String,
    /// Whose certificates are trusted with `rediss`, as PEM; those whom the system trusts without it.
    pub authorities: Option<Vec<u8>>,
    /// How the names of all keys begin.
    pub prefix: String,
    /// Places of a thread that are reserved at once.
    pub block: u64,
    /// Events of a thread that stay in Redis when the store has them.
    pub keep: u64,
    /// A thread that was not written for so long, and is stored whole, is forgotten there.
    pub idle: Duration,
    /// How long the persister's place is kept for one that is silent.
    pub lease: Duration,
    /// Entries that are moved to the store in one transaction.
    pub batch: usize,
}

/// A database number is small.
const MOST_DATABASES: u32 = 10_000;
const FORM: &str = "is neither embedded nor redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

impl RedisSettings {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        RedisSettings {
            url: url.into(),
            authorities: None,
            prefix: "tidewire".to_owned(),
            block: 1000,
            keep: 1000,
            idle: Duration::from_mins(10),
            lease: Duration::from_secs(10),
            batch: 200,
        }
    }

    /// Reads a URL with its parameters `prefix` and `ca`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (url, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (scheme, rest) = url.split_once("://").ok_or(FORM)?;
        if !matches!(scheme, "redis" | "rediss") {
            return Err(FORM.to_owned());
        }
        let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
        let host = server.rsplit_once('@').map_or(server, |(_, host)| host);
        if host.is_empty() || host.starts_with(':') {
            return Err(FORM.to_owned());
        }
        let is_number = |n: &u32| *n < MOST_DATABASES;
        if !database.is_empty() && database.parse().ok().filter(is_number).is_none() {
            return Err(format!("{FORM}: `{database}` is no number of a database"));
        }
        let mut settings = RedisSettings::new(url);
        // What the driver says of a URL may quote its password.
        settings.client().map_err(|_| FORM.to_owned())?;
        for parameter in parameters.split('&').filter(|one| !one.is_empty()) {
            match parameter.split_once('=') {
                Some(("prefix", prefix)) => {
                    name::check(prefix, 64).map_err(|why| format!("has a prefix that {why}"))?;
                    prefix.clone_into(&mut settings.prefix);
                }
                Some(("ca", file)) if scheme == "rediss" => {
                    settings.authorities = Some(authorities(file)?);
                    settings
                        .client()
                        .map_err(|error| format!("has ca={file}, which cannot be used: {error}"))?;
                }
                Some(("ca", _)) => {
                    return Err("has ca=FILE, which says whom rediss:// trusts".to_owned());
                }
                _ => {
                    return Err(format!(
                        "has the parameter `{parameter}`: prefix=NAME and ca=FILE are known"
                    ));
                }
            }
        }
        Ok(settings)
    }

    /// Connects to nothing yet.
    pub(crate) fn client(&self) -> RedisResult<Client> {
        match &self.authorities {
            None => Client::open(self.url.as_str()),
            Some(pem) => Client::build_with_tls(
                self.url.as_str(),
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem.clone()),
                },
            ),
        }
    }
}

fn authorities(file: &str) -> Result<Vec<u8>, String> {
    let pem = fs::read_to_string(file)
        .map_err(|error| format!("has ca={file}, which cannot be read: {error}"))?;
    // The driver takes a file without any, and then trusts nobody.
    if !pem.contains(CERTIFICATE) {
        return Err(format!("has ca={file}, in which is no `{CERTIFICATE}`"));
    }
    Ok(pem.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_what_is_none_is_refused() {
        let read = RedisSettings::parse("redis://:p%40ss@cache:6380/2?prefix=blue").unwrap();
        assert_eq!(
            (&*read.url, &*read.prefix),
            ("redis://:p%40ss@cache:6380/2", "blue")
        );
        assert_eq!(
            RedisSettings::parse("redis://cache").unwrap().prefix,
            "tidewire"
        );
        let read = RedisSettings::parse("rediss://ann:p%40ss@cache/2").unwrap();
        assert_eq!(read.url, "rediss://ann:p%40ss@cache/2");
        for wrong in [
            "",
            "cache:6379",
            "rediss://",
            "rediss://cache/#insecure",
            "rediss://:p%40ss@cache?ca=/nowhere/ca.pem",
            "rediss://:p%40ss@cache?ca=Cargo.toml",
            "redis://cache?ca=/nowhere/ca.pem",
            "https://cache",
            "redis://",
            "redis://:6379",
            "redis://cache/x",
            "redis://cache:port",
            "redis://cache?prefix=",
            "redis://cache?tls=1",
        ] {
            let why = RedisSettings::parse(wrong).expect_err(wrong);
            assert!(!why.contains("p%40ss"), "{why}");
        }
    }
}
