//! What is archived leaves the store, and comes back if somebody wants it there.
//!
//! Trimming: first the marks say that readers must look into archives, in a transaction of its own; then
//! rows are deleted, a small batch a transaction. A reader looks into the store first and at the marks
//! after it: whatever it missed there was deleted after the marks were committed. The last event of a
//! stream is never trimmed, so that where a stream and a log end is always to be read off the store.
//!
//! Restoring is the way back, from the newest to the oldest, so that what is trimmed stays the beginning of
//! the stream: each batch of rows goes in together with its mark. Readers are told later
//! ([`Archives::settle`]): one that has looked into the store before the rows were back must still find them
//! in the archives.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    Archives, Error,
    cold::Budget,
    metrics,
    model::{Archive, RestoreReport},
    progress::Meter,
};

/// Rows that one transaction deletes.
const AT_ONCE: u32 = 1_000;
/// For how long after rows came back a reader may not have seen them.
const READ_AT_MOST: Duration = Duration::from_mins(1);
/// Archives or streams that are asked for at once.
const PAGE: u32 = 100;

impl Archives {
    /// Deletes a stream's archived events up to a place, and what an earlier run has left; how many.
    /// Archives that were not `sealed` just now are verified before the first of their rows goes.
    pub(crate) async fn trim(
        &self,
        key: (&str, &str),
        until: u64,
        sealed: &HashSet<u64>,
    ) -> Result<u64, Error> {
        let end = self.end(key).await?;
        let marks = self.marks(key.0, key.1).await?;
        let until = until.min(marks.archived_until).min(end.saturating_sub(1));
        if until > marks.trimmed_until {
            self.verify_span(key, (marks.trimmed_until, until), sealed)
                .await?;
            self.mark_trimmed(key, until).await?;
        }
        self.delete_trimmed(key).await
    }

    /// The objects of the archives that begin between two places are what they were.
    async fn verify_span(
        &self,
        key: (&str, &str),
        (trimmed, until): (u64, u64),
        sealed: &HashSet<u64>,
    ) -> Result<(), Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        let mut at = trimmed;
        loop {
            let span = (at, until + 1);
            let archives = store.of_stream(&mut db.read(), key, span, PAGE).await?;
            let Some(last) = archives.last() else {
                return Ok(());
            };
            at = last.to_seq;
            for archive in archives {
                if archive.from_seq > trimmed && !sealed.contains(&archive.from_seq) {
                    self.verify_objects(&archive).await?;
                }
            }
        }
    }

    pub(crate) async fn verify_objects(&self, archive: &Archive) -> Result<(), Error> {
        let objects = &self.inner.objects;
        objects
            .verify(&archive.object_key, archive.bytes, &archive.sha256)
            .await?;
        if let (Some(companion), Some(parquet)) = (archive.parquet_key(), &archive.parquet) {
            objects
                .verify(&companion, parquet.bytes, &parquet.sha256)
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn mark_trimmed(&self, key: (&str, &str), until: u64) -> Result<(), Error> {
        let (inner, tenant, stream) = (Arc::clone(&self.inner), key.0.to_owned(), key.1.to_owned());
        let marking = self.inner.db.transact("archives.mark", move |tx| {
            let (inner, tenant, stream) = (Arc::clone(&inner), tenant.clone(), stream.clone());
            Box::pin(async move {
                let key = (tenant.as_str(), stream.as_str());
                inner.lock(tx, key).await?;
                let mut marks = inner.store.marks(tx, key).await?;
                marks.trimmed_until = marks.trimmed_until.max(until);
                marks.cold_until = marks.cold_until.max(until);
                Ok::<_, Error>(inner.store.set_marks(tx, key, marks).await?)
            })
        });
        marking.await
    }

    /// Deletes all rows of a stream up to its mark; how many.
    pub(crate) async fn delete_trimmed(&self, key: (&str, &str)) -> Result<u64, Error> {
        let mut deleted = 0;
        loop {
            let (inner, tenant, stream) =
                (Arc::clone(&self.inner), key.0.to_owned(), key.1.to_owned());
            let deleting = self.inner.db.transact("archives.trim", move |tx| {
                let (inner, tenant, stream) = (Arc::clone(&inner), tenant.clone(), stream.clone());
                Box::pin(async move {
                    let key = (tenant.as_str(), stream.as_str());
                    // A restore may have lowered the mark since the batch before.
                    inner.lock(tx, key).await?;
                    let until = inner.store.marks(tx, key).await?.trimmed_until;
                    let events = &inner.events;
                    Ok::<_, Error>(events.trim_in(tx, key, until, AT_ONCE).await?)
                })
            });
            let gone = deleting.await?;
            if gone == 0 {
                return Ok(deleted);
            }
            metrics::trimmed(gone);
            deleted += gone;
        }
    }

    /// Puts a stream's trimmed events back into the store, from a place on.
    pub(crate) async fn restore(
        &self,
        tenant: &str,
        stream: &str,
        from: u64,
        meter: &Meter,
    ) -> Result<RestoreReport, Error> {
        self.settle().await?;
        let key = (tenant, stream);
        let mut report = RestoreReport {
            stream: stream.to_owned(),
            ..RestoreReport::default()
        };
        let trimmed = self.marks(tenant, stream).await?.trimmed_until;
        meter.streams.add(1);
        meter.events.add((trimmed + 1).saturating_sub(from));
        loop {
            let trimmed = self.marks(tenant, stream).await?.trimmed_until;
            if trimmed < from {
                meter.streams_done.add(1);
                return Ok(report);
            }
            let holding = self.holding(key, trimmed).await?;
            let archive = holding.ok_or_else(|| {
                let why = format!("no archive of the stream `{stream}` holds {trimmed}");
                Error::Store(tidewire_db::Error::Broken(why))
            })?;
            report.events += self
                .restore_some(key, archive, (from, trimmed), meter)
                .await?;
        }
    }

    /// Puts back the last member of an archive that has something of a span. How many events that
    /// were; none if somebody else has moved the mark meanwhile.
    async fn restore_some(
        &self,
        key: (&str, &str),
        archive: Archive,
        (from, trimmed): (u64, u64),
        meter: &Meter,
    ) -> Result<u64, Error> {
        let begin = archive.from_seq.max(from);
        let opened = self.inner.reader.open(archive).await?;
        let members = opened.index().of_seqs(begin - 1, trimmed);
        let last = members.end.saturating_sub(1).max(members.start)..members.end;
        let mut events = opened.read(last, &mut Budget::default()).await?;
        events.retain(|event| event.seq >= begin && event.seq <= trimmed);
        let left = events.first().map_or(begin, |first| first.seq) - 1;
        let count = events.len() as u64;
        let bytes = events.iter().map(|event| event.payload.get().len() as u64);
        let bytes = bytes.sum();
        let (inner, tenant, stream) = (Arc::clone(&self.inner), key.0.to_owned(), key.1.to_owned());
        let events = Arc::new(events);
        let restoring = self.inner.db.transact("archives.restore", move |tx| {
            let (inner, tenant, stream) = (Arc::clone(&inner), tenant.clone(), stream.clone());
            let events = Arc::clone(&events);
            Box::pin(async move {
                let key = (tenant.as_str(), stream.as_str());
                inner.lock(tx, key).await?;
                let mut marks = inner.store.marks(tx, key).await?;
                if marks.trimmed_until != trimmed {
                    return Ok(false);
                }
                inner.events.put_back_in(tx, &tenant, &events).await?;
                marks.trimmed_until = left;
                marks.restored_at = Some(inner.clock.now());
                inner.store.set_marks(tx, key, marks).await?;
                Ok::<_, Error>(true)
            })
        });
        if !restoring.await? {
            return Ok(0);
        }
        metrics::restored(count);
        meter.events_done.add(count);
        meter.bytes.add(bytes);
        Ok(count)
    }

    /// Tells readers of rows that came back a while ago: they need not look into archives for them.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        loop {
            let by = self.inner.clock.now().minus(READ_AT_MOST);
            let restored = store.restored(&mut db.read(), by, PAGE).await?;
            if restored.is_empty() {
                return Ok(());
            }
            for (tenant, stream) in restored {
                let inner = Arc::clone(&self.inner);
                let settling = db.transact("archives.settle", move |tx| {
                    let (inner, tenant, stream) =
                        (Arc::clone(&inner), tenant.clone(), stream.clone());
                    Box::pin(async move {
                        let key = (tenant.as_str(), stream.as_str());
                        inner.lock(tx, key).await?;
                        let mut marks = inner.store.marks(tx, key).await?;
                        // More may have come back since.
                        if marks.restored_at.is_some_and(|at| at <= by) {
                            marks.cold_until = marks.trimmed_until;
                            marks.restored_at = None;
                            inner.store.set_marks(tx, key, marks).await?;
                        }
                        Ok::<_, Error>(())
                    })
                });
                settling.await?;
            }
        }
    }
}
