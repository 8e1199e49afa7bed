//! What one firing leaves: its execution, and a word for the job bus.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Result, Sql, Tx};

use super::Store;
use crate::model::{ScheduleStatus, Source, TriggerType};

pub(super) struct Statements {
    insert_executions: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        // What is alike in all rows of a batch travels once.
        let executions = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("id"),
                Column::Id("trigger_id"),
                Column::Id("trigger_type"),
                Column::Id("config_id"),
                Column::Id("source"),
                Column::Int("is_test_run"),
                Column::Id("job_id"),
                Column::Time("scheduled_for"),
            ],
        );
        Statements {
            insert_executions: dialect.sql(&format!(
                "INSERT INTO executions (tenant, id, trigger_id, trigger_type, config_id, source, is_test_run,
                    job_id, scheduled_for, execution_status, fired_at, updated_at)
                 SELECT {}, 'pending', ?, ? FROM {}",
                executions.columns, executions.from
            )),
        }
    }
}

/// An occurrence to be written.
#[derive(Clone, Debug)]
pub(crate) struct ScheduleRow<'s> {
    pub tenant: &'s str,
    pub trigger_id: &'s str,
    pub fire_at: Time,
    pub id: String,
    pub status: ScheduleStatus,
}

/// A new execution.
#[derive(Clone, Debug)]
pub(crate) struct ExecutionRow<'e> {
    pub tenant: &'e str,
    pub id: &'e str,
    pub trigger_id: Option<&'e str>,
    pub kind: TriggerType,
    pub config_id: &'e str,
    pub source: Source,
    pub is_test_run: bool,
    pub job_id: &'e str,
    pub scheduled_for: Option<Time>,
}

impl Store {
    /// Stores new executions and, if a bus is to be told, a word for it of each.
    pub(crate) async fn insert_executions(
        &self,
        tx: &mut Tx,
        new: &[ExecutionRow<'_>],
        at: Time,
        relayed: bool,
    ) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = new
            .iter()
            .map(|row| {
                (
                    row.tenant,
                    row.id,
                    row.trigger_id,
                    row.kind.as_str(),
                    row.config_id,
                    row.source.as_str(),
                    u32::from(row.is_test_run),
                    row.job_id,
                    self.opt_time(row.scheduled_for),
                )
            })
            .collect();
        let args = vec![at.into(), at.into(), Arg::json(&rows)?];
        tx.push(&self.fire.insert_executions, args).await?;
        if relayed {
            self.insert_outbox(tx, new, at).await?;
        }
        Ok(())
    }
}
