//! What is done before occurrences are due: reading their configs, so that a firing does not wait for
//! it, and firing crowds.
//!
//! A crowd is many occurrences of one time. Fired when it comes, they are late by what the others
//! before them cost. So they are fired ahead, in the last [`LEAD`] before it: executions and jobs are
//! written as of their time, which no worker takes before then, and what is left for the time itself
//! are claims. Until then nobody sees them ([`crate::store::ahead`]), and whoever switches, edits or
//! deletes a trigger takes back what was fired ahead of it. Nothing else is different: what a crash or
//! a clock leaves behind are jobs that are due at their time.

use std::{sync::Arc, time::Duration};

use tidewire_core::Time;
use tokio::time::Instant;

use crate::{Error, service::Inner};

/// How long before its time an occurrence is prepared, and perhaps fired, and how long before that it
/// is left alone.
pub(crate) const LEAD: Duration = Duration::from_secs(2);
const TOO_LATE: Duration = Duration::from_millis(200);
/// Occurrences that are prepared at once.
const MOST: u32 = 10_000;
/// Configs that are read at once, and the time that must be left for it.
const CHUNK: usize = 100;
const CHUNK_WITHIN: Duration = Duration::from_millis(25);
/// Occurrences of one time that are fired ahead of it: one transaction's worth, which is late by that
/// one at most.
pub(crate) const CROWD: u32 = super::pass::BATCH;
/// Between two looks for crowds while anything is due soon: each is found half of the lead before.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The jobs of a crowd go first when its time has come, and then the next one is fired.
const REST: Duration = Duration::from_millis(200);

/// How far coming occurrences were prepared.
#[derive(Default)]
pub(super) struct Ahead {
    /// Configs were read.
    until: Option<Time>,
    /// The last crowd that was fired. Before its time has come there is no other of its triggers.
    fired: Option<Time>,
    asked: Option<Instant>,
}

impl Ahead {
    /// Reads what the next occurrences fire by, if it is time to; until when to wait.
    pub(super) async fn prepare(&mut self, inner: &Arc<Inner>, next: Option<Time>) -> Instant {
        let left = |next: Time| next.since(inner.fire.clock.now());
        let Some(next) = next else {
            return Instant::now() + inner.fire.settings.poll_interval;
        };
        if self.until.is_some_and(|until| next <= until) || left(next) < TOO_LATE {
            return Instant::now() + left(next);
        }
        if let Some(early) = left(next).checked_sub(LEAD) {
            return Instant::now() + early;
        }
        let until = next.plus(LEAD);
        let (store, mut read) = (&inner.store, inner.db.read());
        match store.configs_ahead(&mut read, (next, until), MOST).await {
            Ok(configs) => {
                let keys: Vec<_> = configs.iter().map(|(t, id)| (&**t, &**id)).collect();
                for some in keys.chunks(CHUNK) {
                    // Whatever is wrong with one of them is met again when it fires.
                    if left(next) < CHUNK_WITHIN
                        || inner.configs.each(&mut read, some).await.is_err()
                    {
                        break;
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "coming occurrences were not prepared"),
        }
        self.until = Some(until);
        Instant::now() + left(next)
    }

    /// A crowd that is to be fired now, or until when to wait at most before asking again.
    pub(super) async fn crowd(
        &mut self,
        inner: &Inner,
        next: Option<Time>,
    ) -> Result<Result<Time, Instant>, Error> {
        let never = Instant::now() + inner.fire.settings.poll_interval;
        let now = inner.fire.clock.now();
        let Some(next) = next else {
            return Ok(Err(never));
        };
        if inner.fire.settings.relayed {
            // Whoever reads the bus is told of what has been fired.
            return Ok(Err(never));
        }
        let rests = self.fired.map(|at| at.plus(REST).since(now));
        if let Some(rest) = rests.filter(|rest| !rest.is_zero() && *rest <= LEAD + REST) {
            return Ok(Err(Instant::now() + rest));
        }
        if let Some(early) = next.since(now).checked_sub(LEAD) {
            return Ok(Err(Instant::now() + early));
        }
        let again = self.asked.map(|at| at + ASK_AGAIN);
        if let Some(again) = again.filter(|again| *again > Instant::now()) {
            return Ok(Err(again));
        }
        self.asked = Some(Instant::now());
        let crowd = first_crowd(inner, now).await?;
        self.fired = crowd.or(self.fired);
        Ok(crowd.ok_or(Instant::now() + ASK_AGAIN))
    }
}

/// The next crowd that is not due yet and will be soon.
pub(super) async fn first_crowd(inner: &Inner, now: Time) -> Result<Option<Time>, Error> {
    let mut read = inner.db.read();
    let span = (now, now.plus(LEAD));
    Ok(inner.store.crowd(&mut read, span, CROWD).await?)
}
