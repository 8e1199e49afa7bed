//! Jobs that are kept for a worker by whoever knows how long it lives.

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::Tx;

use super::Jobs;
use crate::{Error, lanes, state::State};

/// A job, and the worker that it is kept for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptFor {
    pub tenant: Arc<str>,
    pub id: String,
    /// By the name with which it claims.
    pub worker: Arc<str>,
}

impl Jobs {
    /// Nobody else takes a step of those of these jobs (each a tenant and an id) that are not in a
    /// worker's hands, before the commit. For who locks something else then that steps of jobs lock.
    pub async fn lock_in(&self, tx: &mut Tx, jobs: &[(&str, &str)]) -> Result<(), Error> {
        self.states(tx, jobs.to_vec()).await.map(drop)
    }

    /// Those of these jobs that wait are kept for their workers until then, in place of whomever they
    /// were kept for: nobody else claims them before. It may be their first attempt or a later one; any
    /// step ends it. The transaction begins again if somebody has one of them in hand at this moment.
    pub async fn reserve_in(&self, tx: &mut Tx, jobs: &[(KeptFor, Time)]) -> Result<(), Error> {
        let keys = jobs.iter().map(|(kept, _)| (&*kept.tenant, &*kept.id));
        let states = self.states(tx, keys.collect()).await?;
        let changes = states.iter().filter_map(|state| {
            let (kept, until) = jobs.iter().find(|(kept, _)| kept.is(state))?;
            state.reserve(&kept.worker, *until)
        });
        let now = self.clock().now();
        let changes = changes.collect();
        Ok(lanes::write(&self.inner.room, tx, changes, now).await?)
    }

    /// These workers are gone. Those of these jobs that are theirs, in hand or reserved, are everybody's
    /// from now on; an attempt that runs is consumed, as if its lease had run out.
    pub async fn lose_in(&self, tx: &mut Tx, jobs: &[KeptFor]) -> Result<(), Error> {
        let keys = jobs.iter().map(|kept| (&*kept.tenant, &*kept.id));
        let states = self.states(tx, keys.collect()).await?;
        let now = self.clock().now();
        let changes = states.iter().filter_map(|state| {
            let kept = jobs.iter().find(|kept| kept.is(state))?;
            state.lose(&kept.worker, now)
        });
        let changes = changes.collect();
        Ok(lanes::write(&self.inner.room, tx, changes, now).await?)
    }

    async fn states(&self, tx: &mut Tx, mut keys: Vec<(&str, &str)>) -> Result<Vec<State>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Rows are locked in this order, by everybody.
        keys.sort_unstable();
        keys.dedup();
        let states = self.store().states(tx, &keys).await?;
        Ok(states.into_iter().flatten().collect())
    }
}

impl KeptFor {
    fn is(&self, state: &State) -> bool {
        *self.id == *state.id && self.tenant == state.lane.tenant
    }
}
