//! Writing pages: their events and the place behind them, in one transaction.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;
use tidewire_db::{BoxFuture, Error as DbError, Tx};
use tidewire_events::{Append, NewEvent};

use super::{Hold, fetch::Page, window::Window};
use crate::{
    SOURCE,
    attribution::{self, Carried},
    model::Report,
    service::{Inner, stream_of},
    source::{Made, Resource},
    store::Of,
};

/// Where a sync of a list stands, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub window: Window,
    pub report: Report,
}

/// Pages that are written together.
pub(super) struct Batch {
    pub events: Vec<(Made, Box<RawValue>)>,
    pub report: Report,
    /// Where reading goes on behind them.
    pub window: Window,
    pub bytes: usize,
}

impl Batch {
    pub fn new(report: Report, window: Window) -> Self {
        Batch {
            events: Vec::new(),
            report,
            window,
            bytes: 0,
        }
    }

    /// Adds a page, and where reading goes on behind it.
    pub fn add(&mut self, resource: &Resource, page: Page, window: Window) {
        let report = &mut self.report;
        report.pages += 1;
        report.fetched += page.records.len() as u64;
        report.total = page.turned.total.or(report.total);
        for record in page.records {
            match resource.events_of(&report.site_id, &record, window.refresh) {
                Ok(made) => {
                    self.bytes += record.get().len() * made.len();
                    let mut made = made.into_iter();
                    // Nearly every record makes one event.
                    if let Some(first) = made.next() {
                        self.events.extend(made.map(|made| (made, record.clone())));
                        self.events.push((first, record));
                    }
                }
                Err(why) => {
                    report.skipped += 1;
                    let id = resource.id_of(&record).unwrap_or_else(|_| "?".to_owned());
                    let id = tidewire_core::problem::clip(&id);
                    let said = || clip(&format!("the record `{id}`: {why}"));
                    report.skipped_because.get_or_insert_with(said);
                }
            }
        }
        self.window = window;
    }
}

/// What came of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done {
        inserted: u64,
        duplicates: u64,
    },
    /// The site is in other hands, or not there any more.
    Lost,
}

/// What a transaction of a sync runs with.
#[derive(Clone)]
pub(super) struct Writer {
    pub inner: Arc<Inner>,
    pub hold: Arc<Hold>,
    pub resource: Arc<Resource>,
}

impl Writer {
    pub fn of(&self) -> Of<'_> {
        Of {
            tenant: &self.hold.tenant,
            site: &self.hold.site,
            resource: &self.resource.name,
        }
    }

    /// Runs a step in a transaction, if the site is still this sync's.
    pub async fn step<F>(&self, label: &'static str, step: F) -> Result<Written, DbError>
    where
        F: for<'a> Fn(&'a Writer, &'a mut Tx) -> BoxFuture<'a, Result<Written, DbError>>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let writer = self.clone();
        self.inner
            .db
            .transact(label, move |tx| {
                let (writer, step) = (writer.clone(), step.clone());
                Box::pin(async move {
                    if !writer.holds(tx).await? {
                        return Ok(Written::Lost);
                    }
                    step(&writer, tx).await
                })
            })
            .await
    }

    /// Whether the site is still in this sync's hands; it stays so until the commit.
    async fn holds(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let (store, hold) = (&self.inner.store, &self.hold);
        let lease = store.lease(tx, &hold.tenant, &hold.site).await?;
        let Some(lease) = lease.filter(|lease| lease.token == hold.token) else {
            return Ok(false);
        };
        let (now, length) = (self.inner.clock.now(), self.inner.settings.lease);
        if lease.until.since(now) < length / 2 {
            let until = now.plus(length);
            store.extend(tx, &hold.tenant, &hold.site, until).await?;
        }
        Ok(true)
    }

    /// Writes pages, and where reading goes on; the counts are those of this batch alone.
    pub async fn write(&self, batch: Arc<Batch>) -> Result<Written, DbError> {
        self.step("sites.page", move |writer, tx| {
            let batch = Arc::clone(&batch);
            Box::pin(async move { writer.write_in(tx, &batch).await })
        })
        .await
    }

    async fn write_in(&self, tx: &mut Tx, batch: &Batch) -> Result<Written, DbError> {
        let tenant = &self.hold.tenant;
        let carries = |made: &&Made| made.attribution;
        let subjects: BTreeSet<&str> = batch
            .events
            .iter()
            .map(|(made, _)| made)
            .filter(carries)
            .filter_map(|made| made.subject.as_deref())
            .collect();
        let mut latest = std::collections::HashMap::new();
        if !subjects.is_empty() {
            // A touch that commits in between would be carried by nobody, and corrected by nobody.
            attribution::lock(tx, tenant).await?;
            let subjects: Vec<_> = subjects.into_iter().collect();
            latest = self.inner.store.latest(tx, tenant, &subjects).await?;
        }
        let stream = stream_of(&self.hold.site);
        let mut events = Vec::with_capacity(batch.events.len());
        for (made, record) in &batch.events {
            let touch = made
                .subject
                .as_ref()
                .and_then(|subject| latest.get(subject));
            let carried = Carried {
                site_id: &self.hold.site,
                resource: &self.resource.name,
                record,
                utm_source: touch.map(|touch| touch.utm_source.as_str()),
                attributed_at: touch.map(|touch| touch.occurred_at),
            };
            events.push(event(&stream, made, &carried)?);
        }
        let append = [Append::new(Arc::clone(tenant), events)];
        let stored = self.inner.events.append_in(tx, &append).await;
        let stored = stored.map_err(broken)?;
        let stored = stored.into_iter().flatten().flatten();
        let (mut inserted, mut duplicates) = (0, 0);
        for event in stored {
            match event.duplicated {
                true => duplicates += 1,
                false => inserted += 1,
            }
        }
        if inserted + duplicates != batch.events.len() as u64 {
            let text = "the log did not take all events of a page".to_owned();
            return Err(DbError::Broken(text));
        }
        let mut report = batch.report.clone();
        report.inserted += inserted;
        report.duplicates += duplicates;
        let progress = Progress {
            window: batch.window.clone(),
            report,
        };
        let progress = written(&progress)?;
        let store = &self.inner.store;
        store.keep_progress(tx, self.of(), &progress).await?;
        Ok(Written::Done {
            inserted,
            duplicates,
        })
    }
}

fn event(stream: &str, made: &Made, carried: &Carried<'_>) -> Result<NewEvent, DbError> {
    let payload = match made.attribution {
        true => to_raw_value(carried),
        false => to_raw_value(&carried.plain()),
    };
    let payload = payload.map_err(|error| DbError::Broken(error.to_string()))?;
    let mut event = NewEvent::kept(stream, made.kind.as_str(), payload)
        .once(made.dedupe_key.as_str())
        .said_by(SOURCE);
    if let Some(subject) = &made.subject {
        event = event.about(subject.as_str());
    }
    if let Some(at) = made.occurred_at {
        event = event.occurred(at);
    }
    Ok(event)
}

pub(super) fn written(progress: &impl Serialize) -> Result<String, DbError> {
    serde_json::to_string(progress).map_err(|error| DbError::Broken(error.to_string()))
}

/// Progress is small.
fn clip(text: &str) -> String {
    text.chars().take(300).collect()
}

/// Of an append inside a transaction.
pub(crate) fn broken(error: tidewire_events::Error) -> DbError {
    match error {
        tidewire_events::Error::Store(error) => error,
        other => DbError::Broken(format!("an event was refused: {other}")),
    }
}

/// When a window's last page was read.
pub(super) fn duration_ms(from: Time, to: Time) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}
