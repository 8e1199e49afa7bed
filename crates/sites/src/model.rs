//! Sites, their syncs and their users' touches, as they are shown.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tidewire_core::{FieldError, Problem, Time, name};

/// Characters of a site's name and of an access key.
const MAX_NAME: usize = 200;
const MAX_KEY: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = SiteState)]
#[serde(rename_all = "lowercase")]
pub enum SiteState {
    Active,
    /// Its source refuses the access key. Registering the site again, with one that is good, goes on.
    Revoked,
}

impl SiteState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SiteState::Active => "active",
            SiteState::Revoked => "revoked",
        }
    }
}

impl fmt::Display for SiteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SiteState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [SiteState::Active, SiteState::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no state of a site"))
    }
}

/// A third party's site. Never with its access key.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Site {
    /// The site's id at its source.
    pub id: String,
    pub base_url: String,
    #[schema(required)]
    pub name: Option<String>,
    /// The definition by which it is read.
    pub kind: String,
    pub state: SiteState,
    /// Why it is not active.
    #[schema(required)]
    pub state_reason: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// A site and how its lists are synced.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SiteDetail {
    #[serde(flatten)]
    pub site: Site,
    /// In the order in which they are synced.
    pub resources: Vec<ResourceStatus>,
}

/// How far the sync of one of a site's lists is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ResourceStatus {
    pub resource: String,
    /// Whether a sync was begun and has not come to its end; it goes on where it stands.
    pub is_open: bool,
    /// How far the list is known, where it is not read whole each time.
    #[schema(required)]
    pub mark: Option<String>,
    #[schema(required)]
    pub started_at: Option<Time>,
    /// When the last one ended that came to its end.
    #[schema(required)]
    pub finished_at: Option<Time>,
    /// Why the latest try ended early.
    #[schema(required)]
    pub error: Option<String>,
    /// Of the open sync, else of the last one.
    #[schema(required)]
    pub report: Option<Report>,
}

/// A site as it is registered.
#[derive(Clone, Debug)]
pub struct NewSite {
    pub site_id: String,
    pub access_key: String,
    pub base_url: Option<String>,
    pub name: Option<String>,
    pub kind: String,
}

impl NewSite {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let mut errors = Vec::new();
        let mut note = |pointer: &str, checked: Result<(), String>| {
            if let Err(detail) = checked {
                errors.push(FieldError {
                    pointer: pointer.to_owned(),
                    detail,
                });
            }
        };
        note("/site_id", name::check(&self.site_id, name::ID_MAX));
        note("/access_key", check_key(&self.access_key));
        note("/kind", name::check(&self.kind, name::ID_MAX));
        if let Some(text) = &self.name {
            note("/name", name::check_text(text, MAX_NAME));
        }
        Problem::all(errors)
    }
}

/// It travels in a header. The error does not show it.
fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(format!("must have 1 to {MAX_KEY} characters"));
    }
    if key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    Err("must be of printable ASCII characters".to_owned())
}

/// What a sync has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SyncReport)]
pub struct Report {
    pub site_id: String,
    pub resource: String,
    pub pages: u64,
    /// Records that were read.
    pub fetched: u64,
    /// Events that were stored.
    pub inserted: u64,
    /// Events that were stored before.
    pub duplicates: u64,
    /// Records that cannot become events …
    #[serde(default)]
    pub skipped: u64,
    /// … and why not the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub skipped_because: Option<String>,
    /// How many records there are, if the source says so.
    #[serde(default)]
    #[schema(required)]
    pub total: Option<u64>,
    pub duration_ms: u64,
}

/// What a job of type `site.sync` is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncPayload {
    pub site_id: String,
    /// All of the site's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Vec<String>>,
}

/// What a job of type `site.sync` leaves behind, and what it says on its way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SyncOutput {
    pub syncs: Vec<Report>,
}

/// How a user came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Touch {
    pub utm_source: String,
    pub occurred_at: Time,
    /// The event that says so.
    pub event_id: String,
    #[serde(skip)]
    pub(crate) pos: u64,
}

/// How a subject came, first and last.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Attribution {
    pub subject: String,
    #[schema(required)]
    pub first_touch: Option<Touch>,
    /// What new events of the subject carry.
    #[schema(required)]
    pub last_touch: Option<Touch>,
    /// The last one whose source is not `direct`.
    #[schema(required)]
    pub last_non_direct_touch: Option<Touch>,
}
