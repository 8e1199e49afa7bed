//! What was fired ahead of its time.
//!
//! It is stored as what it will be: the occurrence is completed, the execution was fired and the job is
//! due, all at the time that is still to come. Until then it is not shown: readers take the occurrence
//! for pending ([`shown_status`]) and leave the execution out ([`hidden`]). Only what is fired ahead has
//! been fired for the very microsecond that it is said to have been fired at, and is still to come. So
//! where the clock went back, what was fired before that is seen.

use tidewire_core::{Time, ids};
use tidewire_db::{Column, Dialect, Query, Result, Sql, Tx};

use super::{Coming, Store, TriggerRow};
use crate::scheduler::LEAD;

pub(super) struct Statements {
    crowd: Sql,
    of_trigger: Sql,
    take_back: Sql,
    delete: Sql,
}

/// Clocks of several processes may differ by so much, and ids are made by them.
const DOUBT: std::time::Duration = std::time::Duration::from_secs(10);

/// The condition that an execution is not to be seen yet; `now` is the argument that says when that is.
pub(super) fn hidden(alias: &str, now: &str) -> String {
    format!(
        "({alias}.fired_at > {now} AND {alias}.scheduled_for IS NOT NULL
          AND {alias}.scheduled_for = {alias}.fired_at AND {alias}.execution_status = 'pending')"
    )
}

/// The status of an occurrence of `trigger_schedules`.
pub(super) fn shown_status(now: &str) -> String {
    format!(
        "CASE WHEN status = 'completed' AND fire_at > {now} AND last_attempt_at = fire_at
         THEN 'pending' ELSE status END"
    )
}

/// All that can be hidden has an id behind this one, which keeps looking for it short.
pub(super) fn recent(now: Time) -> String {
    ids::first_of(now.minus(LEAD).minus(DOUBT))
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let key = ["tenant", "trigger_id", "fire_at"];
        let keys = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("trigger_id"),
                Column::Time("fire_at"),
            ],
        );
        let executions = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("id")]);
        Statements {
            crowd: dialect.sql(
                "SELECT fire_at FROM trigger_due WHERE fire_at > ? AND fire_at <= ?
                 GROUP BY fire_at HAVING count(*) >= ? ORDER BY fire_at LIMIT 1",
            ),
            of_trigger: dialect.sql(&format!(
                "SELECT e.id, e.job_id FROM {} WHERE e.tenant = ?1 AND e.trigger_id = ?2 AND e.id > ?3
                 AND e.fired_at = ?4 AND {}",
                dialect.by_index("executions e", "executions_by_trigger"),
                hidden("e", "?5")
            )),
            take_back: dialect.update_rows(
                "trigger_schedules",
                &keys.arg(1),
                &key,
                &[
                    ("status", "'pending'"),
                    ("attempt_count", "0"),
                    ("last_attempt_at", "NULL"),
                    ("updated_at", "?2"),
                ],
            ),
            delete: dialect.delete_rows("executions", &executions, &["tenant", "id"]),
        }
    }

    #[cfg(test)]
    pub(super) fn for_plans(&self) -> Vec<(&'static str, &Sql)> {
        vec![
            ("of_trigger", &self.of_trigger),
            ("take_back", &self.take_back),
            ("delete_ahead", &self.delete),
        ]
    }
}

/// An execution that was fired ahead, and its job.
pub(crate) struct FiredAhead {
    pub id: String,
    pub job_id: String,
}

impl Store {
    /// The first time of a span for which so many occurrences are pending.
    pub(crate) async fn crowd(
        &self,
        query: &mut impl Query,
        (after, until): (Time, Time),
        least: u32,
    ) -> Result<Option<Time>> {
        let args = vec![after.into(), until.into(), least.into()];
        let row = query.row(&self.ahead.crowd, args).await?;
        row.map(|row| row.time(0)).transpose()
    }

    /// The execution of a trigger that was fired ahead of this time, if that is still to come.
    pub(crate) async fn fired_ahead(
        &self,
        query: &mut impl Query,
        trigger: &TriggerRow,
        at: Time,
        now: Time,
    ) -> Result<Option<FiredAhead>> {
        let args = vec![
            (&trigger.tenant).into(),
            (&trigger.id).into(),
            recent(now).into(),
            at.into(),
            now.into(),
        ];
        let row = query.row(&self.ahead.of_trigger, args).await?;
        row.map(|row| {
            Ok(FiredAhead {
                id: row.text(0)?,
                job_id: row.text(1)?,
            })
        })
        .transpose()
    }

    /// Makes an occurrence pending again that was fired ahead; its job is gone, and so is its
    /// execution then.
    pub(crate) async fn take_back(
        &self,
        tx: &mut Tx,
        occurrence: &Coming<'_>,
        execution: &str,
        at: Time,
    ) -> Result<()> {
        let keys = tidewire_db::Arg::json(&[(occurrence.tenant, execution)])?;
        tx.push(&self.ahead.delete, vec![keys]).await?;
        let keys = self.keys(&[*occurrence])?;
        tx.push(&self.ahead.take_back, vec![keys, at.into()]).await
    }
}
