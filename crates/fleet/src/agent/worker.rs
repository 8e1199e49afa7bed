//! What an agent has to do with its worker: it gives it what came, and again what it lost with a
//! restart.

use std::time::Duration;

use tidewire_client::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    kept::{Held, Kept},
    pace::about,
};

/// Looked at at least so often, however seldom the controller is asked.
const LOOK_AT_LEAST: Duration = Duration::from_secs(5);

/// How a round ended that did not fail.
enum Round {
    /// The worker has what it should.
    Done,
    /// There is more to do for it at once.
    Again,
}

impl Inner {
    pub(super) async fn serve_worker(&self, stop: &CancellationToken) {
        loop {
            let Some(outcome) = stop.run_until_cancelled(self.give()).await else {
                return;
            };
            let (now, interval) = (self.clock.now(), self.interval());
            // A worker that comes back is seen within the interval, also behind many failures.
            let look = about((interval / 2).min(LOOK_AT_LEAST));
            let wait = {
                let mut state = self.state();
                match &outcome {
                    Ok(Round::Done) => {
                        state.worker.went_well(now, look);
                        look
                    }
                    Ok(Round::Again) => {
                        state.worker.went_well(now, Duration::ZERO);
                        continue;
                    }
                    Err(error) => {
                        let most = self.options.max_backoff;
                        let cap = most.min(interval.mul_f64(0.8));
                        let wait = state.worker.failed(now, error, cap, most.max(interval));
                        tracing::warn!(%error, ?wait, "the worker was not reached");
                        wait
                    }
                }
            };
            let wakes = outcome.is_ok();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
                () = self.for_worker.notified(), if wakes => {}
            }
        }
    }

    /// Gives the worker what it should have, if it does not have it.
    async fn give(&self) -> Result<Round, Error> {
        let worker = self.options.worker.fleet_worker();
        let found = worker.state().await?;
        let kept = self.kept();
        let lacks = |held: &&Held| {
            kept.pending.is_some()
                || (found.version != Some(held.version)
                    && kept.may_be_given(&held.etag, found.started_at))
        };
        let Some(held) = kept.wanted().filter(lacks) else {
            self.health.set_ready(kept.running.is_some());
            return Ok(Round::Done);
        };
        match worker.apply(held.version, &held.config).await {
            Ok(()) => {
                tracing::info!(version = held.version, "the worker works by it");
                self.step(|kept| kept.taken(&held.etag));
                self.health.set_ready(true);
            }
            Err(error) if is_refusal(&error) => {
                let why = reason(&error);
                tracing::warn!(
                    version = held.version,
                    why,
                    "the worker does not take it: the last good one stays"
                );
                self.step(|kept| kept.refused(&held.etag, why, found.started_at));
            }
            Err(error) => return Err(error),
        }
        if !self.state().kept.unsaid.is_empty() {
            self.for_controller.notify_one();
        }
        // Also one that lost what it worked by gets it back.
        Ok(match is_settled(&self.kept(), held) {
            true => Round::Done,
            false => Round::Again,
        })
    }
}

/// Whether nothing is left to be done behind an answer about this one.
fn is_settled(kept: &Kept, held: &Held) -> bool {
    kept.pending.is_none() && kept.running.as_ref().is_none_or(|running| running == held)
}

/// The worker has looked at it and cannot use it. Everything else may be otherwise a moment later.
fn is_refusal(error: &Error) -> bool {
    matches!(error.status(), Some(400 | 409 | 413 | 415 | 422))
}

fn reason(error: &Error) -> String {
    match error.problem() {
        Some(problem) if !problem.detail.is_empty() => problem.detail.clone(),
        _ => error.to_string(),
    }
}
