//! The cold tier: what grows old leaves the store for object storage, and is read at the same address.
//!
//! A stream is archived from its start, in ranges that join on to each other. Each is an object of
//! gzipped lines ([`object`]) in a folder or a bucket ([`objects`]), and a row of the catalogue, which is
//! authoritative: what has no row is not archived, whatever lies in the bucket. Only what is archived and
//! verified may be trimmed, that is deleted from the log's table; from then on the log asks [`ColdReader`]
//! for it, and nobody who reads can tell.
//!
//! All that is long is a job: archiving, checking, putting back.

mod archiver;
pub mod cache;
mod cold;
mod companion;
mod error;
mod http;
mod line;
mod metrics;
mod migrations;
mod model;
pub mod object;
pub mod objects;
#[cfg(feature = "parquet")]
pub mod parquet;
mod progress;
mod run;
mod service;
mod settings;
mod store;
mod trim;
mod verify;
mod worker;

pub use self::http::routes;
pub use cache::{Cache, CacheSettings};
pub use cold::ColdReader;
pub use error::Error;
pub use metrics::describe as describe_metrics;
pub use migrations::MIGRATIONS;
pub use model::{
    Archive, Format, Marks, Parquet, RestoreReport, RestoreRequest, RunReport, RunRequest,
    VerifyRequest, Wanted,
};
pub use objects::{Objects, ObjectsSettings};
pub use progress::Progress;
pub use service::{Archives, Rooms};
pub use settings::ArchiveSettings;
pub use verify::{Fault, VerifyReport};
pub use worker::{RESTORE, RUN, VERIFY};

#[cfg(test)]
mod tests;
