//! What becomes of a delivery after an attempt: pure, from what came back to what is done next.

use std::{fmt, time::Duration};

use tidewire_core::{Time, backoff::Backoff};
use tidewire_outbound::retry_after;

/// How often and how soon a failed delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after which it has failed.
    pub max_attempts: u32,
    /// What the first retry waits; each further one twice as long.
    pub base: Duration,
    /// What none waits longer than, also if the endpoint asks for it.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 8,
            base: Duration::from_secs(5),
            cap: Duration::from_secs(3600),
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was an answer, whatever its body was.
    Answered {
        status: u16,
        /// The text of its `Retry-After`.
        retry_after: Option<String>,
    },
    /// No answer, or none that was complete, within this time.
    TimedOut(Duration),
    /// The connection was not accepted.
    Refused,
    /// It went wrong on the way: no such host, no TLS, a connection that broke, an answer that is no HTTP.
    Broken(String),
    /// The request was not made: the endpoint's address is one that deliveries must not go to.
    Forbidden(String),
    /// The request was not made: what is configured makes none.
    Unfit(String),
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Success,
    /// Another attempt, not before this time has passed.
    Retry(Duration),
    /// It has failed for good.
    Failed,
    /// It has failed for good, and the endpoint wants no more: the trigger becomes inactive.
    Gone,
}

/// What an attempt tells about the endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers, whatever it says about this one delivery.
    Good,
    Bad,
    /// It answers and asks to be left alone for so long.
    Paced(Duration),
    /// Nothing: it was not asked.
    Unknown,
}

impl Outcome {
    /// What is done after attempt `attempt` (1, 2, 3 …); `fraction` in `0.0..1.0` chooses the jitter.
    #[must_use]
    pub fn verdict(&self, attempt: u32, policy: &RetryPolicy, now: Time, fraction: f64) -> Verdict {
        let again = match self {
            Outcome::Answered { status, .. } => match status {
                200..=299 => return Verdict::Success,
                410 => return Verdict::Gone,
                408 | 425 | 429 | 500.. => true,
                _ => false,
            },
            Outcome::TimedOut(_) | Outcome::Refused | Outcome::Broken(_) => true,
            Outcome::Forbidden(_) | Outcome::Unfit(_) => false,
        };
        if !again || attempt >= policy.max_attempts {
            return Verdict::Failed;
        }
        let backoff = Backoff {
            base: policy.base,
            cap: policy.cap,
        };
        let wait = match self.retry_after(now) {
            Some(asked) => asked,
            None => backoff.delay(attempt, fraction),
        };
        Verdict::Retry(wait.min(policy.cap))
    }

    #[must_use]
    pub fn health(&self, now: Time) -> Health {
        match self {
            Outcome::Answered { status, .. } => match status {
                429 | 503 => match (self.retry_after(now), status) {
                    (Some(pause), _) => Health::Paced(pause),
                    (None, 429) => Health::Good,
                    (None, _) => Health::Bad,
                },
                500.. => Health::Bad,
                _ => Health::Good,
            },
            Outcome::TimedOut(_) | Outcome::Refused | Outcome::Broken(_) => Health::Bad,
            Outcome::Forbidden(_) | Outcome::Unfit(_) => Health::Unknown,
        }
    }

    /// How long the endpoint asks to wait: a number of seconds or an HTTP date. What is neither, or past, or no time at
    /// all, asks for nothing.
    fn retry_after(&self, now: Time) -> Option<Duration> {
        let Outcome::Answered {
            retry_after: Some(text),
            ..
        } = self
        else {
            return None;
        };
        retry_after(text, now)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Answered { status, .. } => match status {
                300..=399 => write!(
                    f,
                    "the endpoint answered {status}: redirects are not followed"
                ),
                410 => write!(f, "the endpoint answered 410: it wants no more deliveries"),
                _ => write!(f, "the endpoint answered {status}"),
            },
            Outcome::TimedOut(after) => write!(
                f,
                "the endpoint did not answer within {}",
                tidewire_core::duration::format(*after)
            ),
            Outcome::Refused => f.write_str("the endpoint refused the connection"),
            Outcome::Broken(why) => write!(f, "the endpoint could not be reached: {why}"),
            Outcome::Forbidden(why) => {
                write!(f, "the endpoint's address is not allowed: {why}")
            }
            Outcome::Unfit(why) => write!(f, "the request cannot be made: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2026-11-08T08:49:37Z";

    fn now() -> Time {
        NOW.parse().unwrap()
    }

    fn answered(status: u16, retry_after: Option<&str>) -> Outcome {
        Outcome::Answered {
            status,
            retry_after: retry_after.map(str::to_owned),
        }
    }

    fn verdict(outcome: &Outcome, attempt: u32) -> Verdict {
        outcome.verdict(attempt, &RetryPolicy::default(), now(), 0.5)
    }

    const SOON: Verdict = Verdict::Retry(Duration::from_secs(5));

    #[test]
    fn every_status_has_its_verdict() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => Verdict::Success,
                408 | 425 | 429 | 500.. => SOON,
                410 => Verdict::Gone,
                _ => Verdict::Failed,
            };
            assert_eq!(verdict(&answered(status, None), 1), expected, "{status}");
        }
    }

    #[test]
    fn what_gave_no_answer_is_tried_again_unless_it_must_not_be_asked() {
        for outcome in [
            Outcome::TimedOut(Duration::from_secs(15)),
            Outcome::Refused,
            Outcome::Broken("connection reset".to_owned()),
        ] {
            assert_eq!(verdict(&outcome, 1), SOON);
            assert_eq!(outcome.health(now()), Health::Bad);
        }
        let forbidden = Outcome::Forbidden("10.0.0.1 is private".to_owned());
        assert_eq!(verdict(&forbidden, 1), Verdict::Failed);
        assert_eq!(forbidden.health(now()), Health::Unknown);
        let unfit = Outcome::Unfit("the header `x` has a bad value".to_owned());
        assert_eq!(verdict(&unfit, 1), Verdict::Failed);
        assert_eq!(unfit.health(now()), Health::Unknown);
    }

    #[test]
    fn attempts_end() {
        let unlucky = answered(500, None);
        assert!(matches!(verdict(&unlucky, 7), Verdict::Retry(_)));
        assert_eq!(verdict(&unlucky, 8), Verdict::Failed);
        assert_eq!(verdict(&unlucky, 9), Verdict::Failed);
        assert_eq!(verdict(&answered(200, None), 8), Verdict::Success);
        assert_eq!(verdict(&answered(410, None), 8), Verdict::Gone);
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits: Vec<u64> = (1..8)
            .map(|attempt| match verdict(&Outcome::Refused, attempt) {
                Verdict::Retry(wait) => wait.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320]);
        let policy = RetryPolicy {
            cap: Duration::from_secs(60),
            ..RetryPolicy::default()
        };
        assert_eq!(
            Outcome::Refused.verdict(7, &policy, now(), 0.999),
            Verdict::Retry(Duration::from_secs(60))
        );
    }

    #[test]
    fn retry_after_is_obeyed_up_to_the_cap() {
        for (text, seconds) in [
            ("1", 1),
            ("120", 120),
            (" 7 ", 7),
            ("3600", 3600),
            ("86400", 3600),
            ("99999999999999999999999", 3600),
            ("Sun, 08 Nov 2026 08:50:37 GMT", 60),
            ("Sunday, 08-Nov-26 08:50:37 GMT", 60),
            ("Sun Nov  8 08:50:37 2026", 60),
            ("Mon, 08 Nov 2027 08:49:37 GMT", 3600),
            // No wish: the usual wait.
            ("0", 5),
            ("", 5),
            ("-5", 5),
            ("1.5", 5),
            ("soon", 5),
            ("Sun, 08 Nov 2026 08:49:37 GMT", 5),
            ("Sun, 08 Nov 2020 08:49:37 GMT", 5),
        ] {
            for status in [429, 503, 500, 408] {
                assert_eq!(
                    verdict(&answered(status, Some(text)), 1),
                    Verdict::Retry(Duration::from_secs(seconds)),
                    "{status} {text:?}"
                );
            }
        }
        // It does not bring back what has failed for good.
        assert_eq!(verdict(&answered(404, Some("1")), 1), Verdict::Failed);
        assert_eq!(verdict(&answered(503, Some("1")), 8), Verdict::Failed);
    }

    #[test]
    fn health_is_about_the_endpoint_and_not_about_the_delivery() {
        for (status, retry_after, health) in [
            (200, None, Health::Good),
            (400, None, Health::Good),
            (404, None, Health::Good),
            (410, None, Health::Good),
            (429, None, Health::Good),
            (429, Some("9"), Health::Paced(Duration::from_secs(9))),
            (503, Some("9"), Health::Paced(Duration::from_secs(9))),
            (503, None, Health::Bad),
            (500, Some("9"), Health::Bad),
            (502, None, Health::Bad),
        ] {
            assert_eq!(
                answered(status, retry_after).health(now()),
                health,
                "{status}"
            );
        }
    }

    #[test]
    fn reasons_are_for_people() {
        assert_eq!(
            answered(301, None).to_string(),
            "the endpoint answered 301: redirects are not followed"
        );
        assert_eq!(
            Outcome::TimedOut(Duration::from_secs(15)).to_string(),
            "the endpoint did not answer within 15s"
        );
    }

    proptest! {
        #[test]
        fn a_wait_is_within_a_fifth_of_its_place_and_never_above_the_cap(
            attempt in 1u32..100, fraction in 0.0f64..1.0, base in 1u64..100, cap in 1u64..10_000, text in ".*",
        ) {
            let policy = RetryPolicy {
                max_attempts: 100,
                base: Duration::from_secs(base),
                cap: Duration::from_secs(cap),
            };
            for outcome in [answered(503, Some(&text)), Outcome::Refused] {
                if let Verdict::Retry(wait) = outcome.verdict(attempt, &policy, now(), fraction) {
                    prop_assert!(wait <= policy.cap);
                    prop_assert!(!wait.is_zero());
                }
            }
            if let Verdict::Retry(wait) = Outcome::Refused.verdict(attempt, &policy, now(), fraction) {
                let place = policy.base.saturating_mul(1 << (attempt - 1).min(20)).min(policy.cap);
                prop_assert!(wait >= place.mul_f64(0.8).min(policy.cap));
            }
        }
    }
}
