//! One transaction of the scheduler: some occurrences that are due, each with what its firing writes,
//! the next occurrence of its trigger, and how far that is. A fixed number of statements, whatever the
//! count; two more if triggers were edited.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tidewire_core::{Time, ids};
use tidewire_db::Tx;

use super::pass::{Attempt, BATCH};
use crate::{
    Error, GRACE, MAX_MADE_UP, Occurrences,
    configs::Known,
    firing::{Firing, When},
    lifecycle,
    model::{ScheduleStatus, Source},
    service::{Inner, empty},
    store::{Advance, Coming, DueRow, Mark, ScheduleRow, TriggerRow},
};

/// What one transaction writes at most: a firing weighs 1, and 1 more for each of these bytes.
const WEIGHT: usize = BATCH as usize;
const BYTES: usize = 8192;

impl DueRow {
    fn last(&self) -> Time {
        lifecycle::last(self.saved_at, self.fired_until)
    }
}

/// What becomes of one trigger.
enum Plan {
    Fire {
        config: Arc<Known>,
        occurrences: Occurrences,
        /// The times to fire for, oldest first: the occurrence's own and those made up, or some of it.
        times: Vec<Time>,
        next: Option<Time>,
    },
    /// Its config cannot be read, so it is put aside.
    Rest(String),
}

/// Fires; how many occurrences were settled.
pub(super) async fn fire(inner: &Inner, tx: &mut Tx, attempt: &Attempt) -> Result<usize, Error> {
    let clock_now = inner.fire.clock.now();
    let (from, most) = (&attempt.from, attempt.most);
    // The time may have come meanwhile.
    let ahead = attempt.ahead.filter(|at| *at > clock_now);
    let when = ahead.map_or(When::Now(clock_now), When::Ahead);
    let now = when.time();
    let mut rows = inner.store.due(tx, now, from, most).await?;
    let is_full = rows.len() == most as usize;
    let Some(last) = rows.last().map(Mark::behind) else {
        return Ok(0);
    };
    if ahead.is_some() {
        // One ahead is the most: it can be taken back.
        rows.retain(|row| row.fired_until.is_none_or(|until| until <= clock_now));
    }
    let keys: Vec<_> = rows
        .iter()
        .map(|row| (&*row.tenant, &*row.config_id))
        .collect();
    let configs = inner.configs.each(tx, &keys).await?;
    let plans = plan(&rows, configs, now);
    // The others have their turn in the next transaction.
    let is_cut = plans.len() < rows.len();
    rows.truncate(plans.len());
    let last = rows.last().filter(|_| is_cut).map_or(last, Mark::behind);
    attempt.has(rows.len(), &last, is_full || is_cut);
    write(inner, tx, &rows, plans, when).await?;
    Ok(rows.len())
}

/// Fires a trigger whose occurrence is due, before its config is replaced: an edit is about what comes
/// after it. Whether it did; its row, which must be locked, is another one then.
pub(crate) async fn fire_overdue(
    inner: &Inner,
    tx: &mut Tx,
    trigger: &TriggerRow,
) -> Result<bool, Error> {
    let now = inner.fire.clock.now();
    let Some(fire_at) = trigger.next_run.filter(|at| *at <= now) else {
        return Ok(false);
    };
    let row = DueRow {
        fire_at,
        tenant: Arc::clone(&trigger.tenant),
        trigger_id: Arc::clone(&trigger.id),
        config_id: Arc::clone(&trigger.config_id),
        saved_at: trigger.saved_at,
        fired_until: trigger.fired_until,
        is_edited: true,
    };
    let configs = inner
        .configs
        .each(tx, &[(&row.tenant, &row.config_id)])
        .await?;
    let rows = [row];
    let plans = plan(&rows, configs, now);
    if matches!(plans[..], [Plan::Rest(_)]) {
        // Perhaps the edit mends it.
        return Ok(false);
    }
    write(inner, tx, &rows, plans, When::Now(now)).await?;
    Ok(true)
}

async fn write(
    inner: &Inner,
    tx: &mut Tx,
    rows: &[DueRow],
    mut plans: Vec<Plan>,
    when: When,
) -> Result<(), Error> {
    let strays = pass_over_fired(inner, tx, rows, &mut plans).await?;
    let firings = firings(rows, &plans);
    inner.fire.fire_at(tx, &firings, when).await?;
    settle(inner, tx, rows, &plans, &strays, when.time()).await
}

/// What becomes of each trigger, as many as one transaction may write.
fn plan(rows: &[DueRow], configs: Vec<Result<Arc<Known>, String>>, now: Time) -> Vec<Plan> {
    let mut plans = Vec::with_capacity(rows.len());
    let mut left = WEIGHT;
    for (row, config) in rows.iter().zip(configs) {
        if left == 0 {
            break;
        }
        let plan = match config {
            Ok(config) => {
                let payload = config.config.payload.as_ref();
                let weight = 1 + payload.map_or(0, |payload| payload.get().len()) / BYTES;
                let most = (left / weight).clamp(1, MAX_MADE_UP);
                let plan = plan_one(row, config, now, most);
                if let Plan::Fire { times, .. } = &plan {
                    left = left.saturating_sub(weight * times.len().max(1));
                }
                plan
            }
            Err(why) => Plan::Rest(why),
        };
        plans.push(plan);
    }
    plans
}

fn plan_one(row: &DueRow, config: Arc<Known>, now: Time, most: usize) -> Plan {
    let Some(occurrences) = config.config.occurrences(row.saved_at) else {
        let kind = config.kind;
        return Plan::Rest(format!("a {kind} trigger does not fire by the clock"));
    };
    let due = occurrences.due(row.last(), now, config.config.misfire(), GRACE, most);
    Plan::Fire {
        config,
        occurrences,
        times: due.fire,
        next: due.next,
    }
}

/// The occurrences of a trigger whose rows are kept, by what became of them.
#[derive(Default)]
struct Kept {
    fired: HashSet<Time>,
    cancelled: HashSet<Time>,
}

/// A trigger that was edited may have rows of times that are still to come: those that were cancelled
/// give way, and what was fired, as the clock went back since, is not fired again. The rows that are
/// in the way.
async fn pass_over_fired(
    inner: &Inner,
    tx: &mut Tx,
    rows: &[DueRow],
    plans: &mut [Plan],
) -> Result<Vec<(usize, Time)>, Error> {
    let edited = rows.iter().filter(|row| row.is_edited);
    let behind: Vec<_> = edited.map(|row| row.at(row.last())).collect();
    let kept = inner.store.schedules_behind(tx, &behind).await?;
    let mut of: HashMap<(&str, &str), Kept> = HashMap::new();
    for kept in &kept {
        let Kept { fired, cancelled } = of.entry((&kept.tenant, &kept.trigger_id)).or_default();
        match kept.status {
            ScheduleStatus::Completed => fired.insert(kept.fire_at),
            ScheduleStatus::Cancelled => cancelled.insert(kept.fire_at),
            ScheduleStatus::Pending | ScheduleStatus::Processing => false,
        };
    }
    let mut strays = Vec::new();
    for (place, (row, plan)) in rows.iter().zip(plans).enumerate() {
        let Some(Kept { fired, cancelled }) = of.get(&(&*row.tenant, &*row.trigger_id)) else {
            continue;
        };
        if let Plan::Fire {
            occurrences,
            times,
            next,
            ..
        } = plan
        {
            times.retain(|at| !fired.contains(at));
            while let Some(at) = next.filter(|at| fired.contains(at)) {
                *next = occurrences.next_after(at);
            }
            let wanted = times.iter().chain(next.as_ref());
            strays.extend(
                wanted
                    .filter(|at| cancelled.contains(at))
                    .map(|at| (place, *at)),
            );
        }
    }
    Ok(strays)
}

fn firings(rows: &[DueRow], plans: &[Plan]) -> Vec<Firing> {
    let mut firings = Vec::with_capacity(rows.len());
    for (row, plan) in rows.iter().zip(plans) {
        let Plan::Fire { config, times, .. } = plan else {
            continue;
        };
        firings.extend(times.iter().map(|at| Firing {
            tenant: Arc::clone(&row.tenant),
            trigger_id: Some(Arc::clone(&row.trigger_id)),
            config: Arc::clone(config),
            source: Source::Scheduler,
            payload: config.config.payload.clone().unwrap_or_else(empty),
            is_test_run: false,
            scheduled_for: Some(*at),
            depth: 1,
            run_at: None,
            new_config: None,
        }));
    }
    firings
}

/// Writes what became of the occurrences and what comes next.
async fn settle(
    inner: &Inner,
    tx: &mut Tx,
    rows: &[DueRow],
    plans: &[Plan],
    strays: &[(usize, Time)],
    now: Time,
) -> Result<(), Error> {
    let (store, clock) = (&inner.store, &inner.fire.clock);
    let mut fired = Vec::with_capacity(rows.len());
    let mut left_out = Vec::new();
    let mut new: Vec<ScheduleRow<'_>> = Vec::new();
    let mut next_due: Vec<Coming<'_>> = Vec::new();
    let mut advanced = Vec::with_capacity(rows.len());
    let mut rested: Vec<(&str, &str)> = Vec::new();
    for (row, plan) in rows.iter().zip(plans) {
        let (times, next): (&[Time], _) = match plan {
            Plan::Fire { times, next, .. } => (times, *next),
            Plan::Rest(why) => {
                rested.push((&row.tenant, &row.trigger_id));
                say_resting(tx, row, why);
                (&[], None)
            }
        };
        let schedule = |at, status| ScheduleRow {
            tenant: &row.tenant,
            trigger_id: &row.trigger_id,
            fire_at: at,
            id: ids::new_id(clock),
            status,
        };
        let made_up = times.iter().filter(|at| **at != row.fire_at);
        new.extend(made_up.map(|at| schedule(*at, ScheduleStatus::Completed)));
        new.extend(next.map(|at| schedule(at, ScheduleStatus::Pending)));
        next_due.extend(next.map(|at| row.at(at)));
        if times.contains(&row.fire_at) {
            fired.push(row.coming());
        } else {
            left_out.push(row.coming());
        }
        advanced.push(Advance {
            tenant: &row.tenant,
            trigger_id: &row.trigger_id,
            fired_until: match plan {
                Plan::Fire { .. } => {
                    Some(times.last().map_or(row.fire_at, |at| row.fire_at.max(*at)))
                }
                // Once it can be read, and is active again, this one counts as missed.
                Plan::Rest(_) => row.fired_until,
            },
            next_run: next,
        });
    }
    let due: Vec<_> = rows.iter().map(DueRow::coming).collect();
    let strays: Vec<_> = strays
        .iter()
        .map(|(place, at)| rows[*place].at(*at))
        .collect();
    store.finish_schedules(tx, &fired, &left_out, now).await?;
    store.delete_schedules(tx, &strays).await?;
    store.insert_schedules(tx, &new, now).await?;
    store.leave_due(tx, &due).await?;
    store.enter_due(tx, &next_due).await?;
    store.advance(tx, &advanced).await?;
    store.rest_triggers(tx, &rested, now).await?;
    Ok(())
}

fn say_resting(tx: &mut Tx, row: &DueRow, why: &str) {
    let (tenant, trigger_id, why) = (
        Arc::clone(&row.tenant),
        Arc::clone(&row.trigger_id),
        why.to_owned(),
    );
    tx.on_commit(move || {
        tracing::error!(
            tenant = &*tenant,
            trigger_id = &*trigger_id,
            why,
            "a trigger was due whose config cannot be read: it is inactive now"
        );
    });
}
