//! What executions leave behind, and what no execution came of: occurrences that have been fired or
//! cancelled, and retired configs. Who may go first is said in [`super::retention`].

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Row, Sql, Tx};

use super::Store;

pub(super) struct Statements {
    old_schedules: Sql,
    lock_schedules: Sql,
    delete_schedules: Sql,
    old_configs: Sql,
    lock_configs: Sql,
    delete_configs: Sql,
}

const SCHEDULE: [&str; 3] = ["tenant", "trigger_id", "fire_at"];
const CONFIG: [&str; 3] = ["c.retired_at", "c.tenant", "c.id"];

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let skip = dialect.skip_locked();
        let keys = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("id")]);
        let lock_configs = format!(
            "SELECT e.tenant, e.id FROM {} {} WHERE e.tenant = {} AND e.id = {}{skip}",
            keys.from,
            dialect.then("trigger_configs e"),
            keys.col("tenant"),
            keys.col("id")
        );
        let schedules = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("trigger_id"),
                Column::Time("fire_at"),
            ],
        );
        let lock_schedules = format!(
            "SELECT s.tenant, s.trigger_id, s.fire_at FROM {} {} WHERE s.tenant = {}
             AND s.trigger_id = {} AND s.fire_at = {} AND s.status <> 'pending'{skip}",
            schedules.from,
            dialect.then("trigger_schedules s"),
            schedules.col("tenant"),
            schedules.col("trigger_id"),
            schedules.col("fire_at")
        );
        let old_schedules = format!(
            "SELECT tenant, trigger_id, fire_at FROM trigger_schedules
             WHERE {} AND status <> 'pending' AND updated_at <= ?4
             ORDER BY tenant, trigger_id, fire_at LIMIT ?5",
            dialect.at_or_behind(&SCHEDULE, &["?1", "?2", "?3"])
        );
        Statements {
            old_schedules: dialect.sql(&old_schedules),
            lock_schedules: dialect.sql(&lock_schedules),
            delete_schedules: dialect.delete_rows("trigger_schedules", &schedules, &SCHEDULE),
            old_configs: old_configs(dialect),
            lock_configs: dialect.sql(&lock_configs),
            delete_configs: dialect.delete_rows("trigger_configs", &keys, &["tenant", "id"]),
        }
    }
}

#[cfg(test)]
impl Statements {
    pub(super) fn for_plans(&self) -> Vec<(&'static str, &Sql)> {
        vec![
            ("old_schedules", &self.old_schedules),
            ("lock_schedules", &self.lock_schedules),
            ("delete_schedules", &self.delete_schedules),
            ("old_configs", &self.old_configs),
            ("lock_configs", &self.lock_configs),
            ("delete_configs", &self.delete_configs),
        ]
    }
}

/// Retired configs of triggers that no execution names, and that no stretch of the log waits to be
/// matched with. One statement, and so one moment: an execution that is moved meanwhile is in one of
/// the two tables, and a stretch that is matched has become executions.
fn old_configs(dialect: &Dialect) -> Sql {
    let named_in = |table: &str| {
        format!(
            "(SELECT e.id FROM {} WHERE e.tenant = c.tenant AND e.trigger_id = c.trigger_id
              AND e.config_id = c.id LIMIT 1)",
            dialect.by_index(&format!("{table} e"), &format!("{table}_by_trigger"))
        )
    };
    dialect.sql(&format!(
        "SELECT c.retired_at, c.tenant, c.id FROM {} WHERE {} AND c.retired_at <= ?4
         AND c.trigger_id IS NOT NULL AND {} IS NULL AND {} IS NULL
         AND (SELECT s.from_pos FROM trigger_spans s
              WHERE s.tenant = c.tenant AND s.config_id = c.id LIMIT 1) IS NULL
         ORDER BY c.retired_at, c.tenant, c.id LIMIT ?5",
        dialect.by_index("trigger_configs c", "trigger_configs_retired"),
        dialect.at_or_behind(&CONFIG, &["?1", "?2", "?3"]),
        named_in("executions"),
        named_in("executions_archive")
    ))
}

/// The key of an occurrence.
#[derive(Clone, Debug)]
pub(crate) struct OldSchedule {
    pub tenant: String,
    pub trigger_id: String,
    pub fire_at: Time,
}

impl OldSchedule {
    /// Before all of them.
    pub(crate) fn first() -> Self {
        OldSchedule {
            tenant: String::new(),
            trigger_id: String::new(),
            fire_at: Time::EPOCH,
        }
    }
}

/// A retired config that nothing goes by any more.
#[derive(Clone, Debug)]
pub(crate) struct OldConfig {
    pub retired_at: Time,
    pub tenant: String,
    pub id: String,
}

impl OldConfig {
    /// Before all of them.
    pub(crate) fn first() -> Self {
        OldConfig {
            retired_at: Time::EPOCH,
            tenant: String::new(),
            id: String::new(),
        }
    }
}

impl Store {
    /// Up to `most` occurrences, from a place on, that have been fired or cancelled by then.
    pub(crate) async fn old_schedules(
        &self,
        query: &mut impl Query,
        from: &OldSchedule,
        by: Time,
        most: u32,
    ) -> Result<Vec<OldSchedule>> {
        let args = vec![
            (&from.tenant).into(),
            (&from.trigger_id).into(),
            from.fire_at.into(),
            by.into(),
            most.into(),
        ];
        let rows = query.rows(&self.leftovers.old_schedules, args).await?;
        rows.iter().map(schedule).collect()
    }

    /// Deletes occurrences that are not pending; how many.
    pub(crate) async fn forget_schedules(
        &self,
        tx: &mut Tx,
        schedules: &[OldSchedule],
    ) -> Result<u64> {
        let rows = self.schedule_keys(schedules)?;
        let rows = tx.rows(&self.leftovers.lock_schedules, vec![rows]).await?;
        let had: Vec<_> = rows.iter().map(schedule).collect::<Result<_>>()?;
        if !had.is_empty() {
            let rows = vec![self.schedule_keys(&had)?];
            tx.push(&self.leftovers.delete_schedules, rows).await?;
        }
        Ok(had.len() as u64)
    }

    fn schedule_keys(&self, schedules: &[OldSchedule]) -> Result<Arg> {
        let rows: Vec<_> = schedules
            .iter()
            .map(|row| (&row.tenant, &row.trigger_id, self.time(row.fire_at)))
            .collect();
        Arg::json(&rows)
    }

    /// Up to `most` configs, from a place on, that were retired by then and that no execution names.
    pub(crate) async fn old_configs(
        &self,
        query: &mut impl Query,
        from: &OldConfig,
        by: Time,
        most: u32,
    ) -> Result<Vec<OldConfig>> {
        let args = vec![
            from.retired_at.into(),
            (&from.tenant).into(),
            (&from.id).into(),
            by.into(),
            most.into(),
        ];
        let rows = query.rows(&self.leftovers.old_configs, args).await?;
        rows.iter()
            .map(|row| {
                Ok(OldConfig {
                    retired_at: row.time(0)?,
                    tenant: row.text(1)?,
                    id: row.text(2)?,
                })
            })
            .collect()
    }

    /// Deletes configs; how many.
    pub(crate) async fn delete_configs(&self, tx: &mut Tx, configs: &[OldConfig]) -> Result<u64> {
        let keys: Vec<_> = configs.iter().map(|row| (&row.tenant, &row.id)).collect();
        let args = vec![Arg::json(&keys)?];
        let rows = tx.rows(&self.leftovers.lock_configs, args).await?;
        let had: Vec<_> = rows
            .iter()
            .map(|row| Ok((row.text(0)?, row.text(1)?)))
            .collect::<Result<_>>()?;
        if !had.is_empty() {
            let keys: Vec<_> = had
                .iter()
                .map(|(tenant, id)| (tenant.as_str(), id.as_str()))
                .collect();
            self.forget_configs(tx, &keys).await?;
        }
        Ok(had.len() as u64)
    }

    /// Deletes configs, by tenant and id, that nobody else can have in hand.
    pub(super) async fn forget_configs(&self, tx: &mut Tx, keys: &[(&str, &str)]) -> Result<()> {
        tx.push(&self.leftovers.delete_configs, vec![Arg::json(keys)?])
            .await
    }
}

fn schedule(row: &Row) -> Result<OldSchedule> {
    Ok(OldSchedule {
        tenant: row.text(0)?,
        trigger_id: row.text(1)?,
        fire_at: row.time(2)?,
    })
}
