//! What keeps the queue going in the background, and loses nothing by being late: the truth is in
//! the store, and whoever runs next catches up.

use std::{fmt::Display, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{Error, Jobs, metrics};

/// How often expired leases are looked for, if the poll interval is not shorter.
const EXPIRY_EVERY: Duration = Duration::from_secs(1);
/// How often deltas are folded and gauges are written.
const FOLD_EVERY: Duration = Duration::from_secs(5);
/// Counting the queue may take this share of a core; a long queue is counted less often.
const GAUGE_SHARE: u32 = 100;
const SWEEP_AT_MOST: Duration = Duration::from_mins(1);
const SWEEP_AT_LEAST: Duration = Duration::from_secs(1);

impl Jobs {
    /// Hands expired leases on, rebuilds the board, folds counts and writes gauges. Runs wherever
    /// jobs are claimed: with the API and with workers.
    pub async fn keep(&self, stop: CancellationToken) {
        let expiry = every(
            &stop,
            || self.settings().poll_interval.min(EXPIRY_EVERY),
            || self.hand_on(),
        );
        let rebuild = every(&stop, || self.settings().poll_interval, || self.rebuild());
        let fold = every(&stop, || FOLD_EVERY, || self.fold());
        tokio::join!(expiry, rebuild, fold, self.keep_gauges(&stop));
    }

    /// Prunes finished jobs; see the `keep_…` settings.
    pub async fn keep_sweeping(&self, stop: CancellationToken) {
        let pause = || {
            let settings = self.settings();
            let shortest = settings
                .keep_done
                .min(settings.keep_failed)
                .min(settings.keep_cancelled);
            (shortest / 4).clamp(SWEEP_AT_LEAST, SWEEP_AT_MOST)
        };
        let sweep = || async {
            let pruned = self.sweep().await?;
            if pruned > 0 {
                metrics::pruned(pruned);
                tracing::info!(pruned, "pruned finished jobs");
            }
            Ok(())
        };
        every(&stop, pause, sweep).await;
    }

    async fn hand_on(&self) -> Result<(), Error> {
        if !self.any_expired().await? {
            return Ok(());
        }
        let expired = self.expire().await?;
        if expired > 0 {
            tracing::warn!(expired, "leases ran out, their jobs were handed on");
        }
        Ok(())
    }

    async fn keep_gauges(&self, stop: &CancellationToken) {
        loop {
            let cost = match self.gauge().await {
                Ok(cost) => cost,
                Err(error) => {
                    warn(&error);
                    Duration::ZERO
                }
            };
            let pause = FOLD_EVERY.max(cost * GAUGE_SHARE);
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }
}

/// Does `work` now and again after each `pause`. A failure is logged and waits for the next time.
async fn every<F>(stop: &CancellationToken, pause: impl Fn() -> Duration, work: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    loop {
        if let Err(error) = work().await {
            warn(&error);
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(pause()))
            .await
            .is_none()
        {
            return;
        }
    }
}

fn warn(error: &impl Display) {
    tracing::warn!(%error, "the queue's upkeep failed, it will be tried again");
}
