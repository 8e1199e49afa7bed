//! What workers hear: one consumer of their group for each of them.
//!
//! A partition belongs to one consumer at a time; when that changes, what was handed out and not yet
//! committed is heard twice. Offsets are stored here once their messages were dealt with, and committed
//! by the library within a second, when partitions are given away, and at the end.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tidewire_db::BoxFuture;
use tidewire_jobs::bus::{BusError, Feed, JobMessage, Wanted};

use crate::{
    KafkaSettings,
    admin::{Admin, client, failed},
    context::Context,
};

type Consumer = StreamConsumer<Context>;

/// How long a worker that is gone without a word keeps its partitions. The store covers for it.
const SESSION: Duration = Duration::from_secs(10);

pub(crate) struct Words {
    settings: Arc<KafkaSettings>,
    admin: Arc<Admin>,
    consumer: Option<Consumer>,
    /// Behind what was handed out.
    upto: TopicPartitionList,
}

impl Words {
    pub(crate) fn new(settings: Arc<KafkaSettings>, admin: Arc<Admin>) -> Self {
        Words {
            settings,
            admin,
            consumer: None,
            upto: TopicPartitionList::new(),
        }
    }

    async fn join(&self) -> Result<Consumer, BusError> {
        // A topic that is made later would be found a while later.
        self.admin.ready_topics().await?;
        let mut config = client(&self.settings);
        config
            .set("group.id", &self.settings.group)
            .set("session.timeout.ms", SESSION.as_millis().to_string())
            .set("heartbeat.interval.ms", "2000")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("enable.auto.offset.store", "false")
            // What is read ahead here is not kept from the store's own claims, but it is memory.
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "4096")
            .set("statistics.interval.ms", "5000");
        let consumer: Consumer = config
            .create_with_context(Context)
            .map_err(|error| failed("cannot make a consumer of Kafka", &error))?;
        consumer
            .subscribe(&[&self.settings.jobs_topic])
            .map_err(|error| failed("cannot join the workers' group", &error))?;
        Ok(consumer)
    }

    async fn hear(&mut self, most: usize) -> Result<Vec<Wanted>, BusError> {
        if self.consumer.is_none() {
            self.consumer = Some(self.join().await?);
        }
        let Some(consumer) = &self.consumer else {
            return Ok(Vec::new());
        };
        let mut wanted = Vec::new();
        loop {
            // The first is waited for, and whatever is here already comes along.
            let message = if wanted.is_empty() {
                consumer.recv().await
            } else {
                match consumer.recv().now_or_never() {
                    Some(message) => message,
                    None => return Ok(wanted),
                }
            };
            match message {
                Ok(message) => {
                    let behind = Offset::Offset(message.offset() + 1);
                    let (topic, partition) = (message.topic(), message.partition());
                    if let Some(mut known) = self.upto.find_partition(topic, partition) {
                        known.set_offset(behind).map_err(BusError::new)?;
                    } else {
                        self.upto
                            .add_partition_offset(topic, partition, behind)
                            .map_err(BusError::new)?;
                    }
                    wanted.extend(read(&message));
                }
                Err(error) if passes(&error) => {
                    tracing::debug!(%error, "the job bus is away, or has moved");
                }
                Err(error) => return Err(failed("nothing is heard from Kafka", &error)),
            }
            if wanted.len() >= most {
                return Ok(wanted);
            }
        }
    }
}

/// Nothing for what is not ours, or of another age: the store has it all.
fn read(message: &BorrowedMessage<'_>) -> Option<Wanted> {
    let read = JobMessage::read(message.payload().unwrap_or_default());
    if let Err(error) = &read {
        tracing::warn!(
            %error,
            topic = message.topic(),
            partition = message.partition(),
            offset = message.offset(),
            "a message for workers cannot be read, it is passed over"
        );
    }
    read.ok()
}

/// What the library gets over by itself.
fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::PollExceeded
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::RebalanceInProgress
        )
    )
}

impl Feed for Words {
    fn next(&mut self, most: usize) -> BoxFuture<'_, Result<Vec<Wanted>, BusError>> {
        Box::pin(self.hear(most))
    }

    fn done(&mut self) -> Result<(), BusError> {
        let upto = std::mem::replace(&mut self.upto, TopicPartitionList::new());
        let Some(consumer) = &self.consumer else {
            return Ok(());
        };
        for partition in upto.elements() {
            let stored = consumer.store_offset(
                partition.topic(),
                partition.partition(),
                // The library adds one.
                partition.offset().to_raw().map_or(0, |behind| behind - 1),
            );
            // Given away meanwhile: whoever has it now hears the same again, and finds it taken.
            if let Err(error) = stored {
                tracing::debug!(%error, partition = partition.partition(), "an offset was not stored");
            }
        }
        Ok(())
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            // It says good-bye to the group and waits for the answer.
            std::thread::spawn(move || drop(consumer));
        }
    }
}
