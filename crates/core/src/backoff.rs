//! How long a failed attempt waits before the next: `base · 2^(n-1)`, capped, with ±20 % jitter so
//! that what failed together does not come back together.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub cap: Duration,
}

impl Backoff {
    /// The wait after attempt `attempt` (1, 2, 3 …); `fraction` in `0.0..1.0` chooses the jitter.
    #[must_use]
    pub fn delay(&self, attempt: u32, fraction: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(63);
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let base = u64::try_from(self.base.as_micros()).unwrap_or(u64::MAX);
        let cap = u64::try_from(self.cap.as_micros()).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(base.saturating_mul(factor).min(cap));
        wait.mul_f64(0.8 + 0.4 * fraction.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOBS: Backoff = Backoff {
        base: Duration::from_secs(2),
        cap: Duration::from_secs(3600),
    };

    #[test]
    fn doubles_up_to_the_cap() {
        assert_eq!(JOBS.delay(1, 0.5), Duration::from_secs(2));
        assert_eq!(JOBS.delay(2, 0.5), Duration::from_secs(4));
        assert_eq!(JOBS.delay(5, 0.5), Duration::from_secs(32));
        assert_eq!(JOBS.delay(100, 0.5), Duration::from_secs(3600));
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        assert_eq!(JOBS.delay(1, 0.0), Duration::from_millis(1600));
        assert_eq!(JOBS.delay(1, 1.0), Duration::from_millis(2400));
    }
}
