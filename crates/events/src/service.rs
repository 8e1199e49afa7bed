//! The log's rules, and what other rooms call.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::NaiveDate;
use futures_util::Stream;
use tidewire_core::{Clock, Problem, ids};
use tidewire_db::{Batch, Db, Hints, Keep, Lane, Query as _, Result as DbResult, Tx};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Appended, Error, Event, Filter, Growth, NewEvent,
    feed::{Chunk, Feeds},
    number::{self, Ends},
    store::Store,
    tail,
    watch::{self, Watch},
};

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an event can stay unnoticed by a follower if every wake-up is lost.
    pub poll_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            poll_interval: Duration::from_secs(5),
        }
    }
}

/// How much is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub events: u32,
    /// Of payloads. The first event is read whatever its size.
    pub bytes: usize,
}

/// Behind every position.
const LAST: u64 = (1 << 48) - 1;

/// Events that are read before it is known how large they are.
const FIRST_READ: u32 = 32;

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) store: Arc<Store>,
    pub(crate) feeds: Arc<Feeds>,
    lane: Lane<Appends>,
    /// Ends the endless streams when the server stops.
    pub(crate) shutdown: CancellationToken,
    /// Ends the watch over other processes' appends with the last handle, if not before.
    _watch: DropGuard,
}

/// One request's events: stored whole or not at all.
#[derive(Debug)]
pub(crate) struct Append {
    pub tenant: Arc<str>,
    /// The name of the lock that keeps a tenant's log in one order.
    lock: Box<str>,
    pub salt: u32,
    pub events: Vec<NewEvent>,
}

impl Append {
    pub(crate) fn new(tenant: Arc<str>, events: Vec<NewEvent>) -> Self {
        Append {
            lock: format!("events/{tenant}").into(),
            salt: ids::tenant_salt(&tenant),
            tenant,
            events,
        }
    }
}

/// The lane of appends.
#[derive(Clone)]
struct Appends {
    store: Arc<Store>,
    feeds: Arc<Feeds>,
    hints: Hints,
    clock: Clock,
    ends: Arc<Mutex<Ends>>,
}

/// Bytes that count as much as one event, so that a round of large payloads stays small.
const BYTES_A_ROW: usize = 8 << 10;

impl Batch for Appends {
    type In = Append;
    type Out = Result<Vec<Appended>, Error>;

    const NAME: &'static str = "append";
    const RANK: u8 = 90;
    const ROUND: usize = 1000;
    const WRITER: &'static str = "events";

    fn weight(&self, op: &Append) -> usize {
        let bytes: usize = op.events.iter().map(NewEvent::bytes).sum();
        op.events.len().max(bytes / BYTES_A_ROW)
    }

    /// Step (a): from here to the commit nobody else appends for these tenants, so that the commits
    /// of a log come in the order of its positions.
    fn lock<'o>(&self, op: &'o Append) -> Option<&'o str> {
        Some(&op.lock)
    }

    async fn apply<'a>(&'a self, tx: &'a mut Tx, ops: &'a [Append]) -> DbResult<Vec<Self::Out>> {
        let hashes = number::hashes(ops);
        let mut ends = self.remembered(tx);
        self.store.find_ends(tx, ops, &mut ends).await?;
        let known = self.store.find_keys(tx, ops, &hashes).await?;
        let plan = number::number(ops, &hashes, &mut ends, known, self.clock.now());
        self.store.insert(tx, &plan).await?;
        self.announce(tx, &plan);
        self.remember(tx, ends);
        Ok(plan.answers)
    }
}

/// Streams whose ends are remembered; past it, memory starts anew.
const STREAMS_REMEMBERED: usize = 50_000;

impl Appends {
    /// What the last batch left, where nobody else can have appended since. It is taken out, and
    /// only a commit brings it back: after a failure it is read from the store again.
    fn remembered(&self, tx: &Tx) -> Ends {
        if !tx.dialect().sole_writer {
            return Ends::default();
        }
        std::mem::take(&mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember(&self, tx: &mut Tx, ends: Ends) {
        if !tx.dialect().sole_writer || ends.len() > STREAMS_REMEMBERED {
            return;
        }
        let memory = Arc::clone(&self.ends);
        tx.on_commit(move || *memory.lock().unwrap_or_else(PoisonError::into_inner) = ends);
    }

    /// Hands the events to those who follow their tenants, once they are committed.
    fn announce(&self, tx: &mut Tx, plan: &number::Plan<'_>) {
        let (stored, duplicates) = (plan.events.len() as u64, plan.duplicates as u64);
        // A round has few tenants, and nearly always one.
        let mut ends: Vec<(&str, u64)> = Vec::new();
        for event in &plan.events {
            match ends.iter_mut().find(|(tenant, _)| *tenant == event.tenant) {
                Some((_, last)) => *last = event.pos,
                None => ends.push((event.tenant, event.pos)),
            }
        }
        let told: Vec<_> = ends
            .into_iter()
            .map(|(tenant, last)| {
                let events = plan.events.iter().filter(|event| event.tenant == tenant);
                let live = self
                    .feeds
                    .get(tenant)
                    .and_then(|feed| Some((feed, Chunk::planned(events)?)));
                (Arc::<str>::from(tenant), last, live)
            })
            .collect();
        let (feeds, hints) = (Arc::clone(&self.feeds), self.hints.clone());
        tx.on_commit(move || {
            metrics::counter!("tidewire_events_appended_total").increment(stored);
            metrics::counter!("tidewire_events_duplicated_total").increment(duplicates);
            for (tenant, last, live) in told {
                if let Some((feed, chunk)) = live {
                    feed.publish(chunk);
                }
                // Who began to follow between here and the commit has no chunk, but needs the
                // wake-up.
                feeds.committed(&tenant, last);
                let value = i64::try_from(last).unwrap_or(i64::MAX);
                hints.send(watch::TOPIC, &tenant, value, Keep::Greatest);
            }
        });
    }
}

impl Events {
    #[must_use]
    pub fn new(db: Db, clock: Clock, settings: Settings, shutdown: CancellationToken) -> Self {
        let store = Arc::new(Store::new(db.dialect()));
        let feeds = Arc::new(Feeds::default());
        let appends = Appends {
            store: Arc::clone(&store),
            feeds: Arc::clone(&feeds),
            hints: db.hints().clone(),
            clock,
            ends: Arc::default(),
        };
        let lane = db.lane(appends);
        let watch = Watch {
            db: db.clone(),
            store: Arc::clone(&store),
            feeds: Arc::clone(&feeds),
            poll_interval: settings.poll_interval,
        };
        let stop = shutdown.child_token();
        tokio::spawn(watch.run(stop.clone()));
        Events {
            inner: Arc::new(Inner {
                db,
                store,
                feeds,
                lane,
                shutdown,
                _watch: stop.drop_guard(),
            }),
        }
    }

    /// Appends events, all or none; answered once they are durable.
    pub async fn append(
        &self,
        tenant: &Arc<str>,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Appended>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        self.inner
            .lane
            .submit(Append::new(Arc::clone(tenant), events))
            .await?
    }

    /// One event by its id.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<Event, Error> {
        let unknown = || Error::NoSuchEvent(id.to_owned());
        let pos = ids::event_pos(id).ok_or_else(unknown)?;
        let event = self
            .inner
            .store
            .at(&mut self.inner.db.read(), tenant, pos)
            .await?;
        event.filter(|event| event.id == id).ok_or_else(unknown)
    }

    /// Events before `before` (a position), newest first.
    pub async fn list(
        &self,
        tenant: &str,
        filter: &Filter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        Ok(self
            .inner
            .store
            .newest(&mut self.inner.db.read(), tenant, filter, before, limit)
            .await?)
    }

    /// Events behind a position, in the order of the log.
    pub async fn after(&self, tenant: &str, pos: u64, most: Stretch) -> Result<Vec<Event>, Error> {
        let mut read = self.inner.db.read();
        let (mut found, mut bytes, mut from): (Vec<Event>, usize, u64) = (Vec::new(), 0, pos);
        let mut limit = most.events.min(FIRST_READ);
        while limit > 0 {
            let some = self
                .inner
                .store
                .following(&mut read, tenant, &Filter::default(), (from, LAST), limit)
                .await?;
            let is_all = (some.len() as u64) < u64::from(limit);
            for event in some {
                bytes += event.payload.get().len();
                if bytes > most.bytes && !found.is_empty() {
                    return Ok(found);
                }
                from = event.pos;
                found.push(event);
            }
            if is_all {
                break;
            }
            // As many as fit if they are like those before.
            let fit = (most.bytes - bytes.min(most.bytes)) / (bytes / found.len()).max(1);
            let left = most
                .events
                .saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            limit = left.min(u32::try_from(fit).unwrap_or(u32::MAX));
        }
        Ok(found)
    }

    /// The positions of the last events of these tenants' logs; 0 where there is none.
    pub async fn heads(&self, tenants: &[Arc<str>]) -> Result<Vec<(String, u64)>, Error> {
        let mut read = self.inner.db.read();
        Ok(self.inner.store.heads(&mut read, tenants).await?)
    }

    /// Tells which logs grow. Nothing is watched at first.
    #[must_use]
    pub fn growth(&self) -> Growth {
        Growth::new(&self.inner.feeds)
    }

    /// The position of the last event of a tenant's log; 0 if there is none.
    pub async fn head(&self, tenant: &str) -> Result<u64, Error> {
        let mut read = self.inner.db.read();
        Ok(self.inner.store.head(&mut read, tenant).await?)
    }

    /// How many events were stored on each UTC day that has any, both ends inclusive.
    pub async fn received_by_day(
        &self,
        tenant: &str,
        from: NaiveDate,
        to: NaiveDate,
    ) -> Result<Vec<(NaiveDate, u64)>, Error> {
        Ok(self
            .inner
            .store
            .received_by_day(&mut self.inner.db.read(), tenant, from, to)
            .await?)
    }

    /// Server-sent frames from `from` on, then live.
    pub(crate) async fn tail(
        &self,
        tenant: Arc<str>,
        filter: Filter,
        from: tail::From,
    ) -> Result<impl Stream<Item = Bytes> + Send + 'static, Error> {
        tail::follow(Arc::clone(&self.inner), tenant, filter, from).await
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }
}

/// Reads where a follower wants to start: a position, an event's id, or `0` for the start.
pub(crate) fn position(name: &str, text: &str) -> Result<u64, Problem> {
    let digits = text.len() < ids::LENGTH && text.bytes().all(|byte| byte.is_ascii_digit());
    let pos = if digits {
        text.parse().ok()
    } else {
        ids::event_pos(text)
    };
    pos.ok_or_else(|| {
        Problem::invalid(
            name,
            format!(
                "`{}` is neither an event's id nor a position",
                tidewire_core::problem::clip(text)
            ),
        )
    })
}
