//! What operators see. No label holds a host: there may be any number of them, and they are the tenants' business.

use std::time::Duration;

use crate::Error;

pub(crate) fn ended<T>(outcome: &Result<T, Error>, after: Duration) {
    let label = match outcome {
        Ok(_) => "answered",
        Err(error) => error.kind(),
    };
    metrics::counter!("tidewire_outbound_requests_total", "outcome" => label).increment(1);
    metrics::histogram!("tidewire_outbound_request_seconds").record(after);
    if let Err(Error::Refused { refusal, .. }) = outcome {
        let range = refusal.purpose.label();
        metrics::counter!("tidewire_outbound_refused_total", "range" => range).increment(1);
    }
}

pub(crate) fn connected() {
    metrics::counter!("tidewire_outbound_connections_total").increment(1);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "connections are counted in thousands at most"
)]
pub(crate) fn idle(connections: usize) {
    metrics::gauge!("tidewire_outbound_idle_connections").set(connections as f64);
}

/// Says what the metrics mean, once, when the process starts.
pub fn describe() {
    use metrics::{Unit::Seconds, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        "tidewire_outbound_requests_total",
        "requests to configured addresses: answered, or the kind of the failure"
    );
    describe_counter!(
        "tidewire_outbound_refused_total",
        "requests that the address policy refused, by the kind of the range"
    );
    describe_counter!(
        "tidewire_outbound_connections_total",
        "connections opened to configured addresses"
    );
    describe_gauge!(
        "tidewire_outbound_idle_connections",
        "open connections to configured addresses that no request uses"
    );
    describe_histogram!(
        "tidewire_outbound_request_seconds",
        Seconds,
        "from the call to the last byte of the answer, or to the failure"
    );
}
