//! How fast a log grows, told by the log itself: positions have no gap and time never goes back along
//! them, so how many events came in a while is how far the log got in it. Nothing is counted for it.

use tidewire_core::Time;

use crate::{Error, Events};

/// How far back from the end it is looked first.
const STEP: u64 = 64;

impl Events {
    /// The positions that the tenant's log had reached before these times, which ascend. What has left
    /// the database counts as stored when the next event that is there was.
    pub async fn positions_at(&self, tenant: &str, times: &[Time]) -> Result<Vec<u64>, Error> {
        let mut end = self.head(tenant).await?;
        let mut positions = Vec::with_capacity(times.len());
        for time in times.iter().rev() {
            end = self.position_at(tenant, *time, end).await?;
            positions.push(end);
        }
        positions.reverse();
        Ok(positions)
    }

    /// The last position up to `end` that was taken before `time`, by halves; 0 if none was.
    async fn position_at(&self, tenant: &str, time: Time, end: u64) -> Result<u64, Error> {
        // All up to `low` was, nothing from `high` on.
        let (mut low, mut high) = (0, end + 1);
        let mut step = STEP;
        while low + 1 < high {
            // From the end in longer and longer steps, as what is asked for is mostly close to it.
            let middle = (low + (high - low) / 2).max(high.saturating_sub(step));
            step = step.saturating_mul(4);
            let stored = self.stored_from(tenant, middle).await?;
            if stored.is_some_and(|at| at < time) {
                low = middle;
                step = u64::MAX;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
