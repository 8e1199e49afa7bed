//! One batch of one log: events are read, matched (see [`scan`]), and what they set off is written.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidewire_events::Stretch;
use tokio::time::Instant;

use super::{
    book::Book,
    scan::{MOST_EVENTS, MOST_FIRINGS, MOST_READ, scan},
};
use crate::{
    Error, Turns,
    firing::Firing,
    metrics,
    service::Inner,
    store::{Followed, Place, RuleRow},
};

/// Events that set nothing off are looked at again after a restart, up to so many.
const LOOKED_AT_AGAIN: u64 = 1000;

/// A log that is followed.
#[derive(Default)]
pub(super) struct Log {
    /// Up to where it was matched.
    pub place: Place,
    /// Where the stored cursor was last seen.
    pub stored: Option<u64>,
    /// Where the log ends, as far as is known.
    pub head: u64,
    pub is_queued: bool,
    pub rests_until: Option<Instant>,
    /// How long it rested last.
    rest: Duration,
    pub failures: u32,
    is_known: bool,
    /// How many events the next batch should have; 0 for the most.
    appetite: u32,
    /// After a firing was refused: so many are done one by one, to find it.
    one_by_one: usize,
    book: Option<Arc<Book>>,
    /// The triggers that fired in the last second or have firings ahead.
    pub turns: HashMap<Arc<str>, Turns>,
}

impl Log {
    /// Takes in what the store says of it.
    pub(super) fn look(&mut self, of: &Followed, head: u64) {
        let start = of.cursor.clone().unwrap_or_default();
        let start = start.max(Place::behind(of.counts_from.0));
        if !self.is_known || start > self.place {
            self.place = start;
        }
        self.is_known = true;
        self.stored = of.cursor.as_ref().map(|cursor| cursor.pos);
        self.head = head;
    }

    pub(super) fn behind(&self) -> u64 {
        self.head.saturating_sub(self.place.pos)
    }

    /// Lets the others go first for a while, each time twice as long.
    pub(super) fn rests(&mut self, least: Duration, most: Duration) {
        self.rest = (self.rest * 2).max(least).min(most);
        self.rests_until = Some(Instant::now() + self.rest);
    }

    pub(super) fn rested(&mut self, until: Option<Instant>) {
        self.rest = Duration::ZERO;
        self.rests_until = until;
        self.failures = 0;
    }

    async fn book(&mut self, inner: &Inner, tenant: &str) -> Result<Arc<Book>, Error> {
        let mut read = inner.db.read();
        let rows = inner.store.rules(&mut read, tenant).await?;
        if let Some(book) = self.book.as_ref().filter(|book| book.rows == rows) {
            return Ok(Arc::clone(book));
        }
        // Those that are in use are not asked for again, however many there are.
        let (mut configs, mut unreadable) = (HashMap::new(), HashSet::new());
        if let Some(old) = &self.book {
            configs.extend(
                old.configs()
                    .map(|known| (Arc::clone(&known.id), Arc::clone(known))),
            );
            unreadable.clone_from(&old.unreadable);
        }
        let is_new = |id: &&Arc<str>| !configs.contains_key(*id) && !unreadable.contains(*id);
        let missing: Vec<&Arc<str>> = rows
            .iter()
            .map(|row| &row.config_id)
            .filter(is_new)
            .collect();
        let keys: Vec<_> = missing.iter().map(|id| (tenant, &***id)).collect();
        let found = inner.configs.each(&mut read, &keys).await?;
        for (id, found) in missing.into_iter().zip(found) {
            match found {
                Ok(known) => drop(configs.insert(Arc::clone(id), known)),
                Err(error) => {
                    tracing::error!(%error, tenant, config_id = &**id, "an event trigger cannot fire");
                    unreadable.insert(Arc::clone(id));
                }
            }
        }
        let book = Arc::new(Book::new(rows, &configs, unreadable));
        self.book = Some(Arc::clone(&book));
        Ok(book)
    }
}

/// How a batch went.
pub(super) enum Went {
    /// The place moved, or is to be looked at again at once.
    On {
        /// Events that would have set something off and are too deep for it.
        too_deep: u64,
    },
    /// Another matcher has the cursor.
    Taken,
}

const ON: Went = Went::On { too_deep: 0 };

pub(super) async fn round(inner: &Inner, tenant: &Arc<str>, log: &mut Log) -> Result<Went, Error> {
    if log.rests_until.is_some() {
        // Another one may have gone on, or a commit of ours that failed may have not.
        catch_up(inner, tenant, log).await?;
    }
    let careful = log.one_by_one > 0;
    let most = Stretch {
        events: match (careful, log.appetite) {
            (true, _) => 1,
            (false, 0) => MOST_EVENTS,
            (false, appetite) => appetite,
        },
        bytes: MOST_READ,
    };
    let events = inner.events.after(tenant, log.place.pos, most).await?;
    if events.is_empty() {
        log.head = log.head.min(log.place.pos);
        return Ok(ON);
    }
    // Now, and not before: see the module's words on why none is skipped.
    let book = log.book(inner, tenant).await?;
    let most = if careful { 1 } else { MOST_FIRINGS };
    let scan = scan(inner, tenant, (&events, &book), log, most).await?;
    log.appetite = scan.appetite(events.len());
    let on = Went::On {
        too_deep: scan.too_deep,
    };
    let ends_spans = book.first_end().is_some_and(|end| end <= scan.end.pos);
    if scan.firings.is_empty() {
        let far = log
            .stored
            .map_or(0, |stored| scan.end.pos.saturating_sub(stored));
        log.place = scan.end;
        if ends_spans || far >= LOOKED_AT_AGAIN {
            advance(inner, tenant, log, ends_spans).await?;
        }
        return Ok(on);
    }
    let (stored, count) = (scan.stored, scan.firings.len());
    let step = Arc::new(Step {
        tenant: Arc::clone(tenant),
        from: log.place.clone(),
        end: scan.end,
        ends_spans,
        rules: scan.rules,
        firings: scan.firings,
    });
    let tried = match write(inner, Arc::clone(&step)).await {
        Err(error) if is_refusal(&error) && careful => {
            leave_out(&error, &step);
            log.one_by_one = 0;
            let without = Step {
                rules: Vec::new(),
                firings: Vec::new(),
                ..Step::clone(&step)
            };
            write(inner, Arc::new(without)).await?
        }
        Err(error) if is_refusal(&error) => {
            log.one_by_one = count;
            return Ok(ON);
        }
        other => other?,
    };
    match tried {
        Tried::Done => {
            let now = inner.fire.clock.now();
            metrics::matched(stored.iter().map(|stored| now.since(*stored)));
            log.one_by_one = log.one_by_one.saturating_sub(1);
            log.place = step.end.clone();
            log.stored = Some(step.end.pos);
            log.turns.extend(scan.turns);
            log.turns.retain(|_, turns| !turns.is_fresh(now));
            Ok(on)
        }
        Tried::Elsewhere(place) => {
            log.stored = Some(place.pos);
            log.place = place;
            Ok(ON)
        }
        Tried::Changed => Ok(ON),
        Tried::Taken => taken(inner, tenant, log).await,
    }
}

// --- writing ---

/// What moves the cursor.
#[derive(Clone)]
struct Step {
    tenant: Arc<str>,
    /// From where its firings were worked out.
    from: Place,
    end: Place,
    /// Something that triggers were before an edit is done with.
    ends_spans: bool,
    rules: Vec<RuleRow>,
    firings: Vec<Firing>,
}

enum Tried {
    Done,
    /// Others have gone on up to here.
    Elsewhere(Place),
    /// A trigger is not any more what it was when the firings were worked out.
    Changed,
    /// The cursor is locked, or there is none.
    Taken,
}

async fn write(inner: &Inner, step: Arc<Step>) -> Result<Tried, Error> {
    let (store, fire) = (Arc::clone(&inner.store), inner.fire.clone());
    inner
        .db
        .transact("triggers.match", move |tx| {
            let (store, fire, step) = (Arc::clone(&store), fire.clone(), Arc::clone(&step));
            Box::pin(async move {
                let Step {
                    tenant, from, end, ..
                } = &*step;
                let Some(cursor) = store.lock_cursor(tx, tenant).await? else {
                    return Ok(Tried::Taken);
                };
                if cursor > *from {
                    return Ok(Tried::Elsewhere(cursor));
                }
                if !step.firings.is_empty() {
                    let rules: Vec<_> = step.rules.iter().collect();
                    if !store.still_hold(tx, tenant, &rules).await? {
                        return Ok(Tried::Changed);
                    }
                    fire.fire(tx, &step.firings).await?;
                }
                let now = fire.clock.now();
                store.set_cursor(tx, tenant, end, now).await?;
                if step.ends_spans {
                    store.drop_spans_until(tx, tenant, end.pos).await?;
                }
                Ok(Tried::Done)
            })
        })
        .await
}

/// Moves the cursor past events that set nothing off, so that they are not looked at again for ever.
async fn advance(
    inner: &Inner,
    tenant: &Arc<str>,
    log: &mut Log,
    ends_spans: bool,
) -> Result<(), Error> {
    let step = Step {
        tenant: Arc::clone(tenant),
        from: log.place.clone(),
        end: log.place.clone(),
        ends_spans,
        rules: Vec::new(),
        firings: Vec::new(),
    };
    match write(inner, Arc::new(step)).await? {
        Tried::Done => log.stored = Some(log.place.pos),
        Tried::Elsewhere(place) => {
            log.stored = Some(place.pos);
            log.place = place;
        }
        // Whoever has it moves it; and if there is none yet, there is next time.
        Tried::Taken => {
            taken(inner, tenant, log).await?;
        }
        Tried::Changed => {}
    }
    Ok(())
}

/// What to do where the cursor could not be had.
async fn taken(inner: &Inner, tenant: &Arc<str>, log: &mut Log) -> Result<Went, Error> {
    if catch_up(inner, tenant, log).await? {
        return Ok(Went::Taken);
    }
    make_cursor(inner, tenant, log.place.pos).await?;
    Ok(ON)
}

/// Goes to where the stored cursor is, if that is further; whether there is one.
async fn catch_up(inner: &Inner, tenant: &str, log: &mut Log) -> Result<bool, Error> {
    let cursor = inner.store.cursor(&mut inner.db.read(), tenant).await?;
    let Some(cursor) = cursor else {
        return Ok(false);
    };
    log.stored = Some(cursor.pos);
    if cursor > log.place {
        log.place = cursor;
    }
    Ok(true)
}

async fn make_cursor(inner: &Inner, tenant: &Arc<str>, pos: u64) -> Result<(), Error> {
    let (store, clock) = (Arc::clone(&inner.store), inner.fire.clock.clone());
    let tenant = Arc::clone(tenant);
    inner
        .db
        .transact("triggers.cursor", move |tx| {
            let (store, tenant) = (Arc::clone(&store), Arc::clone(&tenant));
            let now = clock.now();
            Box::pin(async move { Ok(store.make_cursor(tx, &tenant, pos, now).await?) })
        })
        .await
}

/// Where a log ends before what was matched of it, lets everything count from its end; where its
/// cursor is then. None if another matcher has it, who will find the same.
pub(super) async fn start_again(inner: &Inner, tenant: &Arc<str>) -> Result<Option<Place>, Error> {
    make_cursor(inner, tenant, inner.events.head(tenant).await?).await?;
    let (store, clock) = (Arc::clone(&inner.store), inner.fire.clock.clone());
    let (events, asked) = (inner.events.clone(), Arc::clone(tenant));
    let started = inner
        .db
        .transact("triggers.start_again", move |tx| {
            let (store, events) = (Arc::clone(&store), events.clone());
            let (tenant, now) = (Arc::clone(&asked), clock.now());
            Box::pin(async move {
                let Some(cursor) = store.lock_cursor(tx, &tenant).await? else {
                    return Ok(None);
                };
                let rules = store.rules(tx, &tenant).await?;
                let count_from = rules.iter().map(|rule| rule.from_pos).max();
                // After the two: of a log that was not replaced neither can be ahead.
                let head = events.head(&tenant).await?;
                if cursor <= Place::behind(head) && count_from.unwrap_or(0) <= head {
                    return Ok(Some((cursor, None)));
                }
                let start = cursor.clone().min(Place::behind(head));
                store.start_again(tx, &tenant, &start, head, now).await?;
                Ok(Some((start, Some((cursor.pos, head)))))
            })
        })
        .await;
    let started: Result<_, Error> = started;
    Ok(started?.map(|(place, replaced)| {
        if let Some((matched, head)) = replaced {
            tracing::warn!(
                tenant = &**tenant,
                matched,
                head,
                "a log ends before what was matched of it, or before what triggers count from, as after a restore: event triggers go on from its end"
            );
        }
        place
    }))
}

/// Whether it is about what was to be fired, and not about the store.
fn is_refusal(error: &Error) -> bool {
    !matches!(
        error,
        Error::Store(_)
            | Error::Jobs(tidewire_jobs::Error::Store(_))
            | Error::Events(tidewire_events::Error::Store(_))
    )
}

fn leave_out(error: &Error, step: &Step) {
    metrics::left_out();
    for firing in &step.firings {
        tracing::error!(
            %error,
            tenant = &*step.tenant,
            trigger_id = firing.trigger_id.as_deref().unwrap_or_default(),
            pos = step.from.pos + 1,
            "an event cannot set off this trigger, the others go on"
        );
    }
}
