//! Jobs that a bus has named, beside those that are claimed by their turn.
//!
//! A worker takes them within its concurrency. While it has no room they are left to the store, where
//! any worker finds them when their time has come: what waits here would be kept from those.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Core, RETRY_FIRST, RETRY_MOST};
use crate::{
    Error,
    bus::{BusError, Feed, JobBus, Wanted},
    metrics,
    model::MAX_CLAIM,
};

/// How long jobs that a bus has named wait here for room.
const PATIENCE: Duration = Duration::from_secs(1);

impl Core {
    /// Takes what the bus names, until `stop`.
    pub(super) async fn feed(self: &Arc<Self>, bus: &dyn JobBus, stop: &CancellationToken) {
        let mut pause = RETRY_FIRST;
        loop {
            let fed = async {
                let mut feed = bus.subscribe()?;
                loop {
                    self.take_next(&mut *feed).await?;
                    pause = RETRY_FIRST;
                }
            };
            // Dropped half-way, a claim gives back what it got.
            let fed: Option<Result<(), BusError>> = stop.run_until_cancelled(fed).await;
            let Some(Err(error)) = fed else { return };
            tracing::warn!(%error, bus = bus.name(), "no jobs come from the bus, the store's own are taken meanwhile");
            let paused = tokio::time::sleep(pause);
            if stop.run_until_cancelled(paused).await.is_none() {
                return;
            }
            pause = (pause * 2).min(RETRY_MOST);
        }
    }

    async fn take_next(self: &Arc<Self>, feed: &mut dyn Feed) -> Result<(), BusError> {
        let wanted = feed.next(MAX_CLAIM as usize).await?;
        let heard = wanted.len();
        let taken = match self.pick_up(wanted).await {
            Ok(taken) => taken,
            Err(error) => {
                // A store that is away has more to catch up with than these, and has them too.
                tracing::warn!(%error, jobs = heard, "jobs of the bus could not be claimed, they are left to the store");
                tokio::time::sleep(RETRY_FIRST).await;
                0
            }
        };
        metrics::heard(taken, heard - taken);
        feed.done()
    }

    /// Claims these as far as there is room; how many are ours.
    async fn pick_up(self: &Arc<Self>, mut wanted: Vec<Wanted>) -> Result<usize, Error> {
        let mut taken = 0;
        while !wanted.is_empty() {
            let room = self.demand(&self.ended_for_feed, |_| 0);
            let Ok(room) = tokio::time::timeout(PATIENCE, room).await else {
                break;
            };
            let left = wanted.split_off(wanted.len().min(room as usize));
            let lease = self.jobs.settings().lease;
            let claimed = self
                .jobs
                .pick_up(&self.filter, &self.name, wanted, lease)
                .await?
                .take();
            taken += claimed.len();
            self.take(claimed);
            wanted = left;
        }
        Ok(taken)
    }
}
