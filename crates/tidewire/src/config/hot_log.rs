//! What `--hot-log` names.

use std::str::FromStr;

use tidewire_redis::RedisSettings;

use super::store::{account, host};

/// Where threads are written first.
#[derive(Clone, Debug, Default)]
pub enum HotLog {
    /// The store.
    #[default]
    Embedded,
    Redis(Box<RedisSettings>),
}

impl FromStr for HotLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(HotLog::Embedded);
        }
        RedisSettings::parse(text).map(|settings| HotLog::Redis(Box::new(settings)))
    }
}

/// From `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD`.
pub(super) fn from_redis_variables(values: &[String]) -> String {
    let [server, port, password] = values else {
        return String::new();
    };
    format!("redis://{}{}:{port}", account("", password), host(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_the_source_designs_make_a_url() {
        let all = |values: [&str; 3]| from_redis_variables(&values.map(str::to_owned));
        assert_eq!(all(["cache", "6380", ""]), "redis://cache:6380");
        let with_password = all(["127.0.0.1", "6380", "p:w/@"]);
        assert_eq!(with_password, "redis://:p%3Aw%2F%40@127.0.0.1:6380");
        assert!(matches!(with_password.parse(), Ok(HotLog::Redis(_))));
        assert!(matches!("embedded".parse(), Ok(HotLog::Embedded)));
        assert!("memory".parse::<HotLog>().is_err());
    }
}
