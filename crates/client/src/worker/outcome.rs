//! How an attempt ends: with an output, or with a failure that says whether to try again.

use std::{error::Error, fmt, time::Duration};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// What a job that is done leaves behind: JSON, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Output {
    json: Option<Box<RawValue>>,
    is_told: bool,
}

impl Output {
    #[must_use]
    pub fn none() -> Self {
        Output::default()
    }

    /// Of a job whose end the server knows already.
    pub(crate) fn told() -> Self {
        Output {
            json: None,
            is_told: true,
        }
    }

    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// The output, from anything that serialises. What cannot be written now never can be.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        to_raw_value(value)
            .map(Output::from)
            .map_err(|error| Failure::permanent(format_args!("the output is not JSON: {error}")))
    }

    pub(crate) fn as_raw(&self) -> Option<&RawValue> {
        self.json.as_deref()
    }
}

impl From<()> for Output {
    fn from((): ()) -> Self {
        Output::none()
    }
}

impl From<serde_json::Value> for Output {
    fn from(value: serde_json::Value) -> Self {
        Output::from(to_raw_value(&value).expect("a JSON value is JSON"))
    }
}

impl From<Box<RawValue>> for Output {
    fn from(value: Box<RawValue>) -> Self {
        Output {
            json: Some(value),
            is_told: false,
        }
    }
}

/// Why an attempt failed, and when the next one may come.
///
/// Every error converts (`?` works) and means "try again as the queue has it". Like other error
/// containers this is no [`Error`] itself; for one that is none either:
/// `.map_err(Failure::retry)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    pub(super) error: String,
    pub(super) next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// After the queue's backoff, while attempts are left.
    Backoff,
    In(Duration),
    Never,
    /// At once and by whoever comes first, without costing an attempt.
    GiveBack,
}

impl Failure {
    /// Try again after the queue's backoff.
    #[must_use]
    pub fn retry(error: impl fmt::Display) -> Self {
        Failure {
            error: error.to_string(),
            next: Next::Backoff,
        }
    }

    /// Try again after `wait` (in whole seconds, rounded up).
    #[must_use]
    pub fn retry_in(wait: Duration, error: impl fmt::Display) -> Self {
        Failure {
            error: error.to_string(),
            next: Next::In(wait),
        }
    }

    /// Do not try again, whatever attempts are left.
    #[must_use]
    pub fn permanent(error: impl fmt::Display) -> Self {
        Failure {
            error: error.to_string(),
            next: Next::Never,
        }
    }

    /// No failure of the work: this process will not do it.
    pub(crate) fn give_back(why: &str) -> Self {
        Failure {
            error: why.to_owned(),
            next: Next::GiveBack,
        }
    }

    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.next == Next::Never
    }
}

impl<E: Error> From<E> for Failure {
    /// The error with its causes.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors already tell their cause.
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Failure::retry(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("error", &self.error)
            .field("next", &self.next)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_a_failure_that_tells_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot resize")]
        struct Outer(#[source] std::io::Error);

        fn work() -> Result<Output, Failure> {
            Err(Outer(std::io::Error::other("no such picture")))?;
            Ok(Output::none())
        }
        let failure = work().unwrap_err();
        assert_eq!(failure, Failure::retry("cannot resize: no such picture"));
        assert!(!failure.is_permanent());
    }

    #[test]
    fn an_output_keeps_its_text() {
        let output = Output::json(&serde_json::json!({"a": [1, null]})).unwrap();
        assert_eq!(output.as_raw().unwrap().get(), r#"{"a":[1,null]}"#);
        assert!(Output::from(()).as_raw().is_none());
    }
}
