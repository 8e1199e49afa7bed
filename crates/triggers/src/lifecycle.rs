//! What becomes of a trigger's coming occurrence when the trigger is made, edited, switched or
//! deleted. All of it happens in the transaction that does the one thing.

use std::collections::HashSet;

use tidewire_core::{Clock, Time, ids};
use tidewire_db::{Result, Tx};
use tidewire_jobs::Jobs;

use crate::{
    Error, Occurrences,
    configs::Known,
    model::{ScheduleStatus, TriggerStatus, TriggerType},
    store::{Advance, Coming, Store, TriggerRow},
};

/// The last occurrence that was fired or left out; before the first, the instant before the config
/// was saved, so that one that is due right then counts.
pub(crate) fn last(saved_at: Time, fired_until: Option<Time>) -> Time {
    fired_until.unwrap_or(Time::from_micros(saved_at.micros() - 1))
}

/// The occurrences of a trigger that fires by the clock and is active.
fn occurrences(row: &TriggerRow, config: &Known) -> Option<Occurrences> {
    if row.status == TriggerStatus::Inactive {
        return None;
    }
    config.config.occurrences(row.saved_at)
}

/// Its next occurrence, due or not.
fn next(row: &TriggerRow, config: &Known) -> Option<Time> {
    occurrences(row, config)?.next_after(last(row.saved_at, row.fired_until))
}

/// The same after an edit: where the clock went back, or another process's is behind, occurrences may
/// have been fired that are still to come by the new config. None is fired twice.
async fn next_unfired(
    store: &Store,
    tx: &mut Tx,
    row: &TriggerRow,
    config: &Known,
) -> Result<Option<Time>> {
    let Some(occurrences) = occurrences(row, config) else {
        return Ok(None);
    };
    let last = last(row.saved_at, row.fired_until);
    let behind = Coming {
        tenant: &row.tenant,
        trigger_id: &row.id,
        fire_at: last,
    };
    let kept = store.schedules_behind(tx, &[behind]).await?;
    let fired: HashSet<_> = kept
        .iter()
        .filter(|kept| kept.status == ScheduleStatus::Completed)
        .map(|kept| kept.fire_at)
        .collect();
    let mut next = occurrences.next_after(last);
    while let Some(at) = next.filter(|at| fired.contains(at)) {
        next = occurrences.next_after(at);
    }
    Ok(next)
}

fn coming(row: &TriggerRow) -> Option<Coming<'_>> {
    Some(Coming {
        tenant: &row.tenant,
        trigger_id: &row.id,
        fire_at: row.next_run?,
    })
}

/// Stores a new trigger and its first occurrence.
pub(crate) async fn create(
    store: &Store,
    tx: &mut Tx,
    mut row: TriggerRow,
    config: &Known,
    clock: &Clock,
) -> Result<TriggerRow> {
    row.next_run = next(&row, config);
    store.insert_trigger(tx, &row).await?;
    if let Some(coming) = coming(&row) {
        let id = ids::new_id(clock);
        store.schedule(tx, &coming, &id, row.updated_at).await?;
    }
    Ok(row)
}

/// Writes an edited trigger back. Its coming occurrence stays unless the edit is about when it fires.
pub(crate) async fn update(
    store: &Store,
    tx: &mut Tx,
    old: &TriggerRow,
    mut new: TriggerRow,
    config: &Known,
    clock: &Clock,
) -> Result<TriggerRow> {
    if old.config_id != new.config_id || old.status != new.status {
        if let Some(coming) = coming(old) {
            store.unschedule(tx, &coming, new.updated_at).await?;
        }
        new.next_run = next_unfired(store, tx, &new, config).await?;
        if let Some(coming) = coming(&new) {
            let id = ids::new_id(clock);
            store.schedule(tx, &coming, &id, new.updated_at).await?;
        }
    }
    if old.kind == TriggerType::Event {
        keep_matching(store, tx, old, &new).await?;
    }
    store.update_trigger(tx, &new).await?;
    Ok(new)
}

/// Events that were stored before an edit and have not been matched yet count for what the trigger
/// was then. One that is switched off is off at once.
async fn keep_matching(
    store: &Store,
    tx: &mut Tx,
    old: &TriggerRow,
    new: &TriggerRow,
) -> Result<()> {
    if new.status == TriggerStatus::Inactive {
        return store.drop_spans_of(tx, &old.tenant, &old.id).await;
    }
    let was_active = old.status == TriggerStatus::Active;
    if was_active && old.config_id != new.config_id && old.from_pos < new.from_pos {
        store.keep_span(tx, old, new.from_pos).await?;
    }
    Ok(())
}

/// Undoes what was fired ahead of a trigger, whose row is locked, before it is about to change when it
/// fires: the occurrence is pending again, and the row as it was. An occurrence whose job is in
/// somebody's hands already, as clocks differ, has been fired.
pub(crate) async fn take_back(
    (store, jobs): (&Store, &Jobs),
    tx: &mut Tx,
    old: TriggerRow,
    now: Time,
) -> std::result::Result<TriggerRow, Error> {
    let Some(at) = old.fired_until.filter(|at| *at > now) else {
        return Ok(old);
    };
    let Some(ahead) = store.fired_ahead(tx, &old, at, now).await? else {
        return Ok(old);
    };
    let job = std::slice::from_ref(&ahead.job_id);
    if jobs.withdraw_in(tx, &old.tenant, job).await?.is_empty() {
        return Ok(old);
    }
    if let Some(next) = coming(&old) {
        store.leave_due(tx, &[next]).await?;
        store.delete_schedules(tx, &[next]).await?;
    }
    let row = TriggerRow {
        // Nothing else lies between.
        fired_until: Some(now),
        next_run: Some(at),
        ..old
    };
    let coming = Coming {
        tenant: &row.tenant,
        trigger_id: &row.id,
        fire_at: at,
    };
    store.take_back(tx, &coming, &ahead.id, now).await?;
    store.enter_due(tx, &[coming]).await?;
    let advance = Advance {
        tenant: &row.tenant,
        trigger_id: &row.id,
        fired_until: row.fired_until,
        next_run: row.next_run,
    };
    store.advance(tx, &[advance]).await?;
    Ok(row)
}

/// Makes a trigger inactive. What was fired ahead of it stays fired.
pub(crate) async fn rest(store: &Store, tx: &mut Tx, old: &TriggerRow, at: Time) -> Result<()> {
    if let Some(coming) = coming(old) {
        store.unschedule(tx, &coming, at).await?;
    }
    let new = TriggerRow {
        status: TriggerStatus::Inactive,
        next_run: None,
        updated_at: at,
        ..old.clone()
    };
    if old.kind == TriggerType::Event {
        keep_matching(store, tx, old, &new).await?;
    }
    store.update_trigger(tx, &new).await
}

/// Deletes a trigger; its executions stay.
pub(crate) async fn delete(store: &Store, tx: &mut Tx, old: &TriggerRow, at: Time) -> Result<()> {
    if let Some(coming) = coming(old) {
        store.unschedule(tx, &coming, at).await?;
    }
    if old.kind == TriggerType::Event {
        store.drop_spans_of(tx, &old.tenant, &old.id).await?;
    }
    store
        .retire_config(tx, &old.tenant, &old.config_id, at)
        .await?;
    store.delete_trigger(tx, &old.tenant, &old.id).await
}
