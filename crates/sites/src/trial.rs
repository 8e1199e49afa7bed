//! Trying a definition: its first page, and the events that would be made of it. Nothing is stored.

use std::sync::Mutex;

use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_core::{Clock, Time};
use tidewire_outbound::Client;
use url::Url;

use crate::{
    AccessKey, Error, SiteSettings,
    source::Source,
    sync::{Asker, Hosts, Window},
};

/// What is tried.
pub struct Trial<'t> {
    pub source: &'t Source,
    pub resource: &'t str,
    pub site_id: &'t str,
    /// The source's own without it.
    pub base_url: Option<&'t str>,
    pub access_key: AccessKey,
    pub client: &'t Client,
}

/// A first page.
#[derive(Debug, Serialize)]
pub struct TrialPage {
    /// How many records there are in all, if the source says so.
    pub total: Option<u64>,
    pub records: usize,
    /// Whether there is a page behind it.
    pub has_more: bool,
    pub events: Vec<TrialEvent>,
    /// Why records make no event.
    pub skipped: Vec<String>,
}

/// An event that would be stored.
#[derive(Debug, Serialize)]
pub struct TrialEvent {
    #[serde(rename = "type")]
    pub kind: String,
    pub dedupe_key: String,
    pub subject: Option<String>,
    pub occurred_at: Option<Time>,
    pub record: Box<RawValue>,
}

impl Trial<'_> {
    /// Asks for the first page.
    pub async fn run(&self) -> Result<TrialPage, Error> {
        let Some(resource) = self.source.resource(self.resource) else {
            return Err(Error::NoSuchResource {
                site: self.site_id.to_owned(),
                resource: self.resource.to_owned(),
                known: self.source.names().join(", "),
            });
        };
        let base = self.base_url.or(self.source.base_url.as_deref());
        let base = base.ok_or_else(|| {
            Error::Source("the definition has no base_url: give one with --base-url".to_owned())
        })?;
        let wrong = |error| Error::Source(format!("the base URL `{base}` cannot be read: {error}"));
        let clock = Clock::system();
        let settings = SiteSettings::default();
        let asker = Asker {
            source: self.source,
            site: self.site_id,
            base: Url::parse(base).map_err(wrong)?,
            key: &self.access_key,
            client: self.client,
            hosts: &Hosts::new(settings.per_host),
            clock: &clock,
            settings: SiteSettings {
                tries: 2,
                ..settings
            },
            paced: Mutex::default(),
        };
        let window = Window::begin(resource, None, false, clock.now()).window;
        let page = asker.page(resource, &window).await?;
        let mut shown = TrialPage {
            total: page.turned.total,
            records: page.records.len(),
            has_more: page.turned.next.is_some(),
            events: Vec::new(),
            skipped: Vec::new(),
        };
        for (place, record) in page.records.into_iter().enumerate() {
            match resource.events_of(self.site_id, &record, false) {
                Ok(made) => shown.events.extend(made.into_iter().map(|made| TrialEvent {
                    kind: made.kind,
                    dedupe_key: made.dedupe_key,
                    subject: made.subject,
                    occurred_at: made.occurred_at,
                    record: record.clone(),
                })),
                Err(why) => shown.skipped.push(format!("the record {place}: {why}")),
            }
        }
        Ok(shown)
    }
}
