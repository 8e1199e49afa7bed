//! All SQL of triggers. What each table is for:
//!
//! - `triggers`: the rules. `fired_until` is the last occurrence that was fired or left out, `next_run`
//!   the coming one, `from_pos` the position of the log from which on events count.
//! - `trigger_configs`: every config that was ever saved, for as long as an execution may go by it: a
//!   firing is carried out by the config of its time, whatever became of the trigger. Rows never
//!   change, so whoever has read one may keep it.
//! - `trigger_schedules`: the occurrences of triggers that fire by the clock, one for each time.
//! - `trigger_due`: one slim entry for each occurrence that is pending, in the order of its time: the
//!   scheduler's path.
//! - `executions`, `executions_archive`: what each firing did; each is in one of them, see
//!   [`retention`]. The payload is the job's.
//! - `execution_attempts`: the tries at each.
//! - `idempotency_keys`: which execution a job is for: a view of the two tables of executions.
//! - `trigger_outbox`: firings that the relay has still to tell a job bus.
//! - `trigger_relays`: which relay tells of which part of them at this moment; see [`outbox`].
//! - `trigger_cursors`: how far each tenant's log has been matched: up to and including `pos`, and, if
//!   `within` is there, the next event too for the triggers up to that id.
//! - `trigger_spans`: stretches of the log that count for configs which event triggers had before
//!   their last edit, for as long as they have not been matched.
//! - `endpoint_circuits`: the endpoints whose circuit is not closed, as the workers last said.

pub(crate) mod ahead;
#[cfg(test)]
mod check;
mod circuits;
mod crowds;
mod cursors;
mod due;
mod executions;
mod fire;
mod leftovers;
mod listing;
#[cfg(test)]
mod look;
mod outbox;
#[cfg(test)]
mod plans;
#[cfg(test)]
pub(crate) mod probe;
mod retention;
mod schedules;
mod triggers;

use std::sync::Arc;

use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_db::{Column, Dialect, Error, Result, Row, Sql};

pub(crate) use circuits::CircuitRow;
pub(crate) use cursors::{Followed, Place, RuleRow};
pub(crate) use due::{Advance, DueRow, Mark};
pub(crate) use executions::{AttemptRow, Outcome};
pub(crate) use fire::{ExecutionRow, ScheduleRow};
pub(crate) use leftovers::{OldConfig, OldSchedule};
pub(crate) use listing::{ExecutionEntry, ExecutionFilter};
#[cfg(test)]
pub(crate) use look::Seen;
pub(crate) use outbox::{Held, OutboxRow};
pub(crate) use retention::OldExecution;
pub(crate) use schedules::Coming;
pub(crate) use triggers::{ConfigRow, TriggerFilter, TriggerRow};

pub(crate) struct Store {
    dialect: &'static Dialect,
    triggers: triggers::Statements,
    schedules: schedules::Statements,
    due: due::Statements,
    fire: fire::Statements,
    outbox: outbox::Statements,
    executions: executions::Statements,
    listing: listing::Statements,
    circuits: circuits::Statements,
    crowds: crowds::Statements,
    cursors: cursors::Statements,
    ahead: ahead::Statements,
    leftovers: leftovers::Statements,
    retention: retention::Statements,
}

impl Store {
    pub(crate) fn new(dialect: &'static Dialect) -> Arc<Self> {
        Arc::new(Store {
            dialect,
            triggers: triggers::Statements::new(dialect),
            schedules: schedules::Statements::new(dialect),
            due: due::Statements::new(dialect),
            fire: fire::Statements::new(dialect),
            outbox: outbox::Statements::new(dialect),
            executions: executions::Statements::new(dialect),
            listing: listing::Statements::new(dialect),
            circuits: circuits::Statements::new(dialect),
            crowds: crowds::Statements::new(dialect),
            cursors: cursors::Statements::new(dialect),
            ahead: ahead::Statements::new(dialect),
            leftovers: leftovers::Statements::new(dialect),
            retention: retention::Statements::new(dialect),
        })
    }

    fn time(&self, time: Time) -> String {
        self.dialect.json_time(time)
    }

    fn opt_time(&self, time: Option<Time>) -> Option<String> {
        time.map(|time| self.time(time))
    }
}

/// Inserts rows that travel as one argument.
fn insert(dialect: &Dialect, table: &str, columns: &[Column]) -> Sql {
    let rows = dialect.json_rows("r", columns);
    let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
    dialect.sql(&format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {}",
        names.join(", "),
        rows.columns,
        rows.from
    ))
}

/// A column that holds one of the names of an enumeration.
fn named<T: std::str::FromStr<Err = String>>(row: &Row, column: usize) -> Result<T> {
    row.text(column)?.parse().map_err(Error::Broken)
}

fn small(row: &Row, column: usize) -> Result<u32> {
    let n = row.int(column)?;
    u32::try_from(n)
        .map_err(|_| Error::Broken(format!("column {column} holds {n}, which is no count")))
}

/// A document that is stored as text.
fn json(row: &Row, column: usize) -> Result<Box<RawValue>> {
    RawValue::from_string(row.text(column)?)
        .map_err(|error| Error::Broken(format!("column {column} holds no JSON: {error}")))
}
