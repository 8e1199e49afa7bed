//! The rules of threads, and what other rooms call.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use sha2::{Digest, Sha256};
use tidewire_access::{Answer, Answered, Request, RequestKeys};
use tidewire_core::{Clock, Time};
use tidewire_db::{Db, Hints, Reader, Result as DbResult};
use tidewire_events::{
    Events, Stretch,
    live::{Feeds, From, Line as _, Tail, Watch},
};
use tidewire_jobs::Jobs;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Error, Thread, ThreadEvent, ThreadSettings, Turn,
    accept::{Accept, Accepted, NewTurn},
    append::{Stored, ThreadAppend},
    event::NewThreadEvent,
    hot::{self, Embedded, HotLog, Kept, Once, OpenHotLog, Outbox},
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
    hot: Arc<dyn HotLog>,
    lines: Arc<Lines>,
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
    /// The hot log is a copy of its own: it alone numbers events.
    pub apart: bool,
    /// Tells that the server has something to say there.
    pub outbox: Outbox,
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
    /// Threads in the store alone. `shutdown` ends the endless streams.
    #[must_use]
    pub fn new(rooms: Rooms, settings: ThreadSettings, shutdown: CancellationToken) -> Self {
        Threads::with_hot_log(rooms, settings, None, shutdown)
    }

    /// The same with a hot log that is apart, if one is given.
    #[must_use]
    pub fn with_hot_log(
        rooms: Rooms,
        settings: ThreadSettings,
        open: Option<OpenHotLog>,
        shutdown: CancellationToken,
    ) -> Self {
        let Rooms {
            db,
            clock,
            events,
            jobs,
        } = rooms;
        let core = Arc::new(Core {
            store: Store::new(db.dialect(), db.hints().clone()),
            clock,
            events,
            jobs,
            hints: db.hints().clone(),
            feeds: Arc::default(),
            settings,
            seen: Mutex::default(),
            apart: open.is_some(),
            outbox: Outbox::default(),
        });
        let kept = Kept::new(&core, &db);
        let hot = match open {
            Some(open) => open(kept),
            None => Arc::new(Embedded::new(&core, &db, kept)),
        };
        let lines = Arc::new(Lines {
            hot: Arc::clone(&hot),
        });
        let watch = Watch {
            line: Arc::clone(&lines),
            feeds: Arc::clone(&core.feeds),
            hints: db.hints().clone(),
            poll_interval: settings.poll_interval,
        };
        let stop = shutdown.child_token();
        tokio::spawn(watch.run(stop.clone()));
        let inner = Inner {
            core,
            db,
            hot,
            lines,
            shutdown,
            _watch: stop.drop_guard(),
        };
        Threads {
            inner: Arc::new(inner),
        }
    }

    /// The hot log of this process.
    #[must_use]
    pub fn hot_log(&self) -> &Arc<dyn HotLog> {
        &self.inner.hot
    }

    pub(crate) fn weak(&self) -> Weak<Core> {
        Arc::downgrade(&self.inner.core)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.inner.core
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn read_store(&self) -> Reader {
        self.inner.db.read()
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    // --- turns ---

    /// Accepts a turn, or answers what was said when it was.
    pub async fn accept(&self, tenant: &Arc<str>, turn: NewTurn) -> Result<Accepted, Error> {
        let op = self.checked(tenant, turn)?;
        self.inner.hot.accept(&op, None).await
    }

    /// The same for a request with a key, which happens once.
    pub(crate) async fn accept_once(
        &self,
        keys: &RequestKeys,
        request: Request<'_>,
        key: &str,
        mut turn: NewTurn,
    ) -> Result<Answered, Error> {
        let answer = |accepted: &Accepted| Answer::new(accepted.status_code(), accepted);
        if self.inner.hot.is_apart() {
            let once = Once {
                key: digest(&["key", key]),
                body: digest(&["body", &String::from_utf8_lossy(request.body)]),
            };
            // The same request makes the same turn, also when its key is forgotten.
            let id = digest(&[request.tenant, request.route, key]);
            turn.turn_id
                .get_or_insert_with(|| format!("k-{}", &id[..32]));
            let op = self.checked(request.tenant, turn)?;
            let accepted = self.inner.hot.accept(&op, Some(once)).await?;
            let first = Accepted {
                created: true,
                ..accepted.clone()
            };
            return Ok(Answered {
                answer: answer(&first)?,
                replayed: !accepted.created,
            });
        }
        let op = self.checked(request.tenant, turn)?;
        let core = Arc::clone(&self.inner.core);
        keys.run::<Error, _>(request, move |tx| {
            let (core, op) = (Arc::clone(&core), op.clone());
            Box::pin(async move { Ok(answer(&core.accept_one_in(tx, &op).await?)?) })
        })
        .await
    }

    pub(crate) fn checked(&self, tenant: &Arc<str>, turn: NewTurn) -> Result<Accept, Error> {
        turn.check()?;
        Ok(turn.with_ids(tenant, &self.inner.core))
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
        self.inner.hot.cancel(&key, turn, reason).await?;
        self.turn(tenant, thread, turn).await
    }

    pub async fn turn(&self, tenant: &Arc<str>, thread: &str, turn: &str) -> Result<Turn, Error> {
        let key = ThreadKey::new(tenant, thread);
        let hot = self.inner.hot.turns(&key, Some(turn)).await?;
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        let found = store.turns(&mut read, &[(&key, turn)]).await?;
        let found = found.into_iter().next().map(|(_, turn)| turn);
        let found = hot::merged(&*self.inner.hot, &key, found, hot.first()).await?;
        found.ok_or_else(|| no_such_turn(&key, turn))
    }

    /// The turns of a thread, newest first, and the key behind which the next page begins.
    pub async fn turns(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Turn>, Option<String>), Error> {
        let key = self.existing(tenant, thread).await?;
        let log = &*self.inner.hot;
        // Before the store is read: what it has by then is left out below.
        let hot = log.turns(&key, None).await?;
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        let from = before.unwrap_or(LAST_ID);
        // One more than asked for tells whether there is a next page.
        let found = store.list_turns(&mut read, &key, from, limit + 1).await?;
        let (found, next) = paged(found, limit);
        let mut turns = Vec::with_capacity(found.len());
        let mut fresh: Vec<_> = hot.iter().collect();
        for stored in found {
            let of_it = hot.iter().find(|hot| hot.turn_id == stored.turn_id);
            fresh.retain(|hot| hot.turn_id != stored.turn_id);
            turns.extend(hot::merged(log, &key, Some(stored), of_it).await?);
        }
        if before.is_some() {
            return Ok((turns, next));
        }
        // The store will have them before the next page is asked for.
        let newest = turns.first().map_or(0, |turn| turn.seq);
        fresh.retain(|hot| hot.seq > newest);
        fresh.sort_by_key(|hot| hot.seq);
        for hot in fresh {
            let turn = hot::merged(log, &key, None, Some(hot)).await?;
            turns.splice(0..0, turn);
        }
        Ok((turns, next))
    }

    // --- threads ---

    pub async fn thread(&self, tenant: &Arc<str>, thread: &str) -> Result<Thread, Error> {
        let key = ThreadKey::new(tenant, thread);
        let (store, mut read) = (&self.inner.core.store, self.inner.db.read());
        let found = store.threads(&mut read, &[&key]).await?;
        let mut found: Vec<_> = found.into_values().collect();
        if found.is_empty() {
            found.extend(self.fresh(&key).await?);
        }
        let shown = self.shown(tenant, found).await?.into_iter().next();
        shown.ok_or_else(|| Error::NoSuchThread(thread.to_owned()))
    }

    /// The tenant's threads, newest first, and the key behind which the next page begins.
    pub async fn threads(
        &self,
        tenant: &Arc<str>,
        before: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Thread>, Option<String>), Error> {
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
        let keys: Vec<_> = rows
            .iter()
            .map(|row| ThreadKey::new(tenant, row.thread_id.as_str()))
            .collect();
        let ends = self.inner.hot.ends(&keys).await?;
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
        if store.threads(&mut read, &[&key]).await?.is_empty() && self.fresh(&key).await?.is_none()
        {
            return Err(Error::NoSuchThread(thread.to_owned()));
        }
        Ok(key)
    }

    /// A thread that the store does not know yet.
    async fn fresh(&self, key: &ThreadKey) -> Result<Option<ThreadRow>, Error> {
        if !self.inner.hot.is_apart() {
            return Ok(None);
        }
        let ends = self.inner.hot.ends(std::slice::from_ref(key)).await?;
        let Some(end) = ends.first().filter(|end| end.seq > 0) else {
            return Ok(None);
        };
        let turns = self.inner.hot.turns(key, None).await?;
        let began = turns.iter().map(|turn| turn.created_at).min();
        let now = self.inner.core.clock.now();
        Ok(Some(ThreadRow {
            thread_id: key.thread.to_string(),
            id: String::new(),
            idle_timeout_seconds: self.inner.core.settings.idle_timeout.as_secs(),
            created_at: began.or(end.at).unwrap_or(now),
            is_open: turns.iter().any(|turn| !turn.status.is_terminal()),
        }))
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
        self.inner.hot.append(&op).await
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
        // Before its first event there is nothing of it to look for, however much there is.
        let mut from = match turn {
            Some(turn) => match self.turn(tenant, thread, turn).await {
                Ok(turn) => after.max(turn.seq.saturating_sub(1)),
                Err(Error::NoSuchTurn { .. }) => after,
                Err(error) => return Err(error),
            },
            None => after,
        };
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
        let page = self.inner.hot.read(key, turn, (after, head), most).await?;
        Ok((page.events, head))
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

    /// Where a stream of one turn begins: not before its first event. Who has seen its end is given that
    /// once more: nothing else of it will come, and the stream has to end.
    async fn turn_start(
        &self,
        tenant: &Arc<str>,
        thread: &str,
        turn: &str,
        after: u64,
    ) -> Result<u64, Error> {
        let turn = self.turn(tenant, thread, turn).await?;
        let after = after.max(turn.seq.saturating_sub(1));
        Ok(match turn.ended_seq {
            Some(end) => after.min(end.saturating_sub(1)),
            None => after,
        })
    }
}

impl Core {
    /// What a lane or a follower writes with, for as long as the server runs.
    pub(crate) fn of(core: &Weak<Core>) -> DbResult<Arc<Core>> {
        let stopping = || tidewire_db::Error::Unavailable("the server is stopping".to_owned());
        core.upgrade().ok_or_else(stopping)
    }
}

pub(crate) fn no_such_turn(key: &ThreadKey, turn: &str) -> Error {
    Error::NoSuchTurn {
        thread: key.thread.to_string(),
        turn: turn.to_owned(),
    }
}

pub(crate) fn paged<T>(mut rows: Vec<(T, String)>, limit: u32) -> Paged<T> {
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

/// Of names that cannot be told apart otherwise.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}
