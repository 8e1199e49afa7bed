//! What operators see of deliveries. No label names an endpoint: there may be any number of them.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::metrics::Latency;

const DELIVERIES: &str = "tidewire_deliveries_total";
const LATENCY: Latency = Latency {
    seconds: "tidewire_delivery_latency_seconds",
    recent: "tidewire_delivery_latency_seconds_recent",
};
const REQUEST: &str = "tidewire_delivery_request_seconds";
const CIRCUITS: &str = "tidewire_endpoint_circuits";
const HELD_UP: &str = "tidewire_deliveries_held_up";

pub(super) fn put_off() {
    counter!(DELIVERIES, "outcome" => "put_off").increment(1);
}

/// An attempt has ended so; its request took so long.
pub(super) fn tried(outcome: &'static str, took: Duration) {
    counter!(DELIVERIES, "outcome" => outcome).increment(1);
    histogram!(REQUEST).record(took);
}

/// So long after its firing a delivery was accepted.
pub(super) fn accepted(after: Duration) {
    LATENCY.record(std::iter::once(after));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "endpoints and deliveries in memory are counted in thousands"
)]
fn set(name: &'static str, label: (&'static str, &'static str), count: usize) {
    gauge!(name, label.0 => label.1).set(count as f64);
}

pub(super) fn circuits(open: usize, half_open: usize) {
    set(CIRCUITS, ("state", "open"), open);
    set(CIRCUITS, ("state", "half_open"), half_open);
}

pub(super) fn held_up(waiting: usize, parked: usize) {
    set(HELD_UP, ("where", "memory"), waiting);
    set(HELD_UP, ("where", "store"), parked);
}

pub(crate) fn describe() {
    describe_counter!(
        DELIVERIES,
        "deliveries by how an attempt ended (success, retry, failure, gone), and those that were put off before one"
    );
    LATENCY.describe("from the firing to the answer that accepted it, retries and waits included");
    describe_histogram!(
        REQUEST,
        Unit::Seconds,
        "a delivery's request alone, from the look-up to the last byte of the answer"
    );
    describe_gauge!(
        CIRCUITS,
        "endpoints that this process does not deliver to freely, by the state of their circuits"
    );
    describe_gauge!(
        HELD_UP,
        "deliveries that wait for their endpoint: in memory, or put off in the store as far as this process remembers"
    );
}
