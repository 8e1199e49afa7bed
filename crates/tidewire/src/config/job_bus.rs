//! What `--job-bus` names.

use std::str::FromStr;

/// How workers learn of ready jobs besides asking the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JobBus {
    #[default]
    Database,
    Kafka(Brokers),
}

/// A cluster of Kafka, and the names there; what is `None` is Tidewire's own choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers {
    /// `HOST:PORT,…`
    pub addresses: String,
    pub group: Option<String>,
    pub jobs_topic: Option<String>,
    pub events_topic: Option<String>,
    pub partitions: Option<u16>,
    pub replication: Option<u16>,
}

const FORM: &str = "is neither database nor kafka://HOST:PORT,HOST:PORT…";
/// What Kafka calls by names; its own limit for a topic.
const LONGEST_NAME: usize = 249;

impl FromStr for JobBus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "database" {
            return Ok(JobBus::Database);
        }
        let rest = text.strip_prefix("kafka://").ok_or(FORM)?;
        if cfg!(not(feature = "kafka")) {
            return Err(
                "asks for Kafka, which is not in this build: build it with `--features kafka`"
                    .to_owned(),
            );
        }
        let (addresses, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let mut brokers = Brokers {
            addresses: addresses.trim_end_matches('/').to_owned(),
            ..Brokers::default()
        };
        for address in brokers.addresses.split(',') {
            check_address(address)?;
        }
        for parameter in parameters
            .split('&')
            .filter(|parameter| !parameter.is_empty())
        {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "group" => brokers.group = Some(named(name, value)?),
                "jobs-topic" => brokers.jobs_topic = Some(named(name, value)?),
                "events-topic" => brokers.events_topic = Some(named(name, value)?),
                "partitions" => brokers.partitions = Some(counted(name, value, 10_000)?),
                "replication" => brokers.replication = Some(counted(name, value, 100)?),
                _ => {
                    return Err(format!(
                        "has the parameter `{name}`: group, jobs-topic, events-topic, partitions and replication are known"
                    ));
                }
            }
        }
        Ok(JobBus::Kafka(brokers))
    }
}

fn check_address(address: &str) -> Result<(), String> {
    let wrong = || {
        format!(
            "{FORM}: `{address}` is no HOST:PORT (brokers are reached without TLS and without an account)"
        )
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let is_host = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c));
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    (is_host && is_port).then_some(()).ok_or_else(wrong)
}

fn named(name: &str, value: &str) -> Result<String, String> {
    let is_name = (1..=LONGEST_NAME).contains(&value.len())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    match is_name {
        true => Ok(value.to_owned()),
        false => Err(format!(
            "has {name}=`{value}`: 1 to {LONGEST_NAME} of letters, digits, `.`, `_` and `-`"
        )),
    }
}

fn counted(name: &str, value: &str, most: u16) -> Result<u16, String> {
    match value.parse() {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => Err(format!("has {name}=`{value}`: a number from 1 to {most}")),
    }
}

/// From `KAFKA_BROKERS`, which is a plain list.
pub(super) fn from_kafka_variables(values: &[String]) -> String {
    let list = values.first().map_or("", |list| list.trim());
    match list.contains("://") {
        true => list.to_owned(),
        false => format!("kafka://{}", list.replace(' ', "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "kafka")]
    #[test]
    fn a_cluster_is_read_with_its_names() {
        let all = "kafka://a:9092,b.example:9093?group=g&jobs-topic=j&events-topic=e&partitions=3&replication=2";
        let JobBus::Kafka(brokers) = all.parse().unwrap() else {
            panic!("no Kafka");
        };
        assert_eq!(brokers.addresses, "a:9092,b.example:9093");
        assert_eq!(brokers.group.as_deref(), Some("g"));
        assert_eq!(brokers.jobs_topic.as_deref(), Some("j"));
        assert_eq!(brokers.events_topic.as_deref(), Some("e"));
        assert_eq!(
            (brokers.partitions, brokers.replication),
            (Some(3), Some(2))
        );
        let listed = from_kafka_variables(&["a:9092, [::1]:9092".to_owned()]);
        assert_eq!(listed, "kafka://a:9092,[::1]:9092");
        assert!(matches!(listed.parse(), Ok(JobBus::Kafka(_))));
    }

    #[test]
    fn what_is_no_bus_is_refused() {
        assert_eq!("database".parse(), Ok(JobBus::Database));
        for text in [
            "",
            "redis://a:1",
            "kafka://",
            "kafka://a",
            "kafka://a:0",
            "kafka://user:password@a:9092",
            "kafka://a:9092,",
            "kafka://a:9092?partitions=0",
            "kafka://a:9092?group=",
            "kafka://a:9092?tls=true",
        ] {
            assert!(text.parse::<JobBus>().is_err(), "{text}");
        }
    }

    #[cfg(not(feature = "kafka"))]
    #[test]
    fn a_build_without_kafka_says_so() {
        let why = "kafka://a:9092".parse::<JobBus>().unwrap_err();
        assert!(why.contains("--features kafka"), "{why}");
    }
}
