//! Reading events in whichever tier they are.
//!
//! A log has no gap in `pos` and a stream none in `seq`, so whoever reads all of either sees by
//! itself whether something has gone cold, and hot reads pay nothing for it. Only holes are asked
//! for, and whatever a filter may hide.

use std::sync::Arc;

use tidewire_db::{Db, Result};

use crate::{
    Event, Filter, Stretch,
    cold::{Between, Cold, ColdRange, Order},
    store::Store,
};

/// Payloads that are taken from the cold tier for one page.
const COLD_BYTES: usize = 16 << 20;
/// Beyond every position and place; PostgreSQL and MySQL count to 2^63 - 1.
pub(crate) const END: u64 = i64::MAX as u64;

/// The store, and what lies behind it.
pub(crate) struct Tiers {
    pub db: Db,
    pub store: Arc<Store>,
    pub cold: Option<Arc<dyn ColdRange>>,
}

/// What was wanted of a span, in its order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub events: Vec<Event>,
    /// The place up to which, itself included, all is here; `None` if that is the whole span.
    pub edge: Option<u64>,
}

/// How a span is gone through.
struct Way<'w> {
    of: &'w str,
    place: fn(&Event) -> u64,
    order: Order,
    between: Between,
    limit: u32,
    /// Every place of the span has an event that is wanted.
    is_dense: bool,
}

impl Tiers {
    /// Events of a log that a filter wants, strictly between two positions.
    pub(crate) async fn of_log(
        &self,
        tenant: &str,
        filter: &Filter,
        between: Between,
        order: Order,
        limit: u32,
    ) -> Result<Seen> {
        let way = Way {
            of: tenant,
            place: |event| event.pos,
            order,
            between,
            limit,
            is_dense: filter.wants_all(),
        };
        let most = Stretch {
            events: limit,
            bytes: COLD_BYTES,
        };
        let mut again = true;
        loop {
            let mut read = self.db.read();
            let stored = self
                .store
                .read(&mut read, tenant, filter, between, order, limit)
                .await?;
            let mut seen = way.seen(stored);
            let Some(cold) = &self.cold else {
                return Ok(seen);
            };
            let Some(span) = way.doubt(&seen) else {
                return Ok(seen);
            };
            let found = cold.of_log(tenant, filter, span, order, most).await?;
            way.join(&mut seen, found);
            if !way.is_dense || way.doubt(&seen).is_none() {
                return Ok(seen);
            }
            if !std::mem::take(&mut again) {
                tracing::error!(tenant = way.of, between = ?span, "events are neither in the store nor in an archive");
                return Ok(seen);
            }
            // It may have come back into the store between the two looks.
        }
    }

    /// Events of a stream strictly between two places, about one subject if it is given.
    pub(crate) async fn of_stream(
        &self,
        (tenant, stream): (&str, &str),
        subject: Option<&str>,
        between: Between,
        limit: u32,
    ) -> Result<Seen> {
        let way = Way {
            of: stream,
            place: |event| event.seq,
            order: Order::Log,
            between,
            limit,
            is_dense: subject.is_none(),
        };
        let most = Stretch {
            events: limit,
            bytes: COLD_BYTES,
        };
        let mut again = true;
        loop {
            let mut read = self.db.read();
            let stored = self
                .store
                .of_stream(&mut read, (tenant, stream), subject, between, limit)
                .await?;
            let mut seen = way.seen(stored);
            let Some(cold) = &self.cold else {
                return Ok(seen);
            };
            let Some(span) = way.doubt(&seen) else {
                return Ok(seen);
            };
            let found = cold
                .of_stream((tenant, stream), subject, span, most)
                .await?;
            way.join(&mut seen, found);
            // A stream that is numbered elsewhere may have a gap.
            let is_whole = !way.is_dense || way.doubt(&seen).is_none();
            if is_whole || !std::mem::take(&mut again) {
                return Ok(seen);
            }
        }
    }

    /// The event at a position.
    pub(crate) async fn at(&self, tenant: &str, pos: u64) -> Result<Option<Event>> {
        let between = (pos.saturating_sub(1), pos.saturating_add(1));
        let seen = self
            .of_log(tenant, &Filter::default(), between, Order::Log, 1)
            .await?;
        Ok(seen.events.into_iter().next())
    }
}

impl Way<'_> {
    /// What the store has of the span.
    fn seen(&self, stored: Vec<Event>) -> Seen {
        let is_full = stored.len() as u64 >= u64::from(self.limit);
        Seen {
            edge: stored.last().map(self.place).filter(|_| is_full),
            events: stored,
        }
    }

    /// Where something may be missing.
    fn doubt(&self, seen: &Seen) -> Option<Between> {
        let (after, before) = self.between;
        let (after, before) = match (self.order, seen.edge) {
            (_, None) => (after, before),
            (Order::Log, Some(edge)) => (after, edge),
            (Order::NewestFirst, Some(edge)) => (edge, before),
        };
        if after.saturating_add(1) >= before {
            return None;
        }
        if !self.is_dense {
            return Some((after, before));
        }
        let mut places: Vec<u64> = seen.events.iter().map(self.place).collect();
        if self.order == Order::NewestFirst {
            places.reverse();
        }
        // The last of a line is always in the store: without a bound there is nothing behind it.
        let end = (before <= END).then_some(before);
        let begin = places.first().map(|_| after).or(end.map(|_| after));
        let line: Vec<u64> = begin.into_iter().chain(places).chain(end).collect();
        let holes = line.windows(2).filter(|pair| pair[0] + 1 < pair[1]);
        let mut holes = holes.map(|pair| (pair[0], pair[1]));
        let first = holes.next()?;
        let last = holes.next_back().unwrap_or(first);
        Some((first.0, last.1))
    }

    fn is_before(&self, one: u64, other: u64) -> bool {
        match self.order {
            Order::Log => one < other,
            Order::NewestFirst => one > other,
        }
    }

    /// Puts what is cold in its place.
    fn join(&self, seen: &mut Seen, cold: Cold) {
        let place = self.place;
        seen.events.extend(cold.events);
        seen.events.sort_by_key(place);
        // What is about to be trimmed, and what was put back, is in both.
        seen.events.dedup_by_key(|event| place(event));
        if self.order == Order::NewestFirst {
            seen.events.reverse();
        }
        if let Some(looked) = cold.looked
            && seen.edge.is_none_or(|edge| self.is_before(looked, edge))
        {
            seen.edge = Some(looked);
        }
        if let Some(edge) = seen.edge {
            seen.events
                .retain(|event| !self.is_before(edge, place(event)));
        }
        if seen.events.len() > self.limit as usize {
            seen.events.truncate(self.limit as usize);
            seen.edge = seen.events.last().map(place);
        }
    }
}
