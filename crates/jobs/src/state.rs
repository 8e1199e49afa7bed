//! The rules of a job's life, as pure functions from one state to the next.
//!
//! ```text
//!            claim              complete
//!  pending ─────────▶ running ───────────▶ done
//!     ▲  ▲                │ fail, attempts left; release; lease ran out
//!     │  └────────────────┤
//!     │ retry by hand     ├───────────────▶ failed      fail for good; lease ran out at the last attempt
//!     └── failed,         └───────────────▶ cancelled   cancel (also from pending)
//!         cancelled
//! ```
//!
//! A job's follower can settle it, from pending or running, as any of the three.
//!
//! The claim's secret is what proves it (see [`crate::lease`]). A lease that runs out leaves the
//! secret in place, so a late worker is still believed as long as nobody has taken the job over. A
//! claim that was ended by its holder's report, or by the follower under it, is over, and its secret
//! stays too: what the holder says once more (the first answer got lost, or it could not know) is
//! answered with the job as it stands. The next claim puts its own in place; whatever else ends a
//! claim, or a retry, clears it.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tidewire_core::{Time, backoff::Backoff};

use crate::{
    board::LaneKey,
    follow::{Followed, Note},
    lease::Proof,
    model::{Attempt, Outcome, Reserved, Settled, Status, due},
};

/// A job as the rules see it: everything but its payload.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub id: Arc<str>,
    pub lane: LaneKey,
    pub status: Status,
    pub run_at: Time,
    pub attempts: u32,
    pub max_attempts: u32,
    /// The attempts that it had at first, which a retry by hand adds again.
    pub budget: u32,
    pub timeout: Option<Duration>,
    /// Of the claim that holds it, or that did until it was ended.
    pub secret: Option<Arc<str>>,
    /// Who claimed it last and when: kept while the claim can be held or the log of attempts needs it.
    pub locked_at: Option<Time>,
    pub locked_by: Option<Arc<str>>,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    pub last_error: Option<String>,
    pub followed: Option<Followed>,
    /// While it waits. Any step ends it, but for the one that makes it.
    pub reserved: Option<Reserved>,
}

/// One step of a job's life, to be written as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What it was: says where its entries are.
    pub was: Status,
    pub was_due: Time,
    pub was_reserved: Option<Reserved>,
    /// What it is now.
    pub now: State,
    /// An attempt that ended and did not end the job. (The row of the job is the log's entry of an
    /// attempt that did.)
    pub logged: Option<Attempt>,
    /// The attempt that the log has as expired, if it went on after all.
    pub went_on: Option<u32>,
    pub output: Option<Box<RawValue>>,
    /// Until when it is leased, if it is running.
    pub leased_until: Option<Time>,
    pub lease_ended: LeaseEnded,
    /// It is not its holder who ends it: whoever has it in hand goes first.
    pub by_others: bool,
    /// The attempt that the step is about, when it began and who has it: a step may take them from the
    /// state.
    pub attempt: u32,
    pub started_at: Option<Time>,
    pub worker: Option<Arc<str>>,
    /// From the processor to the job's follower.
    pub note: Option<Note>,
}

/// Whether the lease that a job had is gone already: taking it away proved that it was held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaseEnded(pub bool);

/// Why a caller does not hold a job.
pub(crate) type Lost = &'static str;

/// How a claim stands that a caller has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The job runs, or its lease ran out and nobody took it over.
    Held,
    /// It was ended, and the job has not been taken up again since.
    Over,
}

impl Change {
    fn of(was: &State, mut now: State) -> Self {
        now.reserved = None;
        Change {
            was: was.status,
            was_due: was.due(),
            was_reserved: was.reserved.clone(),
            now,
            logged: None,
            went_on: None,
            output: None,
            leased_until: None,
            lease_ended: LeaseEnded::default(),
            by_others: false,
            attempt: was.attempts,
            started_at: was.started_at,
            worker: was.locked_by.clone(),
            note: None,
        }
    }

    /// Two steps in one.
    pub(crate) fn after(mut self, first: Change) -> Self {
        self.was = first.was;
        self.was_due = first.was_due;
        self.was_reserved = first.was_reserved;
        self.went_on = self.went_on.or(first.went_on);
        self.lease_ended.0 |= first.lease_ended.0;
        self.by_others |= first.by_others;
        self
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.now.status.is_final() && !self.was.is_final()
    }
}

impl State {
    /// When everybody may have it.
    pub(crate) fn due(&self) -> Time {
        due(self.run_at, self.reserved.as_ref())
    }

    /// What this proves of the caller's claim.
    pub(crate) fn check(&self, proof: &Proof) -> Result<Claim, Lost> {
        let is_proved = self
            .secret
            .as_deref()
            .is_some_and(|secret| proof.holds(secret, &self.id));
        match self.status {
            _ if is_proved && self.is_claimed() => Ok(Claim::Held),
            _ if is_proved => Ok(Claim::Over),
            Status::Running => Err("another worker has it"),
            Status::Cancelled => Err("it was cancelled"),
            _ => Err(self.over()),
        }
    }

    /// Whether somebody holds it, or did until the lease ran out.
    fn is_claimed(&self) -> bool {
        match self.status {
            Status::Running => true,
            Status::Pending => self.locked_at.is_some(),
            Status::Done | Status::Failed | Status::Cancelled => false,
        }
    }

    /// Why nobody who had it can go on with it.
    pub(crate) fn over(&self) -> Lost {
        match self.status {
            Status::Pending | Status::Running => "it has gone back to its queue",
            Status::Done | Status::Failed | Status::Cancelled => "it has ended",
        }
    }

    pub(crate) fn complete(&self, output: Option<Box<RawValue>>, at: Time) -> Change {
        let mut change = self.step(|now| {
            now.status = Status::Done;
            now.finished_at = Some(at);
        });
        change.output = output;
        change
    }

    pub(crate) fn fail(&self, failure: &Failed<'_>, at: Time) -> Change {
        let error = Some(failure.error.to_owned());
        if failure.permanent || self.attempts >= self.max_attempts {
            return self.give_up(error, at);
        }
        let wait = failure.retry_in.unwrap_or_else(|| {
            // Counted anew after a retry by hand, which begins a new budget.
            let earlier = self.max_attempts.saturating_sub(self.budget);
            let attempt = self.attempts.saturating_sub(earlier).max(1);
            failure.backoff.delay(attempt, failure.jitter)
        });
        let mut change = self.step(|now| {
            now.status = Status::Pending;
            now.run_at = at.plus(wait);
            now.last_error.clone_from(&error);
            now.unlock();
        });
        change.logged = Some(self.attempt(Outcome::Failed, error, Some(at)));
        change
    }

    fn give_up(&self, error: Option<String>, at: Time) -> Change {
        self.step(|now| {
            now.status = Status::Failed;
            now.finished_at = Some(at);
            now.last_error = error;
        })
    }

    /// Ended by its follower, whoever has it; `None` if it had ended.
    pub(crate) fn settle(&self, end: Settled, at: Time) -> Option<Change> {
        if self.status.is_final() {
            return None;
        }
        let mut change = match end {
            Settled::Done(output) => self.complete(output, at),
            Settled::Failed(error) => self.give_up(Some(error), at),
            Settled::Cancelled => Change::of(self, self.cancelled(at)),
        };
        change.by_others = true;
        Some(change)
    }

    /// Back to its queue as if it had not been claimed: to its place in it or, put off, to a later one.
    pub(crate) fn release(&self, later: Option<&Later>, at: Time) -> Change {
        self.step(|now| {
            now.status = Status::Pending;
            now.attempts = now.attempts.saturating_sub(1);
            now.started_at = None;
            now.secret = None;
            if let Some(later) = later {
                now.run_at = at.plus(later.wait);
                now.last_error = Some(later.why.clone());
            }
            now.unlock();
        })
    }

    /// Due at once, if it was put off before it began its next attempt and nothing has happened to
    /// it since: it has been tried this often.
    pub(crate) fn hasten(&self, attempts: u32, at: Time) -> Option<Change> {
        let waits = self.status == Status::Pending && !self.is_claimed() && self.run_at > at;
        (waits && self.attempts == attempts).then(|| {
            let mut now = self.clone();
            now.run_at = at;
            Change::of(self, now)
        })
    }

    /// Whether it is being tried for the so manieth time.
    pub(crate) fn is_in_attempt(&self, attempt: u32) -> bool {
        self.status == Status::Running && self.attempts == attempt
    }

    /// A heartbeat. It brings a job back to life whose lease ran out and which nobody took over.
    pub(crate) fn extend(&self, lease: Duration, at: Time) -> Result<Change, Lost> {
        let over = |timeout: Duration| self.locked_at.is_some_and(|from| from.plus(timeout) <= at);
        if self.timeout.is_some_and(over) {
            return Err("it has run longer than its timeout");
        }
        let mut change = self.step(|now| now.status = Status::Running);
        change.leased_until = Some(at.plus(lease));
        Ok(change)
    }

    /// The lease ran out: the attempt is consumed, the claim stays good until somebody takes over.
    pub(crate) fn expire(&self, at: Time) -> Change {
        let error = format!(
            "the lease ran out: no word from worker {} in time, attempt {} of {}",
            self.locked_by.as_deref().unwrap_or("unknown"),
            self.attempts,
            self.max_attempts
        );
        self.ran_out(error, at)
    }

    fn ran_out(&self, error: String, at: Time) -> Change {
        let last = self.attempts >= self.max_attempts;
        let mut now = self.clone();
        now.last_error = Some(error.clone());
        if last {
            now.status = Status::Failed;
            now.finished_at = Some(at);
            now.secret = None;
        } else {
            now.status = Status::Pending;
            now.run_at = at;
        }
        let mut change = Change::of(self, now);
        change.logged = Some(self.attempt(Outcome::Expired, Some(error), Some(at)));
        change
    }

    /// The worker that has it, or for which it is kept, is gone: the attempt is consumed, and others have
    /// the job at once. `None` if it is not that worker's.
    pub(crate) fn lose(&self, worker: &str, at: Time) -> Option<Change> {
        let has_it = self.is_claimed() && self.locked_by.as_deref() == Some(worker);
        let mut change = match self.status {
            Status::Running if has_it => {
                let error = format!(
                    "the worker {worker} was lost, attempt {} of {}",
                    self.attempts, self.max_attempts
                );
                self.ran_out(error, at)
            }
            Status::Pending if has_it || self.is_reserved_for(worker) => {
                Change::of(self, self.clone())
            }
            _ => return None,
        };
        change.now.secret = None;
        if change.now.status == Status::Pending {
            change.now.unlock();
        }
        change.by_others = true;
        Some(change)
    }

    /// Kept for a worker until then; `None` if it is so already, or does not wait.
    pub(crate) fn reserve(&self, worker: &Arc<str>, until: Time) -> Option<Change> {
        let reserved = Reserved {
            worker: Arc::clone(worker),
            from: self.run_at,
            until,
        };
        let waits = self.status == Status::Pending && until > self.run_at;
        (waits && self.reserved.as_ref() != Some(&reserved)).then(|| {
            let mut change = Change::of(self, self.clone());
            change.now.reserved = Some(reserved);
            change
        })
    }

    fn is_reserved_for(&self, worker: &str) -> bool {
        let reserved = self.reserved.as_ref();
        reserved.is_some_and(|reserved| &*reserved.worker == worker)
    }

    /// `None` if it was cancelled before.
    pub(crate) fn cancel(&self, at: Time) -> Result<Option<Change>, Status> {
        match self.status {
            Status::Pending | Status::Running => {
                let mut now = self.cancelled(at);
                now.secret = None;
                let mut change = Change::of(self, now);
                change.by_others = true;
                Ok(Some(change))
            }
            Status::Cancelled => Ok(None),
            other => Err(other),
        }
    }

    fn cancelled(&self, at: Time) -> State {
        State {
            status: Status::Cancelled,
            finished_at: Some(at),
            ..self.clone()
        }
    }

    /// By hand: due at once, with as many attempts again as it had at first.
    pub(crate) fn retry(&self, at: Time) -> Result<Change, Status> {
        let outcome = match self.status {
            Status::Failed => Outcome::Failed,
            Status::Cancelled => Outcome::Cancelled,
            other => return Err(other),
        };
        let mut now = self.clone();
        now.status = Status::Pending;
        now.run_at = at;
        now.max_attempts = now.attempts.saturating_add(now.budget);
        now.finished_at = None;
        now.secret = None;
        now.unlock();
        let mut change = Change::of(self, now);
        if self.attempts > 0 {
            let error = self
                .last_error
                .clone()
                .filter(|_| outcome == Outcome::Failed);
            change.logged = Some(self.attempt(outcome, error, self.finished_at));
        }
        Ok(change)
    }

    /// A step that its holder takes, or that is taken in the holder's place: if the lease had run out
    /// meanwhile, the expiry is forgotten.
    fn step(&self, edit: impl FnOnce(&mut State)) -> Change {
        let late = self.status == Status::Pending && self.is_claimed();
        let mut now = self.clone();
        if late {
            now.last_error = None;
        }
        edit(&mut now);
        let mut change = Change::of(self, now);
        change.went_on = late.then_some(self.attempts);
        change
    }

    /// Nobody has it, and its attempt has an entry in the log.
    fn unlock(&mut self) {
        self.locked_at = None;
        self.locked_by = None;
    }

    fn attempt(&self, outcome: Outcome, error: Option<String>, ended: Option<Time>) -> Attempt {
        Attempt {
            attempt: self.attempts,
            started_at: self.started_at,
            finished_at: ended,
            outcome,
            error,
            worker: self.locked_by.as_deref().map(str::to_owned),
        }
    }
}

/// Why and for how long a job is put off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Later {
    pub wait: Duration,
    pub why: String,
}

/// What is said of an attempt that failed.
pub(crate) struct Failed<'f> {
    pub error: &'f str,
    pub retry_in: Option<Duration>,
    pub permanent: bool,
    pub backoff: Backoff,
    /// In `0.0..1.0`.
    pub jitter: f64,
}

#[cfg(test)]
mod tests;
