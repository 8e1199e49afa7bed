//! The life of executions: active, archived, deleted.
//!
//! ```text
//!              active_for after it was fired            keep_for after it was fired
//!  pending ──▶ ended ─────────────────────────▶ archived ─────────────────────────▶ deleted
//!     ▲         │                                  │
//!     └─────────┴────────── retried by hand ───────┘
//! ```
//!
//! A pending one stays where it is, however old; once it has ended, the next sweep archives it. One
//! that ended late, or was retried by hand, is kept for `active_for` after its end at least: somebody
//! may have waited for it.
//!
//! A sweep looks for what is old without a lock, from the oldest on, and moves or deletes it in small
//! transactions; [`crate::store`] says who goes first. Any number of sweepers may run. What one of
//! them leaves halfway, or cannot have at the moment, is the next one's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidewire_core::Time;
use tidewire_db::Tx;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, TriggerSettings, Triggers, metrics,
    model::{ExecutionStatus, RetentionStatus},
    store::{OldConfig, OldExecution, OldSchedule},
};

/// Rows that one transaction moves or deletes: with all that is kept of them, some ten milliseconds
/// in which nobody else writes to a SQLite file.
const AT_ONCE: u32 = 250;
const SWEEP_AT_MOST: Duration = Duration::from_mins(1);
const SWEEP_AT_LEAST: Duration = Duration::from_millis(25);
/// Occurrences and configs have no order of age, or few rows: they are looked through more rarely.
const LOOK_THROUGH_AT_MOST: Duration = Duration::from_hours(1);
/// For so long after a config was retired a firing that had read it before may yet be written.
const GRACE: Duration = Duration::from_mins(10);

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub archived: u64,
    pub deleted: u64,
    pub schedules: u64,
    pub configs: u64,
}

/// What a sweep goes by.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Fired by then: no longer active.
    active: Time,
    /// Fired by then: not kept.
    kept: Time,
}

impl Limits {
    fn new(settings: &TriggerSettings, now: Time) -> Self {
        Limits {
            active: now.minus(settings.active_for),
            // Who set it shorter than that meant to keep nothing but what is active.
            kept: now.minus(settings.keep_for.max(settings.active_for)),
        }
    }

    /// Whether all that comes behind this one is too young.
    fn fired_by(&self, retention: RetentionStatus) -> Time {
        match retention {
            RetentionStatus::Active => self.active,
            RetentionStatus::Archived => self.kept,
        }
    }

    fn is_over(&self, retention: RetentionStatus, old: &OldExecution) -> bool {
        old.fired_at <= self.fired_by(retention)
            && match retention {
                RetentionStatus::Active => old.status != ExecutionStatus::Pending,
                RetentionStatus::Archived => old.updated_at <= self.active,
            }
    }
}

impl Triggers {
    /// Archives and deletes executions, and writes the gauges, until it is stopped. See
    /// [`TriggerSettings::active_for`] and [`TriggerSettings::keep_for`].
    pub async fn keep_sweeping(&self, stop: CancellationToken) {
        let settings = self.inner.fire.settings;
        // Whoever is stopped in between leaves a transaction to its end.
        stop.run_until_cancelled(async {
            let mut looked_through: Option<Instant> = None;
            loop {
                let often = look_through_every(&settings);
                let thorough = looked_through.is_none_or(|at| at.elapsed() >= often);
                if thorough {
                    looked_through = Some(Instant::now());
                }
                self.sweep_and_say(thorough).await;
                tokio::time::sleep(sweep_every(&settings)).await;
            }
        })
        .await;
    }

    async fn sweep_and_say(&self, thorough: bool) {
        match self.sweep(thorough).await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(swept) => tracing::info!(
                archived = swept.archived,
                deleted = swept.deleted,
                schedules = swept.schedules,
                configs = swept.configs,
                "swept executions"
            ),
            Err(error) => {
                tracing::warn!(%error, "executions were not swept to the end, it will be tried again");
            }
        }
        if let Err(error) = self.gauge().await {
            tracing::warn!(%error, "executions were not counted, it will be tried again");
        }
    }

    /// Moves and deletes what is old by now. A thorough one also looks through the occurrences and
    /// the configs.
    pub(crate) async fn sweep(&self, thorough: bool) -> Result<Swept, Error> {
        let fire = &self.inner.fire;
        let now = fire.clock.now();
        let limits = Limits::new(&fire.settings, now);
        let mut swept = Swept {
            archived: self.sweep_table(RetentionStatus::Active, limits).await?,
            deleted: self.sweep_table(RetentionStatus::Archived, limits).await?,
            ..Swept::default()
        };
        if thorough {
            swept.schedules = self.sweep_schedules(limits.kept).await?;
            swept.configs = self.sweep_configs(limits.kept.minus(GRACE)).await?;
        }
        Ok(swept)
    }

    /// Every tenant's executions, as far as they are old.
    async fn sweep_table(&self, from: RetentionStatus, limits: Limits) -> Result<u64, Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        let mut swept = 0;
        let mut tenant = String::new();
        while let Some((next, oldest)) = store.next_tenant(&mut db.read(), from, &tenant).await? {
            tenant = next;
            if oldest <= limits.fired_by(from) {
                swept += self.sweep_tenant(from, &tenant, limits).await?;
            }
        }
        Ok(swept)
    }

    async fn sweep_tenant(
        &self,
        from: RetentionStatus,
        tenant: &str,
        limits: Limits,
    ) -> Result<u64, Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        let mut swept = 0;
        let mut after = String::new();
        loop {
            // Those that stay are passed by: ids grow with time, and who is behind is younger.
            let old = store
                .oldest_executions(&mut db.read(), from, tenant, &after, AT_ONCE)
                .await?;
            let over = old.iter().filter(|old| limits.is_over(from, old));
            let over: Vec<_> = over.map(|old| old.id.clone()).collect();
            if !over.is_empty() {
                swept += match from {
                    RetentionStatus::Active => self.archive(tenant, over, limits).await?,
                    RetentionStatus::Archived => self.delete_archived(tenant, over, limits).await?,
                };
            }
            match old.last() {
                Some(last)
                    if old.len() == AT_ONCE as usize && last.fired_at <= limits.fired_by(from) =>
                {
                    after.clone_from(&last.id);
                }
                _ => return Ok(swept),
            }
        }
    }

    async fn archive(&self, tenant: &str, ids: Vec<String>, limits: Limits) -> Result<u64, Error> {
        let (store, tenant) = (Arc::clone(&self.inner.store), tenant.to_owned());
        let archived = self.inner.db.transact("executions.archive", move |tx| {
            let (store, tenant, ids) = (Arc::clone(&store), tenant.clone(), ids.clone());
            Box::pin(async move {
                let archived = store.archive(tx, &tenant, &ids, limits.active).await?;
                tx.on_commit(move || metrics::archived(archived));
                Ok::<_, Error>(archived)
            })
        });
        archived.await
    }

    async fn delete_archived(
        &self,
        tenant: &str,
        ids: Vec<String>,
        limits: Limits,
    ) -> Result<u64, Error> {
        let (this, tenant) = (self.clone(), tenant.to_owned());
        let deleted = self.inner.db.transact("executions.delete", move |tx| {
            let (this, tenant, ids) = (this.clone(), tenant.clone(), ids.clone());
            Box::pin(async move { this.delete_archived_in(tx, &tenant, &ids, limits).await })
        });
        deleted.await
    }

    async fn delete_archived_in(
        &self,
        tx: &mut Tx,
        tenant: &str,
        ids: &[String],
        limits: Limits,
    ) -> Result<u64, Error> {
        let (store, jobs) = (&self.inner.store, &self.inner.fire.jobs);
        let times = (limits.kept, limits.active);
        let mut gone = store.outlived(tx, tenant, ids, times).await?;
        let of_gone: Vec<_> = gone.iter().map(|old| old.job_id.clone()).collect();
        let staying = jobs.delete_in(tx, tenant, &of_gone).await?;
        // Somebody is about to try it again.
        gone.retain(|old| !staying.contains(&old.job_id));
        store.delete_executions(tx, tenant, &gone).await?;
        let deleted = gone.len() as u64;
        tx.on_commit(move || metrics::deleted(deleted));
        Ok(deleted)
    }

    /// Occurrences that were cancelled, and what is left of those that were fired: most of those go
    /// with their executions.
    async fn sweep_schedules(&self, by: Time) -> Result<u64, Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        let mut swept = 0;
        let mut from = OldSchedule::first();
        loop {
            let old = store
                .old_schedules(&mut db.read(), &from, by, AT_ONCE)
                .await?;
            let Some(last) = old.last() else {
                return Ok(swept);
            };
            from.clone_from(last);
            from.fire_at = from.fire_at.plus(Duration::from_micros(1));
            let store = Arc::clone(store);
            let deleted = db.transact("schedules.sweep", move |tx| {
                let (store, old) = (Arc::clone(&store), old.clone());
                Box::pin(async move { store.forget_schedules(tx, &old).await })
            });
            swept += deleted.await?;
        }
    }

    async fn sweep_configs(&self, by: Time) -> Result<u64, Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        let mut swept = 0;
        let mut from = OldConfig::first();
        loop {
            let old = store
                .old_configs(&mut db.read(), &from, by, AT_ONCE)
                .await?;
            let Some(last) = old.last() else {
                return Ok(swept);
            };
            from.clone_from(last);
            // Behind it: no id goes on like this.
            from.id.push('~');
            let store = Arc::clone(store);
            let deleted = db.transact("configs.sweep", move |tx| {
                let (store, old) = (Arc::clone(&store), old.clone());
                Box::pin(async move { store.delete_configs(tx, &old).await })
            });
            swept += deleted.await?;
        }
    }

    /// Writes the gauges.
    async fn gauge(&self) -> Result<(), Error> {
        let (store, db) = (&self.inner.store, &self.inner.db);
        for retention in RetentionStatus::ALL {
            let count = store.count_kept(&mut db.read(), *retention).await?;
            metrics::executions(*retention, count);
        }
        metrics::schedules(&store.count_schedules(&mut db.read()).await?);
        metrics::triggers(&store.count_triggers(&mut db.read()).await?);
        Ok(())
    }
}

/// At least every quarter of the shorter period.
fn sweep_every(settings: &TriggerSettings) -> Duration {
    let shorter = settings.active_for.min(settings.keep_for);
    (shorter / 4).clamp(SWEEP_AT_LEAST, SWEEP_AT_MOST)
}

fn look_through_every(settings: &TriggerSettings) -> Duration {
    (settings.keep_for / 4).clamp(SWEEP_AT_LEAST, LOOK_THROUGH_AT_MOST)
}

#[cfg(test)]
mod tests;
