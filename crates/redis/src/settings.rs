//! Where Redis is, and what is kept there.

use std::time::Duration;

use tidewire_core::name;

/// How the hot log uses a Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://[:PASSWORD@]HOST[:PORT][/DATABASE]`
    pub url: String,
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
const FORM: &str = "is neither embedded nor redis://[:PASSWORD@]HOST[:PORT][/DATABASE]";

impl RedisSettings {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        RedisSettings {
            url: url.into(),
            prefix: "tidewire".to_owned(),
            block: 1000,
            keep: 1000,
            idle: Duration::from_mins(10),
            lease: Duration::from_secs(10),
            batch: 200,
        }
    }

    /// Reads a URL with its parameter `prefix`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (url, parameters) = text.split_once('?').unwrap_or((text, ""));
        let rest = url.strip_prefix("redis://").ok_or(FORM)?;
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
        for parameter in parameters.split('&').filter(|one| !one.is_empty()) {
            match parameter.split_once('=') {
                Some(("prefix", prefix)) => {
                    name::check(prefix, 64).map_err(|why| format!("has a prefix that {why}"))?;
                    prefix.clone_into(&mut settings.prefix);
                }
                _ => {
                    return Err(format!(
                        "has the parameter `{parameter}`: prefix=NAME is known"
                    ));
                }
            }
        }
        // What the driver says of a URL may quote its password.
        redis::Client::open(settings.url.as_str()).map_err(|_| FORM.to_owned())?;
        Ok(settings)
    }
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
        for wrong in [
            "",
            "cache:6379",
            "rediss://cache",
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
