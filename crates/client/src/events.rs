//! The log: append, read, follow.

use bytes::Bytes;
use tidewire_core::Time;

use crate::{
    Appended, Client, Event, NewEvent, Page, Pages, Result, Tail, TailQuery,
    model::{self, EventsPage},
    retry::Repeat,
    transport::Call,
};

/// Which events a list shows; a field that is `None` does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    pub event_type: Option<String>,
    pub stream: Option<String>,
    pub subject: Option<String>,
    pub source: Option<String>,
    pub from: Option<Time>,
    pub to: Option<Time>,
    /// Events a page, at most 500.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

pub struct Events<'c>(pub(crate) &'c Client);

impl<'c> Events<'c> {
    /// Most events of one append.
    pub const MOST_EVENTS: usize = 1_000;
    /// Most bytes of one append's JSON.
    pub const MOST_BYTES: usize = 8 * 1024 * 1024;

    /// Stores one event; returns after it is durable. Repeated on a lost answer only if it has a
    /// `dedupe_key`.
    pub async fn append(&self, event: &NewEvent) -> Result<Appended> {
        let call = Call::post(self.0.url(&["v1", "events"])?, event)?;
        self.0
            .send(call, Repeat::keyed(event.dedupe_key.is_some()))
            .await
    }

    /// Stores events in this order, all or none; the answers are in the same order.
    pub async fn append_many(&self, events: &[NewEvent]) -> Result<Vec<Appended>> {
        let keyed = events.iter().all(|event| event.dedupe_key.is_some());
        let call = Call::post(self.0.url(&["v1", "events"])?, events)?;
        self.0.send(call, Repeat::keyed(keyed)).await
    }

    /// Stores a JSON array of events that is text already. `keyed` says that every one of them has
    /// a `dedupe_key`, so that the append may be repeated when its answer got lost.
    pub async fn append_json(&self, array: Bytes, keyed: bool) -> Result<Vec<Appended>> {
        let call = Call::post_bytes(self.0.url(&["v1", "events"])?, array);
        self.0.send(call, Repeat::keyed(keyed)).await
    }

    pub async fn get(&self, id: &str) -> Result<Event> {
        self.0
            .send(
                Call::get(self.0.url(&["v1", "events", id])?),
                Repeat::Always,
            )
            .await
    }

    /// One page, newest first.
    pub async fn list(&self, query: &EventQuery) -> Result<Page<Event>> {
        let mut url = self.0.url(&["v1", "events"])?;
        let [from, to] = [query.from, query.to].map(|at| at.map(|at| at.to_string()));
        model::asked(
            &mut url,
            &[
                ("type", query.event_type.as_deref()),
                ("stream", query.stream.as_deref()),
                ("subject", query.subject.as_deref()),
                ("source", query.source.as_deref()),
                ("from", from.as_deref()),
                ("to", to.as_deref()),
            ],
        );
        model::paged(&mut url, query.limit, query.cursor.as_deref());
        let page: EventsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.events,
            next_cursor: page.next_cursor,
        })
    }

    /// The whole list, page by page.
    #[must_use]
    pub fn pages(&self, query: EventQuery) -> Pages<'c, Event> {
        let client = self.0;
        Pages::new(query.cursor.clone(), move |cursor| {
            let query = EventQuery {
                cursor,
                ..query.clone()
            };
            async move { client.events().list(&query).await }
        })
    }

    /// Follows the log; connects when it is first asked for an event.
    #[must_use]
    pub fn tail(&self, query: TailQuery) -> Tail {
        Tail::new(self.0.clone(), query)
    }
}
