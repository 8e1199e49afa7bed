//! How executions follow their jobs: what becomes of a job is written to its execution in the same
//! transaction, and so is the record of each try.

use std::sync::Arc;

use tidewire_core::{Clock, Time};
use tidewire_db::{BoxFuture, Db, Error, Result, Tx};
use tidewire_jobs::{Follower, Status, Step};

use crate::{
    firing::Context,
    lifecycle, metrics,
    model::{ExecutionStatus, TriggerStatus},
    store::{AttemptRow, Outcome, Store},
};

/// What the processor of a delivery tells of a try, beside how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub started_at: Time,
    pub duration_ms: u64,
    pub response_status: Option<u16>,
    pub response_body: Option<String>,
    pub error: Option<String>,
    /// The endpoint wants no more of it, ever.
    pub is_gone: bool,
}

/// Follows the jobs of all firings. Every process that works with jobs has one.
pub struct Executions {
    store: Arc<Store>,
    clock: Clock,
}

impl Executions {
    #[must_use]
    pub fn new(db: &Db, clock: Clock) -> Self {
        Executions {
            store: Store::new(db.dialect()),
            clock,
        }
    }

    async fn write(&self, tx: &mut Tx, steps: &[Step<'_>]) -> Result<()> {
        let contexts: Vec<_> = steps.iter().map(context).collect::<Result<_>>()?;
        let mut outcomes = Vec::with_capacity(steps.len());
        let mut attempts = Vec::with_capacity(steps.len());
        let mut undone = Vec::new();
        let mut again = Vec::new();
        for (step, context) in steps.iter().zip(&contexts) {
            let tried = step.note.and_then(|note| note.get::<Tried>());
            outcomes.push(Outcome {
                tenant: step.tenant,
                execution_id: &context.execution,
                status: status(step.now),
                error: error(step),
            });
            if step.was.is_final() && step.now == Status::Pending {
                again.push((&**step.tenant, context.execution.as_str()));
            }
            if step.ends_attempt {
                attempts.push(attempt(step, context, tried));
            }
            // It was given up, and whatever became of it, it was not that.
            if step.is_late {
                undone.push((&**step.tenant, context.execution.as_str(), step.attempt));
            }
            if tried.is_some_and(|tried| tried.is_gone) {
                self.gone(tx, step, context).await?;
            }
        }
        let at = steps.first().map_or(Time::EPOCH, |step| step.at);
        if !again.is_empty() {
            self.store.bring_back(tx, &again).await?;
        }
        self.store.settle(tx, &outcomes, at).await?;
        self.store.delete_attempts(tx, &undone).await?;
        self.store.insert_attempts(tx, &attempts).await?;
        let ended = steps.iter().map(|step| step.now);
        let ended = metrics::Ended::of(ended);
        let retried = attempts.iter().filter(|row| row.attempt > 1).count() as u64;
        tx.on_commit(move || ended.record(retried));
        Ok(())
    }

    /// The endpoint has said that it is gone: its trigger rests, unless it has another config by now.
    async fn gone(&self, tx: &mut Tx, step: &Step<'_>, context: &Context) -> Result<()> {
        let Some(trigger) = &context.trigger else {
            return Ok(());
        };
        let Some(old) = self.store.lock_trigger(tx, step.tenant, trigger).await? else {
            return Ok(());
        };
        if *old.config_id != *context.config || old.status == TriggerStatus::Inactive {
            return Ok(());
        }
        tracing::info!(
            trigger_id = trigger,
            "the endpoint answered 410 Gone: the trigger is inactive now"
        );
        lifecycle::rest(&self.store, tx, &old, self.clock.now()).await
    }
}

impl Follower for Executions {
    fn follow<'a>(&'a self, tx: &'a mut Tx, steps: &'a [Step<'a>]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.write(tx, steps))
    }
}

fn context(step: &Step<'_>) -> Result<Context> {
    serde_json::from_str(step.context).map_err(|error| {
        Error::Broken(format!(
            "the job `{}` does not say which execution it is for: {error}",
            step.job_id
        ))
    })
}

fn status(job: Status) -> ExecutionStatus {
    match job {
        Status::Pending | Status::Running => ExecutionStatus::Pending,
        Status::Done => ExecutionStatus::Success,
        Status::Failed | Status::Cancelled => ExecutionStatus::Failure,
    }
}

fn error<'s>(step: &'s Step<'_>) -> Option<&'s str> {
    match step.now {
        Status::Done => None,
        Status::Cancelled => Some("cancelled: its job was cancelled"),
        Status::Pending | Status::Running | Status::Failed => step.error,
    }
}

fn attempt<'a>(
    step: &'a Step<'_>,
    context: &'a Context,
    tried: Option<&'a Tried>,
) -> AttemptRow<'a> {
    let row = AttemptRow {
        tenant: step.tenant,
        execution_id: &context.execution,
        attempt: step.attempt,
        started_at: step.started_at.unwrap_or(step.at),
        duration_ms: None,
        response_status: None,
        response_body: None,
        error: error(step),
    };
    match tried {
        Some(tried) => AttemptRow {
            started_at: tried.started_at,
            duration_ms: Some(tried.duration_ms),
            response_status: tried.response_status,
            response_body: tried.response_body.as_deref(),
            error: tried.error.as_deref(),
            ..row
        },
        None => {
            let took = step.started_at.map(|from| step.at.since(from));
            AttemptRow {
                duration_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
                ..row
            }
        }
    }
}
