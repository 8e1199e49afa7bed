//! The client of Tidewire's HTTP API and the SDK for workers and agents.
//!
//! This room knows the wire and nothing of the server: the types in [`model`] are its own, and read
//! tolerantly (a field that it does not know is skipped, a field that is missing has a default), so
//! a client goes on working against a server of another age. The server is authoritative in all it
//! says; what the client checks by itself is only what it needs to send a request at all.
//!
//! - [`Client`]: one method for each route, in groups: [`Client::events`], [`Client::jobs`],
//!   [`Client::triggers`], [`Client::executions`], [`Client::threads`], [`Client::turns`],
//!   [`Client::sites`], [`Client::analytics`], [`Client::tenants`]. It repeats a request only where that is safe (see
//!   [`Retry`]).
//! - [`Tail`] and [`ThreadStream`]: the live log and a live thread, which reconnect by themselves
//!   and neither skip nor repeat an event.
//! - [`worker`]: runs jobs in this process. [`agent`]: runs turns of threads.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tidewire_client::{Client, NewEvent, NewJob};
//!
//! let client = Client::new("http://127.0.0.1:8080", None)?;
//! let stored = client.events().append(&NewEvent::new("user.signed-up").payload(&"ann")?).await?;
//! let job = client.jobs().enqueue(&NewJob::new("echo").payload(&stored.id)?).await?;
//! println!("event {} is number {}, job {} is {}", stored.id, stored.seq, job.id, job.status);
//! # Ok(())
//! # }
//! ```

pub mod agent;
mod analytics;
mod archives;
mod client;
mod error;
mod events;
mod executions;
mod fleet;
mod jobs;
mod leases;
mod live;
pub mod model;
mod pages;
mod retry;
mod sites;
mod sse;
mod tail;
mod tenants;
mod thread_stream;
mod threads;
mod transport;
mod triggers;
mod turns;
pub mod worker;

pub use agent::{Agent, EmitError, Sink, Turn};
pub use analytics::Analytics;
pub use archives::{Archives, Download};
pub use client::{Builder, Client};
pub use error::{Error, FieldError, Problem, Result, TransportError, TransportKind};
pub use events::{EventQuery, Events};
pub use executions::{ExecutionQuery, Executions};
pub use fleet::{ConfigQuery, Fleet, FleetWatch, FleetWorker};
pub use jobs::{ClaimRequest, JobQuery, Jobs};
pub use leases::Leases;
pub use model::{
    AcceptedTurn, AgentStatus, Appended, Archive, Attempt, AttemptState, Attribution, ClaimedJob,
    ConfigVersion, Demand, EndpointState, Event, EventLevel, Execution, ExecutionAttempt,
    ExecutionCounts, ExecutionStatus, ExecutionSummary, FleetAgent, FleetAttempt, FleetWorkerState,
    Health, Job, JobStatus, Labels, Lease, LeaseAnswer, LeaseEnd, LeaseEndStatus, LeaseEnded,
    LeaseStatus, NewArchives, NewConfig, NewEvent, NewFleetAgent, NewJob, NewLease, NewSite,
    NewSiteEvent, NewThreadEvent, NewTrigger, NewTurn, Numbered, OfferedConfig, OnBusy, Page,
    PageNumber, Pagination, PushedConfig, RegisteredAgent, RestoreArchives, RetentionStatus,
    Rollback, Schedule, ScheduleStatus, SetOff, Site, SiteEvent, SiteResource, Source,
    StoredThreadEvent, SyncOutput, SyncReport, Thread, ThreadDemand, ThreadEvent, ThreadStatus,
    Touch, Trigger, TriggerEdit, TriggerStatus, TriggerSummary, TriggerType, TurnRecord,
    TurnStatus,
};
pub use pages::Pages;
pub use retry::Retry;
pub use sites::{SiteEventQuery, Sites};
pub use tail::{Tail, TailEvent, TailQuery};
pub use tenants::Tenants;
pub use thread_stream::ThreadStream;
pub use threads::{ThreadEventQuery, Threads};
pub use triggers::{TriggerQuery, Triggers, Unstored};
pub use turns::Turns;
pub use worker::{Failure, JobContext, Output, Processor, Worker};
