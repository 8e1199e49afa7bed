//! What came back from an endpoint, as it is judged and as it is kept.

use std::{io, time::Duration};

use http::header;
use tidewire_outbound::{Answer, ConnectProblem, Error};

use crate::retry::Outcome;

/// Bytes of an answer that are kept.
const KEPT: usize = 16 << 10;

/// What an attempt came to. `timeout` is the config's: a second try within it has only what is left.
pub(super) fn outcome(answered: &Result<Answer, Error>, timeout: Duration) -> Outcome {
    let error = match answered {
        Ok(answer) => {
            let retry_after = answer.headers.get(header::RETRY_AFTER);
            return Outcome::Answered {
                status: answer.status.as_u16(),
                retry_after: retry_after
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            };
        }
        Err(error) => error,
    };
    match error {
        Error::BadUrl(_) | Error::BadHeader { .. } | Error::BadMethod(_) => {
            Outcome::Unfit(error.to_string())
        }
        Error::Refused { .. } => Outcome::Forbidden(error.to_string()),
        Error::Timeout { .. } => Outcome::TimedOut(timeout),
        Error::Connect {
            problem: ConnectProblem(io::ErrorKind::ConnectionRefused),
            ..
        } => Outcome::Refused,
        _ => Outcome::Broken(error.to_string()),
    }
}

/// Why it failed, for the person who configured the endpoint.
pub(super) fn text(
    answered: &Result<Answer, Error>,
    outcome: &Outcome,
    timeout: Duration,
) -> String {
    match answered {
        // With the phase that it hung in, and the whole time.
        Err(Error::Timeout { phase, .. }) => Error::Timeout {
            phase: *phase,
            after: timeout,
        }
        .to_string(),
        // Says which host and port.
        Err(error @ Error::Connect { .. }) => error.to_string(),
        _ => outcome.to_string(),
    }
}

/// The beginning of an answer as text: at most 16 KiB, whole characters, and no NUL, which not every
/// store takes.
pub(super) fn kept(body: &[u8]) -> String {
    let mut end = body.len().min(KEPT);
    if end < body.len() {
        // What is cut in the middle of a character ends before it.
        let starts = |at: &usize| body[*at] & 0b1100_0000 != 0b1000_0000;
        let whole = (end.saturating_sub(3)..=end).rev().find(starts);
        end = whole.unwrap_or(end);
    }
    let mut text = String::from_utf8_lossy(&body[..end]).into_owned();
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    text.truncate(text.floor_char_boundary(KEPT));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_kept_as_whole_characters() {
        assert_eq!(kept(b""), "");
        assert_eq!(kept("grün".as_bytes()), "grün");
        assert_eq!(kept(b"a\0b\xffc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(kept(&vec![b'x'; KEPT + 1]), "x".repeat(KEPT));
        for lead in 0..4 {
            let long = "x".repeat(KEPT - lead) + "€€€";
            let text = kept(long.as_bytes());
            assert!(long.starts_with(&text), "{lead}");
            assert_eq!(text.len(), KEPT - lead + lead / 3 * 3);
        }
        assert!(kept(&vec![0xff; 64 << 10]).len() <= KEPT);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_kept_within_bounds(body in prop::collection::vec(any::<u8>(), 0..100), times in 1usize..400) {
            let text = kept(&body.repeat(times));
            prop_assert!(text.len() <= KEPT);
            prop_assert!(!text.contains('\0'));
        }
    }
}
