//! Which brokers, and which names there.

use tidewire_jobs::bus::Topic;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `HOST:PORT,…`: some of the cluster's brokers.
    pub brokers: String,
    /// The consumer group that workers share.
    pub group: String,
    pub jobs_topic: String,
    pub events_topic: String,
    /// Of a topic that is made here.
    pub partitions: u16,
    /// Of a topic that is made here; the brokers' default without it.
    pub replication: Option<u16>,
}

impl KafkaSettings {
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        KafkaSettings {
            brokers: brokers.into(),
            group: "tidewire-workers".to_owned(),
            jobs_topic: "trigger-jobs".to_owned(),
            events_topic: "trigger-events".to_owned(),
            partitions: 12,
            replication: None,
        }
    }

    pub(crate) fn topic(&self, topic: Topic) -> &str {
        match topic {
            Topic::Jobs => &self.jobs_topic,
            Topic::Events => &self.events_topic,
        }
    }

    pub(crate) fn topics(&self) -> [&str; 2] {
        [&self.jobs_topic, &self.events_topic]
    }
}
