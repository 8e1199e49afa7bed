//! The job bus of this process.

use std::sync::Arc;

use tidewire_http::Health;
use tidewire_jobs::bus::{Database, JobBus};

use crate::config;

/// Nothing is connected before it is needed.
pub(super) fn open(named: &config::JobBus) -> Arc<dyn JobBus> {
    match named {
        config::JobBus::Database => Arc::new(Database),
        config::JobBus::Kafka(brokers) => kafka(brokers),
    }
}

#[cfg(feature = "kafka")]
fn kafka(brokers: &config::Brokers) -> Arc<dyn JobBus> {
    let mut settings = tidewire_kafka::KafkaSettings::new(&brokers.addresses);
    let set = |place: &mut String, named: &Option<String>| {
        if let Some(name) = named {
            place.clone_from(name);
        }
    };
    set(&mut settings.group, &brokers.group);
    set(&mut settings.jobs_topic, &brokers.jobs_topic);
    set(&mut settings.events_topic, &brokers.events_topic);
    settings.partitions = brokers.partitions.unwrap_or(settings.partitions);
    settings.replication = brokers.replication;
    Arc::new(tidewire_kafka::Kafka::new(settings))
}

/// The configuration has refused it.
#[cfg(not(feature = "kafka"))]
fn kafka(_: &config::Brokers) -> Arc<dyn JobBus> {
    Arc::new(Database)
}

/// `/health` says whether the bus answers.
pub(super) fn register(health: &Health, bus: &Arc<dyn JobBus>) {
    let bus = Arc::clone(bus);
    health.register("job_bus", move || {
        let bus = Arc::clone(&bus);
        async move { bus.check().await }
    });
}

/// HELP texts of the metrics that the bus makes.
pub(super) fn describe_metrics() {
    #[cfg(feature = "kafka")]
    tidewire_kafka::describe_metrics();
}
