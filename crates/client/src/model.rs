//! The wire types, as a client sees them. Payloads and outputs are kept as the JSON text that came
//! ([`RawValue`]), so no digit of a number is lost on the way through.

mod analytics;
mod archives;
mod events;
mod fleet;
mod jobs;
mod leases;
mod named;
mod sites;
mod tenants;
mod threads;
mod triggers;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use analytics::{Day, Summary, Timeseries};
pub(crate) use archives::ArchivesPage;
pub use archives::{Archive, NewArchives, RestoreArchives};
pub(crate) use events::EventsPage;
pub use events::{Appended, Event, NewEvent};
pub use fleet::{
    AgentStatus, AttemptState, ConfigVersion, FleetAgent, FleetAttempt, FleetWorkerState, Labels,
    NewConfig, NewFleetAgent, OfferedConfig, PushedConfig, RegisteredAgent, Rollback,
};
pub(crate) use fleet::{AgentsPage, SchemaBody, VersionsPage};
pub use jobs::{Attempt, ClaimedJob, Job, JobStatus, NewJob};
pub(crate) use jobs::{Claimed, JobsPage, Retried};
pub use leases::{
    Demand, Lease, LeaseAnswer, LeaseEnd, LeaseEndStatus, LeaseEnded, LeaseStatus, NewLease,
    ThreadDemand,
};
pub(crate) use leases::{LeaseAnswers, LeaseList, LeasesEnded};
pub use sites::{
    Attribution, NewSite, NewSiteEvent, Site, SiteEvent, SiteResource, SyncOutput, SyncReport,
    Touch,
};
pub(crate) use sites::{SiteEventsPage, SitesPage};
pub use tenants::{Key, NewKey, NewTenant, Tenant};
pub(crate) use tenants::{KeysPage, TenantsPage};
pub use threads::{
    AcceptedTurn, EventLevel, NewThreadEvent, NewTurn, OnBusy, StoredThreadEvent, Thread,
    ThreadEvent, ThreadStatus, TurnRecord, TurnStatus,
};
pub(crate) use threads::{ThreadEventsPage, ThreadsPage, TurnsPage};
pub use triggers::{
    EndpointState, Execution, ExecutionAttempt, ExecutionCounts, ExecutionStatus, ExecutionSummary,
    NewTrigger, Numbered, PageNumber, Pagination, RetentionStatus, Schedule, ScheduleStatus,
    SetOff, Source, Trigger, TriggerEdit, TriggerStatus, TriggerSummary, TriggerType,
};
pub(crate) use triggers::{EndpointsList, ExecutionsPage, Runs, SchedulesPage, TriggersPage};

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    pub status: String,
    /// Each dependency and how it is.
    #[serde(default)]
    pub checks: BTreeMap<String, String>,
    /// What is neither right nor wrong, such as which engine the store is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub info: BTreeMap<String, String>,
}

impl Health {
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// Adds what a list is asked by, where it is given.
pub(crate) fn paged(url: &mut reqwest::Url, limit: Option<u32>, cursor: Option<&str>) {
    let limit = limit.map(|limit| limit.to_string());
    asked(url, &[("limit", limit.as_deref()), ("cursor", cursor)]);
}

/// The same for a list with numbered pages.
pub(crate) fn numbered(url: &mut reqwest::Url, page: PageNumber) {
    let number = page.page.map(|page| page.to_string());
    let limit = page.limit.map(|limit| limit.to_string());
    asked(
        url,
        &[("page", number.as_deref()), ("limit", limit.as_deref())],
    );
}

pub(crate) fn asked(url: &mut reqwest::Url, pairs: &[(&str, Option<&str>)]) {
    for (name, value) in pairs {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("`{}` is JSON")
}
