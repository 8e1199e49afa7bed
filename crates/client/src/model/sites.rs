//! Sites, their syncs, and their users' events.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
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
#[derive(Clone, Debug, Serialize)]
pub struct SiteEvent {
    #[serde(flatten)]
    pub event: Event,
    pub user_id: Option<String>,
    pub utm_source: Option<String>,
}

impl<'de> Deserialize<'de> for SiteEvent {
    /// The document is read twice: serde does not find a payload's own text through `flatten`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Lifted {
            #[serde(default)]
            user_id: Option<String>,
            #[serde(default)]
            utm_source: Option<String>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let lifted: Lifted = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(SiteEvent {
            event: serde_json::from_str(text.get()).map_err(D::Error::custom)?,
            user_id: lifted.user_id,
            utm_source: lifted.utm_source,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_event_comes_out_as_it_came_in() {
        let text = r#"{"id":"e","stream":"site:s","seq":7,"type":"order_created","subject":"u","payload":{"total": 1.50},"dedupe_key":null,"source":"sites","occurred_at":null,"created_at":"2026-01-01T00:00:00.000000Z","user_id":"u","utm_source":"ad"}"#;
        let page = format!(r#"{{"events":[{text}],"next_cursor":null}}"#);
        let page: SiteEventsPage = serde_json::from_str(&page).unwrap();
        let event = &page.events[0];
        assert_eq!(event.event.payload.get(), r#"{"total": 1.50}"#);
        assert_eq!(event.utm_source.as_deref(), Some("ad"));
        assert_eq!(serde_json::to_string(event).unwrap(), text);
    }
}
