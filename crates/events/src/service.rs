//! The log's rules, and what other rooms call.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::NaiveDate;
use futures_util::Stream;
use tidewire_core::{Clock, Problem, Time, ids};
use tidewire_db::{Batch, Db, Hints, Keep, Lane, Query as _, Result as DbResult, Tx};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Appended, ColdRange, Error, Event, Filter, NewEvent, Order, Run, Stretch,
    gather::Gather,
    live::{self, Growth, Line as _, Tail, Watch},
    number::{self, Ends},
    store::Store,
    tail::{self, Feeds, Logs},
    tiers::Tiers,
};

#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an event can stay unnoticed by a follower if every wake-up is lost.
    pub poll_interval: Duration,
    /// How the names of streams begin that other rooms keep for themselves.
    pub reserved: &'static [&'static str],
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            poll_interval: Duration::from_secs(5),
            reserved: &[],
        }
    }
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamEnd {
    /// 0 if it has no event.
    pub seq: u64,
    /// When its last event was stored.
    pub at: Option<Time>,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Event>,
    /// The position before which to go on; `None` at the end. A page may be short of events and not
    /// be the last: looking for what is rare in the cold tier has its bounds.
    pub next: Option<u64>,
}

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    store: Arc<Store>,
    logs: Arc<Logs>,
    feeds: Arc<Feeds>,
    appends: Appends,
    lane: Lane<Appends>,
    reserved: &'static [&'static str],
    /// Ends the endless streams when the server stops.
    shutdown: CancellationToken,
    /// Ends the watch over other processes' appends with the last handle, if not before.
    _watch: DropGuard,
}

/// One request's events: stored whole or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    pub(crate) tenant: Arc<str>,
    lock: Box<str>,
    pub(crate) salt: u32,
    pub(crate) events: Vec<NewEvent>,
}

impl Append {
    #[must_use]
    pub fn new(tenant: Arc<str>, events: Vec<NewEvent>) -> Self {
        Append {
            lock: format!("events/{tenant}").into(),
            salt: ids::tenant_salt(&tenant),
            tenant,
            events,
        }
    }

    /// The name of the lock that keeps a tenant's log in one order.
    #[must_use]
    pub fn lock(&self) -> &str {
        &self.lock
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
                let tenant = Arc::<str>::from(tenant);
                let live = self
                    .feeds
                    .get(&tenant)
                    .and_then(|feed| Some((feed, tail::planned(events)?)));
                (tenant, last, live)
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
                hints.send(Logs::TOPIC, &Logs::hint(&tenant), value, Keep::Greatest);
            }
        });
    }
}

impl Events {
    #[must_use]
    pub fn new(db: Db, clock: Clock, settings: Settings, shutdown: CancellationToken) -> Self {
        Events::with_cold(db, clock, settings, None, shutdown)
    }

    /// A log of which a part may lie in another tier.
    #[must_use]
    pub fn with_cold(
        db: Db,
        clock: Clock,
        settings: Settings,
        cold: Option<Arc<dyn ColdRange>>,
        shutdown: CancellationToken,
    ) -> Self {
        let store = Arc::new(Store::new(db.dialect()));
        let feeds = Arc::new(Feeds::default());
        let appends = Appends {
            store: Arc::clone(&store),
            feeds: Arc::clone(&feeds),
            hints: db.hints().clone(),
            clock,
            ends: Arc::default(),
        };
        let lane = db.lane(appends.clone());
        let logs = Arc::new(Logs {
            tiers: Tiers {
                db: db.clone(),
                store: Arc::clone(&store),
                cold,
            },
        });
        let watch = Watch {
            line: Arc::clone(&logs),
            feeds: Arc::clone(&feeds),
            hints: db.hints().clone(),
            poll_interval: settings.poll_interval,
        };
        let stop = shutdown.child_token();
        tokio::spawn(watch.run(stop.clone()));
        Events {
            inner: Arc::new(Inner {
                db,
                store,
                logs,
                feeds,
                appends,
                lane,
                reserved: settings.reserved,
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

    /// Refuses a stream that another room keeps for itself.
    pub(crate) fn check_open(&self, pointer: &str, event: &NewEvent) -> Result<(), Problem> {
        let kept = |start: &&&str| event.stream.starts_with(**start);
        let Some(start) = self.inner.reserved.iter().find(kept) else {
            return Ok(());
        };
        let text = format!(
            "is `{}`, and streams that begin with `{start}` are not written here",
            event.stream
        );
        Err(Problem::invalid(format!("{pointer}/stream"), text))
    }

    /// Appends inside the caller's transaction: stored exactly if it commits, and told then. Each
    /// operation is taken or refused by itself. To be called last in the transaction: from here to
    /// the commit nobody else appends for these tenants.
    pub async fn append_in(
        &self,
        tx: &mut Tx,
        appends: &[Append],
    ) -> Result<Vec<Result<Vec<Appended>, Error>>, Error> {
        let locks = appends.iter().map(Append::lock).collect();
        tx.lock(&locks).await?;
        Ok(self.append_locked_in(tx, appends).await?)
    }

    /// The same in a batch whose operations have the [locks](Append::lock) of these appends.
    pub async fn append_locked_in(
        &self,
        tx: &mut Tx,
        appends: &[Append],
    ) -> DbResult<Vec<Result<Vec<Appended>, Error>>> {
        if appends.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.appends.apply(tx, appends).await
    }

    /// One event by its id.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<Event, Error> {
        let unknown = || Error::NoSuchEvent(id.to_owned());
        let pos = ids::event_pos(id).ok_or_else(unknown)?;
        let event = self.inner.logs.tiers.at(tenant, pos).await?;
        event.filter(|event| event.id == id).ok_or_else(unknown)
    }

    /// A page of events before `before` (a position), newest first.
    pub async fn list(
        &self,
        tenant: &str,
        filter: &Filter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page, Error> {
        let mut between = (0, before.unwrap_or(u64::MAX));
        if filter.from.is_some() || filter.to.is_some() {
            let (store, mut read) = (&self.inner.store, self.inner.db.read());
            between = store
                .narrow_by_days(&mut read, tenant, filter, between)
                .await?;
        }
        // One more than asked for tells whether there is a next page.
        let tiers = &self.inner.logs.tiers;
        let mut seen = tiers
            .of_log(tenant, filter, between, Order::NewestFirst, limit + 1)
            .await?;
        if seen.events.len() > limit as usize {
            seen.events.truncate(limit as usize);
            seen.edge = seen.events.last().map(|event| event.pos);
        }
        Ok(Page {
            events: seen.events,
            next: seen.edge,
        })
    }

    /// Events behind a position, in the order of the log.
    pub async fn after(&self, tenant: &str, pos: u64, most: Stretch) -> Result<Vec<Event>, Error> {
        let tiers = &self.inner.logs.tiers;
        let filter = Filter::default();
        let mut gather = Gather::new(most);
        while let Some((edge, limit)) = gather.next() {
            let between = (edge.unwrap_or(pos), u64::MAX);
            let seen = tiers
                .of_log(tenant, &filter, between, Order::Log, limit)
                .await?;
            gather.take(seen);
        }
        Ok(gather.done().events)
    }

    /// Events of a stream behind one `seq` up to and including another, about one subject if it is
    /// given, in their order.
    pub async fn of_stream(
        &self,
        stream: (&str, &str),
        subject: Option<&str>,
        (after, until): (u64, u64),
        most: Stretch,
    ) -> DbResult<Run> {
        let tiers = &self.inner.logs.tiers;
        let mut gather = Gather::new(most);
        while let Some((edge, limit)) = gather.next() {
            let between = (edge.unwrap_or(after), until.saturating_add(1));
            let seen = tiers.of_stream(stream, subject, between, limit).await?;
            gather.take(seen);
        }
        Ok(gather.done())
    }

    /// Deletes the oldest stored events of a stream up to a `seq`, at most so many; how many it were.
    /// Its last event stays, whatever is asked: by it the log knows where it goes on.
    ///
    /// To be called for what the cold tier answers for by now.
    pub async fn trim(
        &self,
        (tenant, stream): (&str, &str),
        until: u64,
        limit: u32,
    ) -> DbResult<u64> {
        let events = self.clone();
        let of = Arc::<(String, String)>::new((tenant.to_owned(), stream.to_owned()));
        let trim = self.inner.db.transact("events.trim", move |tx: &mut Tx| {
            let (events, of) = (events.clone(), Arc::clone(&of));
            Box::pin(async move { events.trim_in(tx, (&of.0, &of.1), until, limit).await })
        });
        trim.await
    }

    /// The same inside the caller's transaction.
    pub async fn trim_in(
        &self,
        tx: &mut Tx,
        stream: (&str, &str),
        until: u64,
        limit: u32,
    ) -> DbResult<u64> {
        self.inner.store.trim(tx, stream, until, limit).await
    }

    /// Puts events back that were trimmed, as they were. Those that are there are left alone.
    pub async fn put_back_in(&self, tx: &mut Tx, tenant: &str, events: &[Event]) -> DbResult<u64> {
        self.inner.store.put_back(tx, tenant, events).await
    }

    /// The first `seq` of a stream that the store has.
    pub async fn first_stored(&self, stream: (&str, &str)) -> DbResult<Option<u64>> {
        let mut read = self.inner.db.read();
        self.inner.store.first_of(&mut read, stream).await
    }

    /// When the oldest event of a tenant that the store has was stored.
    pub async fn oldest_stored(&self, tenant: &str) -> DbResult<Option<Time>> {
        let mut read = self.inner.db.read();
        self.inner.store.oldest(&mut read, tenant).await
    }

    /// The names of a tenant's streams, in their order, behind one of them.
    pub async fn streams(&self, tenant: &str, behind: &str, limit: u32) -> DbResult<Vec<String>> {
        let mut read = self.inner.db.read();
        let mut names: Vec<String> = Vec::new();
        // One after the other: what lies between two names is not walked.
        while names.len() < limit as usize {
            let behind = names.last().map_or(behind, String::as_str);
            match self
                .inner
                .store
                .next_stream(&mut read, tenant, behind)
                .await?
            {
                Some(name) => names.push(name),
                None => break,
            }
        }
        Ok(names)
    }

    /// Where these streams (each with its tenant) end, in their order.
    pub async fn stream_ends(&self, streams: &[(&str, &str)]) -> DbResult<Vec<StreamEnd>> {
        let mut read = self.inner.db.read();
        self.inner.store.stream_ends(&mut read, streams).await
    }

    /// Which of these appends' events have keys that were seen before, each in its place.
    pub async fn known_in(&self, tx: &mut Tx, appends: &[Append]) -> Result<Vec<Vec<bool>>, Error> {
        let hashes = number::hashes(appends);
        let known = self.inner.store.find_keys(tx, appends, &hashes).await?;
        let of_one = |(append, hashes): (&Append, &Vec<Option<number::KeyHash>>)| {
            let is_known = |hash: &Option<number::KeyHash>| {
                hash.is_some_and(|hash| known.contains_key(&(&*append.tenant, hash)))
            };
            hashes.iter().map(is_known).collect()
        };
        Ok(appends.iter().zip(&hashes).map(of_one).collect())
    }

    /// Where in its stream each of this append's events stands, if its key was seen before.
    pub async fn known_seqs(&self, append: &Append) -> DbResult<Vec<Option<u64>>> {
        let appends = std::slice::from_ref(append);
        let hashes = number::hashes(appends);
        let mut read = self.inner.db.read();
        let known = self
            .inner
            .store
            .find_keys(&mut read, appends, &hashes)
            .await?;
        let of_one = |hash: &Option<number::KeyHash>| {
            let hash = (*hash)?;
            known.get(&(&*append.tenant, hash)).map(|first| first.seq)
        };
        Ok(hashes.iter().flatten().map(of_one).collect())
    }

    /// The positions of the last events of these tenants' logs; 0 where there is none.
    pub async fn heads(&self, tenants: &[Arc<str>]) -> Result<Vec<(String, u64)>, Error> {
        let mut read = self.inner.db.read();
        Ok(self.inner.store.heads(&mut read, tenants).await?)
    }

    /// Tells which logs grow. Nothing is watched at first.
    #[must_use]
    pub fn growth(&self) -> Growth<Logs> {
        Growth::new(&self.inner.feeds)
    }

    /// The position of the last event of a tenant's log; 0 if there is none.
    pub async fn head(&self, tenant: &str) -> Result<u64, Error> {
        let mut read = self.inner.db.read();
        Ok(self.inner.store.head(&mut read, tenant).await?)
    }

    /// When the first event at or behind a position was stored that the database has.
    pub(crate) async fn stored_from(&self, tenant: &str, pos: u64) -> DbResult<Option<Time>> {
        let mut read = self.inner.db.read();
        self.inner.store.stored_from(&mut read, tenant, pos).await
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
        tenant: &Arc<str>,
        filter: Filter,
        from: live::From,
    ) -> Result<impl Stream<Item = Bytes> + Send + 'static, Error> {
        let Inner { logs, feeds, .. } = &*self.inner;
        let tail = Tail::start(Arc::clone(logs), feeds, tenant, filter, from).await?;
        let tail = tail.map_err(|beyond| Error::BeyondEnd {
            pos: beyond.pos,
            end: beyond.end,
        })?;
        // A log has no end.
        Ok(tail.frames(Bytes::new()))
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
