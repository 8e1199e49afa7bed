//! What others can see of the loop without asking it: it may be the one that hangs.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use tidewire_core::Time;

/// No time is so early or so late.
const NEVER: i64 = i64::MIN;
const NONE: i64 = i64::MAX;

/// Written by the loop, read by anybody.
pub(crate) struct Pulse {
    looked_at: AtomicI64,
    next: AtomicI64,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse {
            looked_at: AtomicI64::new(NEVER),
            next: AtomicI64::new(NONE),
        }
    }
}

impl Pulse {
    pub(super) fn looked(&self, at: Time, next: Option<Time>) {
        self.comes(next);
        self.looked_at.store(at.micros(), Ordering::Relaxed);
    }

    pub(super) fn comes(&self, next: Option<Time>) {
        let next = next.map_or(NONE, Time::micros);
        self.next.store(next, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.looked_at.store(NEVER, Ordering::Relaxed);
        self.next.store(NONE, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> SchedulerHealth {
        let time = |micros| (micros != NEVER && micros != NONE).then(|| Time::from_micros(micros));
        SchedulerHealth {
            looked_at: time(self.looked_at.load(Ordering::Relaxed)),
            next: time(self.next.load(Ordering::Relaxed)),
        }
    }
}

/// How a process's scheduler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerHealth {
    /// When it last knew what comes next; `None` if it does not run.
    pub looked_at: Option<Time>,
    /// When the occurrence is due that is to be fired next, by this process or by another.
    pub next: Option<Time>,
}

impl SchedulerHealth {
    /// How late the oldest occurrence is that is due and was not fired.
    #[must_use]
    pub fn late(&self, now: Time) -> Duration {
        self.next.map_or(Duration::ZERO, |next| now.since(next))
    }

    /// Whether it looks and fires: nothing that it should have done is older than `patience`, which is
    /// longer than the poll interval.
    pub fn check(&self, now: Time, patience: Duration) -> Result<(), String> {
        let looked_at = self.looked_at.ok_or("does not run")?;
        let (silent, late) = (now.since(looked_at), self.late(now));
        if silent > patience {
            return Err(format!("has not looked for {} s", silent.as_secs()));
        }
        if late > patience {
            return Err(format!("is {} s late", late.as_secs()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_hangs_or_lags_is_seen() {
        let (pulse, patience) = (Pulse::default(), Duration::from_secs(10));
        let at = |seconds: i64| Time::from_millis(1_000_000 + seconds * 1000);
        assert!(pulse.read().check(at(0), patience).is_err(), "never ran");
        pulse.looked(at(0), Some(at(3)));
        let health = pulse.read();
        assert_eq!(health.check(at(10), patience), Ok(()));
        assert_eq!(health.late(at(2)), Duration::ZERO);
        assert_eq!(health.late(at(7)), Duration::from_secs(4));
        assert_eq!(
            health.check(at(11), patience),
            Err("has not looked for 11 s".to_owned())
        );
        pulse.looked(at(14), Some(at(3)));
        let lags = pulse.read().check(at(14), patience);
        assert_eq!(lags, Err("is 11 s late".to_owned()));
        pulse.looked(at(14), None);
        assert_eq!(pulse.read().check(at(15), patience), Ok(()));
    }
}
