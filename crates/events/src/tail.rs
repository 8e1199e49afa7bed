//! The logs of tenants as lines that are followed.

use std::sync::Arc;

use bytes::BytesMut;
use serde::Serialize;
use tidewire_core::Time;
use tidewire_db::Result;
use tidewire_http::sse;

use crate::{
    Event, Filter, Order,
    live::{self, Chunk, Line},
    number::Numbered,
    tiers::Tiers,
};

/// The logs of this store.
pub struct Logs {
    pub(crate) tiers: Tiers,
}

pub(crate) type Feeds = live::Feeds<Logs>;

/// What a filter of a tail looks at.
pub struct Mark {
    kind: Box<str>,
    stream: Box<str>,
}

impl Line for Logs {
    /// A tenant.
    type Key = Arc<str>;
    type Mark = Mark;
    type Filter = Filter;

    const TOPIC: &'static str = "events";
    const FOLLOWERS: &'static str = "tidewire_event_tail_subscribers";

    fn hint(key: &Arc<str>) -> String {
        key.to_string()
    }

    fn heard(hint: &str) -> Option<Arc<str>> {
        Some(hint.into())
    }

    fn wants_all(filter: &Filter) -> bool {
        filter.kind.is_none() && filter.stream.is_none()
    }

    fn wants(filter: &Filter, mark: &Mark) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|it| it == has);
        is(&filter.kind, &mark.kind) && is(&filter.stream, &mark.stream)
    }

    async fn heads(&self, tenants: &[Arc<str>]) -> Result<Vec<(Arc<str>, u64)>> {
        let heads = self
            .tiers
            .store
            .heads(&mut self.tiers.db.read(), tenants)
            .await?;
        let heads = heads.into_iter();
        Ok(heads.map(|(tenant, head)| (tenant.into(), head)).collect())
    }

    async fn read(
        &self,
        tenant: &Arc<str>,
        filter: Option<&Filter>,
        (after, until): (u64, u64),
        limit: u32,
    ) -> Result<Chunk<Mark>> {
        let all = Filter::default();
        let filter = filter.unwrap_or(&all);
        let between = (after, until.saturating_add(1));
        let seen = self
            .tiers
            .of_log(tenant, filter, between, Order::Log, limit)
            .await?;
        let last = seen.edge.unwrap_or(until);
        Ok(chunk((after + 1, last), seen.events.iter().map(view)))
    }
}

/// The events of one tenant out of a plan, if there are any.
pub(crate) fn planned<'a>(
    events: impl Iterator<Item = &'a Numbered<'a>> + Clone,
) -> Option<Chunk<Mark>> {
    let (first, last) = (events.clone().next()?.pos, events.clone().last()?.pos);
    let views = events.map(|numbered| {
        let event = numbered.event;
        let view = View {
            id: &numbered.id,
            stream: &event.stream,
            seq: numbered.seq,
            kind: &event.kind,
            subject: event.subject.as_deref(),
            payload: &event.payload,
            dedupe_key: event.dedupe_key.as_deref(),
            source: event.source.as_deref(),
            occurred_at: event.occurred_at.unwrap_or(numbered.created_at),
            created_at: numbered.created_at,
        };
        (numbered.pos, view)
    });
    Some(chunk((first, last), views))
}

fn chunk<'a>(span: (u64, u64), views: impl Iterator<Item = (u64, View<'a>)>) -> Chunk<Mark> {
    let items = views.map(|(pos, view)| {
        let mark = Mark {
            kind: view.kind.into(),
            stream: view.stream.into(),
        };
        (pos, mark, view)
    });
    Chunk::new(span, items, |buffer, pos, view| view.frame(buffer, pos))
}

/// An [`Event`] that borrows: the same fields in the same order.
#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    stream: &'a str,
    seq: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: Option<&'a str>,
    payload: &'a serde_json::value::RawValue,
    dedupe_key: Option<&'a str>,
    source: Option<&'a str>,
    occurred_at: Time,
    created_at: Time,
}

fn view(event: &Event) -> (u64, View<'_>) {
    let view = View {
        id: &event.id,
        stream: &event.stream,
        seq: event.seq,
        kind: &event.kind,
        subject: event.subject.as_deref(),
        payload: &event.payload,
        dedupe_key: event.dedupe_key.as_deref(),
        source: event.source.as_deref(),
        occurred_at: event.occurred_at,
        created_at: event.created_at,
    };
    (event.pos, view)
}

impl View<'_> {
    fn frame(&self, buffer: &mut BytesMut, pos: u64) {
        match serde_json::to_vec(self) {
            Ok(data) => sse::frame(buffer, Some(&pos.to_string()), Some(self.kind), &data),
            // Every part was JSON when it was stored.
            Err(error) => {
                tracing::error!(%error, id = self.id, "an event cannot be written as JSON")
            }
        }
    }
}
