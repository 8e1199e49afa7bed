//! The scheduler's path: the entries of what is pending, and how far triggers are along it.

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::{Coming, Store, insert};

pub(super) struct Statements {
    enter: Sql,
    leave: Sql,
    due: Sql,
    next: Sql,
    configs_ahead: Sql,
    rest: Sql,
    advance: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let due = [
            Column::Time("fire_at"),
            Column::Id("tenant"),
            Column::Id("trigger_id"),
        ];
        let entries = dialect.json_rows("r", &due);
        let rested = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("id")]);
        let advanced = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("id"),
                Column::Time("fired_until"),
                Column::Time("next_run"),
            ],
        );
        Statements {
            enter: insert(dialect, "trigger_due", &due),
            leave: dialect.delete_rows("trigger_due", &entries, &["fire_at", "tenant", "trigger_id"]),
            // Whoever edits a trigger has its row, and its occurrence is left to them for now. An engine
            // that waited for the row sees it as it is since, and its entry as it was: they must agree.
            due: dialect.sql(&format!(
                "SELECT d.fire_at, d.tenant, d.trigger_id, t.config_id, t.saved_at, t.fired_until,
                    CASE WHEN t.updated_at = t.created_at THEN 0 ELSE 1 END
                 FROM trigger_due d {} WHERE d.fire_at <= ?1 AND {}
                 AND t.tenant = d.tenant AND t.id = d.trigger_id AND t.next_run = d.fire_at
                 ORDER BY d.fire_at, d.tenant, d.trigger_id LIMIT ?5{}",
                dialect.then("triggers t"),
                dialect.at_or_behind(
                    &["d.fire_at", "d.tenant", "d.trigger_id"],
                    &["?2", "?3", "?4"]
                ),
                dialect.skip_locked_of("t")
            )),
            next: dialect.sql(
                "SELECT fire_at FROM trigger_due WHERE fire_at >= ? ORDER BY fire_at, tenant, trigger_id LIMIT 1",
            ),
            configs_ahead: dialect.sql(&format!(
                "SELECT t.tenant, t.config_id FROM trigger_due d {} WHERE d.fire_at >= ? AND d.fire_at <= ?
                 AND t.tenant = d.tenant AND t.id = d.trigger_id
                 ORDER BY d.fire_at, d.tenant, d.trigger_id LIMIT ?",
                dialect.then("triggers t")
            )),
            rest: dialect.update_rows(
                "triggers",
                &rested.arg(1),
                &["tenant", "id"],
                &[("status", "'inactive'"), ("updated_at", "?2")],
            ),
            advance: dialect.update_rows(
                "triggers",
                &advanced,
                &["tenant", "id"],
                &[
                    ("fired_until", advanced.col("fired_until")),
                    ("next_run", advanced.col("next_run")),
                ],
            ),
        }
    }
}

/// A place in the order in which occurrences are due: those at it or behind it are due later, or at
/// the same time and come behind it by their tenant and trigger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub fire_at: Time,
    tenant: Arc<str>,
    trigger_id: Arc<str>,
}

impl Mark {
    /// Before everything that is due then.
    pub(crate) fn start_of(fire_at: Time) -> Self {
        Mark {
            fire_at,
            tenant: "".into(),
            trigger_id: "".into(),
        }
    }

    /// Just behind an occurrence. No character of an id is less than the exclamation mark.
    pub(crate) fn behind(row: &DueRow) -> Self {
        Mark {
            fire_at: row.fire_at,
            tenant: Arc::clone(&row.tenant),
            trigger_id: format!("{}!", row.trigger_id).into(),
        }
    }
}

/// An occurrence that is due, and its trigger as it is; both stay so until the end of the
/// transaction that looked.
#[derive(Clone, Debug)]
pub(crate) struct DueRow {
    pub fire_at: Time,
    pub tenant: Arc<str>,
    pub trigger_id: Arc<str>,
    pub config_id: Arc<str>,
    pub saved_at: Time,
    pub fired_until: Option<Time>,
    /// The trigger was changed since it was made: it may have rows of times that are still to come.
    pub is_edited: bool,
}

impl DueRow {
    pub(crate) fn coming(&self) -> Coming<'_> {
        self.at(self.fire_at)
    }

    /// Another occurrence of the same trigger.
    pub(crate) fn at(&self, fire_at: Time) -> Coming<'_> {
        Coming {
            tenant: &self.tenant,
            trigger_id: &self.trigger_id,
            fire_at,
        }
    }
}

/// How far a trigger is after it was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advance<'a> {
    pub tenant: &'a str,
    pub trigger_id: &'a str,
    pub fired_until: Option<Time>,
    pub next_run: Option<Time>,
}

impl Store {
    pub(crate) async fn enter_due(&self, tx: &mut Tx, coming: &[Coming<'_>]) -> Result<()> {
        self.due_entries(tx, &self.due.enter, coming).await
    }

    pub(crate) async fn leave_due(&self, tx: &mut Tx, coming: &[Coming<'_>]) -> Result<()> {
        if self.leave_crowd(tx, coming).await? {
            return Ok(());
        }
        self.due_entries(tx, &self.due.leave, coming).await
    }

    async fn due_entries(&self, tx: &mut Tx, sql: &Sql, coming: &[Coming<'_>]) -> Result<()> {
        if coming.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = coming
            .iter()
            .map(|of| (self.time(of.fire_at), of.tenant, of.trigger_id))
            .collect();
        tx.push(sql, vec![Arg::json(&rows)?]).await
    }

    /// Up to `most` occurrences that are due, the longest overdue first, from a place on; those that
    /// somebody else has in hand are left out.
    pub(crate) async fn due(
        &self,
        tx: &mut Tx,
        now: Time,
        from: &Mark,
        most: u32,
    ) -> Result<Vec<DueRow>> {
        let args = vec![
            now.into(),
            from.fire_at.into(),
            (&from.tenant).into(),
            (&from.trigger_id).into(),
            most.into(),
        ];
        let rows = tx.rows(&self.due.due, args).await?;
        rows.iter()
            .map(|row| {
                Ok(DueRow {
                    fire_at: row.time(0)?,
                    tenant: row.text(1)?.into(),
                    trigger_id: row.text(2)?.into(),
                    config_id: row.text(3)?.into(),
                    saved_at: row.time(4)?,
                    fired_until: row.opt_time(5)?,
                    is_edited: row.int(6)? != 0,
                })
            })
            .collect()
    }

    /// The configs by which occurrences of a span of time fire: (tenant, id), in their order.
    pub(crate) async fn configs_ahead(
        &self,
        query: &mut impl Query,
        (from, until): (Time, Time),
        most: u32,
    ) -> Result<Vec<(String, String)>> {
        let args = vec![from.into(), until.into(), most.into()];
        let rows = query.rows(&self.due.configs_ahead, args).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, row.text(1)?)))
            .collect()
    }

    /// Makes triggers inactive whose occurrences are taken away beside. Their rows must be locked.
    pub(crate) async fn rest_triggers(
        &self,
        tx: &mut Tx,
        of: &[(&str, &str)],
        at: Time,
    ) -> Result<()> {
        if of.is_empty() {
            return Ok(());
        }
        let args = vec![Arg::json(of)?, at.into()];
        tx.push(&self.due.rest, args).await
    }

    /// The time of the first occurrence from a time on, whoever has it in hand.
    pub(crate) async fn next_due(
        &self,
        query: &mut impl Query,
        from: Time,
    ) -> Result<Option<Time>> {
        let row = query.row(&self.due.next, vec![from.into()]).await?;
        row.map(|row| row.time(0)).transpose()
    }

    /// Writes how far triggers are. Their rows must be locked.
    pub(crate) async fn advance(&self, tx: &mut Tx, advanced: &[Advance<'_>]) -> Result<()> {
        if advanced.is_empty() || self.advance_crowd(tx, advanced).await? {
            return Ok(());
        }
        let rows: Vec<_> = advanced
            .iter()
            .map(|of| {
                let (until, next) = (self.opt_time(of.fired_until), self.opt_time(of.next_run));
                (of.tenant, of.trigger_id, until, next)
            })
            .collect();
        tx.push(&self.due.advance, vec![Arg::json(&rows)?]).await
    }
}
