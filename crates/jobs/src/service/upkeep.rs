//! The single steps of the upkeep; [`crate::keeper`] says when each is due.

use std::sync::Arc;

use tidewire_core::Time;

use super::{AT_ONCE, Jobs};
use crate::{
    Error, JobSettings,
    hints::Heard,
    lanes::{self, Room},
    model::Status,
    store::Old,
};

impl Jobs {
    /// Ends the leases that have run out; how many.
    pub(crate) async fn expire(&self) -> Result<usize, Error> {
        let mut expired = 0;
        loop {
            let room = self.inner.room.clone();
            let some = self
                .inner
                .db
                .transact("jobs.expire", move |tx| {
                    let room = room.clone();
                    Box::pin(async move {
                        let now = room.clock.now();
                        let states = room.store.expired(tx, now, AT_ONCE).await?;
                        let changes: Vec<_> =
                            states.iter().map(|state| state.expire(now)).collect();
                        lanes::write(&room, tx, changes, now).await?;
                        Ok::<_, Error>(states.len())
                    })
                })
                .await?;
            expired += some;
            if some < AT_ONCE as usize {
                return Ok(expired);
            }
        }
    }

    /// Whether any lease has run out, asked of the readers: the writer is left alone if not.
    pub(crate) async fn any_expired(&self) -> Result<bool, Error> {
        let now = self.inner.room.clock.now();
        Ok(self.store().any_expired(&mut self.read(), now).await?)
    }

    /// Forgets for whom jobs were reserved that everybody may have by now; how many.
    pub(crate) async fn end_holds(&self) -> Result<usize, Error> {
        let now = self.inner.room.clock.now();
        if !self.store().any_hold_ended(&mut self.read(), now).await? {
            return Ok(0);
        }
        let mut ended = 0;
        loop {
            let store = Arc::clone(&self.inner.room.store);
            let some = self
                .inner
                .db
                .transact("jobs.end_holds", move |tx| {
                    let store = Arc::clone(&store);
                    Box::pin(async move { store.end_holds(tx, now, AT_ONCE).await })
                })
                .await?;
            ended += some;
            if some < AT_ONCE as usize {
                return Ok(ended);
            }
        }
    }

    /// Rebuilds the board from the store; whether it found anything that was not known.
    pub(crate) async fn rebuild(&self) -> Result<bool, Error> {
        let Room {
            store,
            board,
            clock,
            ..
        } = &self.inner.room;
        let since = board.generation();
        let mut lanes = store.lanes(&mut self.read()).await?;
        let now = clock.now();
        lanes.extend(store.reserved_lanes(&mut self.read(), now).await?);
        Ok(board.rebuilt(since, &lanes, now))
    }

    /// Hears what another process has told.
    pub(crate) fn hear(&self, heard: Heard) {
        let Room { board, clock, .. } = &self.inner.room;
        match heard {
            // It may stand for many; each claim that leaves some wakes the next.
            Heard::Due(lane, due) => board.hint(&lane, due, 1, clock.now()),
            Heard::Drained { tenant, queue } => board.drained(&tenant, &queue, usize::MAX),
            // Nobody listens where no worker runs.
            Heard::Cancelled(id) => drop(self.inner.cancelled.send(id)),
            Heard::Everything => self.inner.look.notify_one(),
        }
    }

    /// Folds the counts' deltas.
    pub(crate) async fn fold(&self) -> Result<(), Error> {
        loop {
            let store = Arc::clone(&self.inner.room.store);
            let folded = self
                .inner
                .db
                .transact("jobs.fold", move |tx| {
                    let store = Arc::clone(&store);
                    Box::pin(async move { store.fold(tx, AT_ONCE).await })
                })
                .await?;
            if folded < AT_ONCE as usize {
                return Ok(());
            }
        }
    }

    /// Deletes the jobs of every tenant that finished long enough ago; how many.
    pub(crate) async fn sweep(&self) -> Result<usize, Error> {
        let kept = Kept::new(&self.settings(), self.clock().now());
        let mut pruned = 0;
        let mut tenant = String::new();
        while let Some((next, oldest)) = self.store().next_tenant(&mut self.read(), &tenant).await?
        {
            tenant = next;
            if oldest < kept.youngest {
                pruned += self.sweep_tenant(&tenant, kept).await?;
            }
        }
        Ok(pruned)
    }

    async fn sweep_tenant(&self, tenant: &str, kept: Kept) -> Result<usize, Error> {
        let mut pruned = 0;
        let mut after = String::new();
        loop {
            // Looked for by a reader: what is kept longer does not take the writer's time.
            let old = self
                .store()
                .oldest(&mut self.read(), tenant, &after, AT_ONCE)
                .await?;
            let gone = old.iter().filter(|old| kept.has_outlived(old));
            let gone: Vec<_> = gone.map(|old| old.id.clone()).collect();
            if !gone.is_empty() {
                pruned += self.prune(tenant, gone, kept).await?;
            }
            match old.last() {
                Some(last) if old.len() == AT_ONCE as usize && last.created_at < kept.youngest => {
                    after.clone_from(&last.id);
                }
                _ => return Ok(pruned),
            }
        }
    }

    /// Of these jobs, deletes those that are still so; one may have been retried since.
    async fn prune(&self, tenant: &str, ids: Vec<String>, kept: Kept) -> Result<usize, Error> {
        let (store, tenant) = (Arc::clone(&self.inner.room.store), tenant.to_owned());
        let pruned = self
            .inner
            .db
            .transact("jobs.sweep", move |tx| {
                let (store, tenant, ids) = (Arc::clone(&store), tenant.clone(), ids.clone());
                Box::pin(async move {
                    let mut old = store.lock_old(tx, &tenant, &ids).await?;
                    old.retain(|old| kept.has_outlived(old));
                    store.prune(tx, &tenant, &old).await?;
                    Ok::<_, tidewire_db::Error>(old.len())
                })
            })
            .await?;
        Ok(pruned)
    }

    /// Writes the gauges.
    pub(crate) async fn gauge(&self) -> Result<(), Error> {
        let now = self.inner.room.clock.now();
        let depth = self.store().depth(&mut self.read(), now).await?;
        crate::metrics::depth(depth, now);
        Ok(())
    }
}

/// What retention keeps: finished jobs that are not older than this.
#[derive(Clone, Copy)]
struct Kept {
    done: Time,
    failed: Time,
    cancelled: Time,
    youngest: Time,
}

impl Kept {
    fn new(settings: &JobSettings, now: Time) -> Self {
        let done = now.minus(settings.keep_done);
        let failed = now.minus(settings.keep_failed);
        let cancelled = now.minus(settings.keep_cancelled);
        Kept {
            done,
            failed,
            cancelled,
            youngest: done.max(failed).max(cancelled),
        }
    }

    fn has_outlived(self, old: &Old) -> bool {
        let limit = match old.status {
            Status::Done => self.done,
            Status::Failed => self.failed,
            Status::Cancelled => self.cancelled,
            Status::Pending | Status::Running => return false,
        };
        !old.is_followed && old.finished_at.is_some_and(|at| at < limit)
    }
}
