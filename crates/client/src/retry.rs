//! When a request is sent again. A repeat must never do a thing twice, so each request says how
//! far it may be repeated, and the policy says how often and how patiently.

use std::time::Duration;

use tidewire_core::{backoff::Backoff, clock};

use crate::Error;

/// How often and how patiently a client repeats what may be repeated.
///
/// - Reads, and writes that carry a `dedupe_key` or an `idempotency_key`: after a refused or broken
///   connection, a timeout, 429, 502, 503 and 504.
/// - Other writes: only where nothing can have happened (connection refused, 429, 503).
///
/// A `Retry-After` is obeyed, unless it asks for more than `longest_wait`: then the error is
/// returned and the caller decides.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Tries altogether; 1 repeats nothing.
    pub tries: u32,
    pub backoff: Backoff,
    pub longest_wait: Duration,
}

impl Retry {
    /// Repeats nothing.
    #[must_use]
    pub const fn none() -> Self {
        Retry {
            tries: 1,
            ..Retry::quick()
        }
    }

    /// For somebody who waits at a terminal: three tries within half a second.
    #[must_use]
    pub const fn quick() -> Self {
        Retry {
            tries: 3,
            backoff: Backoff {
                base: Duration::from_millis(100),
                cap: Duration::from_secs(1),
            },
            longest_wait: Duration::from_secs(5),
        }
    }

    /// For long work that should outlast a restart of the server: about two minutes.
    #[must_use]
    pub const fn patient() -> Self {
        Retry {
            tries: 15,
            backoff: Backoff {
                base: Duration::from_millis(200),
                cap: Duration::from_secs(15),
            },
            longest_wait: Duration::from_secs(120),
        }
    }

    /// The wait before the next try after `error` ended try number `tried`; `None` gives up.
    pub(crate) fn wait(&self, error: &Error, repeat: Repeat, tried: u32) -> Option<Duration> {
        let may = match repeat {
            Repeat::WhileRefused => error.is_refused_for_now(),
            Repeat::Always => error.is_transient(),
        };
        if !may || tried >= self.tries {
            return None;
        }
        let own = self.backoff.delay(tried, clock::random_fraction());
        let wait = error.retry_after().map_or(own, |asked| own.max(asked));
        (wait <= self.longest_wait).then_some(wait)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            tries: 5,
            backoff: Backoff {
                base: Duration::from_millis(200),
                cap: Duration::from_secs(5),
            },
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// How far one request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Where the request certainly had no effect.
    WhileRefused,
    /// Also where the answer may be what got lost: it does nothing twice.
    Always,
}

impl Repeat {
    /// A write is safe to repeat if it carries a key that the server knows it by.
    pub(crate) fn keyed(keyed: bool) -> Self {
        if keyed {
            Repeat::Always
        } else {
            Repeat::WhileRefused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    fn answered(status: u16, retry_after: Option<u64>) -> Error {
        let mut problem: Problem = serde_json::from_str("{}").unwrap();
        problem.status = status;
        problem.retry_after = retry_after.map(Duration::from_secs);
        Error::Problem(Box::new(problem))
    }

    #[test]
    fn a_write_without_a_key_is_repeated_only_if_the_server_did_not_take_it() {
        let retry = Retry::default();
        assert!(
            retry
                .wait(&answered(503, None), Repeat::WhileRefused, 1)
                .is_some()
        );
        assert!(
            retry
                .wait(&answered(502, None), Repeat::WhileRefused, 1)
                .is_none()
        );
        assert!(
            retry
                .wait(&answered(502, None), Repeat::Always, 1)
                .is_some()
        );
        for status in [400, 401, 404, 409, 422, 500] {
            assert!(
                retry
                    .wait(&answered(status, None), Repeat::Always, 1)
                    .is_none(),
                "{status}"
            );
        }
    }

    #[test]
    fn retry_after_is_obeyed_up_to_the_longest_wait() {
        let retry = Retry::default();
        let wait = retry
            .wait(&answered(429, Some(7)), Repeat::WhileRefused, 1)
            .unwrap();
        assert_eq!(wait, Duration::from_secs(7));
        assert!(
            retry
                .wait(&answered(429, Some(3600)), Repeat::WhileRefused, 1)
                .is_none()
        );
    }

    #[test]
    fn tries_end() {
        assert!(
            Retry::none()
                .wait(&answered(503, None), Repeat::Always, 1)
                .is_none()
        );
        let retry = Retry::default();
        assert!(
            retry
                .wait(&answered(503, None), Repeat::Always, retry.tries)
                .is_none()
        );
    }
}
