//! Threads: what was said in them, and what is being said.

use bytes::Bytes;
use std::time::Duration;

use crate::{
    Client, NewThreadEvent, Page, Pages, Result, StoredThreadEvent, Thread, ThreadEvent,
    ThreadStream, TurnRecord,
    model::{self, ThreadEventsPage, ThreadsPage, TurnsPage},
    retry::Repeat,
    transport::Call,
};

/// Which of a thread's events are read.
#[derive(Clone, Debug, Default)]
pub struct ThreadEventQuery {
    /// Only events behind this number.
    pub from_seq: u64,
    /// At most so many: 500 without it, at most 5,000.
    pub limit: Option<u32>,
    /// How many seconds the server may hold the answer until there is an event.
    pub wait_seconds: Option<u64>,
}

pub struct Threads<'c>(pub(crate) &'c Client);

impl<'c> Threads<'c> {
    /// Most events of one append.
    pub const MOST_EVENTS: usize = 1_000;

    /// One page, newest first.
    pub async fn list(&self, limit: Option<u32>, cursor: Option<&str>) -> Result<Page<Thread>> {
        let mut url = self.0.url(&["v1", "threads"])?;
        model::paged(&mut url, limit, cursor);
        let page: ThreadsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.threads,
            next_cursor: page.next_cursor,
        })
    }

    /// All threads, page by page.
    #[must_use]
    pub fn pages(&self, limit: Option<u32>, from: Option<String>) -> Pages<'c, Thread> {
        let client = self.0;
        Pages::new(from, move |cursor| async move {
            client.threads().list(limit, cursor.as_deref()).await
        })
    }

    pub async fn get(&self, id: &str) -> Result<Thread> {
        let url = self.0.url(&["v1", "threads", id])?;
        self.0.send(Call::get(url), Repeat::Always).await
    }

    /// One page of a thread's turns, newest first.
    pub async fn turns(
        &self,
        id: &str,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Page<TurnRecord>> {
        let mut url = self.0.url(&["v1", "threads", id, "turns"])?;
        model::paged(&mut url, limit, cursor);
        let page: TurnsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.turns,
            next_cursor: page.next_cursor,
        })
    }

    /// All turns of a thread, page by page.
    #[must_use]
    pub fn turn_pages(
        &self,
        id: &str,
        limit: Option<u32>,
        from: Option<String>,
    ) -> Pages<'c, TurnRecord> {
        let client = self.0;
        let id = id.to_owned();
        Pages::new(from, move |cursor| {
            let id = id.clone();
            async move { client.threads().turns(&id, limit, cursor.as_deref()).await }
        })
    }

    /// A thread's events in their order; none behind the last. The last one's `seq` is where to go
    /// on.
    pub async fn events(&self, id: &str, query: &ThreadEventQuery) -> Result<Vec<ThreadEvent>> {
        let mut url = self.0.url(&["v1", "threads", id, "events"])?;
        let from_seq = query.from_seq.to_string();
        let limit = query.limit.map(|limit| limit.to_string());
        let wait = query.wait_seconds.map(|seconds| seconds.to_string());
        model::asked(
            &mut url,
            &[
                ("from_seq", Some(&from_seq)),
                ("limit", limit.as_deref()),
                ("wait", wait.as_deref()),
            ],
        );
        let mut call = Call::get(url);
        call.held = Duration::from_secs(query.wait_seconds.unwrap_or(0));
        let page: ThreadEventsPage = self.0.send(call, Repeat::Always).await?;
        Ok(page.events)
    }

    /// Stores one event; returns after it is durable. Repeated on a lost answer only if it has an
    /// `event_id`.
    pub async fn append(&self, id: &str, event: &NewThreadEvent) -> Result<StoredThreadEvent> {
        let call = Call::post(self.0.url(&["v1", "threads", id, "events"])?, event)?;
        self.0
            .send(call, Repeat::keyed(event.event_id.is_some()))
            .await
    }

    /// Stores events in this order, all or none; the answers are in the same order.
    pub async fn append_many(
        &self,
        id: &str,
        events: &[NewThreadEvent],
    ) -> Result<Vec<StoredThreadEvent>> {
        let keyed = events.iter().all(|event| event.event_id.is_some());
        let call = Call::post(self.0.url(&["v1", "threads", id, "events"])?, events)?;
        self.0.send(call, Repeat::keyed(keyed)).await
    }

    /// Stores a JSON array of events that is text already. `keyed` says that every one of them has
    /// an `event_id`, so that the append may be repeated when its answer got lost.
    pub async fn append_json(
        &self,
        id: &str,
        array: Bytes,
        keyed: bool,
    ) -> Result<Vec<StoredThreadEvent>> {
        let url = self.0.url(&["v1", "threads", id, "events"])?;
        self.0
            .send(Call::post_bytes(url, array), Repeat::keyed(keyed))
            .await
    }

    /// Follows a thread from behind the event `after_seq` (0: from its start); connects when it is
    /// first asked for an event. With a turn it shows that turn's events alone, and ends when the
    /// turn has ended.
    #[must_use]
    pub fn follow(&self, id: &str, after_seq: u64, turn_id: Option<&str>) -> ThreadStream {
        ThreadStream::new(self.0.clone(), id, after_seq, turn_id)
    }
}
