//! Jobs: work that is done at least once, with attempts, leases and results.
//!
//! The table `jobs` is authoritative, and every step of a job's life is one transaction: its state,
//! its next due time, the record of its attempt and the counts. The rules are pure functions in
//! [`state`]; [`store`] writes what they decide; [`lanes`] groups what is hot into batches. The
//! [`board`] in memory only says where to look, and can be lost at any time.

mod board;
pub mod bus;
mod error;
mod follow;
mod hints;
mod http;
mod keeper;
mod lanes;
mod lease;
mod metrics;
mod migrations;
mod model;
mod service;
mod settings;
mod state;
mod store;
mod worker;

pub use board::Filter;
pub use error::Error;
pub use follow::{Followed, Follower, Followers, MAX_CONTEXT, Note, Step};
pub use http::routes;
pub use metrics::describe as describe_metrics;
pub use migrations::MIGRATIONS;
pub use model::{
    Attempt, ClaimedJob, DayCounts, Enqueued, Job, JobDetail, JobFilter, JobPage, MAX_CLAIM,
    NewJob, Outcome, QueueDepth, Reservation, Settled, Status,
};
pub use service::{ClaimRequest, Hastened, Jobs, KeptFor, PutOff};
pub use settings::JobSettings;
pub use worker::{Failure, JobContext, Output, Processor, Processors, Worker, WorkerOptions};

#[cfg(test)]
mod tests;
