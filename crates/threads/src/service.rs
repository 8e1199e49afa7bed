//! The rules of threads, and what other rooms call.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tidewire_core::{Clock, Time};
use tidewire_db::{Db, Hints, Lane, Tx};
use tidewire_events::{
    Events, Stretch,
    live::{Feeds, From, Line as _, Tail, Watch},
};
use tidewire_jobs::Jobs;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Error, Thread, ThreadEvent, ThreadSettings, Turn, TurnStatus,
    accept::{Accept, Accepted, Accepts, Asked, NewTurn, OnBusy},
    append::{Appends, Stored, ThreadAppend},
    event::NewThreadEvent,
    line::{Lines, Wanted},
    model::ThreadKey,
    state,
    store::{Store, ThreadRow},
};

/// What threads are built on.
pub struct Rooms {
    pub db: Db,
    pub clock: Clock,
    pub events: Events,
    pub jobs: Jobs,
}

/// Threads and their turns. Cheap to clone.
#[derive(Clone)]
pub struct Threads {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    db: Db,
    lines: Arc<Lines>,
    accepts: Lane<Accepts>,
    appends: Lane<Appends>,
    /// Ends the endless streams when the server stops.
    shutdown: CancellationToken,
    /// Ends the watch over other processes' appends with the last handle, if not before.
    _watch: DropGuard,
}

/// What lanes and followers write with.
pub(crate) struct Core {
    pub store: Arc<Store>,
    pub clock: Clock,
    pub events: Events,
    pub jobs: Jobs,
    pub hints: Hints,
    pub feeds: Arc<Feeds<Lines>>,
    pub settings: ThreadSettings,
    /// Threads that are there.
    pub seen: Mutex<HashSet<ThreadKey>>,
}

/// How an answer with events is bounded, beside their number.
const READ_BYTES: usize = 8 << 20;

/// What stands at the end of a stream that has one.
const FAREWELL: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Behind every id.
const LAST_ID: &str = "~";

/// A page of a list, and where the next begins.
pub(crate) type Paged<T> = (Vec<T>, Option<String>);

impl Threads {
    /// `shutdown` ends the endless streams.
    #[must_use]
    pub fn new(rooms: Rooms, settings: ThreadSettings, shutdown: CancellationToken) -> Self {
        let Rooms {
            db,
            clock,
            events,
            jobs,
        } = rooms;
        let core = Arc::new(Core {
            store: Store::new(db.dialect()),
            clock,
            events: events.clone(),
            jobs,
            hints: db.hints().clone(),
            feeds: Arc::default(),
            settings,
            seen: Mutex::default(),
        });
        let lines = Arc::new(Lines { events });
        let watch = Watch {
            line: Arc::clone(&lines),
            feeds: Arc::clone(&core.feeds),
            hints: db.hints().clone(),
            poll_interval: settings.poll_interval,
        };
        let stop = shutdown.child_token();
        tokio::spawn(watch.run(stop.clone()));
        let inner = Inner {
            accepts: db.lane(Accepts(Arc::downgrade(&core))),
            appends: db.lane(Appends(Arc::downgrade(&core))),
            core,
            db,
            lines,
            shutdown,
            _watch: stop.drop_guard(),
        };
        Threads {
            inner: Arc::new(inner),
        }
    }

    pub(crate) fn weak(&self) -> Weak<Core> {
        Arc::downgrade(&self.inner.core)
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    // --- turns ---

    /// Accepts a turn, or answers what was said when it was.
    pub async fn accept(&self, tenant: &Arc<str>, turn: NewTurn) -> Result<Accepted, Error> {
        let op = self.checked(tenant, turn)?;
        match self.inner.accepts.submit(op.clone()).await?? {
            Asked::Accepted(accepted) => Ok(accepted),
            Asked::Interrupts => {
                let core = Arc::clone(&self.inner.core);
                self.inner
                    .db
                    .transact("threads.interrupt", move |tx| {
                        let (core, op) = (Arc::clone(&core), op.clone());
                        Box::pin(async move { core.accept_one_in(tx, &op).await })
                    })
                    .await
            }
        }
    }

    pub(crate) fn checked(&self, tenant: &Arc<str>, turn: NewTurn) -> Result<Accept, Error> {
        turn.check()?;
        Ok(turn.with_ids(tenant, &self.inner.core))
    }

    /// The same inside the caller's transaction.
    pub(crate) async fn accept_in(&self, tx: &mut Tx, op: &Accept) -> Result<Accepted, Error> {
        self.inner.core.accept_one_in(tx, op).await
    }

    /// Cancels a turn that has not ended; cancelling what is cancelled changes nothing.
    pub async fn cancel(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        turn: &str,
        reason: Option<&str>,
    ) -> Result<Turn, Error> {
        let key = ThreadKey::new(tenant, thread);
        let (turn, reason) = (turn.to_owned(), reason.map(str::to_owned));
        let core = Arc::clone(&self.inner.core);
        self.inner
            .db
            .transact("threads.cancel", move |tx| {
                let (core, key) = (Arc::clone(&core), key.clone());
                let (turn, reason) = (turn.clone(), reason.clone());
                Box::pin(async move {
                    core.cancel_in(tx, &key, &[&turn], reason.as_deref(), true)
                        .await?;
                    let found = core.store.turns(tx, &[(&key, &turn)]).await?;
                    let found = found.into_iter().next().map(|(_, turn)| turn);
                    let found = found.ok_or_else(|| no_such_turn(&key, &turn))?;
                    match found.status {
                        TurnStatus::Cancelled => Ok(found),
                        status => Err(Error::Over { turn, status }),
                    }
                })
            })
            .await
    }

    pub async fn turn(&self, tenant: &Arc<str>, thread: &str, turn: &str) -> Result<Turn, Error> {
        let key = ThreadKey::new(tenant, thread);
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        let found = store.turns(&mut read, &[(&key, turn)]).await?;
        let found = found.into_iter().next().map(|(_, turn)| turn);
        found.ok_or_else(|| no_such_turn(&key, turn))
    }

    /// The turns of a thread, newest first.
    pub(crate) async fn turns(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Paged<Turn>, Error> {
        let key = self.existing(tenant, thread).await?;
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        let before = before.unwrap_or(LAST_ID);
        // One more than asked for tells whether there is a next page.
        let found = store.list_turns(&mut read, &key, before, limit + 1).await?;
        Ok(paged(found, limit))
    }

    // --- threads ---

    pub async fn thread(&self, tenant: &Arc<str>, thread: &str) -> Result<Thread, Error> {
        let key = ThreadKey::new(tenant, thread);
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        let found = store.threads(&mut read, &[&key]).await?;
        let found = found.into_values().collect();
        let shown = self.shown(tenant, found).await?.into_iter().next();
        shown.ok_or_else(|| Error::NoSuchThread(thread.to_owned()))
    }

    /// The tenant's threads, newest first.
    pub(crate) async fn threads(
        &self,
        tenant: &Arc<str>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Paged<Thread>, Error> {
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        let before = before.unwrap_or(LAST_ID);
        let found = store
            .list_threads(&mut read, tenant, before, limit + 1)
            .await?;
        let ids: Vec<_> = found.iter().map(|row| row.id.clone()).collect();
        let shown = self.shown(tenant, found).await?;
        Ok(paged(shown.into_iter().zip(ids).collect(), limit))
    }

    async fn shown(&self, tenant: &Arc<str>, rows: Vec<ThreadRow>) -> Result<Vec<Thread>, Error> {
        let streams: Vec<_> = rows
            .iter()
            .map(|row| ThreadKey::new(tenant, row.thread_id.as_str()).stream())
            .collect();
        let pairs: Vec<_> = streams
            .iter()
            .map(|stream| (&**tenant, stream.as_str()))
            .collect();
        let ends = self.inner.core.events.stream_ends(&pairs).await?;
        let now = self.inner.core.clock.now();
        Ok(rows
            .into_iter()
            .zip(ends)
            .map(|(row, end)| shown(tenant, row, (end.seq, end.at), now))
            .collect())
    }

    /// The thread, if it is there.
    async fn existing(&self, tenant: &Arc<str>, thread: &str) -> Result<ThreadKey, Error> {
        let key = ThreadKey::new(tenant, thread);
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        if store.threads(&mut read, &[&key]).await?.is_empty() {
            return Err(Error::NoSuchThread(thread.to_owned()));
        }
        Ok(key)
    }

    // --- events ---

    /// Appends events to a thread, all or none; answered once they are durable.
    pub async fn append(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        events: Vec<NewThreadEvent>,
    ) -> Result<Vec<Stored>, Error> {
        for (place, event) in events.iter().enumerate() {
            event
                .check(thread)
                .map_err(|problem| problem.under(&format!("/{place}")))?;
        }
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let op = ThreadAppend::new(ThreadKey::new(tenant, thread), events);
        if op.is_plain()
            && let Some(stored) = self.inner.appends.submit(op.clone()).await?
        {
            return Ok(stored);
        }
        let core = Arc::clone(&self.inner.core);
        self.inner
            .db
            .transact("threads.append", move |tx| {
                let (core, op) = (Arc::clone(&core), op.clone());
                Box::pin(async move { core.append_in(tx, &op).await })
            })
            .await
    }

    /// Events of a thread behind a `seq`, of one turn if it is given. If there are none it waits for
    /// the first for so long.
    pub async fn events(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        turn: Option<&str>,
        (after, limit): (u64, u32),
        wait: Duration,
    ) -> Result<Vec<ThreadEvent>, Error> {
        let key = self.existing(tenant, thread).await?;
        let deadline = tokio::time::Instant::now() + wait;
        let mut follower = self.inner.core.feeds.follow(&key);
        let mut from = after;
        loop {
            let (events, seen) = self.read(&key, turn, (from, limit)).await?;
            if !events.is_empty() || wait.is_zero() {
                return Ok(events);
            }
            from = seen.max(from);
            let ended = tokio::select! {
                () = follower.beyond(from) => false,
                () = tokio::time::sleep_until(deadline) => true,
                () = self.inner.shutdown.cancelled() => true,
            };
            if ended {
                return Ok(Vec::new());
            }
        }
    }

    /// A page of events, and how far the thread was seen to reach.
    async fn read(
        &self,
        key: &ThreadKey,
        turn: Option<&str>,
        (after, limit): (u64, u32),
    ) -> Result<(Vec<ThreadEvent>, u64), Error> {
        let heads = self.inner.lines.heads(std::slice::from_ref(key)).await?;
        let head = heads.first().map_or(0, |(_, head)| *head);
        let most = Stretch {
            events: limit,
            bytes: READ_BYTES,
        };
        let stream = key.stream();
        let run = self
            .inner
            .core
            .events
            .of_stream((&key.tenant, &stream), turn, (after, head), most)
            .await?;
        let events = run.events.into_iter();
        let events: Result<_, _> = events
            .map(|event| ThreadEvent::of_log(&key.thread, event))
            .collect();
        Ok((events?, head))
    }

    /// Server-sent frames behind a `seq`, then live; of one turn up to its end, if it is given.
    pub(crate) async fn stream(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        turn: Option<String>,
        after: u64,
    ) -> Result<impl Stream<Item = Bytes> + Send + 'static, Error> {
        let key = self.existing(tenant, thread).await?;
        let from = match &turn {
            Some(turn) => self.turn_start(tenant, thread, turn, after).await?,
            None => after,
        };
        let wanted = Wanted { turn };
        let (lines, feeds) = (Arc::clone(&self.inner.lines), &self.inner.core.feeds);
        let tail = Tail::start(lines, feeds, &key, wanted, From::After(from)).await?;
        let tail = tail.map_err(|beyond| Error::BeyondEnd {
            seq: beyond.pos,
            end: beyond.end,
        })?;
        Ok(tail.frames(FAREWELL))
    }

    /// Where a stream of one turn begins. Who has seen its end is given that once more: nothing else
    /// of it will come, and the stream has to end.
    async fn turn_start(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        turn: &str,
        after: u64,
    ) -> Result<u64, Error> {
        let turn = self.turn(tenant, thread, turn).await?;
        Ok(match turn.ended_seq {
            Some(end) => after.min(end.saturating_sub(1)),
            None => after,
        })
    }
}

impl Core {
    /// Accepts one turn, whatever has to be cancelled for it first.
    async fn accept_one_in(self: &Arc<Self>, tx: &mut Tx, op: &Accept) -> Result<Accepted, Error> {
        if op.on_busy == OnBusy::Interrupt {
            let known = self.store.turns(tx, &[(&op.key, &op.turn_id)]).await?;
            let open = self.store.open(tx, &[&op.key]).await?;
            let open = open.into_values().flatten();
            let open: Vec<_> = open.map(|turn| turn.turn_id).collect();
            if known.is_empty() && !open.is_empty() {
                let open: Vec<_> = open.iter().map(String::as_str).collect();
                let reason = format!("interrupted by the turn {}", op.turn_id);
                self.cancel_in(tx, &op.key, &open, Some(&reason), false)
                    .await?;
            }
        }
        let answers = self.accept_in(tx, &[op]).await?;
        match answers.into_iter().next() {
            Some(Ok(Asked::Accepted(accepted))) => Ok(accepted),
            Some(Err(error)) => Err(error),
            // It came between the look and the lock.
            Some(Ok(Asked::Interrupts)) | None => {
                Err(tx.yield_to_others("another turn has come").into())
            }
        }
    }
}

fn no_such_turn(key: &ThreadKey, turn: &str) -> Error {
    Error::NoSuchTurn {
        thread: key.thread.to_string(),
        turn: turn.to_owned(),
    }
}

fn paged<T>(mut rows: Vec<(T, String)>, limit: u32) -> Paged<T> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().map(|(_, id)| id.clone()).filter(|_| more);
    (rows.into_iter().map(|(row, _)| row).collect(), next)
}

fn shown(tenant: &str, row: ThreadRow, (seq, at): (u64, Option<Time>), now: Time) -> Thread {
    let last = at.unwrap_or(row.created_at);
    let timeout = Duration::from_secs(row.idle_timeout_seconds);
    Thread {
        thread_id: row.thread_id,
        tenant_id: tenant.to_owned(),
        status: state::thread(row.is_open, last, timeout, now),
        last_seq: seq,
        idle_timeout_seconds: row.idle_timeout_seconds,
        created_at: row.created_at,
        updated_at: last,
    }
}
