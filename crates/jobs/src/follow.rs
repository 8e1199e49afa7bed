//! Those above who want to know how a job goes, told inside the transaction in which it goes so.
//!
//! A capability that makes jobs for something of its own (an execution, a turn) puts its name on
//! them ([`Followed`]) and gives a [`Follower`] of that name to [`Jobs`](crate::Jobs) in every
//! process. Whatever then happens to such a job, by its worker, by hand or because its lease ran
//! out, is handed to the follower before the commit: what it writes is there exactly if the step is.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_db::{Error, Result, Tx};

use crate::{
    model::{Job, Status},
    state::Change,
    store::Taken,
};

/// Bytes of what a follower knows a job by.
pub const MAX_CONTEXT: usize = 4096;

/// Who follows a job, and what they know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The [`Follower`]'s name, of the alphabet of names.
    pub by: Arc<str>,
    /// For the follower and for the processor, at most [`MAX_CONTEXT`] bytes; the API does not show it.
    pub context: Arc<str>,
}

/// What a processor hands to its job's follower along with its answer.
#[derive(Clone)]
pub struct Note(Arc<dyn Any + Send + Sync>);

impl Note {
    #[must_use]
    pub fn new<T: Send + Sync + 'static>(value: T) -> Self {
        Note(Arc::new(value))
    }

    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Note(…)")
    }
}

/// One step of a followed job, other than that its worker still has it or that it is due sooner; that
/// it was claimed for those alone who want to know ([`Follower::wants_claims`]).
#[derive(Debug)]
pub struct Step<'s> {
    pub tenant: &'s Arc<str>,
    pub job_id: &'s Arc<str>,
    pub context: &'s str,
    pub was: Status,
    /// Pending: it is tried again, was given back, or was retried by hand. Running: it was claimed or,
    /// if the step is late, goes on under the claim that had run out.
    pub now: Status,
    /// The attempt that came last.
    pub attempt: u32,
    /// Who claimed it for that attempt, as far as it is known.
    pub worker: Option<&'s str>,
    /// Whether this step is its end. One that is given back without having counted has none.
    pub ends_attempt: bool,
    /// The attempt had been given up, as its lease had run out, and ended after all.
    pub is_late: bool,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it is due, if it is pending.
    pub run_at: Time,
    pub error: Option<&'s str>,
    pub output: Option<&'s RawValue>,
    pub note: Option<&'s Note>,
    /// When the step is taken.
    pub at: Time,
}

/// Follows jobs.
pub trait Follower: Send + Sync + 'static {
    /// Steps of jobs that carry this follower's name, at most one of each job. An error undoes them.
    fn follow<'a>(&'a self, tx: &'a mut Tx, steps: &'a [Step<'a>]) -> BoxFuture<'a, Result<()>>;

    /// Whether claims are told too: pending to running, in the claim's own transaction. Asked once.
    fn wants_claims(&self) -> bool {
        false
    }
}

/// Followers by their names, and the types of jobs that are the server's own.
#[derive(Clone, Default)]
pub struct Followers {
    by_name: BTreeMap<&'static str, Arc<dyn Follower>>,
    /// Those who are told of claims.
    of_claims: BTreeSet<&'static str>,
    own: BTreeSet<Arc<str>>,
}

impl Followers {
    /// Adds a follower, in place of the one before of that name.
    #[must_use]
    pub fn with(mut self, name: &'static str, follower: impl Follower) -> Self {
        if follower.wants_claims() {
            self.of_claims.insert(name);
        } else {
            self.of_claims.remove(name);
        }
        self.by_name.insert(name, Arc::new(follower));
        self
    }

    /// Jobs of this type are made and run by the server alone: the API neither takes new ones nor
    /// hands them out.
    #[must_use]
    pub fn owning(mut self, kind: &str) -> Self {
        self.own.insert(kind.into());
        self
    }

    pub(crate) fn own(&self) -> &BTreeSet<Arc<str>> {
        &self.own
    }

    pub(crate) async fn tell(&self, tx: &mut Tx, changes: &[Change], at: Time) -> Result<()> {
        let mut told: BTreeMap<&str, Vec<Step<'_>>> = BTreeMap::new();
        for change in changes {
            if let Some(followed) = &change.now.followed
                && is_told(change)
            {
                let steps = told.entry(&followed.by).or_default();
                steps.push(step(change, &followed.context, at));
            }
        }
        self.hand(tx, told).await
    }

    /// Tells those who want to know that jobs were claimed.
    pub(crate) async fn tell_claims(
        &self,
        tx: &mut Tx,
        taken: &[Taken<'_>],
        at: Time,
    ) -> Result<()> {
        if self.of_claims.is_empty() {
            return Ok(());
        }
        let mut claimed: Vec<(Arc<str>, &Followed, &Job, &str)> = Vec::new();
        for taken in taken {
            for job in taken.jobs {
                if let Some(followed) = &job.followed
                    && self.of_claims.contains(&*followed.by)
                {
                    claimed.push((job.id.as_str().into(), followed, job, taken.worker));
                }
            }
        }
        let mut told: BTreeMap<&str, Vec<Step<'_>>> = BTreeMap::new();
        for (id, followed, job, worker) in &claimed {
            let step = claim(id, &followed.context, job, worker, at);
            told.entry(&followed.by).or_default().push(step);
        }
        self.hand(tx, told).await
    }

    async fn hand(&self, tx: &mut Tx, told: BTreeMap<&str, Vec<Step<'_>>>) -> Result<()> {
        for (name, steps) in told {
            let follower = self.by_name.get(name).ok_or_else(|| {
                Error::Broken(format!(
                    "no follower `{name}` in this process, which jobs in the store name: was the store used by a newer version?"
                ))
            })?;
            follower.follow(tx, &steps).await?;
        }
        Ok(())
    }
}

/// Followers are not asked about a worker's word that it still has a job, and not about one that is
/// due sooner than it was.
fn is_told(change: &Change) -> bool {
    match (change.was, change.now.status) {
        (Status::Running, Status::Running) => false,
        (Status::Pending, Status::Pending) => change.went_on.is_some(),
        _ => true,
    }
}

fn step<'c>(change: &'c Change, context: &'c str, at: Time) -> Step<'c> {
    let now = &change.now;
    let is_late = change.went_on.is_some();
    Step {
        tenant: &now.lane.tenant,
        job_id: &now.id,
        context,
        was: change.was,
        now: now.status,
        attempt: change.attempt,
        worker: change.worker.as_deref(),
        ends_attempt: now.status != Status::Running
            && (change.was == Status::Running || is_late)
            && now.attempts == change.attempt,
        is_late,
        started_at: change.started_at,
        run_at: now.run_at,
        error: now.last_error.as_deref(),
        output: change.output.as_deref(),
        note: change.note.as_ref(),
        at,
    }
}

/// A job, as it was in the queue, that this worker gets.
fn claim<'j>(
    id: &'j Arc<str>,
    context: &'j str,
    job: &'j Job,
    worker: &'j str,
    at: Time,
) -> Step<'j> {
    Step {
        tenant: &job.tenant,
        job_id: id,
        context,
        was: Status::Pending,
        now: Status::Running,
        attempt: job.attempts + 1,
        worker: Some(worker),
        ends_attempt: false,
        is_late: false,
        started_at: Some(at),
        run_at: job.run_at,
        error: job.last_error.as_deref(),
        output: None,
        note: None,
        at,
    }
}
