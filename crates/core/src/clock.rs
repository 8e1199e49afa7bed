//! The one door to wall clock and randomness. Everything else asks a [`Clock`], so a test can hold
//! time still, and the linter bans the other doors.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use rand::Rng;

use crate::Time;

/// Cheap to clone; every clone of a fake clock shares one time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fake_micros: Option<Arc<AtomicI64>>,
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is told otherwise. For tests.
    #[must_use]
    pub fn fake(at: Time) -> Self {
        Self {
            fake_micros: Some(Arc::new(AtomicI64::new(at.micros()))),
        }
    }

    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door that the ban points to"
    )]
    pub fn now(&self) -> Time {
        match &self.fake_micros {
            Some(micros) => Time::from_micros(micros.load(Ordering::SeqCst)),
            None => Time::new(chrono::Utc::now()),
        }
    }

    /// Moves a fake clock forward; the system's clock moves by itself.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(micros) = &self.fake_micros {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::SeqCst);
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
