//! What keeps the queue going in the background, and loses nothing by being late: the truth is in
//! the store, and whoever runs next catches up.

use std::time::Duration;

use tidewire_db::Reach;
use tokio::{sync::broadcast::error::RecvError, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Jobs,
    hints::{self, Heard},
    metrics,
};

/// How often expired leases are looked for, if the poll interval is not shorter.
const EXPIRY_EVERY: Duration = Duration::from_secs(1);
/// How often deltas are folded and gauges are written.
const FOLD_EVERY: Duration = Duration::from_secs(5);
/// Each look at everything takes a bounded share of the time. It is short as a rule; but there may
/// be tens of thousands of lanes, or a transaction that was left open may keep a million entries in
/// the way that were taken long ago.
const GAUGE_SHARE: u32 = 100;
const LOOK_SHARE: u32 = 20;
/// How often the store is looked at where nobody tells of new jobs, while somebody waits: at first,
/// and when nothing has come for a while.
const ASK_FIRST: Duration = Duration::from_millis(20);
const ASK_MOST: Duration = Duration::from_millis(250);
/// The least pause, whatever the settings say.
const BREATH: Duration = Duration::from_millis(10);
const SWEEP_AT_MOST: Duration = Duration::from_mins(1);
const SWEEP_AT_LEAST: Duration = Duration::from_secs(1);

impl Jobs {
    /// Hears the other processes, hands expired leases on, rebuilds the board, folds counts and
    /// writes gauges. Runs wherever jobs are claimed: with the API and with workers.
    pub async fn keep(&self, stop: CancellationToken) {
        let poll = || self.settings().poll_interval;
        let often = || poll().min(EXPIRY_EVERY);
        let expiry = every(&stop, often, LOOK_SHARE, || self.hand_on());
        let holds = every(&stop, often, LOOK_SHARE, || async {
            self.end_holds().await.map(drop)
        });
        let fold = every(&stop, || FOLD_EVERY, LOOK_SHARE, || self.fold());
        let gauges = every(&stop, || FOLD_EVERY, GAUGE_SHARE, || self.gauge());
        tokio::join!(
            Box::pin(self.listen(&stop)),
            Box::pin(self.hear_settings(&stop)),
            Box::pin(self.keep_rebuilding(&stop)),
            Box::pin(expiry),
            Box::pin(holds),
            Box::pin(fold),
            Box::pin(gauges)
        );
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

    /// Takes in what other processes tell.
    async fn listen(&self, stop: &CancellationToken) {
        let mut told = self.hints().subscribe();
        loop {
            let heard = match stop.run_until_cancelled(told.recv()).await {
                Some(Ok(hint)) => hints::read(&hint),
                Some(Err(RecvError::Lagged(_))) => Some(Heard::Everything),
                Some(Err(RecvError::Closed)) | None => return,
            };
            if let Some(heard) = heard {
                self.hear(heard);
            }
        }
    }

    /// Looks at once for what other settings let begin: a queue that goes on, a limit that was raised.
    async fn hear_settings(&self, stop: &CancellationToken) {
        let mut settings = self.changing_settings();
        while let Some(Ok(())) = stop.run_until_cancelled(settings.changed()).await {
            self.hear(Heard::Everything);
        }
    }

    /// Rebuilds the board at every poll interval, at once when hints were lost, and often where
    /// there are none and somebody waits.
    async fn keep_rebuilding(&self, stop: &CancellationToken) {
        let mut ask = ASK_FIRST;
        let mut cost = Cost::default();
        loop {
            let started = Instant::now();
            let rebuilt = self.rebuild().await;
            let cost = cost.note(started.elapsed(), rebuilt.is_ok());
            match rebuilt {
                Ok(true) => ask = ASK_FIRST,
                Ok(false) => ask = (ask * 2).min(ASK_MOST),
                Err(error) => {
                    tracing::warn!(%error, "the board was not rebuilt, it will be tried again");
                }
            }
            let least = (cost * LOOK_SHARE).max(BREATH);
            let next = self.look_again(started, least, ask);
            if stop.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    /// Until the store should be looked at again.
    async fn look_again(&self, last: Instant, least: Duration, ask: Duration) {
        let mut was_lost = false;
        loop {
            let asks = self.hints().reach() == Reach::Polled;
            let is_asked = asks && self.board().somebody_waits();
            let pause = match (was_lost, is_asked) {
                (true, _) => Duration::ZERO,
                (false, true) => ask,
                (false, false) => self.settings().poll_interval,
            };
            let until = last + pause.max(least);
            let now = Instant::now();
            if until <= now {
                return;
            }
            tokio::select! {
                // Whether hints arrive may change at any time.
                () = tokio::time::sleep_until(until.min(now + ASK_MOST)) => {}
                () = self.look_wanted() => was_lost = true,
                () = self.board().wait_begins(), if asks => {}
            }
        }
    }
}

/// What one look at the store costs: the lesser of the last two, and not more than a second. One that
/// met an outage has waited and not worked, and must not be what keeps the next one away for minutes.
#[derive(Default)]
struct Cost {
    last: Duration,
}

impl Cost {
    fn note(&mut self, took: Duration, worked: bool) -> Duration {
        if !worked {
            return Duration::ZERO;
        }
        std::mem::replace(&mut self.last, took)
            .min(took)
            .min(Duration::from_secs(1))
    }
}

/// Does `work` now and again after each `pause`, or after `share` times what it costs, whichever is
/// longer. A failure is logged and waits for the next time.
async fn every<F>(
    stop: &CancellationToken,
    pause: impl Fn() -> Duration,
    share: u32,
    work: impl Fn() -> F,
) where
    F: Future<Output = Result<(), Error>>,
{
    let mut cost = Cost::default();
    loop {
        let started = Instant::now();
        let worked = work().await;
        let cost = cost.note(started.elapsed(), worked.is_ok());
        if let Err(error) = worked {
            tracing::warn!(%error, "the queue's upkeep failed, it will be tried again");
        }
        let pause = pause().max(cost * share).max(BREATH);
        let pause = tokio::time::sleep(pause);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_met_an_outage_does_not_put_off_the_next() {
        let ms = Duration::from_millis;
        let mut cost = Cost::default();
        assert_eq!(cost.note(ms(3), true), ms(0));
        assert_eq!(cost.note(ms(10_000), false), ms(0));
        assert_eq!(cost.note(ms(10_000), true), ms(3));
        assert_eq!(cost.note(ms(4), true), ms(4));
        // One that is always slow has its share.
        assert_eq!(cost.note(ms(900), true), ms(4));
        assert_eq!(cost.note(ms(800), true), ms(800));
        // Two outages in a row.
        assert_eq!(cost.note(ms(10_000), true), ms(800));
        assert_eq!(cost.note(ms(9_000), true), ms(1_000));
    }
}
