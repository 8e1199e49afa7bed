//! What it takes to share a store with other processes, beside the store's own part: one clock, and
//! word of whether the others are heard.

use std::time::Duration;

use tidewire_core::{Clock, clock::Skew};
use tidewire_db::{Db, Reach};
use tidewire_http::Health;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const CORRECT_EVERY: Duration = Duration::from_secs(30);
/// A machine whose clock is off by more microseconds than this is worth a word.
const WORTH_A_WORD: i64 = 1_000_000;

/// A store's neighbourhood. Cheap to clone.
#[derive(Clone)]
pub struct Sharing {
    db: Db,
    clock: Clock,
}

impl Sharing {
    /// Corrects the clock before anything goes by it.
    pub async fn begin(db: Db, clock: Clock) -> Result<Self, String> {
        let sharing = Sharing { db, clock };
        metrics::gauge!("tidewire_store_info", "engine" => sharing.db.dialect().name).set(1.0);
        sharing.note_reach();
        if sharing.shares() {
            let corrected = sharing.correct().await;
            corrected.map_err(|error| error.to_string())?;
        }
        Ok(sharing)
    }

    /// Whether there can be other processes at all.
    fn shares(&self) -> bool {
        !self.db.dialect().sole_writer
    }

    /// Says in `/health` which engine it is and whether other processes are heard.
    pub fn tell(&self, health: &Health) {
        let engine = self.db.dialect().name;
        health.tell("store_engine", move || engine.to_owned());
        let db = self.db.clone();
        health.tell("store_hints", move || word(db.hints().reach()).to_owned());
    }

    /// Keeps the clock right and the metrics true.
    pub async fn keep(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            self.note_reach();
            if !self.shares() || last.elapsed() < CORRECT_EVERY {
                continue;
            }
            last = Instant::now();
            // A store that is silent must not hold up the end.
            let corrected = stop.run_until_cancelled(self.correct()).await;
            if let Some(Err(error)) = corrected {
                tracing::debug!(%error, "the store's clock could not be asked, the last correction holds");
            }
        }
    }

    async fn correct(&self) -> tidewire_db::Result<()> {
        let skew = self.db.measure_clock(&self.clock).await?;
        let before = self.clock.offset();
        self.clock.correct(skew);
        let offset = self.clock.offset();
        if is_worth_a_word(before, skew) {
            tracing::warn!(
                offset_ms = offset / 1000,
                corrected_ms = skew.ahead / 1000,
                "this machine's clock and the store's differ, the store's is gone by: set both by NTP"
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "for people to look at")]
        let seconds = offset as f64 / 1e6;
        metrics::gauge!("tidewire_clock_offset_seconds").set(seconds);
        Ok(())
    }

    fn note_reach(&self) {
        let heard = self.db.hints().reach() == Reach::Told;
        metrics::gauge!("tidewire_store_hints_heard").set(if heard { 1.0 } else { 0.0 });
    }
}

/// Only what has changed since it was last said.
fn is_worth_a_word(before: i64, skew: Skew) -> bool {
    let off = before.saturating_add(skew.ahead).saturating_abs();
    let was_said = before.saturating_abs() > WORTH_A_WORD;
    let moved = skew.ahead.saturating_abs() > WORTH_A_WORD.max(skew.unsure);
    moved || (off > WORTH_A_WORD && !was_said && skew.ahead.saturating_abs() > skew.unsure)
}

fn word(reach: Reach) -> &'static str {
    match reach {
        Reach::Alone => "alone",
        Reach::Told => "told",
        Reach::Polled => "polled",
    }
}

/// HELP texts of this room's metrics.
pub fn describe_metrics() {
    use metrics::{Unit, describe_gauge};
    describe_gauge!("tidewire_store_info", "1; the engine is its label");
    describe_gauge!(
        "tidewire_store_hints_heard",
        "1 while other processes on the store are heard at once; 0 where the store is polled, or nobody else can be there"
    );
    describe_gauge!(
        "tidewire_clock_offset_seconds",
        Unit::Seconds,
        "how far the store's clock is ahead of this machine's; it is added to every time"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_of_once() {
        let skew = |ahead| Skew { ahead, unsure: 100 };
        let ms = 1000;
        assert!(!is_worth_a_word(0, skew(900 * ms)));
        assert!(is_worth_a_word(0, skew(1100 * ms)));
        assert!(is_worth_a_word(0, skew(-1100 * ms)));
        assert!(!is_worth_a_word(5000 * ms, skew(3 * ms)), "it was said");
        assert!(
            is_worth_a_word(5000 * ms, skew(-5000 * ms)),
            "it was mended"
        );
        assert!(is_worth_a_word(900 * ms, skew(200 * ms)), "it crept up");
    }
}
