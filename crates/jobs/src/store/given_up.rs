//! The list of jobs that failed or were cancelled: for lists of them, and for putting them back.
//!
//! A table rather than an index on the status: that index would have to be written at every step of
//! every job, and the many that are done are not wanted in it.

use tidewire_db::{Arg, Column, Dialect, JsonRows, Query, Result, Sql, Tx};

use super::{Store, read::ids};
use crate::{
    model::{JobFilter, Status},
    state::Change,
};

pub(super) struct Statements {
    insert: Sql,
    delete: Sql,
    below: Sql,
    above: Sql,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let rows = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("status"),
                Column::Id("id"),
                Column::Id("type"),
                Column::Id("queue"),
            ],
        );
        let list = |compare: &str, order: &str| {
            dialect.sql(&format!(
                "SELECT id FROM job_given_up WHERE tenant = ? AND status = ? AND id {compare} ?
                 AND type = coalesce(?, type) AND queue = coalesce(?, queue) ORDER BY id {order} LIMIT ?"
            ))
        };
        Statements {
            insert: dialect.sql(&format!(
                "INSERT INTO job_given_up (tenant, status, id, type, queue) SELECT {} FROM {}",
                rows.columns, rows.from
            )),
            delete: dialect.delete_rows("job_given_up", &keys(dialect), &KEY),
            below: list("<", "DESC"),
            above: list(">", "ASC"),
        }
    }
}

const KEY: [&str; 3] = ["tenant", "status", "id"];

fn keys(dialect: &Dialect) -> JsonRows {
    dialect.json_rows(
        "r",
        &[Column::Id("tenant"), Column::Id("status"), Column::Id("id")],
    )
}

fn is_given_up(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Cancelled)
}

impl Store {
    /// Keeps the list as these steps leave it.
    pub(super) async fn list_given_up(&self, tx: &mut Tx, changes: &[Change]) -> Result<()> {
        let moved = || {
            changes
                .iter()
                .filter(|change| change.was != change.now.status)
        };
        let gone: Vec<_> = moved()
            .filter(|change| is_given_up(change.was))
            .map(|change| {
                let now = &change.now;
                (&*now.lane.tenant, change.was.as_str(), &*now.id)
            })
            .collect();
        self.unlist_given_up(tx, &gone).await?;
        let new: Vec<_> = moved()
            .map(|change| &change.now)
            .filter(|now| is_given_up(now.status))
            .map(|now| {
                let lane = &now.lane;
                (
                    &*lane.tenant,
                    now.status.as_str(),
                    &*now.id,
                    &*lane.kind,
                    &*lane.queue,
                )
            })
            .collect();
        if !new.is_empty() {
            tx.push(&self.given_up.insert, vec![Arg::json(&new)?])
                .await?;
        }
        Ok(())
    }

    /// Takes (tenant, status, id) from the list.
    pub(super) async fn unlist_given_up(
        &self,
        tx: &mut Tx,
        gone: &[(&str, &str, &str)],
    ) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        tx.push(&self.given_up.delete, vec![Arg::json(gone)?]).await
    }

    /// Failed or cancelled jobs below an id, newest first.
    pub(crate) async fn given_up_below(
        &self,
        query: &mut impl Query,
        tenant: &str,
        status: Status,
        filter: &JobFilter,
        before: &str,
        limit: u32,
    ) -> Result<Vec<String>> {
        let args = list_args(tenant, status, filter, before, limit);
        ids(&query.rows(&self.given_up.below, args).await?)
    }

    /// Failed or cancelled jobs above an id, oldest first.
    pub(crate) async fn given_up_above(
        &self,
        query: &mut impl Query,
        tenant: &str,
        status: Status,
        filter: &JobFilter,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>> {
        let args = list_args(tenant, status, filter, after, limit);
        ids(&query.rows(&self.given_up.above, args).await?)
    }
}

fn list_args(
    tenant: &str,
    status: Status,
    filter: &JobFilter,
    bound: &str,
    limit: u32,
) -> Vec<Arg> {
    vec![
        tenant.into(),
        status.as_str().into(),
        bound.into(),
        filter.kind.as_ref().into(),
        filter.queue.as_ref().into(),
        limit.into(),
    ]
}
