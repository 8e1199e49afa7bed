//! Looking whether all archives are what they were, and mending what can be mended.
//!
//! Of every stream: its ranges join on to each other from the start, its marks fit them, each object has
//! the size, the checksum, the lines and the places that its row says, and the store has what is not
//! trimmed and nothing that is. Then the other way round: every object belongs to an archive, but for those
//! that are so young that somebody may be about to seal them.
//!
//! With `repair`, objects that nobody knows are deleted, rows that a crash has left behind the mark are
//! deleted, and an object that is broken is written anew as long as the store has all of its events. What
//! cannot be mended is said.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tidewire_events::Stretch;
use tidewire_threads::GAP;

use crate::{
    Archives, Error, Format,
    archiver::Range,
    line,
    model::{Archive, Marks, STREAMS, THREADS, id_of, parquet_key},
    object::Check,
    objects::Listed,
    progress::Meter,
};

/// Younger objects may be about to be sealed.
const IN_FLIGHT: Duration = Duration::from_hours(1);
/// What a report names; the rest is counted.
const NAMED: usize = 200;
/// Streams or archives that are asked for at once.
const PAGE: u32 = 100;
/// Objects that are looked up at once.
const OBJECTS: usize = 500;

/// What a look at all archives has found. The job's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub streams: u64,
    pub archives: u64,
    pub events: u64,
    /// Of objects that were read.
    pub bytes: u64,
    /// How much is wrong, what was mended included.
    pub problems_found: u64,
    pub repaired: u64,
    /// The first of them.
    pub problems: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_key: Option<String>,
    pub problem: String,
    pub repaired: bool,
}

impl VerifyReport {
    fn note(&mut self, fault: Fault) {
        self.problems_found += 1;
        self.repaired += u64::from(fault.repaired);
        tracing::warn!(
            stream = fault.stream,
            object = fault.object_key,
            problem = fault.problem,
            repaired = fault.repaired,
            "archives are not as they should be"
        );
        if self.problems.len() < NAMED {
            self.problems.push(fault);
        }
    }
}

/// One look at a stream.
struct Look<'l> {
    key: (&'l str, &'l str),
    repair: bool,
    meter: &'l Arc<Meter>,
    report: &'l mut VerifyReport,
}

impl Look<'_> {
    fn note(&mut self, archive: Option<&Archive>, problem: String, repaired: bool) {
        self.report.note(Fault {
            tenant: Some(self.key.0.to_owned()),
            stream: Some(self.key.1.to_owned()),
            archive_id: archive.map(|archive| archive.id.clone()),
            object_key: archive.map(|archive| archive.object_key.clone()),
            problem,
            repaired,
        });
    }
}

impl Archives {
    /// Checks all archives of all tenants.
    pub(crate) async fn verify(
        &self,
        repair: bool,
        meter: &Arc<Meter>,
    ) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport::default();
        let (store, db) = (&self.inner.store, &self.inner.db);
        let (mut tenant, mut stream) = (String::new(), String::new());
        loop {
            let behind = (tenant.as_str(), stream.as_str());
            let streams = store.next_marks(&mut db.read(), behind, PAGE).await?;
            let Some((last_tenant, last_stream, _)) = streams.last() else {
                break;
            };
            (tenant, stream) = (last_tenant.clone(), last_stream.clone());
            meter.streams.add(streams.len() as u64);
            for (tenant, stream, _) in &streams {
                let look = Look {
                    key: (tenant, stream),
                    repair,
                    meter,
                    report: &mut report,
                };
                self.verify_stream(look).await?;
                report.streams += 1;
                meter.streams_done.add(1);
            }
        }
        for under in [THREADS, STREAMS] {
            self.verify_objects_below(under, repair, &mut report)
                .await?;
        }
        Ok(report)
    }

    async fn verify_stream(&self, mut look: Look<'_>) -> Result<(), Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        let key = look.key;
        // Before its archives, which may become more meanwhile.
        let marks = self.marks(key.0, key.1).await?;
        if !marks.are_sound() {
            look.note(None, format!("its marks have crossed: {marks:?}"), false);
        }
        let mut reached = 0;
        while reached < marks.archived_until {
            let span = (reached, marks.archived_until + 1);
            let archives = store.of_stream(&mut db.read(), key, span, PAGE).await?;
            if archives.is_empty() {
                let problem = format!(
                    "it is marked as archived up to {}, and archives reach to {reached}",
                    marks.archived_until
                );
                look.note(None, problem, false);
                break;
            }
            for archive in archives {
                if archive.from_seq != reached + 1 {
                    let problem = format!(
                        "it begins at {}, and what is before it ends at {reached}",
                        archive.from_seq
                    );
                    look.note(Some(&archive), problem, false);
                }
                reached = reached.max(archive.to_seq);
                look.report.archives += 1;
                look.report.events += archive.event_count;
                look.meter.events.add(archive.event_count);
                self.verify_archive(&mut look, &archive, marks).await?;
                look.meter.events_done.add(archive.event_count);
            }
        }
        self.verify_rows(&mut look, marks).await
    }

    /// Holds the objects of an archive to its row, and to themselves.
    async fn verify_archive(
        &self,
        look: &mut Look<'_>,
        archive: &Archive,
        marks: Marks,
    ) -> Result<(), Error> {
        let problem = match self.hold(archive, look).await {
            Ok(()) => return Ok(()),
            Err(Error::Broken { why, .. }) => why,
            Err(error) => return Err(error),
        };
        let has_rows = marks.trimmed_until < archive.from_seq;
        let repaired = look.repair && has_rows && self.rewrite(archive, look.meter).await?;
        let problem = match has_rows {
            true => problem,
            false => format!(
                "{problem}; its events have left the database, so it cannot be written anew"
            ),
        };
        look.note(Some(archive), problem, repaired);
        Ok(())
    }

    async fn hold(&self, archive: &Archive, look: &mut Look<'_>) -> Result<(), Error> {
        let objects = &self.inner.objects;
        let key = &archive.object_key;
        let broken = |why: String| Error::Broken {
            key: key.clone(),
            why,
        };
        objects.verify(key, archive.bytes, &archive.sha256).await?;
        look.report.bytes += archive.bytes;
        look.meter.bytes.add(archive.bytes);
        let mut check = Check::new(line::mark);
        let (_, mut pieces) = objects.get(key).await?;
        while let Some(piece) = pieces.try_next().await? {
            check = tokio::task::spawn_blocking(move || check.push(&piece).map(|()| check))
                .await
                .map_err(|error| Error::Objects(error.to_string()))?
                .map_err(|error| broken(error.to_string()))?;
        }
        let found = check.finish().map_err(|error| broken(error.to_string()))?;
        let held = (
            found.events,
            found.first_pos,
            found.last_pos,
            found.last_seq,
            found.line_bytes,
        );
        let said = (
            archive.event_count,
            archive.first_pos,
            archive.last_pos,
            archive.to_seq,
            archive.line_bytes,
        );
        if held != said || found.first_seq < archive.from_seq {
            return Err(broken(format!(
                "it holds {} events, {} to {}, and its row says {}, {} to {}",
                found.events,
                found.first_seq,
                found.last_seq,
                archive.event_count,
                archive.from_seq,
                archive.to_seq
            )));
        }
        if let (Some(companion), Some(parquet)) = (archive.parquet_key(), &archive.parquet) {
            objects
                .verify(&companion, parquet.bytes, &parquet.sha256)
                .await?;
            look.report.bytes += parquet.bytes;
            look.meter.bytes.add(parquet.bytes);
        }
        Ok(())
    }

    /// Writes the objects of an archive anew from the store; whether that was possible. Between its
    /// steps the archive is as broken as it was.
    async fn rewrite(&self, archive: &Archive, meter: &Arc<Meter>) -> Result<bool, Error> {
        let format = match archive.parquet {
            Some(_) if cfg!(feature = "parquet") => Format::Parquet,
            Some(_) => return Ok(false),
            None => Format::Jsonl,
        };
        self.discard(archive).await?;
        let range = Range {
            tenant: Arc::clone(&archive.tenant),
            stream: archive.stream.clone(),
            from: archive.from_seq,
            until: archive.to_seq,
            format,
            most_events: u64::MAX,
            most_bytes: u64::MAX,
        };
        let writing = Box::pin(self.write_as(archive.id.clone(), &range, meter));
        let written = writing.await?;
        let Some(written) = written.filter(|written| written.to_seq == archive.to_seq) else {
            return Ok(false);
        };
        let inner = Arc::clone(&self.inner);
        let replacing = self.inner.db.transact("archives.replace", move |tx| {
            let (inner, written) = (Arc::clone(&inner), written.clone());
            Box::pin(async move {
                inner.lock(tx, (&written.tenant, &written.stream)).await?;
                Ok::<_, Error>(inner.store.replace(tx, &written).await?)
            })
        });
        replacing.await?;
        Ok(true)
    }

    /// The store has what is not trimmed, and nothing that is.
    async fn verify_rows(&self, look: &mut Look<'_>, marks: Marks) -> Result<(), Error> {
        let events = &self.inner.events;
        let Some(first) = events.first_stored(look.key).await? else {
            if marks.archived_until > 0 {
                let problem = "the database has none of its events, not even the last".to_owned();
                look.note(None, problem, false);
            }
            return Ok(());
        };
        // More may have been trimmed since they were read.
        let trimmed = self.marks(look.key.0, look.key.1).await?.trimmed_until;
        if first <= trimmed {
            let problem = format!(
                "the database has events from {first} on, and up to {trimmed} they are trimmed"
            );
            let repaired = look.repair;
            if repaired {
                self.delete_trimmed(look.key).await?;
            }
            look.note(None, problem, repaired);
        } else if first > trimmed + 1 && !self.is_behind_gap(look.key, first).await? {
            let problem = format!(
                "the database begins at {first}, and what is trimmed ends at {trimmed}: events are missing"
            );
            look.note(None, problem, false);
        }
        Ok(())
    }

    /// Whether it is said by an event that those before it are missing.
    async fn is_behind_gap(&self, key: (&str, &str), seq: u64) -> Result<bool, Error> {
        const ONE: Stretch = Stretch {
            events: 1,
            bytes: 1,
        };
        let span = (seq - 1, seq);
        let run = self.inner.events.of_stream(key, None, span, ONE).await?;
        Ok(run.events.first().is_some_and(|event| event.kind == GAP))
    }

    /// Every object belongs to an archive, or is young.
    async fn verify_objects_below(
        &self,
        under: &str,
        repair: bool,
        report: &mut VerifyReport,
    ) -> Result<(), Error> {
        let objects = &self.inner.objects;
        let old = self.inner.clock.now().minus(IN_FLIGHT);
        let mut listed = objects.list(under).try_chunks(OBJECTS);
        while let Some(some) = listed.next().await {
            let some = some.map_err(|error| error.1)?;
            for orphan in self.orphans(some).await? {
                if orphan.modified > old {
                    continue;
                }
                if repair {
                    objects.delete(&orphan.key).await?;
                }
                report.note(Fault {
                    tenant: None,
                    stream: None,
                    archive_id: None,
                    problem: format!("no archive knows it: {} bytes", orphan.bytes),
                    object_key: Some(orphan.key),
                    repaired: repair,
                });
            }
        }
        Ok(())
    }

    /// Those of these objects that belong to no archive. What has another kind of name is not ours.
    async fn orphans(&self, listed: Vec<Listed>) -> Result<Vec<Listed>, Error> {
        let ids: Vec<_> = listed.iter().filter_map(|one| id_of(&one.key)).collect();
        let (store, db) = (&self.inner.store, &self.inner.db);
        let known = store.objects(&mut db.read(), &ids).await?;
        let belongs = |one: &Listed| {
            let Some(id) = id_of(&one.key) else {
                return true;
            };
            known.get(id).is_some_and(|(key, has_companion)| {
                *key == one.key || (*has_companion && parquet_key(key) == one.key)
            })
        };
        Ok(listed.into_iter().filter(|one| !belongs(one)).collect())
    }
}
