//! Matching: which triggers the events of a batch set off, and when each has its turn.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;
use tidewire_events::{Event, MAX_DEPTH};

use super::{
    book::{Book, Entry},
    round::Log,
};
use crate::{
    Error, Facts, Turns,
    firing::Firing,
    model::Source,
    service::Inner,
    store::{Place, RuleRow},
};

/// What is read at once, …
pub(super) const MOST_EVENTS: u32 = 500;
pub(super) const MOST_READ: usize = 4 << 20;
/// … the least of it, after events that each set off so much that few were needed, …
const FEWEST_EVENTS: u32 = 8;
/// … and what is fired in one transaction. An event that sets off more is fired in parts.
pub(super) const MOST_FIRINGS: usize = 1000;
const MOST_BYTES: usize = 4 << 20;
/// Filters that are asked before others get their turn on the thread.
const FILTERS_A_SLICE: usize = 500;

/// What a batch sets off.
pub(super) struct Scan {
    pub firings: Vec<Firing>,
    /// By which of the rules, each once.
    pub rules: Vec<RuleRow>,
    /// When their events were stored.
    pub stored: Vec<Time>,
    /// Up to where they are all of the firings.
    pub end: Place,
    pub turns: HashMap<Arc<str>, Turns>,
    pub too_deep: u64,
    /// Events that were done with.
    done: usize,
    is_full: bool,
}

impl Scan {
    /// How many events to read next time: not many more than can be fired at once.
    pub fn appetite(&self, read: usize) -> u32 {
        let done = u32::try_from(self.done.min(read)).unwrap_or(MOST_EVENTS);
        if self.is_full {
            (done * 2).clamp(FEWEST_EVENTS, MOST_EVENTS)
        } else {
            done.saturating_mul(4).clamp(FEWEST_EVENTS, MOST_EVENTS)
        }
    }
}

/// What `events`, which follow upon the log's place, set off, as far as one transaction takes it.
pub(super) async fn scan(
    inner: &Inner,
    tenant: &Arc<str>,
    (events, book): (&[Event], &Book),
    log: &Log,
    most: usize,
) -> Result<Scan, Error> {
    let now = inner.fire.clock.now();
    let rate = inner.rates.event(inner.fire.settings.event_rate);
    let mut scan = Scan {
        firings: Vec::new(),
        rules: Vec::new(),
        stored: Vec::new(),
        end: log.place.clone(),
        turns: HashMap::new(),
        too_deep: 0,
        done: 0,
        is_full: false,
    };
    let (mut seen, mut bytes, mut asked) = (HashSet::new(), 0, 0);
    for event in events {
        // In the middle of this one, behind that trigger.
        let mut behind = match &scan.end.within {
            Some(id) if event.pos == scan.end.pos + 1 => Some(Arc::clone(id)),
            _ => None,
        };
        let facts = facts(event);
        let mut whole: Option<Box<RawValue>> = None;
        for place in book.listening(&event.kind) {
            let entry = book.entry(place);
            let id = &entry.row.trigger_id;
            if !entry.counts(event.pos) || behind.as_ref().is_some_and(|behind| id <= behind) {
                continue;
            }
            asked += 1;
            if asked % FILTERS_A_SLICE == 0 {
                tokio::task::yield_now().await;
            }
            if !entry.filter().is_none_or(|filter| filter.matches(&facts)) {
                continue;
            }
            if event.depth >= MAX_DEPTH {
                scan.too_deep += 1;
                break;
            }
            if scan.firings.len() >= most || bytes >= MOST_BYTES {
                scan.end = Place {
                    pos: event.pos - 1,
                    within: behind,
                };
                scan.is_full = true;
                return Ok(scan);
            }
            let payload = payload(entry, event, &mut whole)?;
            bytes += payload.get().len();
            let turns = scan.turns.entry(Arc::clone(id)).or_insert_with(|| {
                let known = log.turns.get(id).copied();
                known.map_or_else(|| Turns::new(rate), |turns| turns.at(rate))
            });
            let turn = turns.next(now);
            if seen.insert(place) {
                scan.rules.push(entry.row.clone());
            }
            scan.stored.push(event.created_at);
            scan.firings.push(Firing {
                tenant: Arc::clone(tenant),
                trigger_id: Some(Arc::clone(id)),
                config: Arc::clone(&entry.config),
                source: Source::Event,
                payload,
                is_test_run: false,
                scheduled_for: None,
                depth: event.depth + 1,
                run_at: Some(turn).filter(|turn| *turn > now),
                new_config: None,
            });
            behind = Some(Arc::clone(id));
        }
        scan.end = Place::behind(event.pos);
        scan.done += 1;
    }
    Ok(scan)
}

fn facts(event: &Event) -> Facts<'_> {
    Facts {
        id: &event.id,
        stream: &event.stream,
        seq: event.seq,
        kind: &event.kind,
        subject: event.subject.as_deref(),
        source: event.source.as_deref(),
        dedupe_key: event.dedupe_key.as_deref(),
        occurred_at: event.occurred_at,
        created_at: event.created_at,
        payload: &event.payload,
    }
}

/// What the config says, or else the event as it is read; `whole` keeps that for the next trigger.
fn payload(
    entry: &Entry,
    event: &Event,
    whole: &mut Option<Box<RawValue>>,
) -> Result<Box<RawValue>, Error> {
    if let Some(payload) = &entry.config.config.payload {
        return Ok(payload.clone());
    }
    if let Some(whole) = whole {
        return Ok(whole.clone());
    }
    let written = to_raw_value(event).map_err(|error| {
        let text = format!(
            "the event `{}` cannot be written as JSON: {error}",
            event.id
        );
        tidewire_db::Error::Broken(text)
    })?;
    Ok(whole.insert(written).clone())
}
