//! Runs the steps and keeps count: a step is verified, or says what was expected and what came.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::show::Show;
use crate::cli::Fault;

/// How many steps there are.
const STEPS: usize = 7;
/// After this a step hangs. Long, because the machine may have much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a step was not verified.
pub(super) struct Flaw(String);

impl Flaw {
    pub fn new(expected: impl fmt::Display, came: impl fmt::Display) -> Self {
        Flaw(format!("expected {expected}, came {came}"))
    }
}

/// An error where there should have been an answer.
impl<E: fmt::Display> From<E> for Flaw {
    fn from(error: E) -> Self {
        Flaw::new("an answer", format_args!("an error: {error}"))
    }
}

impl From<Fault> for Flaw {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Failed(text) | Fault::Usage(text) | Fault::Config(text) => text.into(),
            Fault::ClosedPipe | Fault::Told => "it was told above".into(),
        }
    }
}

/// Checks one fact of a step.
pub(super) fn same<T: PartialEq + fmt::Debug>(
    what: &str,
    expected: T,
    came: T,
) -> Result<(), Flaw> {
    if expected == came {
        return Ok(());
    }
    Err(Flaw::new(
        format_args!("{what} to be {expected:?}"),
        format_args!("{came:?}"),
    ))
}

/// Checks one that has more than one good value.
pub(super) fn holds(
    so: bool,
    expected: impl fmt::Display,
    came: impl fmt::Display,
) -> Result<(), Flaw> {
    if so {
        Ok(())
    } else {
        Err(Flaw::new(expected, came))
    }
}

pub(super) struct Tally {
    pub show: Show,
    stop: CancellationToken,
    begun: Instant,
    seen: usize,
    verified: usize,
    pub failed: Vec<&'static str>,
}

impl Tally {
    pub fn new(show: Show, stop: CancellationToken) -> Self {
        Tally {
            show,
            stop,
            begun: Instant::now(),
            seen: 0,
            verified: 0,
            failed: Vec::new(),
        }
    }

    /// Runs a step, if nobody has said to stop. It answers what a person is told of it.
    pub async fn step(
        &mut self,
        name: &'static str,
        title: &str,
        work: impl Future<Output = Result<String, Flaw>>,
    ) {
        if self.stop.is_cancelled() {
            return;
        }
        self.seen += 1;
        self.show.title(self.seen, STEPS, name, title);
        let begun = Instant::now();
        let Some(ended) = self.stop.run_until_cancelled(timeout(PATIENCE, work)).await else {
            return;
        };
        let ended = ended.unwrap_or_else(|_| {
            let patience = format!("it to end within {} s", PATIENCE.as_secs());
            Err(Flaw::new(patience, "no end"))
        });
        match ended {
            Ok(told) => {
                self.verified += 1;
                self.show.verified(&told, begun.elapsed());
            }
            Err(Flaw(why)) => {
                self.failed.push(name);
                self.show.failed(name, &why);
            }
        }
    }

    /// What came of all of them.
    pub fn end(&self) -> Result<(), Fault> {
        if self.verified == STEPS {
            self.show.all_verified(STEPS, self.begun.elapsed());
            return Ok(());
        }
        if self.failed.is_empty() {
            return Err(Fault::Failed(format!(
                "interrupted: {} of {STEPS} steps were verified",
                self.verified
            )));
        }
        Err(Fault::Failed(format!(
            "{} of {STEPS} steps were verified; not verified: {}",
            self.verified,
            self.failed.join(", ")
        )))
    }
}
