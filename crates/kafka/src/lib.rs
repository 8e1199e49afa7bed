//! Kafka as the job bus.
//!
//! The relay's messages are produced idempotently, with acks from all replicas in sync, and never given
//! up: while brokers are away they wait in the producer, in their order. Workers share the topic of
//! jobs as one consumer group, and an offset is committed after the claim that it stands for.
//!
//! This crate stands apart because a C library comes with it: who does not want Kafka does not build
//! it.

mod admin;
mod context;
mod feed;
mod producer;
mod settings;

use std::{
    sync::{Arc, Mutex as Sync, PoisonError},
    time::{Duration, Instant},
};

use tidewire_db::BoxFuture;
use tidewire_jobs::bus::{BusError, Feed, JobBus, Message, Sent};
use tokio::sync::Mutex;

use admin::Admin;
pub use context::describe as describe_metrics;
use producer::Producer;
pub use settings::KafkaSettings;

/// For how long an answer about the brokers' health is good.
const CHECKED_FOR: Duration = Duration::from_secs(1);

/// A cluster of brokers. Connections are made when they are needed, so a process starts without them.
pub struct Kafka {
    settings: Arc<KafkaSettings>,
    /// One at a time publishes: its messages may be thrown away without anybody else's.
    producer: Mutex<Option<Producer>>,
    admin: Sync<Option<Arc<Admin>>>,
    checked: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Kafka {
    #[must_use]
    pub fn new(settings: KafkaSettings) -> Self {
        Kafka {
            settings: Arc::new(settings),
            producer: Mutex::default(),
            admin: Sync::default(),
            checked: Mutex::default(),
        }
    }

    fn admin(&self) -> Result<Arc<Admin>, BusError> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(admin) = &*admin {
            return Ok(Arc::clone(admin));
        }
        let new = Arc::new(Admin::new(Arc::clone(&self.settings))?);
        *admin = Some(Arc::clone(&new));
        Ok(new)
    }

    async fn send(&self, messages: &[Message]) -> Result<Vec<Sent>, BusError> {
        let mut kept = self.producer.lock().await;
        let producer = match kept.take() {
            Some(producer) => producer,
            None => {
                let most = self.admin()?.ready_topics().await?;
                Producer::new(Arc::clone(&self.settings), most)?
            }
        };
        // A producer that has failed or was left half-way is not used again: what it still has goes
        // with it.
        let sent = producer.send(messages).await?;
        *kept = Some(producer);
        Ok(sent)
    }

    async fn answer(&self) -> Result<(), String> {
        let mut checked = self.checked.lock().await;
        if let Some((at, answer)) = &*checked
            && at.elapsed() < CHECKED_FOR
        {
            return answer.clone();
        }
        let answer = match self.admin() {
            Ok(admin) => admin.answers().await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| {
            tracing::debug!(%error, "the job bus does not answer");
            "does not answer".to_owned()
        });
        *checked = Some((Instant::now(), answer.clone()));
        answer
    }
}

impl JobBus for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn is_apart(&self) -> bool {
        true
    }

    fn publish<'a>(
        &'a self,
        messages: &'a [Message],
    ) -> BoxFuture<'a, Result<Vec<Sent>, BusError>> {
        Box::pin(self.send(messages))
    }

    fn subscribe(&self) -> Result<Box<dyn Feed>, BusError> {
        let admin = self.admin()?;
        Ok(Box::new(feed::Words::new(
            Arc::clone(&self.settings),
            admin,
        )))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.answer())
    }
}
