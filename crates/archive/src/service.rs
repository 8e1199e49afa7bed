//! The rules of archives, and what other rooms call.
//!
//! A stream is archived from its start, in ranges that join on to each other. Three marks say how far:
//! *archived* (sealed archives hold it), *cold* (readers look there), *trimmed* (the store need not have
//! it). Whoever moves one has the stream's lock, and each step is one transaction, so what a crash leaves
//! is a state like any other and the next run goes on from it.

use std::{collections::BTreeSet, sync::Arc};

use tidewire_core::Clock;
use tidewire_db::{Db, Result as DbResult, Tx};
use tidewire_events::Events;
use tidewire_jobs::Jobs;
use tidewire_threads::{NAMESPACE, Threads};
use tokio_util::sync::CancellationToken;

use crate::{
    ArchiveSettings, ColdReader, Error,
    model::{Archive, Marks},
    objects::Objects,
    store::Store,
};

/// What archives are built on.
pub struct Rooms {
    pub db: Db,
    pub clock: Clock,
    pub access: tidewire_access::Service,
    pub events: Events,
    pub jobs: Jobs,
    pub threads: Threads,
}

/// The archives of all streams. Cheap to clone.
#[derive(Clone)]
pub struct Archives {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub db: Db,
    pub clock: Clock,
    pub store: Store,
    pub access: tidewire_access::Service,
    pub events: Events,
    pub jobs: Jobs,
    pub threads: Threads,
    pub objects: Objects,
    pub reader: ColdReader,
    pub settings: ArchiveSettings,
    /// Ends waiting requests when the server stops.
    pub shutdown: CancellationToken,
}

/// A page of a list, and where the next begins.
pub(crate) type Paged = (Vec<Archive>, Option<String>);

/// Behind every id.
const LAST_ID: &str = "~";

impl Archives {
    /// `reader` is the one that the log was given; `shutdown` ends waiting requests.
    #[must_use]
    pub fn new(
        rooms: Rooms,
        objects: Objects,
        reader: ColdReader,
        settings: ArchiveSettings,
        shutdown: CancellationToken,
    ) -> Self {
        let Rooms {
            db,
            clock,
            access,
            events,
            jobs,
            threads,
        } = rooms;
        let inner = Inner {
            store: Store::new(db.dialect()),
            db,
            clock,
            access,
            events,
            jobs,
            threads,
            objects,
            reader,
            settings,
            shutdown,
        };
        Archives {
            inner: Arc::new(inner),
        }
    }

    /// Where objects are kept.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    /// How far a stream is archived, cold and trimmed.
    pub async fn marks(&self, tenant: &str, stream: &str) -> Result<Marks, Error> {
        let Inner { db, store, .. } = &*self.inner;
        Ok(store.marks(&mut db.read(), (tenant, stream)).await?)
    }

    pub async fn get(&self, tenant: &str, id: &str) -> Result<Archive, Error> {
        let Inner { db, store, .. } = &*self.inner;
        let found = store.get(&mut db.read(), tenant, id).await?;
        found.ok_or_else(|| Error::NoSuchArchive(id.to_owned()))
    }

    /// The archive of a stream that has this place, if one has.
    pub(crate) async fn holding(
        &self,
        key: (&str, &str),
        seq: u64,
    ) -> Result<Option<Archive>, Error> {
        let Inner { db, store, .. } = &*self.inner;
        let found = store.holding(&mut db.read(), key, seq).await?;
        Ok(found.filter(|archive| archive.to_seq >= seq))
    }

    /// A tenant's archives, newest first; behind a key that a page before has given.
    pub async fn list(
        &self,
        tenant: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Archive>, Option<String>), Error> {
        let Inner { db, store, .. } = &*self.inner;
        let before = before.unwrap_or(LAST_ID);
        // One more than asked for tells whether there is a next page.
        let mut read = db.read();
        let found = store.newest(&mut read, tenant, before, limit + 1).await?;
        Ok(paged(found, limit, |archive| archive.id.clone()))
    }

    /// The same of one stream.
    pub async fn list_of_stream(
        &self,
        key: (&str, &str),
        before: Option<u64>,
        limit: u32,
    ) -> Result<(Vec<Archive>, Option<String>), Error> {
        let Inner { db, store, .. } = &*self.inner;
        let before = before.unwrap_or(u64::MAX);
        let mut read = db.read();
        let found = store
            .newest_of_stream(&mut read, key, before, limit + 1)
            .await?;
        Ok(paged(found, limit, |archive| archive.from_seq.to_string()))
    }

    /// The thread must be there; the `seq` at which it ends.
    pub(crate) async fn thread_end(&self, tenant: &Arc<str>, thread: &str) -> Result<u64, Error> {
        Ok(self.inner.threads.thread(tenant, thread).await?.last_seq)
    }

    /// Where a stream ends in the store; 0 if it has no event there.
    pub(crate) async fn end(&self, key: (&str, &str)) -> Result<u64, Error> {
        let ends = self.inner.events.stream_ends(&[key]).await?;
        Ok(ends.first().map_or(0, |end| end.seq))
    }
}

impl Inner {
    /// From here to the end of the transaction nobody else changes the stream's marks.
    pub(crate) async fn lock(&self, tx: &mut Tx, (tenant, stream): (&str, &str)) -> DbResult<()> {
        let name = format!("archive/{tenant}/{stream}");
        tx.lock(&BTreeSet::from([name.as_str()])).await
    }
}

fn paged(mut found: Vec<Archive>, limit: u32, key: impl Fn(&Archive) -> String) -> Paged {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(key);
    (found, next)
}

/// The stream of a thread.
pub(crate) fn stream_of(thread: &str) -> String {
    format!("{NAMESPACE}{thread}")
}
