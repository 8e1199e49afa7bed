//! The settings of servers of Tidewire that change while they run: a config like any other, for agents
//! with the label [`crate::SERVERS`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidewire_core::{Problem, json, name};

const MOST_QUEUES: usize = 10_000;
const MOST: u32 = 1_000_000;

/// What is not said is as the server was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    #[serde(default)]
    pub queues: BTreeMap<String, QueueSettings>,
    /// Requests a second to one endpoint of deliveries, of each process.
    pub endpoint_rate: Option<u32>,
    /// Firings a second of one event trigger.
    pub event_rate: Option<u32>,
    pub log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// Jobs of the queue that run at once, in each tenant and over all workers.
    pub concurrency: Option<u32>,
    /// Nothing of it is begun.
    #[serde(default)]
    pub paused: bool,
}

impl ServerSettings {
    /// Reads a config. What makes no sense is named by its place.
    pub fn parse(config: &RawValue) -> Result<Self, Problem> {
        let settings: ServerSettings =
            tidewire_http::parse(config.get().as_bytes()).map_err(|problem| {
                let under = problem.under("/config");
                match under.errors.first() {
                    Some(first) => Problem::invalid(first.pointer.clone(), first.detail.clone()),
                    None => under,
                }
            })?;
        if settings.queues.len() > MOST_QUEUES {
            let detail = format!("names more than {MOST_QUEUES} queues");
            return Err(Problem::invalid("/config/queues", detail));
        }
        for (queue, of) in &settings.queues {
            let place = format!("/config/queues/{}", json::escape(queue));
            name::check(queue, name::ID_MAX)
                .map_err(|detail| Problem::invalid(place.clone(), detail))?;
            within(&format!("{place}/concurrency"), of.concurrency)?;
        }
        within("/config/endpoint_rate", settings.endpoint_rate)?;
        within("/config/event_rate", settings.event_rate)?;
        Ok(settings)
    }

    /// How many jobs of each queue may run at once, where `started` is what the server was started
    /// with. A queue that is paused has none.
    #[must_use]
    pub fn queue_limits(&self, started: &BTreeMap<String, u32>) -> BTreeMap<String, u32> {
        let mut limits = started.clone();
        for (queue, of) in &self.queues {
            let limit = if of.paused { Some(0) } else { of.concurrency };
            limits.extend(limit.map(|limit| (queue.clone(), limit)));
        }
        limits
    }
}

fn within(place: &str, number: Option<u32>) -> Result<(), Problem> {
    match number {
        None | Some(1..=MOST) => Ok(()),
        Some(number) => Err(Problem::invalid(
            place,
            format!("must be 1 to {MOST}, it is {number}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerSettings, Problem> {
        ServerSettings::parse(&RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn queues_are_limited_and_paused_and_others_stay() {
        let settings = parse(
            r#"{"queues": {"mail": {"concurrency": 5}, "render": {"concurrency": 9, "paused": true}, "plain": {}}}"#,
        );
        let started = BTreeMap::from([("mail".to_owned(), 1), ("slow".to_owned(), 2)]);
        let limits = settings.unwrap().queue_limits(&started);
        let expected = [("mail", 5), ("render", 0), ("slow", 2)];
        assert_eq!(
            limits,
            expected.map(|(queue, n)| (queue.to_owned(), n)).into()
        );
    }

    #[test]
    fn what_makes_no_sense_is_named_by_its_place() {
        for (bad, place) in [
            (r#"{"queus": {}}"#, "/config"),
            (r#"{"queues": {"a b": {}}}"#, "/config/queues/a b"),
            (
                r#"{"queues": {"a": {"concurrency": 0}}}"#,
                "/config/queues/a/concurrency",
            ),
            (r#"{"queues": {"a": {"limit": 1}}}"#, "/config/queues/a"),
            (r#"{"event_rate": 1000001}"#, "/config/event_rate"),
        ] {
            let problem = parse(bad).unwrap_err();
            assert!(problem.errors[0].pointer.starts_with(place), "{problem:?}");
        }
    }
}
