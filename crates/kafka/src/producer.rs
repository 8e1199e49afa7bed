//! Publishing, in order and for good.

use std::sync::Arc;

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _, PurgeConfig},
};
use tidewire_jobs::bus::{BusError, Message, Sent};

use crate::{
    KafkaSettings,
    admin::{client, failed},
    context::Context,
};

/// What the protocol puts around a message in a batch, at most, besides its headers.
const AROUND: usize = 512;

pub(crate) struct Producer {
    inner: Option<FutureProducer<Context>>,
    settings: Arc<KafkaSettings>,
    /// Bytes of a message.
    most: usize,
}

impl Producer {
    /// `most` is the size of a batch that every topic takes.
    pub(crate) fn new(settings: Arc<KafkaSettings>, most: usize) -> Result<Self, BusError> {
        let mut config = client(&settings);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Nothing is given up while a broker is away: what is sent after something that was given
            // up would overtake it.
            .set("message.timeout.ms", "0")
            .set("linger.ms", "2")
            // A batch that is too large fails as a whole.
            .set("batch.size", most.clamp(1, 1_000_000).to_string())
            .set("message.max.bytes", most.clamp(1_000, 1_000_000_000).to_string())
            // As clients in Java do, for those who join topics by their keys.
            .set("partitioner", "murmur2_random");
        let inner = config
            .create_with_context(Context)
            .map_err(|error| failed("cannot make a producer of Kafka", &error))?;
        Ok(Producer {
            inner: Some(inner),
            settings,
            most: most.saturating_sub(AROUND),
        })
    }

    /// Returns when all of it is written, however long that takes.
    pub(crate) async fn send(&self, messages: &[Message]) -> Result<Vec<Sent>, BusError> {
        let Some(producer) = &self.inner else {
            return Err(BusError::new("the producer is closed"));
        };
        let mut underway = Vec::with_capacity(messages.len());
        for message in messages {
            underway.push(if message.value.len() + message.key.len() > self.most {
                None
            } else {
                self.hand_over(producer, message)?
            });
        }
        let mut sent = Vec::with_capacity(messages.len());
        for delivery in underway {
            let delivery = match delivery {
                None => {
                    sent.push(Sent::TooLarge);
                    continue;
                }
                Some(delivery) => delivery.await.map_err(BusError::new)?,
            };
            sent.push(match delivery {
                Ok(_) => Sent::Done,
                Err((error, _)) if is_too_large(&error) => Sent::TooLarge,
                Err((error, _)) => return Err(failed("a message was not written", &error)),
            });
        }
        Ok(sent)
    }

    /// Its delivery, or nothing if the message is too large.
    fn hand_over(
        &self,
        producer: &FutureProducer<Context>,
        message: &Message,
    ) -> Result<Option<rdkafka::producer::DeliveryFuture>, BusError> {
        let mut record = FutureRecord::to(self.settings.topic(message.topic))
            .key(&*message.key)
            .payload(&message.value);
        if let Some((key, value)) = message.header {
            let header = Header {
                key,
                value: Some(value),
            };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        match producer.send_result(record) {
            Ok(delivery) => Ok(Some(delivery)),
            Err((error, _)) if is_too_large(&error) => Ok(None),
            Err((error, _)) => Err(failed("a message cannot be sent", &error)),
        }
    }
}

impl Drop for Producer {
    /// What it still has is not sent any more: the outbox has it.
    fn drop(&mut self) {
        if let Some(producer) = self.inner.take() {
            producer.purge(PurgeConfig::default().queue().inflight());
            // It waits for its threads.
            std::thread::spawn(move || drop(producer));
        }
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}
