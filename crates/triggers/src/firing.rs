//! Firings: whatever sets a trigger off, this is what is written. The execution, its job and the word
//! for the job bus are one transaction with what caused them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_core::{Clock, Time, ids};
use tidewire_db::{Batch, Hints, Keep, Tx};
use tidewire_jobs::{Jobs, NewJob};
use tokio::sync::Notify;

use crate::{
    Action, Error, TriggerSettings,
    configs::Known,
    metrics,
    model::Source,
    relay::FIRED,
    store::{ConfigRow, ExecutionRow, Store},
};

/// The type of the jobs that deliver.
pub const DISPATCH: &str = "http.dispatch";
/// Their queue.
pub const DELIVERIES: &str = "deliveries";
/// The name of the follower of all jobs that firings become.
pub const FOLLOWER: &str = "triggers";
pub use tidewire_events::MAX_DEPTH;
/// How much later than it was fired a delivery is due in the store while a job bus carries the first
/// attempts. A worker that hears of it takes it at once; were it due at once, every worker would go for
/// it in the store as well, and the bus would have nothing to carry. By way of the bus it takes tens of
/// milliseconds, so this leaves room for a broker's hiccup, and it is all that a delivery loses while
/// the bus is away.
pub(crate) const HEAD_START: Duration = Duration::from_secs(3);

/// A trigger that goes off.
#[derive(Clone, Debug)]
pub(crate) struct Firing {
    pub tenant: Arc<str>,
    /// None for a test of a trigger that is not stored.
    pub trigger_id: Option<Arc<str>>,
    pub config: Arc<Known>,
    pub source: Source,
    pub payload: Box<RawValue>,
    pub is_test_run: bool,
    /// The occurrence that it is.
    pub scheduled_for: Option<Time>,
    /// How many triggers deep it is: 1 for one that nothing of ours has set off.
    pub depth: u32,
    /// When its job is due, if that is later than now.
    pub run_at: Option<Time>,
    /// A config that is stored along with it, as it has no trigger.
    pub new_config: Option<Box<RawValue>>,
}

/// What a firing has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fired {
    pub execution_id: String,
    pub job_id: String,
}

/// What the job of a firing carries for its processor and its follower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    #[serde(rename = "e")]
    pub execution: String,
    #[serde(rename = "c")]
    pub config: String,
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    #[serde(rename = "d")]
    pub depth: u32,
    /// When it was fired, if its job was made before that.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<Time>,
}

/// The time that a firing is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Now(Time),
    /// Still to come: what is written is as if it were fired then, and nobody sees it before.
    Ahead(Time),
}

impl When {
    pub(crate) fn time(self) -> Time {
        match self {
            When::Now(time) | When::Ahead(time) => time,
        }
    }

    fn ahead(self) -> Option<Time> {
        match self {
            When::Now(_) => None,
            When::Ahead(time) => Some(time),
        }
    }
}

/// What it takes to fire. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fire {
    pub store: Arc<Store>,
    pub jobs: Jobs,
    pub clock: Clock,
    pub settings: TriggerSettings,
    /// To the other processes that share the store.
    pub hints: Hints,
    /// The outbox has grown.
    pub fired: Arc<Notify>,
}

impl Fire {
    /// Fires, each firing answered in its place.
    pub(crate) async fn fire(&self, tx: &mut Tx, firings: &[Firing]) -> Result<Vec<Fired>, Error> {
        self.fire_at(tx, firings, When::Now(self.clock.now())).await
    }

    pub(crate) async fn fire_at(
        &self,
        tx: &mut Tx,
        firings: &[Firing],
        when: When,
    ) -> Result<Vec<Fired>, Error> {
        let now = when.time();
        let executions: Vec<_> = firings.iter().map(|_| ids::new_id(&self.clock)).collect();
        for firing in firings {
            if let Some(config) = &firing.new_config {
                let row = ConfigRow {
                    id: Arc::clone(&firing.config.id),
                    kind: firing.config.kind,
                    config: config.clone(),
                };
                let times = (now, Some(now));
                self.store
                    .insert_config(tx, &firing.tenant, None, &row, times)
                    .await?;
            }
        }
        let jobs: Vec<_> = firings
            .iter()
            .zip(&executions)
            .map(|(firing, execution)| self.job(firing, execution, when))
            .collect();
        let of_tenants: Vec<_> = firings
            .iter()
            .zip(&jobs)
            .map(|(firing, job)| (&firing.tenant, job))
            .collect();
        let enqueued = self.jobs.enqueue_for_in(tx, &of_tenants).await?;
        let rows: Vec<_> = firings
            .iter()
            .zip(&executions)
            .zip(&enqueued)
            .map(|((firing, id), enqueued)| ExecutionRow {
                tenant: &firing.tenant,
                id,
                trigger_id: firing.trigger_id.as_deref(),
                kind: firing.config.kind,
                config_id: &firing.config.id,
                source: firing.source,
                is_test_run: firing.is_test_run,
                job_id: &enqueued.job.id,
                scheduled_for: firing.scheduled_for,
            })
            .collect();
        let relayed = self.settings.relayed;
        self.store
            .insert_executions(tx, &rows, now, relayed)
            .await?;
        if relayed {
            let (fired, hints) = (Arc::clone(&self.fired), self.hints.clone());
            tx.on_commit(move || {
                fired.notify_one();
                hints.send(FIRED, "", 0, Keep::Least);
            });
        }
        let scheduled: Vec<_> = firings.iter().filter_map(|of| of.scheduled_for).collect();
        let (count, clock) = (firings.len() as u64, self.clock.clone());
        tx.on_commit(move || metrics::fired(count, &scheduled, clock.now()));
        Ok(executions
            .into_iter()
            .zip(enqueued)
            .map(|(execution_id, enqueued)| Fired {
                execution_id,
                job_id: enqueued.job.id,
            })
            .collect())
    }

    fn job(&self, firing: &Firing, execution: &str, when: When) -> NewJob {
        let ahead = when.ahead();
        let context = Context {
            execution: execution.to_owned(),
            config: firing.config.id.to_string(),
            trigger: firing.trigger_id.as_deref().map(str::to_owned),
            depth: firing.depth,
            fired_at: ahead,
        };
        // Three ids, a number, and perhaps a time.
        let context = serde_json::to_string(&context).unwrap_or_default();
        let mut job = match &firing.config.config.action {
            Action::Deliver(delivery) => {
                let policy = delivery.retry.policy(self.settings.retry);
                NewJob::new(DISPATCH)
                    .queue(DELIVERIES)
                    .max_attempts(policy.max_attempts)
            }
            Action::Enqueue(spec) => {
                let new = NewJob::new(&spec.kind);
                NewJob {
                    queue: spec.queue.clone().unwrap_or(new.queue),
                    max_attempts: spec.max_attempts.unwrap_or(new.max_attempts),
                    timeout: spec.timeout,
                    ..NewJob::new(&spec.kind)
                }
            }
        };
        let is_carried =
            self.settings.relayed && matches!(firing.config.config.action, Action::Deliver(_));
        job.run_at = firing
            .run_at
            .or(ahead)
            .or_else(|| is_carried.then(|| when.time().plus(HEAD_START)));
        job.event_id = Some(execution.to_owned());
        job.payload(firing.payload.clone())
            .followed(FOLLOWER, context)
    }
}

/// Firings that come one by one from outside: webhooks and tests. They share commits.
pub(crate) struct Firings(pub Fire);

impl Batch for Firings {
    type In = Firing;
    type Out = Result<Fired, Error>;

    const NAME: &'static str = "firings";
    const RANK: u8 = 45;
    const ROUND: usize = 500;
    const WRITER: &'static str = "firings";

    fn weight(&self, firing: &Firing) -> usize {
        2 + firing.payload.get().len() / 8192
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Tx,
        firings: &'a [Firing],
    ) -> tidewire_db::Result<Vec<Result<Fired, Error>>> {
        match self.0.fire(tx, firings).await {
            Ok(fired) => Ok(fired.into_iter().map(Ok).collect()),
            Err(Error::Store(error) | Error::Jobs(tidewire_jobs::Error::Store(error))) => {
                Err(error)
            }
            // Something about one of them; alone it is told so.
            Err(error) if firings.len() == 1 => Ok(vec![Err(error)]),
            Err(error) => Err(tidewire_db::Error::Broken(error.to_string())),
        }
    }
}
