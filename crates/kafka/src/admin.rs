//! The topics: there, or made; and whether anybody answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};
use tidewire_jobs::bus::BusError;
use tokio::task::spawn_blocking;

use crate::{KafkaSettings, context::Context};

/// How long the brokers may take to do something about topics.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long they may take to say that they are there; health checks wait two seconds.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
/// What brokers take without being told otherwise.
const USUAL_MOST: usize = 1_000_000;

pub(crate) struct Admin {
    client: Arc<AdminClient<Context>>,
    settings: Arc<KafkaSettings>,
    /// The topics were there once.
    are_ready: AtomicBool,
}

/// What all clients of ours have in common.
pub(crate) fn client(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "tidewire")
        // A broker that is back is found again soon.
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("log.connection.close", "false");
    config
}

pub(crate) fn failed(what: &str, error: &KafkaError) -> BusError {
    BusError::new(format!("{what}: {error}"))
}

impl Admin {
    pub(crate) fn new(settings: Arc<KafkaSettings>) -> Result<Self, BusError> {
        let client = client(&settings)
            .create_with_context(Context)
            .map_err(|error| failed("cannot make a client of Kafka", &error))?;
        Ok(Admin {
            client: Arc::new(client),
            settings,
            are_ready: AtomicBool::new(false),
        })
    }

    /// Makes the topics that are not there; the size of a message that all of them take.
    pub(crate) async fn ready_topics(&self) -> Result<usize, BusError> {
        let options = AdminOptions::new()
            .request_timeout(Some(PATIENCE))
            .operation_timeout(Some(PATIENCE));
        let (partitions, replication) = (self.settings.partitions, self.settings.replication);
        // A factor of -1 is the brokers' own default.
        let replication = replication.map_or(-1, i32::from);
        let topics = self.settings.topics().into_iter();
        let new: Vec<_> = topics
            .map(|name| {
                let replication = TopicReplication::Fixed(replication);
                NewTopic::new(name, partitions.into(), replication)
            })
            .collect();
        let made = self
            .client
            .create_topics(&new, &options)
            .await
            .map_err(|error| failed("the brokers do not answer", &error))?;
        for made in made {
            match made {
                Ok(topic) => tracing::info!(topic, partitions, "made a topic"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                // Somebody else may have made it, who alone may.
                Err((topic, code)) => {
                    if !self.has(&topic).await? {
                        return Err(BusError::new(format!(
                            "the topic `{topic}` is not there, and making it with {partitions} partitions failed: {code}: make it by hand, or let this account make topics"
                        )));
                    }
                }
            }
        }
        self.are_ready.store(true, Ordering::Relaxed);
        Ok(self.most(&options).await)
    }

    /// Asking for it by name would have some brokers make it, with their own number of partitions.
    async fn has(&self, topic: &str) -> Result<bool, BusError> {
        let (client, topic) = (Arc::clone(&self.client), topic.to_owned());
        let found = spawn_blocking(move || {
            let metadata = client.inner().fetch_metadata(None, PATIENCE)?;
            let mut topics = metadata.topics().iter();
            Ok(topics.any(|found| found.name() == topic))
        });
        let found = found.await.map_err(BusError::new)?;
        found.map_err(|error: KafkaError| {
            failed("the brokers do not say which topics there are", &error)
        })
    }

    /// Who may not read it learns it from what is refused.
    async fn most(&self, options: &AdminOptions) -> usize {
        let topics = self.settings.topics().map(ResourceSpecifier::Topic);
        let Ok(configs) = self.client.describe_configs(&topics, options).await else {
            return USUAL_MOST;
        };
        let mosts = configs.iter().filter_map(|config| {
            let entry = config.as_ref().ok()?.get("max.message.bytes")?;
            entry.value.as_ref()?.parse().ok()
        });
        mosts.min().unwrap_or(USUAL_MOST)
    }

    pub(crate) async fn answers(&self) -> Result<(), BusError> {
        if !self.are_ready.load(Ordering::Relaxed) {
            let ready = tokio::time::timeout(ANSWER_WITHIN, self.ready_topics());
            let ready = ready
                .await
                .map_err(|_| BusError::new("no broker answers"))?;
            return ready.map(|_| ());
        }
        let (client, settings) = (Arc::clone(&self.client), Arc::clone(&self.settings));
        let answer = spawn_blocking(move || {
            let topic = Some(settings.jobs_topic.as_str());
            client.inner().fetch_metadata(topic, ANSWER_WITHIN)
        });
        match answer.await.map_err(BusError::new)? {
            Ok(_) => Ok(()),
            Err(error) => Err(failed("no broker answers", &error)),
        }
    }
}
