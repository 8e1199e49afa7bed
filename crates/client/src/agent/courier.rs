//! Carries a turn's events to the server: one request at a time, so that they arrive in their order,
//! each repeated until it is answered.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tidewire_core::{backoff::Backoff, clock};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{Client, Error, StoredThreadEvent, TurnStatus};

use super::EmitError;

/// Events that wait, and that go with one request.
pub(super) const MOST_WAITING: usize = 512;
/// Bytes of one request, unless a single event is longer: far below what the server takes.
const MOST_BYTES: usize = 1024 * 1024;
const AGAIN: Backoff = Backoff {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(5),
};

pub(super) enum Item {
    Event {
        text: String,
        ends_turn: bool,
    },
    /// Answered when everything before is stored; dropped if it never will be.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Courier {
    pub client: Client,
    pub thread_id: String,
    pub waiting: mpsc::Receiver<Item>,
    pub cancelled: CancellationToken,
    pub fate: Arc<OnceLock<EmitError>>,
}

impl Courier {
    /// Carries until nobody can emit any more, or the turn is over.
    pub async fn run(mut self) {
        let Some(fate) = self.carry().await else {
            return;
        };
        // Before the queue closes, which is when others ask why.
        let _ = self.fate.set(fate);
        drop(self.waiting);
        self.cancelled.cancel();
    }

    /// `None`: all is stored, and there will be no more.
    async fn carry(&mut self) -> Option<EmitError> {
        let cancelled = self.cancelled.clone();
        let mut items = Vec::with_capacity(MOST_WAITING);
        // A turn's own end takes the lease away as well, and is then no reason to stop.
        let mut is_over = false;
        loop {
            let taken = tokio::select! {
                taken = self.waiting.recv_many(&mut items, MOST_WAITING) => taken,
                () = cancelled.cancelled(), if !is_over => return Some(EmitError::Ended),
            };
            if taken == 0 {
                return None;
            }
            let mut flushed = Vec::new();
            let mut batches = Vec::new();
            for item in items.drain(..) {
                match item {
                    Item::Flush(stored) => flushed.push(stored),
                    Item::Event { text, ends_turn } => {
                        is_over |= ends_turn;
                        Batch::push(&mut batches, &text);
                    }
                }
            }
            for batch in batches {
                let sent = tokio::select! {
                    sent = self.send(batch.whole(), is_over) => sent,
                    () = cancelled.cancelled(), if !is_over => Err(EmitError::Ended),
                };
                if let Err(fate) = sent {
                    return Some(fate);
                }
            }
            for stored in flushed {
                // Whoever asked may have gone.
                let _ = stored.send(());
            }
        }
    }

    /// Sends one batch until the server has it. `is_over`: the turn ends with this one or ended
    /// with one before.
    async fn send(&self, batch: Bytes, is_over: bool) -> Result<(), EmitError> {
        let mut tries = 0u32;
        loop {
            let threads = self.client.threads();
            let sent = threads.append_json(&self.thread_id, batch.clone(), true);
            let error = match sent.await {
                Ok(answers) if !is_over && has_ended(&answers) => return Err(EmitError::Ended),
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if error.is_conflict() {
                return Err(EmitError::Ended);
            }
            if !may_come_right(&error) {
                return Err(EmitError::Refused(error.to_string()));
            }
            tries = tries.saturating_add(1);
            tracing::warn!(%error, tries, "the turn's events could not be sent");
            let own = AGAIN.delay(tries, clock::random_fraction());
            sleep(error.retry_after().map_or(own, |asked| own.max(asked))).await;
        }
    }
}

fn has_ended(answers: &[StoredThreadEvent]) -> bool {
    let status = answers.last().and_then(|answer| answer.turn_status);
    status.is_some_and(TurnStatus::is_final)
}

fn may_come_right(error: &Error) -> bool {
    error.is_transient() || error.status().is_some_and(|status| status >= 500)
}

/// A JSON array that grows.
struct Batch(String);

impl Batch {
    /// Into the last of these, or if it is full into another.
    fn push(batches: &mut Vec<Batch>, text: &str) {
        match batches.last_mut() {
            Some(Batch(last)) if last.len() + text.len() < MOST_BYTES => {
                last.push(',');
                last.push_str(text);
            }
            _ => batches.push(Batch(format!("[{text}"))),
        }
    }

    fn whole(mut self) -> Bytes {
        self.0.push(']');
        Bytes::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_no_longer_than_it_may_be_unless_one_event_is() {
        let mut batches = Vec::new();
        let long = format!("\"{}\"", "x".repeat(MOST_BYTES));
        for text in ["1", "2", &long, "3"] {
            Batch::push(&mut batches, text);
        }
        let whole: Vec<_> = batches.into_iter().map(Batch::whole).collect();
        let long = format!("[{long}]");
        assert_eq!(whole, [b"[1,2]", long.as_bytes(), b"[3]"]);
    }
}
