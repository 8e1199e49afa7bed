//! The seam of the hot log: where turns are accepted, events appended and followed first.
//!
//! `embedded` is the store itself: what is appended is in its tables when it is acknowledged. A log
//! that is *apart* takes turns and events by itself, in one atomic step each, and numbers them; its
//! persister moves them to the store in the order of each thread, where jobs are queued and settled.
//! What such a log needs of the store is [`Kept`]. The rules are the same ones ([`crate::after`]), and
//! every engine passes the same suite.

mod embedded;
mod kept;
mod persist;
mod view;

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::{BoxFuture, Result as DbResult};
use tidewire_events::{StreamEnd, Stretch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{embedded::Embedded, kept::Outbox, view::merged};
pub use self::{
    kept::{Block, Cold, Kept, Known, Memory, Unsaid},
    persist::Entry,
};
use crate::{Accepted, Error, Stored, TurnStatus};
pub use crate::{
    accept::Accept, append::ThreadAppend, event::ThreadEvent, line::Lines, model::ThreadKey,
};

/// A hot log.
pub trait HotLog: Send + Sync + 'static {
    /// As logs and `/health` name it.
    fn name(&self) -> &'static str;

    /// Whether it is a copy of its own, before the store.
    fn is_apart(&self) -> bool;

    /// Accepts a turn, or answers what was said when it was. With `once` a request that came with the
    /// same key before is answered as then.
    fn accept<'a>(
        &'a self,
        turn: &'a Accept,
        once: Option<Once>,
    ) -> BoxFuture<'a, Result<Accepted, Error>>;

    /// Appends events, all or none, under the rules of their turns.
    fn append<'a>(&'a self, op: &'a ThreadAppend) -> BoxFuture<'a, Result<Vec<Stored>, Error>>;

    /// Cancels a turn that has not ended; cancelling what is cancelled changes nothing.
    fn cancel<'a>(
        &'a self,
        key: &'a ThreadKey,
        turn: &'a str,
        reason: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Where threads end, in their order; at 0 where there is none.
    fn ends<'a>(&'a self, keys: &'a [ThreadKey]) -> BoxFuture<'a, DbResult<Vec<StreamEnd>>>;

    /// What a thread has behind one `seq` up to and including another, of one turn if it is named,
    /// wherever it is kept.
    fn read<'a>(
        &'a self,
        key: &'a ThreadKey,
        turn: Option<&'a str>,
        span: (u64, u64),
        most: Stretch,
    ) -> BoxFuture<'a, DbResult<Page>>;

    /// What it knows of a thread's turns, or of one of them, that the store may not know yet.
    fn turns<'a>(
        &'a self,
        key: &'a ThreadKey,
        turn: Option<&'a str>,
    ) -> BoxFuture<'a, DbResult<Vec<HotTurn>>>;

    /// Whether it answers, or in a few words why not, fit for anybody's eyes.
    fn check(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Moves to the store what was taken, until it is told to stop.
    fn persist(&self, stop: CancellationToken) -> BoxFuture<'_, ()>;

    /// How much was taken and is not in the store, as this process's persister last saw it.
    fn behind(&self) -> u64;
}

/// Makes a hot log that is apart.
pub type OpenHotLog = Box<dyn FnOnce(Kept) -> Arc<dyn HotLog> + Send>;

/// A request that happens once.
#[derive(Clone, Debug)]
pub struct Once {
    /// A hash of the request's key.
    pub key: String,
    /// A hash of its body: another one under the same key is refused.
    pub body: String,
}

/// Some of a thread's events, in their order.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<ThreadEvent>,
    /// There was no more in the span.
    pub is_all: bool,
}

/// A turn as a hot log that is apart knows it.
#[derive(Clone, Debug)]
pub struct HotTurn {
    pub turn_id: String,
    pub status: TurnStatus,
    /// Of its first event.
    pub seq: u64,
    pub ended_seq: Option<u64>,
    pub created_at: Time,
}
