//! Events that have left the store for another tier, as the log reads them.
//!
//! The log does not know where they are. What is promised to it: of a stream only a stretch from its
//! start is ever cold, never its last event; and an event is taken out of the store only after
//! whoever asks here is told of it. So a reader looks into the store first and asks here then, and
//! misses nothing.

use futures_util::future::BoxFuture;
use tidewire_db::Result;

use crate::{Event, Filter, Stretch};

/// From which end a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    Log,
    NewestFirst,
}

/// Strictly between two positions of a log, or two places of a stream.
pub type Between = (u64, u64);

/// The tier behind the store. What it still has of what is in the store too, it may answer or not.
pub trait ColdRange: Send + Sync + 'static {
    /// Cold events of a stream (of a tenant) between two `seq`, about one subject if it is given, in
    /// their order.
    fn of_stream<'a>(
        &'a self,
        stream: (&'a str, &'a str),
        subject: Option<&'a str>,
        between: Between,
        most: Stretch,
    ) -> BoxFuture<'a, Result<Cold>>;

    /// Cold events of a tenant's log between two positions that the filter wants.
    fn of_log<'a>(
        &'a self,
        tenant: &'a str,
        filter: &'a Filter,
        between: Between,
        order: Order,
        most: Stretch,
    ) -> BoxFuture<'a, Result<Cold>>;
}

/// What is cold of a span.
#[derive(Clone, Debug, Default)]
pub struct Cold {
    pub events: Vec<Event>,
    /// How far along its way the tier has looked, this place included: behind it there may be more.
    /// `None` if that is all.
    pub looked: Option<u64>,
}
