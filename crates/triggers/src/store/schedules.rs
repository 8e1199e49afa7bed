//! The rows of occurrences: the pending ones, and what became of the others.

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
    behind: Sql,
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
        let behind = format!(
            "SELECT s.tenant, s.trigger_id, s.fire_at, s.status FROM {} {}
             WHERE s.tenant = {} AND s.trigger_id = {} AND s.fire_at > {}",
            keys.from,
            dialect.then("trigger_schedules s"),
            keys.col("tenant"),
            keys.col("trigger_id"),
            keys.col("fire_at")
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
            behind: dialect.sql(&behind),
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

/// An occurrence that has a row.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub tenant: String,
    pub trigger_id: String,
    pub fire_at: Time,
    pub status: ScheduleStatus,
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
