//! What keeps the queue going in the background, and loses nothing by being late: the truth is in
//! the store, and whoever runs next catches up.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::{Error, Jobs, metrics};

/// How often expired leases are looked for, if the poll interval is not shorter.
const EXPIRY_EVERY: Duration = Duration::from_secs(1);
/// How often deltas are folded and gauges are written.
const FOLD_EVERY: Duration = Duration::from_secs(5);
/// Counting the queue takes a hundredth of the time at most: a long queue is counted less often.
const GAUGE_SHARE: u32 = 100;
/// Reading all lanes takes a twentieth at most, should there be tens of thousands.
const REBUILD_SHARE: u32 = 20;
/// The least pause, whatever the settings say.
const BREATH: Duration = Duration::from_millis(10);
const SWEEP_AT_MOST: Duration = Duration::from_mins(1);
const SWEEP_AT_LEAST: Duration = Duration::from_secs(1);

impl Jobs {
    /// Hands expired leases on, rebuilds the board, folds counts and writes gauges. Runs wherever
    /// jobs are claimed: with the API and with workers.
    pub async fn keep(&self, stop: CancellationToken) {
        let poll = || self.settings().poll_interval;
        let expiry = every(&stop, || poll().min(EXPIRY_EVERY), 0, || self.hand_on());
        let rebuild = every(&stop, poll, REBUILD_SHARE, || self.rebuild());
        let fold = every(&stop, || FOLD_EVERY, 0, || self.fold());
        let gauges = every(&stop, || FOLD_EVERY, GAUGE_SHARE, || self.gauge());
        tokio::join!(expiry, rebuild, fold, gauges);
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
        every(&stop, pause, 0, sweep).await;
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
}

/// Does `work` now and again after each `pause`, or after `share` times what it took, whichever is
/// longer. A failure is logged and waits for the next time.
async fn every<F>(
    stop: &CancellationToken,
    pause: impl Fn() -> Duration,
    share: u32,
    work: impl Fn() -> F,
) where
    F: Future<Output = Result<(), Error>>,
{
    loop {
        let started = Instant::now();
        if let Err(error) = work().await {
            tracing::warn!(%error, "the queue's upkeep failed, it will be tried again");
        }
        let pause = pause().max(started.elapsed() * share).max(BREATH);
        let pause = tokio::time::sleep(pause);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
