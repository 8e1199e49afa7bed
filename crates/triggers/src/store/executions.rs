//! How executions go on: their attempts and their ends.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Result, Sql, Tx};

use super::{Store, insert};
use crate::model::ExecutionStatus;

pub(super) struct Statements {
    settle: Sql,
    succeed: Sql,
    insert_attempts: Sql,
    delete_attempts: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let settled = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("id"),
                Column::Id("execution_status"),
                Column::Text("error_message"),
                Column::Time("at"),
            ],
        );
        let keys = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("execution_id"),
                Column::Int("attempt"),
            ],
        );
        Statements {
            settle: dialect.update_rows(
                "executions",
                &settled,
                &["tenant", "id"],
                &[
                    ("execution_status", settled.col("execution_status")),
                    ("error_message", settled.col("error_message")),
                    ("updated_at", settled.col("at")),
                ],
            ),
            // Successes of one tenant differ in nothing but their ids.
            succeed: dialect.update_rows(
                "executions",
                &dialect.json_ids("r", "id").arg(3).with(&[("tenant", 2)]),
                &["tenant", "id"],
                &[
                    ("execution_status", "'success'"),
                    ("error_message", "NULL"),
                    ("updated_at", "?1"),
                ],
            ),
            insert_attempts: insert(
                dialect,
                "execution_attempts",
                &[
                    Column::Id("tenant"),
                    Column::Id("execution_id"),
                    Column::Int("attempt"),
                    Column::Time("started_at"),
                    Column::Int("duration_ms"),
                    Column::Int("response_status"),
                    Column::Text("response_body"),
                    Column::Text("error"),
                ],
            ),
            delete_attempts: dialect.delete_rows(
                "execution_attempts",
                &keys,
                &["tenant", "execution_id", "attempt"],
            ),
        }
    }
}

#[cfg(test)]
impl Statements {
    pub(super) fn for_plans(&self) -> Vec<(&'static str, &Sql)> {
        vec![
            ("settle", &self.settle),
            ("succeed", &self.succeed),
            ("delete_attempts", &self.delete_attempts),
        ]
    }
}

/// How an execution stands after a step of its job.
#[derive(Clone, Debug)]
pub(crate) struct Outcome<'o> {
    pub tenant: &'o str,
    pub execution_id: &'o str,
    pub status: ExecutionStatus,
    pub error: Option<&'o str>,
}

/// One try, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRow<'a> {
    pub tenant: &'a str,
    pub execution_id: &'a str,
    pub attempt: u32,
    pub started_at: Time,
    pub duration_ms: Option<u64>,
    pub response_status: Option<u16>,
    pub response_body: Option<&'a str>,
    pub error: Option<&'a str>,
}

impl Store {
    /// Writes how executions stand, at most once each.
    pub(crate) async fn settle(
        &self,
        tx: &mut Tx,
        outcomes: &[Outcome<'_>],
        at: Time,
    ) -> Result<()> {
        let Some(first) = outcomes.first() else {
            return Ok(());
        };
        let is_success = |of: &Outcome<'_>| {
            of.tenant == first.tenant && of.status == ExecutionStatus::Success && of.error.is_none()
        };
        if outcomes.iter().all(is_success) {
            let ids: Vec<_> = outcomes.iter().map(|of| of.execution_id).collect();
            let args = vec![at.into(), first.tenant.into(), Arg::json(&ids)?];
            return tx.push(&self.executions.succeed, args).await;
        }
        let now = self.time(at);
        let rows: Vec<_> = outcomes
            .iter()
            .map(|of| {
                let status = of.status.as_str();
                (of.tenant, of.execution_id, status, of.error, &now)
            })
            .collect();
        tx.push(&self.executions.settle, vec![Arg::json(&rows)?])
            .await
    }

    /// Deletes the records of attempts, each by its tenant, its execution and its number.
    pub(crate) async fn delete_attempts(
        &self,
        tx: &mut Tx,
        attempts: &[(&str, &str, u32)],
    ) -> Result<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        tx.push(&self.executions.delete_attempts, vec![Arg::json(attempts)?])
            .await
    }

    pub(crate) async fn insert_attempts(
        &self,
        tx: &mut Tx,
        attempts: &[AttemptRow<'_>],
    ) -> Result<()> {
        if attempts.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = attempts
            .iter()
            .map(|row| {
                (
                    row.tenant,
                    row.execution_id,
                    row.attempt,
                    self.time(row.started_at),
                    row.duration_ms,
                    row.response_status,
                    row.response_body,
                    row.error,
                )
            })
            .collect();
        tx.push(&self.executions.insert_attempts, vec![Arg::json(&rows)?])
            .await
    }
}
