//! The one door to wall clock and randomness. Everything else asks a [`Clock`], so a test can hold
//! time still, and the linter bans the other doors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::Rng;

use crate::Time;

/// A clock that was ahead by no more than this stands still until it is right again; one that was
/// ahead by more is set back, as nothing can wait so long.
const STILL_AT_MOST: i64 = 1_000_000;

/// Cheap to clone; all clones show one time.
///
/// Where several processes share a store, each corrects its clock by the store's ([`Clock::correct`]),
/// so that due times and leases mean the same everywhere.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    inner: Arc<Inner>,
}

/// All in microseconds.
#[derive(Debug, Default)]
struct Inner {
    /// A time that stands still.
    fake: Option<AtomicI64>,
    /// What is added to this machine's time.
    offset: AtomicI64,
    /// The latest time that was shown.
    shown: AtomicI64,
}

/// How far another clock is ahead of ours, as far as a question to it can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Microseconds; negative if it is behind.
    pub ahead: i64,
    /// So many microseconds more or less.
    pub unsure: i64,
}

impl Skew {
    /// `there` was shown somewhere within the `trip` that began at `asked`: most likely in its
    /// middle.
    #[must_use]
    pub fn new(asked: Time, there: Time, trip: Duration) -> Self {
        let half = i64::try_from(trip.as_micros() / 2).unwrap_or(i64::MAX / 4);
        Skew {
            ahead: there.micros() - asked.micros().saturating_add(half),
            unsure: half,
        }
    }
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is told otherwise. For tests.
    #[must_use]
    pub fn fake(at: Time) -> Self {
        let inner = Inner {
            fake: Some(AtomicI64::new(at.micros())),
            ..Inner::default()
        };
        Clock {
            inner: Arc::new(inner),
        }
    }

    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door that the ban points to"
    )]
    pub fn now(&self) -> Time {
        let inner = &*self.inner;
        Time::from_micros(match &inner.fake {
            Some(micros) => micros.load(Ordering::SeqCst),
            None => {
                let here = chrono::Utc::now().timestamp_micros();
                inner.show(here.saturating_add(inner.offset.load(Ordering::Relaxed)))
            }
        })
    }

    /// Moves a fake clock forward; the system's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Some(micros) = &self.inner.fake {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Goes by another clock from now on; whether that changed anything. What a question could not
    /// tell is left alone.
    pub fn correct(&self, skew: Skew) -> bool {
        if skew.ahead.saturating_abs() <= skew.unsure {
            return false;
        }
        let corrected = self.inner.fake.as_ref().unwrap_or(&self.inner.offset);
        corrected.fetch_add(skew.ahead, Ordering::SeqCst);
        true
    }

    /// What corrections have added to this machine's time, in microseconds.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.inner.offset.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// This time, or the one that was shown before if it is a little later.
    fn show(&self, now: i64) -> i64 {
        let shown = self.shown.fetch_max(now, Ordering::Relaxed);
        match shown.saturating_sub(now) {
            ..=0 => now,
            1..=STILL_AT_MOST => shown,
            _ => {
                self.shown.store(now, Ordering::Relaxed);
                now
            }
        }
    }
}

/// Bytes fit for secrets: the thread's generator is a reseeded CSPRNG.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the door that the ban points to"
)]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A number in `0.0..1.0`, for jitter.
#[must_use]
pub fn random_fraction() -> f64 {
    let bits = u64::from_le_bytes(random_bytes()) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    {
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(ahead: i64) -> Skew {
        Skew { ahead, unsure: 10 }
    }

    #[test]
    fn another_clock_is_read_in_the_middle_of_the_trip_to_it() {
        let at = |millis: i64| Time::from_millis(1_000_000 + millis);
        let skew = Skew::new(at(0), at(520), Duration::from_millis(40));
        assert_eq!((skew.ahead, skew.unsure), (500_000, 20_000));
        let clock = Clock::fake(at(0));
        assert!(clock.correct(skew));
        assert_eq!(clock.now(), at(500));
        // Within what a trip can tell, the clocks agree.
        let agrees = Skew::new(at(500), at(535), Duration::from_millis(40));
        assert!(!clock.correct(agrees));
        assert_eq!(clock.now(), at(500));
    }

    #[test]
    fn clones_are_corrected_together() {
        let (clock, other) = (Clock::system(), Clock::system());
        let same = clock.clone();
        clock.correct(ahead(3_600_000_000));
        assert!(same.now().since(other.now()) > Duration::from_mins(59));
        assert_eq!(same.offset(), 3_600_000_000);
    }

    #[test]
    fn a_small_correction_never_turns_time_back_and_a_large_one_does() {
        let clock = Clock::system();
        let before = clock.now();
        clock.correct(ahead(-900_000));
        let mut last = before;
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        clock.correct(ahead(-3_600_000_000));
        assert!(before.since(clock.now()) > Duration::from_mins(59));
        // And goes on from there.
        let back = clock.now();
        assert!(clock.now() >= back);
    }
}
