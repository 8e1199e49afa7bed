//! The log: append, read, follow, count.
//!
//! The table `events` is authoritative. Each tenant's log has a gapless position `pos`, each stream
//! in it a gapless `seq`; both are given inside the transaction that stores the event, so commit
//! order is `pos` order and a reader that goes by `pos > n` can skip nothing. Where several
//! processes append, a lock for each tenant, held to the commit, keeps that order. A `dedupe_key` is
//! remembered in `event_keys` as a hash, for ever, and answers duplicates by itself. The live feed
//! is a hint in memory, and so is what processes tell each other: whoever is behind reads the table.

mod cloudevents;
mod cold;
mod depth;
mod error;
mod gather;
mod http;
pub mod live;
mod migrations;
mod model;
mod number;
mod rates;
mod service;
mod store;
mod tail;
mod tiers;

pub use cold::{Between, Cold, ColdRange, Order};
pub use depth::{DEPTH_HEADER, MAX_DEPTH, depth};
pub use error::Error;
pub use gather::{Run, Stretch};
pub use http::routes;
pub use migrations::MIGRATIONS;
pub use model::{Appended, Event, Filter, MAX_BATCH, MAX_PAYLOAD, NewEvent};
pub use service::{Append, Events, Page, Settings, StreamEnd};
pub use tail::Logs;

/// HELP texts of this room's metrics.
pub fn describe_metrics() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!("tidewire_events_appended_total", "events stored");
    describe_counter!(
        "tidewire_events_duplicated_total",
        "events whose dedupe key was seen before"
    );
    describe_gauge!("tidewire_event_tail_subscribers", "open tails of the log");
}
