//! Occurrences: the pending ones, and what became of the others.

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Row, Sql, Tx};

use super::{Store, ahead::shown_status, fire::ScheduleRow, insert, named, small};
use crate::model::{Page, Schedule, ScheduleStatus};

pub(super) struct Statements {
    insert: Sql,
    complete: Sql,
    leave_out: Sql,
    delete: Sql,
    cancel_pending: Sql,
    enter: Sql,
    leave: Sql,
    due: Sql,
    next: Sql,
    behind: Sql,
    configs_ahead: Sql,
    advance: Sql,
    rest: Sql,
    list: Sql,
    count: Sql,
    counts: Sql,
}

const KEY: [&str; 3] = ["tenant", "trigger_id", "fire_at"];

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let columns = [
            Column::Id("tenant"),
            Column::Id("trigger_id"),
            Column::Time("fire_at"),
            Column::Id("id"),
            Column::Id("status"),
            Column::Int("attempt_count"),
            Column::Time("last_attempt_at"),
            Column::Time("created_at"),
            Column::Time("updated_at"),
        ];
        let keys = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("trigger_id"),
                Column::Time("fire_at"),
            ],
        );
        let due = [
            Column::Time("fire_at"),
            Column::Id("tenant"),
            Column::Id("trigger_id"),
        ];
        let entries = dialect.json_rows("r", &due);
        let behind = format!(
            "SELECT s.tenant, s.trigger_id, s.fire_at, s.status FROM {} {}
             WHERE s.tenant = {} AND s.trigger_id = {} AND s.fire_at > {}",
            keys.from,
            dialect.then("trigger_schedules s"),
            keys.col("tenant"),
            keys.col("trigger_id"),
            keys.col("fire_at")
        );
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
        let finish = |attempts: u32, status| {
            dialect.update_rows(
                "trigger_schedules",
                &keys.clone().arg(1),
                &KEY,
                &[
                    ("status", status),
                    ("attempt_count", &attempts.to_string()),
                    ("last_attempt_at", "?2"),
                    ("updated_at", "?2"),
                ],
            )
        };
        let status = shown_status("?1");
        Statements {
            insert: insert(dialect, "trigger_schedules", &columns),
            complete: finish(1, "'completed'"),
            leave_out: finish(0, "'cancelled'"),
            delete: dialect.delete_rows("trigger_schedules", &keys, &KEY),
            cancel_pending: dialect.sql(
                "UPDATE trigger_schedules SET status = 'cancelled', updated_at = ?
                 WHERE tenant = ? AND trigger_id = ? AND fire_at = ? AND status = 'pending'",
            ),
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
            behind: dialect.sql(&behind),
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
            list: dialect.sql(&format!(
                "SELECT tenant, id, trigger_id, fire_at, {status}, attempt_count, last_attempt_at
                 FROM trigger_schedules WHERE tenant = ?2 AND trigger_id = ?3
                 AND {status} = coalesce(?4, {status}) ORDER BY fire_at DESC LIMIT ?5 OFFSET ?6"
            )),
            count: dialect.sql(&format!(
                "SELECT count(*) FROM trigger_schedules WHERE tenant = ?2 AND trigger_id = ?3
                 AND {status} = coalesce(?4, {status})"
            )),
            counts: dialect.sql("SELECT status, count(*) FROM trigger_schedules GROUP BY status"),
        }
    }
}

/// A pending occurrence of a trigger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coming<'c> {
    pub tenant: &'c str,
    pub trigger_id: &'c str,
    pub fire_at: Time,
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

/// An occurrence that has a row.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub tenant: String,
    pub trigger_id: String,
    pub fire_at: Time,
    pub status: ScheduleStatus,
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
    /// Puts the next occurrence of a trigger where the scheduler looks. One of the same time that
    /// was cancelled before gives way.
    pub(crate) async fn schedule(
        &self,
        tx: &mut Tx,
        coming: &Coming<'_>,
        id: &str,
        at: Time,
    ) -> Result<()> {
        self.delete_schedules(tx, &[*coming]).await?;
        let row = ScheduleRow {
            tenant: coming.tenant,
            trigger_id: coming.trigger_id,
            fire_at: coming.fire_at,
            id: id.to_owned(),
            status: ScheduleStatus::Pending,
        };
        self.insert_schedules(tx, &[row], at).await?;
        self.enter_due(tx, &[*coming]).await
    }

    /// Takes the pending occurrence of a trigger away, if there is one; its row stays, as cancelled.
    pub(crate) async fn unschedule(
        &self,
        tx: &mut Tx,
        coming: &Coming<'_>,
        at: Time,
    ) -> Result<()> {
        self.leave_due(tx, &[*coming]).await?;
        let args = vec![
            at.into(),
            coming.tenant.into(),
            coming.trigger_id.into(),
            coming.fire_at.into(),
        ];
        tx.push(&self.schedules.cancel_pending, args).await
    }

    pub(crate) async fn insert_schedules(
        &self,
        tx: &mut Tx,
        rows: &[ScheduleRow<'_>],
        at: Time,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let now = self.time(at);
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let fired = row.status != ScheduleStatus::Pending;
                (
                    row.tenant,
                    row.trigger_id,
                    self.time(row.fire_at),
                    &row.id,
                    row.status.as_str(),
                    u32::from(row.status == ScheduleStatus::Completed),
                    fired.then_some(&now),
                    &now,
                    &now,
                )
            })
            .collect();
        tx.push(&self.schedules.insert, vec![Arg::json(&rows)?])
            .await
    }

    /// What became of pending occurrences: they were fired, or left out.
    pub(crate) async fn finish_schedules(
        &self,
        tx: &mut Tx,
        fired: &[Coming<'_>],
        left_out: &[Coming<'_>],
        at: Time,
    ) -> Result<()> {
        let Statements {
            complete,
            leave_out,
            ..
        } = &self.schedules;
        let fired = match self.complete_crowd(tx, fired, at).await? {
            true => &[],
            false => fired,
        };
        for (sql, of) in [(complete, fired), (leave_out, left_out)] {
            if !of.is_empty() {
                tx.push(sql, vec![self.keys(of)?, at.into()]).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn enter_due(&self, tx: &mut Tx, coming: &[Coming<'_>]) -> Result<()> {
        self.due_entries(tx, &self.schedules.enter, coming).await
    }

    pub(crate) async fn leave_due(&self, tx: &mut Tx, coming: &[Coming<'_>]) -> Result<()> {
        if self.leave_crowd(tx, coming).await? {
            return Ok(());
        }
        self.due_entries(tx, &self.schedules.leave, coming).await
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
        let rows = tx.rows(&self.schedules.due, args).await?;
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

    /// The rows of later occurrences of triggers: what was cancelled before its time or, if the clock
    /// went back, fired.
    pub(crate) async fn schedules_behind(
        &self,
        query: &mut impl Query,
        of: &[Coming<'_>],
    ) -> Result<Vec<Kept>> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let keys = vec![self.keys(of)?];
        let rows = query.rows(&self.schedules.behind, keys).await?;
        rows.iter()
            .map(|row| {
                Ok(Kept {
                    tenant: row.text(0)?,
                    trigger_id: row.text(1)?,
                    fire_at: row.time(2)?,
                    status: named(row, 3)?,
                })
            })
            .collect()
    }

    /// Forgets occurrences.
    pub(crate) async fn delete_schedules(&self, tx: &mut Tx, of: &[Coming<'_>]) -> Result<()> {
        if of.is_empty() {
            return Ok(());
        }
        let keys = vec![self.keys(of)?];
        tx.push(&self.schedules.delete, keys).await
    }

    pub(super) fn keys(&self, of: &[Coming<'_>]) -> Result<Arg> {
        let keys: Vec<_> = of
            .iter()
            .map(|of| (of.tenant, of.trigger_id, self.time(of.fire_at)))
            .collect();
        Arg::json(&keys)
    }

    /// The configs by which occurrences of a span of time fire: (tenant, id), in their order.
    pub(crate) async fn configs_ahead(
        &self,
        query: &mut impl Query,
        (from, until): (Time, Time),
        most: u32,
    ) -> Result<Vec<(String, String)>> {
        let args = vec![from.into(), until.into(), most.into()];
        let rows = query.rows(&self.schedules.configs_ahead, args).await?;
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
        tx.push(&self.schedules.rest, args).await
    }

    /// The time of the first occurrence from a time on, whoever has it in hand.
    pub(crate) async fn next_due(
        &self,
        query: &mut impl Query,
        from: Time,
    ) -> Result<Option<Time>> {
        let row = query.row(&self.schedules.next, vec![from.into()]).await?;
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
        tx.push(&self.schedules.advance, vec![Arg::json(&rows)?])
            .await
    }

    /// A page of a trigger's occurrences as they are `now`, the latest first, and how many there are in
    /// all.
    pub(crate) async fn list_schedules(
        &self,
        query: &mut impl Query,
        (tenant, trigger_id): (&str, &str),
        status: Option<ScheduleStatus>,
        page: Page,
        now: Time,
    ) -> Result<(Vec<Schedule>, u64)> {
        let args = || -> Vec<Arg> {
            vec![
                now.into(),
                tenant.into(),
                trigger_id.into(),
                status.map(ScheduleStatus::as_str).into(),
            ]
        };
        let count = query.row(&self.schedules.count, args()).await?;
        let count = count.map(|row| row.count(0)).transpose()?.unwrap_or(0);
        let mut args = args();
        args.extend([page.size.into(), page.offset().into()]);
        let rows = query.rows(&self.schedules.list, args).await?;
        Ok((rows.iter().map(schedule).collect::<Result<_>>()?, count))
    }

    /// How many occurrences there are in each state, of all tenants.
    pub(crate) async fn count_schedules(
        &self,
        query: &mut impl Query,
    ) -> Result<Vec<(ScheduleStatus, u64)>> {
        let rows = query.rows(&self.schedules.counts, Vec::new()).await?;
        rows.iter()
            .map(|row| Ok((named(row, 0)?, row.count(1)?)))
            .collect()
    }
}

fn schedule(row: &Row) -> Result<Schedule> {
    let status = named(row, 4)?;
    // What was fired ahead is pending to everybody.
    let is_tried = status != ScheduleStatus::Pending;
    Ok(Schedule {
        tenant: row.text(0)?.into(),
        id: row.text(1)?,
        trigger_id: row.text(2)?,
        fire_at: row.time(3)?,
        status,
        attempt_count: if is_tried { small(row, 5)? } else { 0 },
        last_attempt_at: row.opt_time(6)?.filter(|_| is_tried),
    })
}
