//! What has left the store, as the log reads it: the tier behind [`tidewire_events::Events`].
//!
//! Which archives may have something says the catalogue, which members of them their indexes; only
//! those are fetched. A stream's archives lie one behind the other. Those of a log overlap, and are merged
//! by position ([`merge`]), each opened when the read comes to where it begins.
//!
//! One request fetches a bounded number of members, however rare what it looks for: then it answers
//! what it has, and how far it has looked.

mod merge;
mod opened;

use std::sync::Arc;

use tidewire_db::{BoxFuture, Db, Result as DbResult};
use tidewire_events::{Between, Cold, ColdRange, Event, Filter, Order, Stretch};

use crate::{Error, cache::Cache, metrics, model::Archive, store::Store};
use merge::Merge;
pub(crate) use opened::Opened;

/// Members that one request may fetch, objects that it opens included …
const MOST_FETCHES: usize = 256;
/// … and bytes, as they are in the objects.
const MOST_BYTES: u64 = 16 << 20;
/// Archives that are asked of the catalogue at once.
const CATALOGUE_PAGE: u32 = 64;

/// Reads archives. Cheap to clone; made before the log that it stands behind.
#[derive(Clone)]
pub struct ColdReader {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    store: Store,
    cache: Cache,
}

impl ColdReader {
    #[must_use]
    pub fn new(db: Db, cache: Cache) -> Self {
        let store = Store::new(db.dialect());
        ColdReader {
            inner: Arc::new(Inner { db, store, cache }),
        }
    }

    /// An archive, ready to be read.
    pub(crate) async fn open(&self, archive: Archive) -> Result<Opened, Error> {
        Opened::open(&self.inner.cache, archive).await
    }

    async fn stream(
        &self,
        stream: (&str, &str),
        subject: Option<&str>,
        (after, before): Between,
        most: Stretch,
    ) -> Result<Cold, Error> {
        let Inner { db, store, .. } = &*self.inner;
        let marks = store.marks(&mut db.read(), stream).await?;
        let before = before.min(marks.cold_until + 1);
        let (mut page, mut budget) = (Page::new(most), Budget::default());
        let mut at = after;
        while at + 1 < before {
            let span = (at, before);
            let mut read = db.read();
            let archives = store
                .of_stream(&mut read, stream, span, CATALOGUE_PAGE)
                .await?;
            if archives.is_empty() {
                break;
            }
            for archive in archives {
                let to_seq = archive.to_seq;
                let opened = self.open(archive).await?;
                budget.opened();
                let mut members = opened.of_seqs((at, before));
                while !members.is_empty() {
                    if budget.is_spent() && at > after {
                        return Ok(page.until(at));
                    }
                    // A page of one subject may need any number of members, one of all just so many.
                    let few = match subject {
                        Some(_) => members.start..members.end.min(members.start + 4),
                        None => opened.holding(&members, page.missing()),
                    };
                    members.start = few.end;
                    for event in opened.read(few.clone(), &mut budget).await? {
                        if event.seq <= at || event.seq >= before {
                            continue;
                        }
                        let seq = event.seq;
                        let is_wanted =
                            subject.is_none_or(|subject| event.subject.as_deref() == Some(subject));
                        if is_wanted && page.take(event) {
                            return Ok(page.until(seq));
                        }
                        at = seq;
                    }
                }
                at = at.max(to_seq.min(before - 1));
            }
        }
        Ok(page.all())
    }

    async fn log(
        &self,
        tenant: &str,
        filter: &Filter,
        between: Between,
        order: Order,
        most: Stretch,
    ) -> Result<Cold, Error> {
        let merge = Merge::new(self, tenant, filter, between, order);
        merge.run(most).await
    }

    fn of_log<'a>(
        &'a self,
        tenant: &'a str,
        filter: &'a Filter,
        between: Between,
        from: (Order, Option<u64>),
    ) -> impl Future<Output = DbResult<Vec<(Archive, u64)>>> + Send + 'a {
        let Inner { db, store, .. } = &*self.inner;
        async move {
            let mut read = db.read();
            store
                .of_log(&mut read, tenant, filter, between, from, CATALOGUE_PAGE)
                .await
        }
    }
}

impl ColdRange for ColdReader {
    fn of_stream<'a>(
        &'a self,
        stream: (&'a str, &'a str),
        subject: Option<&'a str>,
        between: Between,
        most: Stretch,
    ) -> BoxFuture<'a, DbResult<Cold>> {
        Box::pin(async move { told(self.stream(stream, subject, between, most).await) })
    }

    fn of_log<'a>(
        &'a self,
        tenant: &'a str,
        filter: &'a Filter,
        between: Between,
        order: Order,
        most: Stretch,
    ) -> BoxFuture<'a, DbResult<Cold>> {
        Box::pin(async move { told(self.log(tenant, filter, between, order, most).await) })
    }
}

/// As the log says it. What the tier cannot give for now is no reason to leave it out.
fn told(read: Result<Cold, Error>) -> DbResult<Cold> {
    metrics::cold_read(read.is_ok());
    read.map_err(|error| match error {
        Error::Store(error) => error,
        Error::Broken { .. } => tidewire_db::Error::Broken(error.to_string()),
        error => tidewire_db::Error::Unavailable(error.to_string()),
    })
}

/// What a request may fetch.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    fetches: usize,
    bytes: u64,
}

impl Budget {
    fn opened(&mut self) {
        self.fetches += 1;
    }

    fn read(&mut self, members: usize, bytes: u64) {
        self.fetches += members;
        self.bytes += bytes;
    }

    fn add(&mut self, other: &Budget) {
        self.read(other.fetches, other.bytes);
    }

    fn is_spent(&self) -> bool {
        self.fetches >= MOST_FETCHES || self.bytes >= MOST_BYTES
    }
}

/// Events as they are gathered.
struct Page {
    most: Stretch,
    events: Vec<Event>,
    bytes: usize,
}

impl Page {
    fn new(most: Stretch) -> Self {
        Page {
            most,
            events: Vec::new(),
            bytes: 0,
        }
    }

    fn missing(&self) -> u64 {
        u64::from(self.most.events).saturating_sub(self.events.len() as u64)
    }

    /// Takes the next event; whether that was enough.
    fn take(&mut self, event: Event) -> bool {
        self.bytes += event.payload.get().len();
        self.events.push(event);
        self.missing() == 0 || self.bytes >= self.most.bytes
    }

    fn until(self, looked: u64) -> Cold {
        Cold {
            events: self.events,
            looked: Some(looked),
        }
    }

    fn all(self) -> Cold {
        Cold {
            events: self.events,
            looked: None,
        }
    }
}
