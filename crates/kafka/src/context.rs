//! What librdkafka says besides, and what operators see of it.

use metrics::{describe_gauge, gauge};
use rdkafka::{
    ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext,
    error::KafkaError,
};

/// Its log is ours. A broker that is away is said again and again: whoever waits for it says it once,
/// in words of ours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{text}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics
            .topics
            .values()
            .flat_map(|topic| topic.partitions.values());
        // Below zero where it is not known, as for those that others consume.
        let lag: i64 = partitions
            .map(|partition| partition.consumer_lag.max(0))
            .sum();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a lag stays far below 2^52 messages"
        )]
        gauge!("tidewire_job_bus_lag").set(lag as f64);
    }
}

impl ConsumerContext for Context {}

/// HELP texts of this room's metrics.
pub fn describe() {
    describe_gauge!(
        "tidewire_job_bus_lag",
        "messages for workers that this process has still to hear, of its partitions"
    );
}
