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
//! The claim's secret is what proves it (see [`crate::lease`]). A lease that runs out leaves the
//! secret in place, so a late worker is still believed as long as nobody has taken the job over;
//! whatever else ends a claim clears it.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tidewire_core::{Time, backoff::Backoff};

use crate::{
    board::LaneKey,
    follow::{Followed, Note},
    lease::Proof,
    model::{Attempt, Outcome, Status},
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
    /// Of the claim that holds it.
    pub secret: Option<Arc<str>>,
    /// Who claimed it last and when: kept while the secret or the log of attempts needs it.
    pub locked_at: Option<Time>,
    pub locked_by: Option<Arc<str>>,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    pub last_error: Option<String>,
    pub followed: Option<Followed>,
}

/// One step of a job's life, to be written as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What it was: says where its entries are.
    pub was: Status,
    pub was_due: Time,
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

impl Change {
    fn of(was: &State, now: State) -> Self {
        Change {
            was: was.status,
            was_due: was.run_at,
            now,
            logged: None,
            went_on: None,
            output: None,
            leased_until: None,
            lease_ended: LeaseEnded::default(),
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
        self.went_on = self.went_on.or(first.went_on);
        self.lease_ended.0 |= first.lease_ended.0;
        self
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.now.status.is_final() && !self.was.is_final()
    }
}

impl State {
    /// Whether this proves that the caller holds the job: it runs, or its lease ran out and nobody
    /// took it over.
    pub(crate) fn check_held(&self, proof: &Proof) -> Result<(), Lost> {
        let holds = self
            .secret
            .as_deref()
            .is_some_and(|secret| proof.holds(secret, &self.id));
        match self.status {
            Status::Running | Status::Pending if holds => Ok(()),
            Status::Running => Err("another worker has it"),
            Status::Pending => Err("it has gone back to its queue"),
            Status::Cancelled => Err("it was cancelled"),
            Status::Done | Status::Failed => Err("it has ended"),
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
            return self.step(|now| {
                now.status = Status::Failed;
                now.finished_at = Some(at);
                now.last_error = error;
            });
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

    /// Back to its queue as if it had not been claimed: to its place in it or, put off, to a later one.
    pub(crate) fn release(&self, later: Option<&Later>, at: Time) -> Change {
        self.step(|now| {
            now.status = Status::Pending;
            now.attempts = now.attempts.saturating_sub(1);
            now.started_at = None;
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
        let waits = self.status == Status::Pending && self.secret.is_none() && self.run_at > at;
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
        let mut change = self.step(|now| {
            now.status = Status::Running;
            now.secret.clone_from(&self.secret);
        });
        change.leased_until = Some(at.plus(lease));
        Ok(change)
    }

    /// The lease ran out: the attempt is consumed, the claim stays good until somebody takes over.
    pub(crate) fn expire(&self, at: Time) -> Change {
        let last = self.attempts >= self.max_attempts;
        let error = format!(
            "the lease ran out: no word from worker {} in time, attempt {} of {}",
            self.locked_by.as_deref().unwrap_or("unknown"),
            self.attempts,
            self.max_attempts
        );
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

    /// `None` if it was cancelled before.
    pub(crate) fn cancel(&self, at: Time) -> Result<Option<Change>, Status> {
        match self.status {
            Status::Pending | Status::Running => {
                let mut now = self.clone();
                now.status = Status::Cancelled;
                now.finished_at = Some(at);
                now.secret = None;
                Ok(Some(Change::of(self, now)))
            }
            Status::Cancelled => Ok(None),
            other => Err(other),
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

    /// A step that its holder takes: it ends the claim, and if the lease had run out meanwhile,
    /// the expiry is forgotten.
    fn step(&self, edit: impl FnOnce(&mut State)) -> Change {
        let late = self.status == Status::Pending;
        let mut now = self.clone();
        now.secret = None;
        if late {
            now.last_error = None;
        }
        edit(&mut now);
        let mut change = Change::of(self, now);
        change.went_on = late.then_some(self.attempts);
        change
    }

    fn unlock(&mut self) {
        self.secret = None;
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
mod tests {
    use super::*;
    use crate::lease;

    const NOW: i64 = 1_000_000;

    fn running() -> State {
        State {
            id: "1".into(),
            lane: LaneKey::new("default", "q", "t", 0),
            status: Status::Running,
            run_at: Time::from_millis(NOW - 5),
            attempts: 1,
            max_attempts: 3,
            budget: 3,
            timeout: None,
            secret: Some("secret".into()),
            locked_at: Some(Time::from_millis(NOW - 1)),
            locked_by: Some("w".into()),
            started_at: Some(Time::from_millis(NOW - 1)),
            finished_at: None,
            last_error: None,
            followed: None,
        }
    }

    fn failed(error: &str) -> Failed<'_> {
        Failed {
            error,
            retry_in: None,
            permanent: false,
            backoff: Backoff {
                base: Duration::from_secs(2),
                cap: Duration::from_hours(1),
            },
            jitter: 0.5,
        }
    }

    fn now() -> Time {
        Time::from_millis(NOW)
    }

    #[test]
    fn only_the_current_token_holds() {
        let state = running();
        let proof = Proof::Token(lease::token("secret", "1"));
        let other = Proof::Token(lease::token("other", "1"));
        assert!(state.check_held(&proof).is_ok());
        assert!(state.check_held(&other).is_err());
        let expired = state.expire(now()).now;
        assert_eq!(expired.status, Status::Pending);
        assert!(expired.check_held(&proof).is_ok(), "nobody took it over");
        for ended in [
            state.complete(None, now()).now,
            state.release(None, now()).now,
            state.fail(&failed("x"), now()).now,
            state.cancel(now()).unwrap().unwrap().now,
        ] {
            assert!(ended.check_held(&proof).is_err(), "{ended:?}");
        }
    }

    #[test]
    fn a_failure_waits_longer_each_time_and_ends_after_the_last_attempt() {
        let mut state = running();
        let mut waits = Vec::new();
        loop {
            let change = state.fail(&failed("boom"), now());
            if change.now.status == Status::Failed {
                assert!(change.logged.is_none(), "the job's row is the log's entry");
                break;
            }
            assert_eq!(change.logged.unwrap().outcome, Outcome::Failed);
            waits.push(change.now.run_at.since(now()).as_secs());
            state = State {
                attempts: change.now.attempts + 1,
                status: Status::Running,
                ..change.now
            };
        }
        assert_eq!(waits, [2, 4]);
    }

    #[test]
    fn a_retry_by_hand_begins_a_new_budget_and_a_new_backoff() {
        let state = State {
            attempts: 3,
            ..running()
        };
        let given_up = state.fail(&failed("boom"), now()).now;
        let again = given_up.retry(now()).unwrap();
        assert_eq!((again.now.attempts, again.now.max_attempts), (3, 6));
        assert_eq!(again.logged.unwrap().attempt, 3);
        let fourth = State {
            attempts: 4,
            status: Status::Running,
            ..again.now
        };
        let change = fourth.fail(&failed("boom"), now());
        assert_eq!(change.now.run_at.since(now()), Duration::from_secs(2));
    }

    #[test]
    fn the_worker_may_say_when_or_that_it_is_of_no_use() {
        let later = Failed {
            retry_in: Some(Duration::from_secs(99)),
            ..failed("busy")
        };
        let change = running().fail(&later, now());
        assert_eq!(change.now.run_at.since(now()), Duration::from_secs(99));
        let never = Failed {
            permanent: true,
            ..failed("gone")
        };
        assert_eq!(running().fail(&never, now()).now.status, Status::Failed);
    }

    #[test]
    fn a_late_completion_forgets_the_expiry() {
        let expired = running().expire(now()).now;
        let change = expired.complete(None, now());
        assert_eq!(change.went_on, Some(1));
        assert_eq!(change.now.last_error, None);
        assert_eq!(change.now.locked_by.as_deref(), Some("w"), "for the log");
    }

    #[test]
    fn expiry_consumes_the_attempt_and_a_return_does_not() {
        assert_eq!(running().expire(now()).now.attempts, 1);
        assert_eq!(running().release(None, now()).now.attempts, 0);
        let last = State {
            attempts: 3,
            ..running()
        };
        let change = last.expire(now());
        assert_eq!(change.now.status, Status::Failed);
        assert!(change.now.last_error.unwrap().contains("attempt 3 of 3"));
    }

    #[test]
    fn only_what_was_put_off_and_not_tried_since_is_hastened() {
        let later = Later {
            wait: Duration::from_secs(60),
            why: "busy".to_owned(),
        };
        let put_off = running().release(Some(&later), now()).now;
        let change = put_off.hasten(0, now()).unwrap();
        assert_eq!((change.now.run_at, change.now.attempts), (now(), 0));
        assert!(change.now.hasten(0, now()).is_none(), "it is due already");
        assert!(running().hasten(1, now()).is_none());
        assert!(running().expire(now()).now.hasten(1, now()).is_none());
        let tried = running().fail(&failed("boom"), now()).now;
        assert!(
            tried.hasten(0, now()).is_none(),
            "it waits for another reason now"
        );
    }

    #[test]
    fn a_heartbeat_revives_and_a_timeout_ends_that() {
        let expired = running().expire(now()).now;
        let change = expired.extend(Duration::from_secs(60), now()).unwrap();
        assert_eq!(change.now.status, Status::Running);
        assert_eq!(change.now.secret.as_deref(), Some("secret"));
        let slow = State {
            timeout: Some(Duration::from_millis(1)),
            ..running()
        };
        assert!(slow.extend(Duration::from_secs(60), now()).is_err());
    }

    #[test]
    fn what_has_ended_stays_ended() {
        let done = running().complete(None, now()).now;
        assert_eq!(done.cancel(now()).unwrap_err(), Status::Done);
        assert_eq!(done.retry(now()).unwrap_err(), Status::Done);
        let cancelled = running().cancel(now()).unwrap().unwrap().now;
        assert!(cancelled.cancel(now()).unwrap().is_none());
    }
}
