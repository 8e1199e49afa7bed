//! The circuits that are not closed, as the workers last said.

use sha2::{Digest as _, Sha256};
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Sql, Tx};

use super::{Store, insert, named, small};
use crate::{CircuitState, EndpointState};

pub(super) struct Statements {
    delete: Sql,
    delete_own: Sql,
    delete_old: Sql,
    insert: Sql,
    list: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let key = ["tenant", "hash"];
        let rows = dialect.json_rows("r", &[Column::Id("tenant"), Column::Bytes("hash")]);
        Statements {
            delete: dialect.delete_rows("endpoint_circuits", &rows, &key),
            delete_own: dialect.delete_rows_where(
                "endpoint_circuits",
                &rows.arg(1),
                &key,
                "endpoint_circuits.worker = ?2",
            ),
            delete_old: dialect.sql("DELETE FROM endpoint_circuits WHERE updated_at < ?"),
            insert: insert(
                dialect,
                "endpoint_circuits",
                &[
                    Column::Id("tenant"),
                    Column::Bytes("hash"),
                    Column::Text("endpoint"),
                    Column::Id("state"),
                    Column::Int("failures"),
                    Column::Time("retry_at"),
                    Column::Id("worker"),
                    Column::Time("updated_at"),
                ],
            ),
            list: dialect.sql(
                "SELECT endpoint, state, failures, retry_at, worker, updated_at FROM endpoint_circuits
                 WHERE tenant = ? AND updated_at >= ? ORDER BY hash LIMIT ?",
            ),
        }
    }
}

/// An endpoint whose circuit is to be written.
#[derive(Clone, Debug)]
pub(crate) struct CircuitRow<'c> {
    pub tenant: &'c str,
    pub endpoint: &'c str,
    pub state: CircuitState,
    pub failures: u32,
    pub retry_at: Option<Time>,
}

impl Store {
    /// Writes circuits that are not closed, in place of what anybody said before.
    pub(crate) async fn write_circuits(
        &self,
        tx: &mut Tx,
        rows: &[CircuitRow<'_>],
        worker: &str,
        at: Time,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let at = self.time(at);
        let keys: Vec<_> = rows
            .iter()
            .map(|row| (row.tenant, hash(row.endpoint)))
            .collect();
        let rows: Vec<_> = rows
            .iter()
            .zip(&keys)
            .map(|(row, (_, hash))| {
                let (state, retry_at) = (row.state.as_str(), self.opt_time(row.retry_at));
                (
                    row.tenant,
                    hash,
                    row.endpoint,
                    state,
                    row.failures,
                    retry_at,
                    worker,
                    &at,
                )
            })
            .collect();
        tx.push(&self.circuits.delete, vec![Arg::json(&keys)?])
            .await?;
        tx.push(&self.circuits.insert, vec![Arg::json(&rows)?])
            .await
    }

    /// Takes away what this worker said of endpoints (tenant and endpoint) whose circuits are closed now.
    pub(crate) async fn close_circuits(
        &self,
        tx: &mut Tx,
        closed: &[(&str, &str)],
        worker: &str,
    ) -> Result<()> {
        if closed.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = closed
            .iter()
            .map(|(tenant, endpoint)| (tenant, hash(endpoint)))
            .collect();
        let args = vec![Arg::json(&keys)?, worker.into()];
        tx.push(&self.circuits.delete_own, args).await
    }

    /// Takes away what was last written before this.
    pub(crate) async fn forget_circuits(&self, tx: &mut Tx, before: Time) -> Result<()> {
        tx.push(&self.circuits.delete_old, vec![before.into()])
            .await
    }

    pub(crate) async fn circuits(
        &self,
        query: &mut impl Query,
        tenant: &str,
        since: Time,
        most: u32,
    ) -> Result<Vec<EndpointState>> {
        let args = vec![tenant.into(), since.into(), most.into()];
        let rows = query.rows(&self.circuits.list, args).await?;
        rows.iter()
            .map(|row| {
                Ok(EndpointState {
                    endpoint: row.text(0)?,
                    circuit: named(row, 1)?,
                    failures: small(row, 2)?,
                    retry_at: row.opt_time(3)?,
                    worker: row.text(4)?,
                    updated_at: row.time(5)?,
                })
            })
            .collect()
    }
}

/// In hexadecimal digits, as bytes travel.
fn hash(endpoint: &str) -> String {
    hex::encode(Sha256::digest(endpoint.as_bytes()))
}
