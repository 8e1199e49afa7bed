//! How often keys may be tried at the sign-in. Minted keys have 256 random bits, and no number of tries
//! finds one; the operator's own may be what a person thought up. So what looks minted is never held
//! back, and of anything else only so many tries fail before the rest must wait: for all callers
//! together, as behind a proxy they look alike.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tidewire_core::{Clock, Kind, Problem, Time};

/// Failures in a row that nobody has to wait for.
const BURST: u32 = 10;
/// After this time one more may fail.
const EACH: Duration = Duration::from_secs(6);

pub(crate) struct Attempts {
    clock: Clock,
    /// When all failures so far are forgotten.
    forgotten: Mutex<Time>,
}

impl Attempts {
    pub fn new(clock: Clock) -> Self {
        Attempts {
            clock,
            forgotten: Mutex::new(Time::EPOCH),
        }
    }

    /// Whether another key may be tried; if not, how long to wait.
    pub fn check(&self) -> Result<(), Problem> {
        let (now, forgotten) = (self.clock.now(), *self.lock());
        let most = EACH * BURST;
        if forgotten <= now.plus(most.saturating_sub(EACH)) {
            return Ok(());
        }
        let wait = forgotten.since(now.plus(most.saturating_sub(EACH)));
        let text = "too many keys were tried that are not valid: wait a little and try again";
        Err(Problem::new(Kind::TooManyRequests, text).retry_after(wait))
    }

    pub fn failed(&self) {
        let now = self.clock.now();
        let mut forgotten = self.lock();
        *forgotten = (*forgotten).max(now).plus(EACH);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Time> {
        self.forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_failures_the_next_must_wait() {
        let clock = Clock::fake(Time::from_millis(1_000));
        let attempts = Attempts::new(clock.clone());
        for _ in 0..BURST {
            assert!(attempts.check().is_ok());
            attempts.failed();
        }
        let problem = attempts.check().unwrap_err();
        assert_eq!(problem.kind, Kind::TooManyRequests);
        assert_eq!(problem.retry_after, Some(EACH));
        clock.advance(EACH);
        assert!(attempts.check().is_ok());
        attempts.failed();
        assert!(attempts.check().is_err());
        clock.advance(EACH * BURST);
        assert!(attempts.check().is_ok());
    }
}
