//! Sites, their syncs, and their users' events.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::Time;

use super::events::Event;

/// A site to be registered.
#[derive(Clone, Debug, Serialize)]
pub struct NewSite {
    pub site_id: String,
    pub access_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A third party's site, and, where one is asked for by its id, how far its lists are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    pub id: String,
    #[serde(default)]
    pub base_url: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub kind: String,
    /// `active` or `revoked`.
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub state_reason: Option<String>,
    #[serde(default)]
    pub created_at: Option<Time>,
    #[serde(default)]
    pub updated_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<SiteResource>>,
}

/// How far one of a site's lists is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SiteResource {
    pub resource: String,
    #[serde(default)]
    pub is_open: bool,
    #[serde(default)]
    pub mark: Option<String>,
    #[serde(default)]
    pub started_at: Option<Time>,
    #[serde(default)]
    pub finished_at: Option<Time>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub report: Option<SyncReport>,
}

/// What a sync has done so far, or in all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SyncReport {
    #[serde(default)]
    pub site_id: String,
    #[serde(default)]
    pub resource: String,
    #[serde(default)]
    pub pages: u64,
    #[serde(default)]
    pub fetched: u64,
    #[serde(default)]
    pub inserted: u64,
    #[serde(default)]
    pub duplicates: u64,
    #[serde(default)]
    pub skipped: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_because: Option<String>,
    #[serde(default)]
    pub total: Option<u64>,
    #[serde(default)]
    pub duration_ms: u64,
}

/// What a sync's job says on its way and at its end.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SyncOutput {
    #[serde(default)]
    pub syncs: Vec<SyncReport>,
}

/// An event of a user to be recorded.
#[derive(Clone, Debug, Serialize)]
pub struct NewSiteEvent {
    pub user_id: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm_source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Time>,
}

impl NewSiteEvent {
    #[must_use]
    pub fn new(user_id: impl Into<String>) -> Self {
        NewSiteEvent {
            user_id: user_id.into(),
            event_type: None,
            utm_source: None,
            payload: None,
            dedupe_key: None,
            occurred_at: None,
        }
    }

    /// Where the user came from.
    #[must_use]
    pub fn utm_source(mut self, source: impl Into<String>) -> Self {
        self.utm_source = Some(source.into());
        self
    }
}

/// An event of a user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SiteEvent {
    #[serde(flatten)]
    pub event: Event,
    #[serde(default)]
    pub user_id: Option<String>,
    #[serde(default)]
    pub utm_source: Option<String>,
}

/// How a user came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Touch {
    pub utm_source: String,
    pub occurred_at: Time,
    #[serde(default)]
    pub event_id: String,
}

/// How a subject came, first and last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attribution {
    pub subject: String,
    #[serde(default)]
    pub first_touch: Option<Touch>,
    #[serde(default)]
    pub last_touch: Option<Touch>,
    #[serde(default)]
    pub last_non_direct_touch: Option<Touch>,
}

#[derive(Deserialize)]
pub(crate) struct SitesPage {
    pub sites: Vec<Site>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct SiteEventsPage {
    pub events: Vec<SiteEvent>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}
