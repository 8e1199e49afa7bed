//! Delivery: jobs of type `http.dispatch`, each of which is one firing on its way to its endpoint.
//!
//! An attempt reads nothing from the store: the job brings the payload and says which execution it is
//! for and by which config, and configs are kept. It passes its endpoint's gate ([`gates`]), sends one
//! request ([`request`]), and what comes back ([`answer`]) is judged by the rules of [`crate::retry`].
//! What becomes of it is written with the job's step, by the worker and its follower.
//!
//! A delivery is made at least once. The execution's id goes along as `webhook-id`, the same with each
//! attempt, so an endpoint can tell a repetition.

mod answer;
mod endpoints;
mod gates;
mod metrics;
mod request;
mod tend;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tidewire_core::{Time, clock};
use tidewire_db::BoxFuture;
use tidewire_jobs::{
    Failure, Job, JobContext, Note, Output, Processor, Processors, Worker, WorkerOptions,
    bus::JobBus,
};
use tidewire_outbound::{Answer, BadAnswer, Client, Error as Outbound, Request};
use tokio_util::sync::CancellationToken;

use crate::{
    DISPATCH, Triggers,
    circuit::GateSettings,
    firing::Context,
    follow::Tried,
    retry::{Outcome, RetryPolicy, Verdict},
    service::Inner,
};
use gates::{Asked, Caller, Gates, Later, Pass, Turn};
use request::Prepared;
pub(crate) use request::{has_body, of_config, of_firing};
use tend::Tender;

pub use endpoints::EndpointState;
pub(crate) use metrics::describe as describe_metrics;

/// Configs that are kept ready for requests; past it, memory starts anew.
const MOST_PREPARED: usize = 20_000;
/// How long a delivery is put off whose config could not be read.
const CONFIG_AWAY: Duration = Duration::from_secs(2);

/// What the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchSettings {
    /// Requests at once, to all endpoints.
    pub concurrency: usize,
    /// What stands before each endpoint.
    pub gate: GateSettings,
}

impl Default for DispatchSettings {
    fn default() -> Self {
        DispatchSettings {
            concurrency: 256,
            gate: GateSettings::default(),
        }
    }
}

/// The role that delivers: a worker for `http.dispatch` alone, so that endpoints that are slow take no
/// slots of other jobs.
pub struct DispatchWorker {
    worker: Worker,
    tender: Tender,
}

/// Makes the role. `client` is the one under the server's address policy; of `options` all holds but
/// the concurrency, which is that of `settings`.
#[must_use]
pub fn dispatch_worker(
    triggers: &Triggers,
    client: Client,
    settings: DispatchSettings,
    options: WorkerOptions,
) -> DispatchWorker {
    let inner = Arc::clone(&triggers.inner);
    let (gates, orders) = Gates::new(
        settings.gate,
        Arc::clone(&inner.rates),
        inner.fire.clock.clone(),
    );
    let tender = Tender {
        gates: gates.clone(),
        orders,
        triggers: Arc::clone(&inner),
        worker: options.name.as_str().into(),
    };
    let jobs = inner.fire.jobs.clone();
    let mut processors = Processors::new();
    processors.register(
        DISPATCH,
        Dispatch {
            triggers: inner,
            client,
            gates,
            prepared: Mutex::default(),
        },
    );
    let options = WorkerOptions {
        concurrency: settings.concurrency,
        ..options
    };
    DispatchWorker {
        worker: Worker::new(jobs, processors, options),
        tender,
    }
}

impl DispatchWorker {
    /// It also takes the deliveries that this bus says are ready.
    #[must_use]
    pub fn fed_by(self, bus: Arc<dyn JobBus>) -> Self {
        DispatchWorker {
            worker: self.worker.fed_by(bus),
            ..self
        }
    }

    /// Delivers until `stop`, then finishes what is under way within the drain and gives the rest back.
    pub async fn run(self, stop: CancellationToken) {
        let over = CancellationToken::new();
        let delivering = async {
            self.worker.run(stop).await;
            over.cancel();
        };
        tokio::join!(delivering, self.tender.run(over.clone()));
    }
}

/// The processor.
struct Dispatch {
    triggers: Arc<Inner>,
    client: Client,
    gates: Gates,
    /// By the ids of configs, which are unique across tenants.
    prepared: Mutex<HashMap<Arc<str>, Arc<Prepared>>>,
}

impl Processor for Dispatch {
    fn process(&self, job: JobContext) -> BoxFuture<'_, Result<Output, Failure>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                // What is under way is dropped with it: the connection closes.
                () = job.lost().cancelled() => Err(Failure::new("the job is not this attempt's any more")),
                ended = self.deliver(&job) => ended,
            }
        })
    }
}

impl Dispatch {
    async fn deliver(&self, job: &JobContext) -> Result<Output, Failure> {
        let context = context(job)?;
        let prepared = self.prepared(job.tenant(), &context.config).await?;
        let pass = self.pass(job, &prepared).await?;
        let started = Instant::now();
        let started_at = self.triggers.fire.clock.now();
        let answered = self.send(job.job(), &context, &prepared, started_at).await;
        let attempt = Attempt {
            prepared: &prepared,
            answered,
            fired_at: context.fired_at.unwrap_or(job.job().created_at),
            started_at,
            took: started.elapsed(),
        };
        self.judge(job.job(), pass, attempt)
    }

    /// The config of a delivery, ready for use.
    async fn prepared(&self, tenant: &str, id: &str) -> Result<Arc<Prepared>, Failure> {
        if let Some(prepared) = self.lock().get(id) {
            return Ok(Arc::clone(prepared));
        }
        let Inner { configs, db, .. } = &*self.triggers;
        let found = configs.one(&mut db.read(), tenant, id).await;
        let config = match found {
            Ok(Some(config)) => config,
            Ok(None) => {
                let gone =
                    format!("the config `{id}`, by which this was fired, is not there any more");
                return Err(Failure::new(gone).permanent());
            }
            Err(crate::Error::Store(error)) if error.is_unavailable() || error.is_transient() => {
                let why = format!("not sent yet: its config could not be read: {error}");
                return Err(Failure::not_now(why, CONFIG_AWAY));
            }
            Err(error) => return Err(error.into()),
        };
        let prepared = Prepared::new(&config).ok_or_else(|| {
            let other =
                format!("the config `{id}` makes jobs, and no deliveries: it names no endpoint");
            Failure::new(other).permanent()
        })?;
        let mut kept = self.lock();
        if kept.len() >= MOST_PREPARED {
            kept.clear();
        }
        kept.insert(Arc::clone(&config.id), Arc::clone(&prepared));
        Ok(prepared)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Prepared>>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the endpoint's gate, and waits a little if that is worth it.
    async fn pass(&self, job: &JobContext, prepared: &Prepared) -> Result<Pass, Failure> {
        let caller = Caller {
            id: job.job().id.as_str().into(),
            attempts: job.attempt().saturating_sub(1),
        };
        let later = match self.gates.ask(job.tenant(), &prepared.endpoint, caller) {
            Asked::Go(pass) => return Ok(pass),
            Asked::Wait(ticket) => match job.aside(ticket.turn()).await {
                Turn::Go(pass) => return Ok(pass),
                Turn::Later(later) => later,
            },
            Asked::Later(later) => later,
        };
        metrics::put_off();
        let Later { why, wait } = later;
        Err(Failure::not_now(why, wait))
    }

    async fn send(
        &self,
        job: &Job,
        context: &Context,
        prepared: &Prepared,
        now: Time,
    ) -> Result<Answer, Outbound> {
        // Made anew for a second try, which is rare, instead of being kept for it each time.
        let request = || prepared.request(job, context, now);
        let started = Instant::now();
        let answered = self.client.send(request()?).await;
        match &answered {
            Err(Outbound::BadAnswer {
                why: BadAnswer::Closed { reused: true },
                ..
            }) if may_be_repeated(job, prepared) => {
                self.send_again(request()?, prepared.delivery().timeout, started)
                    .await
            }
            _ => answered,
        }
    }

    /// The connection was one of an earlier request, and the endpoint closed it: most likely as it had
    /// been idle for too long. Asked once more on a new one, within the same time.
    async fn send_again(
        &self,
        request: Request,
        timeout: Duration,
        started: Instant,
    ) -> Result<Answer, Outbound> {
        let left = timeout.saturating_sub(started.elapsed());
        self.client.send(request.fresh().timeout(left)).await
    }

    /// What the attempt came to: for the endpoint's gate, for the record, and for what is next.
    fn judge(&self, job: &Job, pass: Pass, attempt: Attempt<'_>) -> Result<Output, Failure> {
        let Attempt {
            prepared,
            answered,
            fired_at,
            started_at,
            took,
        } = attempt;
        let now = self.triggers.fire.clock.now();
        let timeout = prepared.delivery().timeout;
        let outcome = answer::outcome(&answered, timeout);
        pass.done(outcome.health(now), took);
        let verdict = self.verdict(job, prepared, &outcome, now);
        let error =
            (verdict != Verdict::Success).then(|| answer::text(&answered, &outcome, timeout));
        let tried = Tried {
            started_at,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            response_status: answered.as_ref().ok().map(|answer| answer.status.as_u16()),
            response_body: answered
                .as_ref()
                .ok()
                .map(|answer| answer::kept(&answer.body)),
            error: error.clone(),
            is_gone: verdict == Verdict::Gone,
        };
        let note = Note::new(tried);
        let failure = Failure::new(error.unwrap_or_default());
        let (label, ended) = match verdict {
            Verdict::Success => {
                metrics::accepted(now.since(fired_at));
                ("success", Ok(Output::none().note(note)))
            }
            Verdict::Retry(wait) => ("retry", Err(failure.retry_in(wait).note(note))),
            Verdict::Failed => ("failure", Err(failure.permanent().note(note))),
            Verdict::Gone => ("gone", Err(failure.permanent().note(note))),
        };
        metrics::tried(label, took);
        ended
    }

    /// The job says how many attempts there are: a retry by hand gives it as many again, whose waits
    /// begin anew.
    fn verdict(&self, job: &Job, prepared: &Prepared, outcome: &Outcome, now: Time) -> Verdict {
        let settings = self.triggers.fire.settings.retry;
        let policy = prepared.delivery().retry.policy(settings);
        let earlier = job.max_attempts.saturating_sub(policy.max_attempts);
        let attempt = job.attempts.saturating_sub(earlier).max(1);
        let left = job.max_attempts.saturating_sub(job.attempts);
        let policy = RetryPolicy {
            max_attempts: attempt.saturating_add(left),
            ..policy
        };
        outcome.verdict(attempt, &policy, now, clock::random_fraction())
    }
}

/// A request that was made, or could not be.
struct Attempt<'a> {
    prepared: &'a Prepared,
    answered: Result<Answer, Outbound>,
    fired_at: Time,
    started_at: Time,
    took: Duration,
}

/// What the job carries for us.
fn context(job: &JobContext) -> Result<Context, Failure> {
    let text = job.followed_as().ok_or_else(|| {
        Failure::new(format!(
            "a job of type {DISPATCH} is made by a trigger that fires: this one was not, and says nothing about where to deliver to"
        ))
        .permanent()
    })?;
    serde_json::from_str(text).map_err(|error| {
        Failure::new(format!(
            "the job does not say which execution it is for: {error}"
        ))
        .permanent()
    })
}

/// Whether a request that may have arrived can be sent again at once: where HTTP says so of its method,
/// and else where the trigger lets its deliveries be tried again at all, which an endpoint has to
/// expect then.
fn may_be_repeated(job: &Job, prepared: &Prepared) -> bool {
    prepared.delivery().method.is_idempotent() || job.max_attempts > 1
}

#[cfg(test)]
mod tests;
