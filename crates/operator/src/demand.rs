//! Follows what is wanted: one question that the server holds until there is another answer.

use std::{sync::Arc, time::Duration};

use tidewire_client::{Client, Demand, Error, ThreadDemand, TurnStatus};
use tidewire_core::{backoff::Backoff, clock};
use tokio::{sync::watch, time::sleep};

use crate::{ThreadKey, model::Wanted};

/// How long the server may hold the question.
const HELD: u64 = 30;
/// A server that stops holds nothing any more.
const UNCHANGED: Duration = Duration::from_millis(100);
const AGAIN: Backoff = Backoff {
    base: Duration::from_millis(250),
    cap: Duration::from_secs(5),
};

/// What the server said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub wanted: Arc<[Wanted]>,
    /// It was said just now. Otherwise the server is away, and nobody knows what is wanted.
    pub is_current: bool,
}

/// Asks until it is dropped.
pub(crate) async fn follow(client: &Client, seen: &watch::Sender<Seen>) {
    let mut revision: Option<String> = None;
    let mut failures = 0;
    loop {
        let wait = if revision.is_some() { HELD } else { 0 };
        match client.leases().demand(revision.as_deref(), wait).await {
            Ok(demand) => {
                if failures > 0 {
                    tracing::info!("the server answers again");
                }
                failures = 0;
                let is_new = revision.as_deref() != Some(&*demand.revision);
                revision = Some(demand.revision.clone());
                seen.send_if_modified(|seen| {
                    let changes = is_new || !seen.is_current;
                    if changes {
                        *seen = Seen {
                            wanted: wanted(demand),
                            is_current: true,
                        };
                    }
                    changes
                });
                if !is_new {
                    sleep(UNCHANGED).await;
                }
            }
            Err(error) => {
                failures += 1;
                // What was told before may be of another server by now.
                revision = None;
                seen.send_if_modified(|seen| std::mem::take(&mut seen.is_current));
                let wait = pause(&error, failures);
                tracing::warn!(%error, ?wait, "the server was not reached: instances stay as they are");
                sleep(wait).await;
            }
        }
    }
}

fn pause(error: &Error, failures: u32) -> Duration {
    let own = AGAIN.delay(failures, clock::random_fraction());
    let asked = error.retry_after().unwrap_or_default();
    own.max(asked.min(AGAIN.cap))
}

fn wanted(demand: Demand) -> Arc<[Wanted]> {
    demand.threads.into_iter().map(Wanted::from).collect()
}

impl From<ThreadDemand> for Wanted {
    fn from(it: ThreadDemand) -> Self {
        Wanted {
            key: ThreadKey {
                tenant: it.tenant_id.into(),
                thread: it.thread_id.into(),
            },
            agent: it.agent.map(Into::into),
            turn: it.turn_id.into(),
            is_running: it.status == TurnStatus::Running,
            since: it.since,
            leased_by: it.leased_by.map(Into::into),
            leased_until: it.leased_until,
        }
    }
}
