//! Reading configs before they are needed, so that a firing does not wait for it.

use std::{sync::Arc, time::Duration};

use tidewire_core::Time;
use tokio::time::Instant;

use crate::service::Inner;

/// How long before its time an occurrence is prepared, and how long before that it is left alone.
const LEAD: Duration = Duration::from_secs(1);
const TOO_LATE: Duration = Duration::from_millis(200);
/// Occurrences that are prepared at once.
const MOST: u32 = 10_000;
/// Configs that are read at once, and the time that must be left for it.
const CHUNK: usize = 100;
const CHUNK_WITHIN: Duration = Duration::from_millis(25);

/// How far the configs of coming occurrences were read.
#[derive(Default)]
pub(super) struct Ahead {
    until: Option<Time>,
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
}
