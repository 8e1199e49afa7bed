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

pub mod builder;
mod migrations;
mod model;
mod seal;
mod settings;
pub mod source;

pub use migrations::MIGRATIONS;
pub use model::{
    Attribution, NewSite, Report, ResourceStatus, Site, SiteDetail, SiteState, SyncOutput,
    SyncPayload, Touch,
};
pub use seal::{AccessKey, SealError, SealKey, SealKeys};
pub use settings::SiteSettings;
