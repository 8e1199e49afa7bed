//! Matches events with event triggers: follows the log of each tenant that has any.
//!
//! **Exactly once.** A tenant's cursor says how far its log has been matched. Firings are written in
//! the transaction that moves the cursor past their events, and only by who has locked it and found
//! it where the firings were worked out from. So any number of matchers may run, and be killed at any
//! point. Where nothing fires the cursor need not move: to look at such events again finds nothing
//! again (see below), and an append costs no write.
//!
//! **None is skipped.** Positions of a log are committed in their order, so whoever reads behind a
//! position misses none. Triggers are read after the events, in a later statement, which sees all
//! that was committed before it began. Let a trigger's save be committed before an event was
//! appended: then whoever sees the event sees the trigger too. That the cursor has passed an event
//! before the trigger was seen means that the event was stored before the trigger's save was
//! committed, and such an event need not count.
//!
//! **None before.** A trigger counts events behind the end of the log at its save (`from_pos`). When
//! its config is replaced, what was stored until then still counts for the old one, as a span, until
//! it has been matched; when it is switched off or deleted, nothing counts any more.
//!
//! What the firings go by is read outside their transaction, so that a store with one writer is held
//! no longer than writing takes; the transaction asks whether the triggers that fire are what they
//! were, and if not it all starts again.
//!
//! An append in this process, or a hint of another, wakes it at once. Every poll interval it looks
//! by itself. Logs take turns, each with so much work at a time, so that a flood in one does not hold
//! up the others.

mod book;
mod round;
mod scan;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidewire_db::{Hint, Hints, Keep, Reach};
use tidewire_events::{Logs, live::Growth};
use tokio::{
    sync::broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Triggers, metrics,
    service::Inner,
    store::{Followed, Place},
};
use round::{Log, Went};

/// Where processes tell each other of event triggers that were saved: the key is the tenant.
const SAVED: &str = "event_triggers";
/// How often the tenants with event triggers are asked for where other processes cannot tell.
const UNTOLD: Duration = Duration::from_secs(1);
/// The first wait after a failure, or where another process has the cursor; it doubles.
const PAUSE: Duration = Duration::from_millis(20);
/// What it grows to while another process has the cursor.
const LONGEST_TURN: Duration = Duration::from_millis(500);
/// Events that are too deep are told of once in so long.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// What matchers of this process share with those who save triggers and those who ask.
pub(crate) struct Matching {
    saved: broadcast::Sender<Arc<str>>,
    behind: AtomicU64,
}

impl Default for Matching {
    fn default() -> Self {
        Matching {
            saved: broadcast::Sender::new(1024),
            behind: AtomicU64::new(0),
        }
    }
}

impl Matching {
    /// An event trigger of this tenant was saved and is active.
    pub(crate) fn saved(&self, hints: &Hints, tenant: &Arc<str>) {
        // Nobody may be listening.
        let _ = self.saved.send(Arc::clone(tenant));
        hints.send(SAVED, tenant, 0, Keep::Greatest);
    }
}

impl Triggers {
    /// Matches events with event triggers until it is told to stop. Any number of processes may.
    pub async fn keep_matching(&self, stop: CancellationToken) {
        let matcher = Matcher::new(Arc::clone(&self.inner));
        tokio::select! {
            () = stop.cancelled() => {}
            () = matcher.work() => {}
        }
    }

    /// How many events wait to be matched, as far as the matcher of this process knows; 0 where none
    /// runs.
    #[must_use]
    pub fn events_behind(&self) -> u64 {
        self.inner.matching.behind.load(Ordering::Relaxed)
    }
}

struct Matcher {
    inner: Arc<Inner>,
    growth: Growth<Logs>,
    saved: broadcast::Receiver<Arc<str>>,
    hints: broadcast::Receiver<Arc<Hint>>,
    logs: HashMap<Arc<str>, Log>,
    /// Those that may have something, in the order of their turns.
    queue: VecDeque<Arc<str>>,
    look_at: Instant,
    /// The last look, or the one before it, failed.
    failing: bool,
    told_too_deep: Option<Instant>,
}

impl Matcher {
    fn new(inner: Arc<Inner>) -> Self {
        Matcher {
            growth: inner.events.growth(),
            saved: inner.matching.saved.subscribe(),
            hints: inner.db.hints().subscribe(),
            logs: HashMap::new(),
            queue: VecDeque::new(),
            look_at: Instant::now(),
            failing: false,
            told_too_deep: None,
            inner,
        }
    }

    async fn work(mut self) {
        loop {
            self.hear();
            if self.look_at <= Instant::now() {
                self.look_again().await;
            }
            match self.next() {
                Some(tenant) => self.turn(tenant).await,
                None => self.wait().await,
            }
            self.say_how_far();
        }
    }

    // --- what is to be done ---

    /// Takes in what was said so far.
    fn hear(&mut self) {
        for (tenant, head) in self.growth.take() {
            if let Some(log) = self.logs.get_mut(&tenant) {
                log.head = log.head.max(head);
                self.queue(tenant);
            }
        }
        loop {
            match self.saved.try_recv() {
                Ok(tenant) => self.was_saved(&tenant),
                Err(TryRecvError::Lagged(_)) => self.look_at = Instant::now(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        loop {
            match self.hints.try_recv() {
                Ok(hint) => self.was_told(&hint),
                Err(TryRecvError::Lagged(_)) => self.look_at = Instant::now(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }

    /// Triggers are read anew for each batch of events, so what matters is whose log to follow.
    fn was_saved(&mut self, tenant: &str) {
        if !self.logs.contains_key(tenant) {
            self.look_at = Instant::now();
        }
    }

    fn was_told(&mut self, hint: &Hint) {
        match hint {
            Hint::One { topic, key, .. } if topic == SAVED => self.was_saved(key),
            Hint::One { .. } => {}
            Hint::Everything => self.look_at = Instant::now(),
        }
    }

    fn queue(&mut self, tenant: Arc<str>) {
        if let Some(log) = self.logs.get_mut(&tenant)
            && !std::mem::replace(&mut log.is_queued, true)
        {
            self.queue.push_back(tenant);
        }
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<Arc<str>> {
        let now = Instant::now();
        for _ in 0..self.queue.len() {
            let tenant = self.queue.pop_front()?;
            let Some(log) = self.logs.get_mut(&tenant) else {
                continue;
            };
            if log.rests_until.is_some_and(|until| until > now) {
                self.queue.push_back(tenant);
                continue;
            }
            log.is_queued = false;
            return Some(tenant);
        }
        None
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self) {
        let rests = |tenant| self.logs.get(tenant).and_then(|log| log.rests_until);
        let soonest = self.queue.iter().filter_map(rests).min();
        let until = soonest.map_or(self.look_at, |soonest| soonest.min(self.look_at));
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.growth.changed() => {}
            saved = self.saved.recv() => match saved {
                Ok(tenant) => self.was_saved(&tenant),
                // The sender is in `inner`: it cannot be closed.
                Err(_) => self.look_at = Instant::now(),
            },
            () = relevant(&mut self.hints) => self.look_at = Instant::now(),
        }
    }

    /// Which logs are to be followed, and how far each reaches.
    async fn look_again(&mut self) {
        let began = Instant::now();
        match self.look().await {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "it cannot be read whose events are to be matched, it will be tried again");
                }
            }
        }
        let interval = self.inner.fire.settings.poll_interval;
        let pause = match self.inner.db.hints().reach() {
            _ if self.failing => interval.min(UNTOLD),
            Reach::Alone | Reach::Told => interval,
            // However many triggers there are, no more than a fifth of a connection's time.
            Reach::Polled => interval.min(UNTOLD.max(began.elapsed() * 4)),
        };
        self.look_at = Instant::now() + pause;
    }

    async fn look(&mut self) -> Result<(), Error> {
        let Inner {
            store, db, events, ..
        } = &*self.inner;
        let followed = store.followed(&mut db.read()).await?;
        let tenants: Vec<_> = followed.iter().map(|of| Arc::clone(&of.tenant)).collect();
        self.growth.watch(tenants.iter().map(Arc::clone));
        // Read last: no cursor and no trigger can be ahead of it.
        let heads: HashMap<String, u64> = events.heads(&tenants).await?.into_iter().collect();
        let kept: HashSet<&Arc<str>> = tenants.iter().collect();
        self.logs.retain(|tenant, _| kept.contains(tenant));
        for of in followed {
            let head = heads.get(&*of.tenant).copied().unwrap_or(0);
            self.follow(of, head).await?;
        }
        Ok(())
    }

    async fn follow(&mut self, of: Followed, head: u64) -> Result<(), Error> {
        let tenant = Arc::clone(&of.tenant);
        let log = self.logs.entry(Arc::clone(&tenant)).or_default();
        log.look(&of, head);
        if log.place > Place::behind(head) || of.counts_from.1 > head {
            // The log was restored from an older copy, or emptied.
            if let Some(place) = round::start_again(&self.inner, &tenant).await? {
                log.stored = Some(place.pos);
                log.place = place;
            }
        }
        if log.place.pos < log.head {
            self.queue(tenant);
        }
        Ok(())
    }

    // --- doing it ---

    /// One batch of a log.
    async fn turn(&mut self, tenant: Arc<str>) {
        let Some(log) = self.logs.get_mut(&tenant) else {
            return;
        };
        let longest = self.inner.fire.settings.poll_interval;
        let deep = match round::round(&self.inner, &tenant, log).await {
            Ok(Went::On { too_deep }) => {
                log.rested(None);
                too_deep
            }
            Ok(Went::Taken) => {
                log.rests(PAUSE, LONGEST_TURN.min(longest));
                0
            }
            Err(error) => {
                if log.failures == 0 {
                    tracing::warn!(%error, tenant = &*tenant, "events cannot be matched, it will be tried again");
                }
                log.failures += 1;
                log.rests(PAUSE, longest);
                0
            }
        };
        let is_behind = log.place.pos < log.head;
        if is_behind {
            self.queue(Arc::clone(&tenant));
        }
        if deep > 0 {
            self.too_deep(&tenant, deep);
        }
    }

    fn too_deep(&mut self, tenant: &str, count: u64) {
        metrics::too_deep(count);
        let told = self.told_too_deep;
        if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            self.told_too_deep = Some(Instant::now());
            tracing::warn!(
                tenant,
                most = tidewire_events::MAX_DEPTH,
                "events are too many triggers deep and set off none: do triggers set each other off?"
            );
        }
    }

    fn say_how_far(&self) {
        let behind = self.logs.values().map(Log::behind).sum();
        let before = self.inner.matching.behind.swap(behind, Ordering::Relaxed);
        if before != behind {
            metrics::behind(behind);
        }
    }
}

impl Drop for Matcher {
    fn drop(&mut self) {
        self.inner.matching.behind.store(0, Ordering::Relaxed);
        metrics::behind(0);
    }
}

/// Waits for a hint that makes it necessary to look again.
async fn relevant(hints: &mut broadcast::Receiver<Arc<Hint>>) {
    loop {
        match hints.recv().await {
            Ok(hint) => match &*hint {
                Hint::One { topic, .. } if topic != SAVED => {}
                Hint::One { .. } | Hint::Everything => return,
            },
            Err(RecvError::Lagged(_)) => return,
            // The store is closed.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
