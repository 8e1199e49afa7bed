//! Sites: other people's systems whose records become events of the log, once, in order, with
//! attribution.
//!
//! What is known of a kind of sites stands in a declarative [`source`]. A [`sync`](mod@sync) reads a
//! site's list page by page and appends each page's events in one transaction with the place where
//! reading goes on, under a lease that only one sync of a site has: a crash resumes there and doubles
//! nothing. An event of a user carries the user's latest `utm_source` ([`attribution`]).
//!
//! The log is authoritative: that a record was seen is its event's dedupe key. The tables of this room
//! (see [`store`]) only say where reading goes on.
//!
//! Who wants several locks takes them in this order, so that nobody waits for each other: a site's row,
//! its lease, the lock of a tenant's attributions, the lock of the log.

mod attribution;
pub mod builder;
mod error;
mod http;
mod metrics;
mod migrations;
mod model;
mod seal;
mod service;
mod settings;
pub mod source;
mod store;
mod sync;
mod trial;
mod worker;

pub use self::http::routes;
pub use error::Error;
pub use metrics::describe as describe_metrics;
pub use migrations::MIGRATIONS;
pub use model::{
    Attribution, NewSite, Report, ResourceStatus, Site, SiteDetail, SiteState, SyncOutput,
    SyncPayload, Touch,
};
pub use seal::{AccessKey, SealError, SealKey, SealKeys};
pub use service::{NewSiteEvent, RandomEvents, Recorded, Rooms, Sites, Synced};
pub use settings::SiteSettings;
pub use sync::SourceFault;
pub use trial::{Trial, TrialEvent, TrialPage};
pub use worker::sync_worker;

/// How the names of streams begin that are sites.
pub const NAMESPACE: &str = "site:";

/// The type of a sync's job, and the queue that it waits in unless it says otherwise.
pub const SYNC: &str = "site.sync";
pub const QUEUE: &str = "sites";

/// Who says what is known of sites and their users.
pub const SOURCE: &str = "sites";

#[cfg(test)]
mod tests;
