//! A run: what is wanted of one stream, or of all of a tenant's, is archived, and trimmed if that is
//! wanted too. One stream after the other, one archive after the other; each is sealed by itself, and that
//! is how a run that was stopped goes on.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tidewire_core::Time;
use tidewire_events::{Event, Stretch};

use crate::{
    Archives, Error,
    archiver::Range,
    model::{RunReport, Wanted},
    progress::Meter,
};

/// With `gather`: fewer events than this …
const FEW: u64 = 10_000;
/// … wait, unless the oldest has been old enough for so long.
const WAITS: Duration = Duration::from_hours(24);
/// Streams whose names are held at once.
const STREAMS_PAGE: u32 = 500;

/// What is to be done with one stream.
struct Plan {
    stream: String,
    /// Up to here is archived.
    archive_until: u64,
    /// Up to here is trimmed, as far as that may be.
    trim_until: u64,
    /// What is archived by now.
    archived: u64,
}

impl Archives {
    /// Archives what is wanted.
    pub(crate) async fn run(
        &self,
        tenant: &Arc<str>,
        wanted: &Wanted,
        meter: &Arc<Meter>,
    ) -> Result<RunReport, Error> {
        let mut report = RunReport::default();
        let before = wanted
            .older_than
            .map(|age| self.inner.clock.now().minus(age));
        if let Some(stream) = &wanted.stream {
            meter.streams.add(1);
            self.run_stream(tenant, stream, wanted, before, meter, &mut report)
                .await?;
            meter.streams_done.add(1);
            return Ok(report);
        }
        let mut after = String::new();
        loop {
            let names = self
                .inner
                .events
                .streams(tenant, &after, STREAMS_PAGE)
                .await?;
            let Some(last) = names.last() else {
                return Ok(report);
            };
            after.clone_from(last);
            meter.streams.add(names.len() as u64);
            for stream in &names {
                let ran = self.run_stream(tenant, stream, wanted, before, meter, &mut report);
                match ran.await {
                    // Nobody asked for this very stream.
                    Err(Error::NoSuchStream(_)) => {}
                    other => other?,
                }
                meter.streams_done.add(1);
            }
        }
    }

    async fn run_stream(
        &self,
        tenant: &Arc<str>,
        stream: &str,
        wanted: &Wanted,
        before: Option<Time>,
        meter: &Arc<Meter>,
        report: &mut RunReport,
    ) -> Result<(), Error> {
        let mut plan = self.plan(tenant, stream, wanted, before).await?;
        meter
            .events
            .add(plan.archive_until.saturating_sub(plan.archived));
        let mut sealed = HashSet::new();
        let was = (report.archives, report.trimmed);
        while plan.archived < plan.archive_until {
            let range = Range {
                tenant: Arc::clone(tenant),
                stream: stream.to_owned(),
                from: plan.archived + 1,
                until: plan.archive_until,
                format: wanted.format,
                most_events: self.inner.settings.most_events,
                most_bytes: self.inner.settings.most_bytes,
            };
            let Some(archive) = Box::pin(self.write(&range, meter)).await? else {
                break;
            };
            if self.seal(&archive).await? {
                report.archives += 1;
                report.events += archive.event_count;
                report.bytes += archive.bytes;
                plan.archived = archive.to_seq;
                sealed.insert(archive.from_seq);
                report.archive_id = Some(archive.id);
            } else {
                // Somebody else was first: on behind theirs.
                self.discard(&archive).await?;
                plan.archived = self.marks(tenant, stream).await?.archived_until;
            }
        }
        if wanted.trim {
            let until = plan.trim_until.min(plan.archived);
            let key = (&**tenant, plan.stream.as_str());
            report.trimmed += self.trim(key, until, &sealed).await?;
        }
        if was != (report.archives, report.trimmed) {
            report.streams += 1;
        }
        Ok(())
    }

    async fn plan(
        &self,
        tenant: &Arc<str>,
        stream: &str,
        wanted: &Wanted,
        before: Option<Time>,
    ) -> Result<Plan, Error> {
        let key = (&**tenant, stream);
        let end = self.end(key).await?;
        if end == 0 {
            return Err(Error::NoSuchStream(stream.to_owned()));
        }
        let marks = self.marks(tenant, stream).await?;
        self.check_span(stream, wanted, marks.archived_until, end)?;
        let mut until = wanted.to_seq.unwrap_or(end);
        if let Some(before) = before {
            let known = marks.trimmed_until.min(until);
            until = self.last_before(key, before, (known, until)).await?;
        }
        let mut archive_until = until;
        if let Some(before) = before
            && wanted.gather
            && until > marks.archived_until
            && until - marks.archived_until < FEW
        {
            let oldest = self.event_behind(key, marks.archived_until).await?;
            if oldest.is_none_or(|event| before.since(event.created_at) < WAITS) {
                archive_until = marks.archived_until;
            }
        }
        Ok(Plan {
            stream: stream.to_owned(),
            archive_until,
            trim_until: until,
            archived: marks.archived_until,
        })
    }

    /// Refuses what would leave a hole, and what is not there.
    fn check_span(
        &self,
        stream: &str,
        wanted: &Wanted,
        archived: u64,
        end: u64,
    ) -> Result<(), Error> {
        if let Some(from) = wanted.from_seq
            && from > archived + 1
        {
            return Err(Error::Hole {
                stream: stream.to_owned(),
                from,
                archived,
            });
        }
        if let Some(to) = wanted.to_seq
            && to > end
        {
            return Err(Error::BeyondEnd {
                stream: stream.to_owned(),
                to,
                end,
            });
        }
        Ok(())
    }

    /// Whether the archives of a stream can be asked for so, before a job is made of it.
    pub(crate) async fn check(&self, tenant: &str, wanted: &Wanted) -> Result<(), Error> {
        let Some(stream) = &wanted.stream else {
            return Ok(());
        };
        let end = self.end((tenant, stream)).await?;
        if end == 0 {
            return Err(Error::NoSuchStream(stream.clone()));
        }
        let marks = self.marks(tenant, stream).await?;
        self.check_span(stream, wanted, marks.archived_until, end)
    }

    /// The last place of a stream, between two of which the first is as old in any case, whose event
    /// was stored by then. Time never goes back along a stream.
    async fn last_before(
        &self,
        key: (&str, &str),
        by: Time,
        (mut known, until): (u64, u64),
    ) -> Result<u64, Error> {
        let mut beyond = until + 1;
        // Most streams are quiet, and all of it is old enough.
        let mut middle = until;
        while known + 1 < beyond {
            match self.event_behind(key, middle - 1).await? {
                Some(event) if event.created_at <= by => known = event.seq.min(until),
                _ => beyond = middle,
            }
            middle = known + (beyond - known) / 2;
        }
        Ok(known)
    }

    /// The first event of a stream behind a place.
    async fn event_behind(&self, key: (&str, &str), seq: u64) -> Result<Option<Event>, Error> {
        const ONE: Stretch = Stretch {
            events: 1,
            bytes: 1,
        };
        let span = (seq, u64::MAX);
        let run = self.inner.events.of_stream(key, None, span, ONE).await?;
        Ok(run.events.into_iter().next())
    }
}
