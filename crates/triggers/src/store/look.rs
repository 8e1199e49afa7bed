//! Rows as tests look at them.

use tidewire_core::Time;
use tidewire_db::{Query, Result, Tx};

use super::{Store, named, small};
use crate::model::{ExecutionStatus, TriggerStatus};

/// An execution with its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub status: ExecutionStatus,
    pub error: Option<String>,
    pub job_id: String,
    pub attempts: Vec<SeenAttempt>,
}

#[derive(Clone, Debug)]
pub(crate) struct SeenAttempt {
    pub attempt: u32,
    pub started_at: Time,
    pub duration_ms: Option<i64>,
    pub status: Option<i64>,
    pub body: Option<String>,
    pub error: Option<String>,
}

impl Store {
    pub(crate) async fn look_at(
        &self,
        query: &mut impl Query,
        tenant: &str,
        execution: &str,
    ) -> Result<Seen> {
        let sql = self.dialect.sql(
            "SELECT execution_status, error_message, job_id FROM executions WHERE tenant = ? AND id = ?",
        );
        let key = || vec![tenant.into(), execution.into()];
        let row = query.row(&sql, key()).await?.expect("an execution");
        let sql = self.dialect.sql(
            "SELECT attempt, started_at, duration_ms, response_status, response_body, error
             FROM execution_attempts WHERE tenant = ? AND execution_id = ? ORDER BY attempt",
        );
        let attempts = query.rows(&sql, key()).await?;
        let attempts = attempts.iter().map(|row| {
            Ok(SeenAttempt {
                attempt: small(row, 0)?,
                started_at: row.time(1)?,
                duration_ms: row.opt_int(2)?,
                status: row.opt_int(3)?,
                body: row.opt_text(4)?,
                error: row.opt_text(5)?,
            })
        });
        Ok(Seen {
            status: named(&row, 0)?,
            error: row.opt_text(1)?,
            job_id: row.text(2)?,
            attempts: attempts.collect::<Result<_>>()?,
        })
    }

    /// How many executions there are, and how many of them succeeded.
    pub(crate) async fn count_executions(&self, query: &mut impl Query) -> Result<(u64, u64)> {
        let sql = self
            .dialect
            .sql("SELECT execution_status, count(*) FROM executions GROUP BY execution_status");
        let (mut all, mut good) = (0, 0);
        for row in query.rows(&sql, Vec::new()).await? {
            let count = row.count(1)?;
            all += count;
            if named::<ExecutionStatus>(&row, 0)? == ExecutionStatus::Success {
                good = count;
            }
        }
        Ok((all, good))
    }

    pub(crate) async fn status_of(
        &self,
        query: &mut impl Query,
        tenant: &str,
        trigger: &str,
    ) -> Result<TriggerStatus> {
        let row = self.trigger(query, tenant, trigger).await?;
        Ok(row.expect("a trigger").status)
    }

    pub(crate) async fn drop_configs(&self, tx: &mut Tx) -> Result<()> {
        let sql = self.dialect.sql("DELETE FROM trigger_configs");
        tx.push(&sql, Vec::new()).await
    }
}
