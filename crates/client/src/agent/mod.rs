//! Runs turns of threads in this process: an agent.
//!
//! A turn is a job of type `agent.turn`, so an agent is a [`Worker`] of that type. What it is more:
//! it says what it does, as events in the turn's thread, while it does it. Events go out in their
//! order, one request at a time; what is emitted while a request is on its way goes with the next.
//! Each has an id made here, so that a request whose answer got lost is repeated without storing
//! anything twice.
//!
//! The server is authoritative in how a turn stands. A cancel reaches the handler as
//! [`Turn::cancelled`], by the answer to the next events or the next heartbeat, whichever is first.
//! An agent that is told to stop gives its turns back, and another takes them over at once; one
//! that dies loses them when its leases run out.
//!
//! ```no_run
//! # async fn example(client: tidewire_client::Client) -> Result<(), tidewire_client::Error> {
//! use tidewire_client::{Agent, Sink, Turn};
//!
//! Agent::builder(client)
//!     .agent("greeter")
//!     .build(|turn: Turn, sink: Sink| async move {
//!         let name: String = turn.input()?;
//!         let mut message = sink.message();
//!         for part in ["good ", "morning, ", &name] {
//!             message.delta(part).await?;
//!         }
//!         Ok(serde_json::Value::from(message.complete().await?))
//!     })
//!     .run(async { drop(tokio::signal::ctrl_c().await) })
//!     .await?;
//! # Ok(())
//! # }
//! ```

mod courier;
mod say;
mod sink;
mod turn;

use std::{future::Future, pin::pin, time::Duration};

use tidewire_core::{Clock, ids};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    Client, Failure, JobContext, Output, Processor, Result, Worker,
    worker::{self, Report},
};

pub use say::{Message, ToolCall};
pub use sink::{EmitError, Sink};
pub use turn::Turn;

use turn::Assigned;

/// The type of the jobs that turns are.
const JOB_TYPE: &str = "agent.turn";
/// The agent of turns that name none.
const DEFAULT: &str = "default";
const LEASE: Duration = Duration::from_secs(30);
/// A person who cancels is waiting for it.
const HEARTBEAT: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);
/// For what is left to do when every handler has returned.
const MARGIN: Duration = Duration::from_secs(1);

/// The settings of an [`Agent`] to be.
#[must_use]
pub struct Builder {
    worker: worker::Builder,
    is_named: bool,
    drain: Duration,
    grace: Duration,
}

impl Builder {
    /// Takes turns that name this agent, and those named before (default: turns that name none).
    pub fn agent(mut self, name: impl Into<String>) -> Self {
        self.worker = self.worker.queue(name);
        self.is_named = true;
        self
    }

    /// This process's name among its like (default: `agent-` and a fresh id). The next turn of a
    /// thread is kept for a moment for whoever ran the last, by this name: one that outlives a
    /// restart gets its threads back.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.worker = self.worker.name(name);
        self
    }

    /// Turns at the same time (default 16, at least 1).
    pub fn concurrency(mut self, turns: usize) -> Self {
        self.worker = self.worker.concurrency(turns);
        self
    }

    /// How long a turn stays this agent's without a heartbeat (default 30 s), and so how long after
    /// a crash another takes over.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.worker = self.worker.lease(lease);
        self
    }

    /// How often the server is asked whether a turn is still to be run (default 1 s), should the
    /// answers to its events not say so before.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.worker = self.worker.heartbeat(every);
        self
    }

    /// How long one claim is held open (default 20 s, at most 60 s).
    pub fn wait(mut self, wait: Duration) -> Self {
        self.worker = self.worker.wait(wait);
        self
    }

    /// How long running turns have to finish after the shutdown signal, before they are told to
    /// stop and given back (default: no time at all).
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// How long a handler whose turn was cancelled, taken over or is to be given back may tidy up
    /// (default 5 s).
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The agent that handles turns so. What the handler returns is the turn's output; a
    /// [`Failure`] is tried again by the queue's rules, until it is permanent or the last.
    #[must_use]
    pub fn build<F, Fut, O>(self, handle: F) -> Agent
    where
        F: Fn(Turn, Sink) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
        O: Into<Output> + 'static,
    {
        let stopping = CancellationToken::new();
        let turns = Turns {
            handle,
            stopping: stopping.clone(),
            drain: self.drain,
            grace: self.grace,
        };
        let worker = if self.is_named {
            self.worker
        } else {
            self.worker.queue(DEFAULT)
        };
        Agent {
            worker: worker
                .cancel_grace(self.grace)
                .drain(self.drain + self.grace + MARGIN)
                .processor(JOB_TYPE, turns)
                .build(),
            stopping,
        }
    }
}

pub struct Agent {
    worker: Worker,
    stopping: CancellationToken,
}

impl Agent {
    pub fn builder(client: Client) -> Builder {
        let worker = Worker::builder(client)
            .name(format!("agent-{}", ids::new_id(&Clock::system())))
            .lease(LEASE)
            .heartbeat(HEARTBEAT);
        Builder {
            worker,
            is_named: false,
            drain: Duration::ZERO,
            grace: GRACE,
        }
    }

    /// Takes turns until `shutdown`, then gives back what still runs and returns what was done. It
    /// outlasts a server that is away; one that refuses the claim itself ends it with that error.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Report> {
        let stopping = self.stopping;
        self.worker
            .run(async move {
                shutdown.await;
                stopping.cancel();
            })
            .await
    }
}

/// The processor behind an agent.
struct Turns<F> {
    handle: F,
    stopping: CancellationToken,
    drain: Duration,
    grace: Duration,
}

impl<F, Fut, O> Processor for Turns<F>
where
    F: Fn(Turn, Sink) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, Failure>> + Send + 'static,
    O: Into<Output> + 'static,
{
    async fn process(&self, job: JobContext) -> Result<Output, Failure> {
        let Assigned { thread_id, turn_id } = job.payload()?;
        let cancelled = job.cancellation_token();
        let (sink, courier) = sink::open(job.client(), &thread_id, &turn_id, &cancelled);
        // In a task of its own, so that a handler that computes for long is heard meanwhile; it
        // goes with this future.
        let mut couriers = JoinSet::new();
        couriers.spawn(courier.run().in_current_span());
        let turn = Turn::new(job, thread_id, turn_id);
        let handled = (self.handle)(turn, sink.clone());
        let mut work = pin!(async { handled.await.map(Into::<Output>::into) });
        let result = tokio::select! {
            biased;
            result = &mut work => result,
            () = self.time_is_up() => {
                cancelled.cancel();
                // Either way its result does not count any more.
                let _ = timeout(self.grace, work).await;
                return Err(Failure::give_back("the agent stops"));
            }
        };
        let (said, ended) = match result {
            // The last event ends the job too.
            Ok(output) => (sink.finish(&output).await, Ok(Output::told())),
            // What was said before belongs to the thread all the same.
            Err(failure) => (sink.flush().await, Err(failure)),
        };
        match said {
            Ok(()) => ended,
            Err(EmitError::Ended) => Err(Failure::give_back("the turn is not ours any more")),
            Err(error) => Err(Failure::permanent(error)),
        }
    }
}

impl<F> Turns<F> {
    /// Returns when the agent was told to stop and its time to finish has passed.
    async fn time_is_up(&self) {
        self.stopping.cancelled().await;
        sleep(self.drain).await;
    }
}
