//! A running job's place among those that run at once.
//!
//! A job that can only wait for something of its own (a turn at an endpoint that is busy) steps aside
//! for as long: others run in its slot, more may be claimed, and heartbeats go on. It counts against
//! what a worker holds, and against nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::{Core, attempt::log_refused, extend, held::Holding};
use crate::model::check_progress;

pub(super) struct Slot {
    core: Arc<Core>,
    /// None while its job is aside, and after its end.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// The worker stops while the job is aside: it goes back.
    pub(super) gives_up: Notify,
}

impl Slot {
    pub(super) fn new(core: Arc<Core>, permit: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Slot {
            core,
            permit: Mutex::new(Some(permit)),
            gives_up: Notify::new(),
        })
    }

    /// Ends the job's having it.
    pub(super) fn leave(&self) {
        self.permit().take();
    }

    pub(super) async fn aside<T>(&self, waiting: impl Future<Output = T>) -> T {
        let core = &self.core;
        let returned = async {
            let aside = Aside::step(self);
            let value = waiting.await;
            drop(aside);
            let slots = Arc::clone(&core.slots);
            let permit = slots.acquire_owned().await;
            *self.permit() = Some(permit.expect("the slots are never closed"));
            value
        };
        tokio::select! {
            biased;
            () = core.stop.cancelled() => {
                self.gives_up.notify_one();
                // The worker drops it here.
                std::future::pending().await
            }
            value = returned => value,
        }
    }

    /// Writes how far the job is.
    pub(super) async fn say<T: Serialize + ?Sized>(&self, holding: &Holding, progress: &T) {
        let progress = match to_raw_value(progress) {
            Ok(progress) => progress,
            Err(error) => {
                tracing::warn!(%error, job_id = &*holding.id, "the job's progress cannot be written as JSON");
                return;
            }
        };
        if let Err(problem) = check_progress(&progress) {
            tracing::warn!(
                why = problem.detail,
                job_id = &*holding.id,
                "the job's progress was not written"
            );
            return;
        }
        let jobs = &self.core.jobs;
        let says = extend(jobs.settings().lease, Some(progress));
        match jobs.report(vec![holding.report(says)]).await {
            Ok(answers) => {
                if let Some(Err(refused)) = answers.into_iter().next() {
                    log_refused(holding, &refused);
                    holding.lost.cancel();
                }
            }
            Err(error) => {
                tracing::warn!(%error, job_id = &*holding.id, "the job's progress was not written");
            }
        }
    }

    fn permit(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, its job is not among those in hand.
struct Aside<'s>(&'s Slot);

impl<'s> Aside<'s> {
    fn step(slot: &'s Slot) -> Self {
        slot.leave();
        slot.core.left(1);
        Aside(slot)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.core.in_hand.fetch_add(1, Ordering::Relaxed);
    }
}
