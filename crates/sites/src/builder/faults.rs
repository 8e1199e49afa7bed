//! What goes wrong on purpose.

use std::{
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tidewire_core::duration;

use super::random::Dice;

/// The faults of a builder; by default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Every answer comes so much later.
    pub latency: Duration,
    /// This part of the requests fails, 0 to 1.
    pub error_rate: f64,
    /// More requests in a second are answered 429.
    pub rate_limit: Option<u32>,
    /// Pages shift between two requests.
    pub shift: bool,
    /// No access key is good any more.
    pub revoked: bool,
}

const FORMS: &str =
    "latency=DURATION, error-rate=0.1, rate-limit=REQUESTS A SECOND, shift or revoked";

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Faults::default();
        for word in text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match word.split_once('=') {
                Some(("latency", value)) => faults.latency = duration::parse(value)?,
                Some(("error-rate", value)) => {
                    let rate = value.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
                    faults.error_rate = rate.ok_or_else(|| {
                        format!("`{word}`: an error rate is a number from 0 to 1, such as 0.1")
                    })?;
                }
                Some(("rate-limit", value)) => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    faults.rate_limit = Some(limit.ok_or_else(|| {
                        format!(
                            "`{word}`: a rate limit is a number of requests a second, at least 1"
                        )
                    })?);
                }
                None if word == "shift" => faults.shift = true,
                None if word == "revoked" => faults.revoked = true,
                _ => return Err(format!("`{word}` is no fault: {FORMS}")),
            }
        }
        Ok(faults)
    }
}

/// Why a request is not answered as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Broken,
    Gateway,
    TooMany,
}

/// Deals out the faults, in an order that the seed decides.
pub(super) struct Trouble {
    faults: Faults,
    seed: u64,
    requests: AtomicU64,
    pages: AtomicU64,
    second: Mutex<(Instant, u32)>,
}

impl Trouble {
    pub fn new(faults: Faults, seed: u64) -> Self {
        Trouble {
            faults,
            seed,
            requests: AtomicU64::new(0),
            pages: AtomicU64::new(0),
            second: Mutex::new((Instant::now(), 0)),
        }
    }

    pub async fn meet(&self) -> Result<(), Refusal> {
        if !self.faults.latency.is_zero() {
            tokio::time::sleep(self.faults.latency).await;
        }
        if let Some(limit) = self.faults.rate_limit {
            let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
            if second.0.elapsed() >= Duration::from_secs(1) {
                *second = (Instant::now(), 0);
            }
            second.1 += 1;
            if second.1 > limit {
                return Err(Refusal::TooMany);
            }
        }
        if self.faults.error_rate > 0.0 {
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let mut dice = Dice::of(self.seed, &[3, number]);
            if dice.fraction() < self.faults.error_rate {
                return Err(match dice.below(2) {
                    0 => Refusal::Broken,
                    _ => Refusal::Gateway,
                });
            }
        }
        Ok(())
    }

    /// Whether a record comes or goes before this page: for one page in eight one comes, and for one
    /// in sixteen one goes, so that lists grow.
    pub fn shift(&self) -> Option<bool> {
        let number = self.pages.fetch_add(1, Ordering::Relaxed);
        match Dice::of(self.seed, &[4, number]).below(16) {
            0 | 1 => Some(true),
            2 => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_what_is_none_is_named() {
        let faults: Faults = "latency=5ms,error-rate=0.1, rate-limit=50,shift,revoked"
            .parse()
            .unwrap();
        let expected = Faults {
            latency: Duration::from_millis(5),
            error_rate: 0.1,
            rate_limit: Some(50),
            shift: true,
            revoked: true,
        };
        assert_eq!(faults, expected);
        assert_eq!("".parse(), Ok(Faults::default()));
        for bad in [
            "slow",
            "error-rate=2",
            "rate-limit=0",
            "latency=5",
            "shift=1",
        ] {
            let error = bad.parse::<Faults>().unwrap_err();
            assert!(error.contains('`'), "{error}");
        }
    }

    #[tokio::test]
    async fn about_as_many_requests_fail_as_were_asked_for() {
        let faults = Faults {
            error_rate: 0.1,
            ..Faults::default()
        };
        let trouble = Trouble::new(faults, 7);
        let mut failed = 0;
        for _ in 0..10_000 {
            failed += u32::from(trouble.meet().await.is_err());
        }
        assert!((800..1200).contains(&failed), "{failed}");
    }

    #[tokio::test]
    async fn what_comes_too_fast_is_refused() {
        let faults = Faults {
            rate_limit: Some(3),
            ..Faults::default()
        };
        let trouble = Trouble::new(faults, 7);
        let mut met = Vec::new();
        for _ in 0..4 {
            met.push(trouble.meet().await);
        }
        assert_eq!(met, [Ok(()), Ok(()), Ok(()), Err(Refusal::TooMany)]);
    }
}
