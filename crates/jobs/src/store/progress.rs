//! What long jobs say of how far they are.

use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Result, Sql, Tx};

use super::Store;

const ROW: [Column; 4] = [
    Column::Id("tenant"),
    Column::Id("job_id"),
    Column::Time("said_at"),
    Column::Json("progress"),
];

pub(super) struct Statements {
    delete: Sql,
    insert: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let jobs = dialect.json_rows("r", &ROW[..2]);
        let rows = dialect.json_rows("r", &ROW);
        Statements {
            delete: dialect.delete_rows("job_progress", &jobs, &["tenant", "job_id"]),
            insert: dialect.sql(&format!(
                "INSERT INTO job_progress (tenant, job_id, said_at, progress) SELECT {} FROM {}",
                rows.columns, rows.from
            )),
        }
    }
}

impl Store {
    /// Keeps what each of these jobs says, in place of what it said before. Their leases are locked:
    /// nobody else writes it.
    pub(crate) async fn keep_progress(
        &self,
        tx: &mut Tx,
        said: &[(&str, &str, &RawValue)],
        now: Time,
    ) -> Result<()> {
        if said.is_empty() {
            return Ok(());
        }
        let jobs: Vec<_> = said.iter().map(|(tenant, id, _)| (tenant, id)).collect();
        let now = self.time(now);
        let rows: Vec<_> = said
            .iter()
            .map(|(tenant, id, progress)| (tenant, id, &now, progress.get()))
            .collect();
        tx.push(&self.progress.delete, vec![Arg::json(&jobs)?])
            .await?;
        tx.push(&self.progress.insert, vec![Arg::json(&rows)?])
            .await
    }
}
