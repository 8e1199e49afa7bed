//! Keeps one job's lease, and tells the server how the job ended.

use std::{future::Future, time::Duration};

use serde_json::value::RawValue;
use tidewire_core::{backoff::Backoff, clock};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{ClaimedJob, Client, Error, Job, Result};

const AGAIN: Backoff = Backoff {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(5),
};
/// How long the end of a job may still be told after the worker's own deadline.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// A job says how far it is at most so often.
const SAID_EVERY: Duration = Duration::from_secs(1);
const SHORTEST_BEAT: Duration = Duration::from_millis(100);
/// An error's text, longer than which nobody reads it.
const MOST_ERROR_CHARS: usize = 4_000;

pub(super) struct Lease<'c> {
    client: &'c Client,
    id: String,
    token: String,
    length: Duration,
    asked_seconds: u64,
    heartbeat: Duration,
}

impl<'c> Lease<'c> {
    pub fn new(
        client: &'c Client,
        claimed: &ClaimedJob,
        asked: Duration,
        heartbeat: Duration,
    ) -> Self {
        Lease {
            client,
            id: claimed.job.id.clone(),
            token: claimed.lease_token.clone(),
            // The server may grant less than was asked for.
            length: claimed.lease().map_or(asked, |granted| granted.min(asked)),
            asked_seconds: asked.as_secs(),
            heartbeat,
        }
    }

    /// Sends heartbeats at a third of the lease, or more often if so asked; returns when the lease
    /// is lost. A server that cannot be reached is no loss: an expired lease that nobody took over
    /// is still good. What the job says of how far it is goes with them, and sends one if it is new.
    pub async fn keep(&self, mut progress: watch::Receiver<Option<Box<RawValue>>>) {
        let third = (self.length / 3).max(SHORTEST_BEAT);
        let every = third.min(self.heartbeat).max(SHORTEST_BEAT);
        let mut wait = every;
        loop {
            let mut next = Instant::now() + wait;
            tokio::select! {
                () = sleep_until(next) => {}
                // Without a context there is nobody to say anything, until the work has ended.
                Ok(()) = progress.changed() => next = next.min(Instant::now() + SAID_EVERY),
            }
            sleep_until(next).await;
            let jobs = self.client.jobs();
            let said = progress.borrow_and_update().clone();
            let lease = Some(self.asked_seconds);
            let beat = jobs.heartbeat(&self.id, &self.token, lease, said.as_deref());
            wait = match timeout(third, beat).await {
                Ok(Ok(_)) => every,
                Ok(Err(error)) if is_lost(&error) => return,
                Ok(Err(error)) => {
                    tracing::warn!(job_id = %self.id, %error, "a heartbeat failed");
                    third / 4
                }
                Err(_) => {
                    tracing::warn!(job_id = %self.id, "a heartbeat had no answer");
                    Duration::ZERO
                }
            };
        }
    }

    pub async fn complete(&self, output: Option<&RawValue>, stop: &CancellationToken) -> Told {
        self.tell(stop, || async {
            self.client
                .jobs()
                .complete(&self.id, &self.token, output)
                .await
        })
        .await
    }

    pub async fn fail(
        &self,
        error: &str,
        retry_in: Option<Duration>,
        permanent: bool,
        stop: &CancellationToken,
    ) -> Told {
        let error = sendable(error);
        self.tell(stop, || async {
            self.client
                .jobs()
                .fail(&self.id, &self.token, &error, retry_in, permanent)
                .await
        })
        .await
    }

    pub async fn release(&self, stop: &CancellationToken) -> Told {
        self.tell(stop, || async {
            self.client.jobs().release(&self.id, &self.token).await
        })
        .await
    }

    /// Says it until the server heard it, or for as long as the lease would last, and no longer
    /// than a moment after the worker's deadline.
    async fn tell<F, Fut>(&self, stop: &CancellationToken, say: F) -> Told
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<Job>>,
    {
        let heard = async {
            let mut tries = 0u32;
            // After a lost answer it may be this worker's own word that ended the job.
            let mut may_have_heard = false;
            loop {
                let error = match say().await {
                    Ok(_) => return Told::Heard,
                    Err(error) if is_lost(&error) && may_have_heard => return Told::Heard,
                    Err(error) if is_lost(&error) => return Told::Lost,
                    Err(error) => error,
                };
                let server_side = error.status().is_some_and(|status| status >= 500);
                if !error.is_transient() && !server_side {
                    return Told::Refused(error);
                }
                tries += 1;
                may_have_heard |= !error.is_refused_for_now();
                tracing::warn!(job_id = %self.id, %error, tries, "the end of a job could not be told");
                let own = AGAIN.delay(tries, clock::random_fraction());
                sleep(error.retry_after().map_or(own, |asked| own.max(asked))).await;
            }
        };
        let last_words = async {
            stop.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            told = heard => told,
            () = sleep(self.length) => Told::Unheard,
            () = last_words => Told::Unheard,
        }
    }
}

pub(super) enum Told {
    Heard,
    /// The lease is somebody else's, or nobody's.
    Lost,
    /// The server will not take it, and not later either.
    Refused(Error),
    Unheard,
}

fn is_lost(error: &Error) -> bool {
    error.is_conflict() || error.is_not_found()
}

/// An error's text as the server takes it: not endless, and without NUL.
fn sendable(error: &str) -> String {
    let text: String = error
        .chars()
        .take(MOST_ERROR_CHARS)
        .map(|c| {
            if c == '\0' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if text.is_empty() {
        "failed without a reason".to_owned()
    } else {
        text
    }
}
