//! Learns how far the followed lines reach, whoever appends to them.
//!
//! What this process commits it tells its feeds itself. Other processes send a hint with each
//! commit; where hints do not arrive, or may have been lost, the heads of all followed tenants are
//! compared with the table: at once after a loss, else every poll interval, and where nobody tells
//! us at all every 20 to 250 ms. One question for the whole process, not one for each follower.

use std::{sync::Arc, time::Duration};

use tidewire_db::{Hint, Hints, Reach, Result};
use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Feeds, Line};

/// The shortest pause between two questions where nobody tells us, …
const LEAST: Duration = Duration::from_millis(20);
/// … and the one that it grows to while nothing comes.
const MOST: Duration = Duration::from_millis(250);

/// The watch over all feeds of one kind.
pub struct Watch<L: Line> {
    pub line: Arc<L>,
    pub feeds: Arc<Feeds<L>>,
    /// What other processes say.
    pub hints: Hints,
    /// How long something can stay unnoticed if every hint is lost.
    pub poll_interval: Duration,
}

impl<L: Line> Watch<L> {
    /// Runs until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let doubt = Notify::new();
        let watching = async {
            // Apart, so that a slow answer of the store holds no hint up.
            tokio::join!(self.hear(&doubt), self.compare_again_and_again(&doubt));
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
        }
    }

    async fn hear(&self, doubt: &Notify) {
        let mut hints = self.hints.subscribe();
        // What was sent before this moment.
        doubt.notify_one();
        loop {
            match hints.recv().await {
                Ok(hint) => match &*hint {
                    Hint::One { topic, key, value } if topic == L::TOPIC => {
                        if let Some(key) = L::heard(key) {
                            self.feeds
                                .committed(&key, u64::try_from(*value).unwrap_or(0));
                        }
                    }
                    Hint::One { .. } => {}
                    Hint::Everything => doubt.notify_one(),
                },
                Err(RecvError::Lagged(_)) => doubt.notify_one(),
                // The store is closed; there is nothing to follow any more.
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn compare_again_and_again(&self, doubt: &Notify) {
        let mut pace = Pace::default();
        let mut asked = Instant::now();
        let mut failing = false;
        loop {
            let followed = self.feeds.followed();
            if followed.is_empty() {
                self.feeds.joined().await;
                pace = Pace::default();
                continue;
            }
            let pause = pace.pause(self.hints.reach(), self.poll_interval);
            tokio::select! {
                () = tokio::time::sleep_until(asked + pause) => {}
                () = doubt.notified() => {}
                // It has read the head itself, and waits for what comes now.
                () = self.feeds.joined() => {
                    pace = Pace::default();
                    continue;
                }
            }
            asked = Instant::now();
            match self.compare(&followed).await {
                Ok(moved) => {
                    pace.note(moved, asked.elapsed());
                    failing = false;
                }
                Err(error) => {
                    pace.note(false, asked.elapsed());
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the ends of what is followed cannot be read, it will be tried again");
                    }
                }
            }
        }
    }

    /// Whether any line reaches further than its followers knew.
    async fn compare(&self, followed: &[L::Key]) -> Result<bool> {
        let mut moved = false;
        for (key, head) in self.line.heads(followed).await? {
            moved |= self.feeds.committed(&key, head);
        }
        Ok(moved)
    }
}

/// How long to wait before the next question.
#[derive(Default)]
struct Pace {
    /// What it has grown to where nobody tells us.
    grown: Duration,
    took: Duration,
}

impl Pace {
    fn note(&mut self, moved: bool, took: Duration) {
        self.took = took;
        self.grown = if moved {
            LEAST
        } else {
            (self.grown.max(LEAST) * 3 / 2).min(MOST)
        };
    }

    fn pause(&self, reach: Reach, poll_interval: Duration) -> Duration {
        match reach {
            Reach::Alone | Reach::Told => poll_interval,
            // However many tenants are followed, no more than a fifth of a connection's time.
            Reach::Polled => self.grown.max(LEAST).max(self.took * 4).min(poll_interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(5);

    #[test]
    fn where_nobody_tells_us_we_ask_often_while_something_comes_and_less_while_nothing_does() {
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pauses.push(pace.pause(Reach::Polled, POLL));
            pace.note(false, Duration::ZERO);
        }
        assert_eq!(pauses[0], LEAST);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[9], MOST);
        pace.note(true, Duration::ZERO);
        assert_eq!(pace.pause(Reach::Polled, POLL), LEAST);
    }

    #[test]
    fn a_slow_answer_slows_the_questions() {
        let mut pace = Pace::default();
        pace.note(true, Duration::from_millis(100));
        assert_eq!(pace.pause(Reach::Polled, POLL), Duration::from_millis(400));
        pace.note(true, Duration::from_secs(60));
        assert_eq!(pace.pause(Reach::Polled, POLL), POLL);
    }

    #[test]
    fn where_we_are_told_asking_is_a_backstop() {
        for reach in [Reach::Alone, Reach::Told] {
            assert_eq!(Pace::default().pause(reach, POLL), POLL);
        }
    }
}
