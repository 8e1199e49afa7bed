//! Executions on their way out: from the active ones to the archive, and from there to nothing, with
//! all that is kept of them. And back from the archive, if the job of one is tried again by hand.
//!
//! Who may go first, where several write:
//!
//! - **Sweepers wait for nobody.** What they take they look for without a lock, and then lock by its
//!   key, leaving out what somebody else has in hand: executions, archived ones and their jobs, the
//!   occurrences, words for the bus and configs. What else they delete belongs to a row that they
//!   have, and nobody touches it without that row. So no deadlock can have a sweeper in it, two of
//!   them share the work, and what one has left the next sweep takes.
//! - **Followers** have the job (its lease, or its row) before they write to the execution, and write
//!   to none that has ended but to bring it back. They may wait for a sweeper, for as long as one
//!   batch takes.
//! - **Bringing back** has the job's row, then the execution's row among the active ones, then the
//!   archived one. The wait for the first is what makes the look into the archive right: a sweeper
//!   that moves the execution there at this moment has committed when the wait is over. One that is
//!   about to delete it from the archive cannot have the job, and leaves both.

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Row, Sql, Tx};

use super::{OldSchedule, Store, named, outbox::shard_of};
use crate::model::{ExecutionStatus, RetentionStatus};

pub(super) struct Statements {
    active: Table,
    archived: Table,
    lock_ended: Sql,
    archive: Sql,
    leave_active: Sql,
    lock_active: Sql,
    lock_archived: Sql,
    unarchive: Sql,
    leave_archive: Sql,
    lock_outlived: Sql,
    delete_of_executions: [Sql; 2],
    lock_words: Sql,
    delete_words: Sql,
}

/// The same statements over one of the two tables.
struct Table {
    next_tenant: Sql,
    oldest: Sql,
    count: Sql,
}

impl Table {
    fn new(dialect: &Dialect, table: &str) -> Self {
        Table {
            next_tenant: dialect.sql(&format!(
                "SELECT tenant, fired_at FROM {table} WHERE tenant > ? ORDER BY tenant, id LIMIT 1"
            )),
            oldest: dialect.sql(&format!(
                "SELECT id, execution_status, fired_at, updated_at FROM {table}
                 WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?"
            )),
            count: dialect.sql(&format!("SELECT count(*) FROM {table}")),
        }
    }
}

const EXECUTION: [&str; 13] = [
    "tenant",
    "id",
    "trigger_id",
    "trigger_type",
    "config_id",
    "source",
    "execution_status",
    "is_test_run",
    "job_id",
    "scheduled_for",
    "fired_at",
    "updated_at",
    "error_message",
];

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let (lock, skip) = (dialect.lock(), dialect.skip_locked());
        let plain = EXECUTION.join(", ");
        let of_e = EXECUTION.map(|column| format!("e.{column}")).join(", ");
        // Executions of one tenant, and of any.
        let ids = dialect.json_ids("r", "id").arg(2).with(&[("tenant", 1)]);
        let keys = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("id")]);
        let joined = |rows: &tidewire_db::JsonRows, table: &str| {
            format!(
                "FROM {} {} WHERE e.tenant = {} AND e.id = {}",
                rows.from,
                dialect.then(&format!("{table} e")),
                rows.col("tenant"),
                rows.col("id")
            )
        };
        let of_executions = dialect
            .json_ids("r", "execution_id")
            .arg(2)
            .with(&[("tenant", 1)]);
        let words = dialect
            .json_rows("r", &[Column::Int("shard"), Column::Id("id")])
            .arg(2)
            .with(&[("tenant", 1)]);
        let lock_words = format!(
            "SELECT o.shard, o.id FROM {} {} WHERE o.shard = {} AND o.id = {} AND o.tenant = {}{skip}",
            words.from,
            dialect.then("trigger_outbox o"),
            words.col("shard"),
            words.col("id"),
            words.col("tenant")
        );
        Statements {
            active: Table::new(dialect, "executions"),
            archived: Table::new(dialect, "executions_archive"),
            lock_ended: dialect.sql(&format!(
                "SELECT e.id {} AND e.execution_status <> 'pending' AND e.fired_at <= ?3{skip}",
                joined(&ids, "executions")
            )),
            archive: dialect.sql(&format!(
                "INSERT INTO executions_archive ({plain}) SELECT {of_e} {}",
                joined(&ids, "executions")
            )),
            leave_active: dialect.delete_rows("executions", &ids, &["tenant", "id"]),
            lock_active: dialect.sql(&format!(
                "SELECT e.tenant, e.id {}{lock}",
                joined(&keys, "executions")
            )),
            lock_archived: dialect.sql(&format!(
                "SELECT e.tenant, e.id {}{lock}",
                joined(&keys, "executions_archive")
            )),
            unarchive: dialect.sql(&format!(
                "INSERT INTO executions ({plain}) SELECT {of_e} {}",
                joined(&keys, "executions_archive")
            )),
            leave_archive: dialect.delete_rows("executions_archive", &keys, &["tenant", "id"]),
            lock_outlived: dialect.sql(&format!(
                "SELECT e.id, e.job_id, e.trigger_id, e.scheduled_for, e.config_id {}
                 AND e.fired_at <= ?3 AND e.updated_at <= ?4{skip}",
                joined(&ids, "executions_archive")
            )),
            delete_of_executions: [
                dialect.delete_rows(
                    "execution_attempts",
                    &of_executions,
                    &["tenant", "execution_id"],
                ),
                dialect.delete_rows("executions_archive", &ids, &["tenant", "id"]),
            ],
            lock_words: dialect.sql(&lock_words),
            delete_words: dialect.delete_rows("trigger_outbox", &words, &["shard", "id", "tenant"]),
        }
    }
}

#[cfg(test)]
impl Statements {
    /// All but the counts for the gauges, which are of whole tables.
    pub(super) fn for_plans(&self) -> Vec<(&'static str, &Sql)> {
        let mut all = vec![
            ("lock_ended", &self.lock_ended),
            ("archive", &self.archive),
            ("leave_active", &self.leave_active),
            ("lock_active", &self.lock_active),
            ("lock_archived", &self.lock_archived),
            ("unarchive", &self.unarchive),
            ("leave_archive", &self.leave_archive),
            ("lock_outlived", &self.lock_outlived),
            ("delete_attempts", &self.delete_of_executions[0]),
            ("delete_executions", &self.delete_of_executions[1]),
            ("lock_words", &self.lock_words),
            ("delete_words", &self.delete_words),
        ];
        for table in [&self.active, &self.archived] {
            all.push(("next_tenant", &table.next_tenant));
            all.push(("oldest", &table.oldest));
        }
        all
    }
}

/// An execution as the sweep sees it.
#[derive(Clone, Debug)]
pub(crate) struct OldExecution {
    pub id: String,
    pub status: ExecutionStatus,
    pub fired_at: Time,
    /// When it ended, if it has.
    pub updated_at: Time,
}

/// An archived execution whose time is over.
#[derive(Clone, Debug)]
pub(crate) struct Outlived {
    pub id: String,
    pub job_id: String,
    pub trigger_id: Option<String>,
    pub scheduled_for: Option<Time>,
    pub config_id: String,
}

impl Store {
    fn swept(&self, retention: RetentionStatus) -> &Table {
        match retention {
            RetentionStatus::Active => &self.retention.active,
            RetentionStatus::Archived => &self.retention.archived,
        }
    }

    /// The first tenant behind this one that has executions there, and when its oldest was fired.
    pub(crate) async fn next_tenant(
        &self,
        query: &mut impl Query,
        retention: RetentionStatus,
        after: &str,
    ) -> Result<Option<(String, Time)>> {
        let sql = &self.swept(retention).next_tenant;
        let row = query.row(sql, vec![after.into()]).await?;
        row.map(|row| Ok((row.text(0)?, row.time(1)?))).transpose()
    }

    /// Up to `most` executions of a tenant behind an id, oldest first.
    pub(crate) async fn oldest_executions(
        &self,
        query: &mut impl Query,
        retention: RetentionStatus,
        tenant: &str,
        after: &str,
        most: u32,
    ) -> Result<Vec<OldExecution>> {
        let args = vec![tenant.into(), after.into(), most.into()];
        let rows = query.rows(&self.swept(retention).oldest, args).await?;
        rows.iter()
            .map(|row| {
                Ok(OldExecution {
                    id: row.text(0)?,
                    status: named(row, 1)?,
                    fired_at: row.time(2)?,
                    updated_at: row.time(3)?,
                })
            })
            .collect()
    }

    /// How many executions are kept there, of all tenants.
    pub(crate) async fn count_kept(
        &self,
        query: &mut impl Query,
        retention: RetentionStatus,
    ) -> Result<u64> {
        let row = query.row(&self.swept(retention).count, Vec::new()).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    /// Moves those of these executions that have ended, and were fired by then, into the archive;
    /// how many. Those that somebody else has in hand stay.
    pub(crate) async fn archive(
        &self,
        tx: &mut Tx,
        tenant: &str,
        ids: &[String],
        fired_by: Time,
    ) -> Result<u64> {
        let args = vec![tenant.into(), Arg::json(ids)?, fired_by.into()];
        let rows = tx.rows(&self.retention.lock_ended, args).await?;
        let ended = texts(&rows)?;
        if ended.is_empty() {
            return Ok(0);
        }
        let args = || -> Result<Vec<Arg>> { Ok(vec![tenant.into(), Arg::json(&ended)?]) };
        tx.push(&self.retention.archive, args()?).await?;
        tx.push(&self.retention.leave_active, args()?).await?;
        Ok(ended.len() as u64)
    }

    /// Makes archived ones of these executions active again. Their jobs' rows must be locked.
    pub(crate) async fn bring_back(&self, tx: &mut Tx, keys: &[(&str, &str)]) -> Result<()> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let rows = tx
            .rows(&self.retention.lock_active, vec![Arg::json(&keys)?])
            .await?;
        for row in rows {
            let (tenant, id) = (row.text(0)?, row.text(1)?);
            keys.retain(|key| *key != (tenant.as_str(), id.as_str()));
        }
        if keys.is_empty() {
            return Ok(());
        }
        let keys = vec![Arg::json(&keys)?];
        let found = tx.rows(&self.retention.lock_archived, keys.clone()).await?;
        if found.is_empty() {
            return Ok(());
        }
        tx.push(&self.retention.unarchive, keys.clone()).await?;
        tx.push(&self.retention.leave_archive, keys).await
    }

    /// Those of these archived executions whose time is over: fired by the one time, and ended by
    /// the other. They stay as they are until the end of this transaction; those that somebody else
    /// has in hand are left out.
    pub(crate) async fn outlived(
        &self,
        tx: &mut Tx,
        tenant: &str,
        ids: &[String],
        (fired_by, ended_by): (Time, Time),
    ) -> Result<Vec<Outlived>> {
        let args = vec![
            tenant.into(),
            Arg::json(ids)?,
            fired_by.into(),
            ended_by.into(),
        ];
        let rows = tx.rows(&self.retention.lock_outlived, args).await?;
        rows.iter()
            .map(|row| {
                Ok(Outlived {
                    id: row.text(0)?,
                    job_id: row.text(1)?,
                    trigger_id: row.opt_text(2)?,
                    scheduled_for: row.opt_time(3)?,
                    config_id: row.text(4)?,
                })
            })
            .collect()
    }

    /// Deletes archived executions, which must be locked, with all of triggers that is kept of them.
    /// Their jobs are gone.
    pub(crate) async fn delete_executions(
        &self,
        tx: &mut Tx,
        tenant: &str,
        gone: &[Outlived],
    ) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        self.delete_words(tx, tenant, gone).await?;
        let occurrence = |row: &Outlived| {
            Some(OldSchedule {
                tenant: tenant.to_owned(),
                trigger_id: row.trigger_id.clone()?,
                fire_at: row.scheduled_for?,
            })
        };
        let occurrences: Vec<_> = gone.iter().filter_map(occurrence).collect();
        if !occurrences.is_empty() {
            self.forget_schedules(tx, &occurrences).await?;
        }
        // The config of a test without a trigger is of this one execution.
        let stray: Vec<_> = gone
            .iter()
            .filter(|row| row.trigger_id.is_none())
            .map(|row| (tenant, row.config_id.as_str()))
            .collect();
        if !stray.is_empty() {
            self.forget_configs(tx, &stray).await?;
        }
        let ids: Vec<_> = gone.iter().map(|row| &row.id).collect();
        let ids = Arg::json(&ids)?;
        for sql in &self.retention.delete_of_executions {
            tx.push(sql, vec![tenant.into(), ids.clone()]).await?;
        }
        Ok(())
    }

    /// Words that no bus was told in all the time.
    async fn delete_words(&self, tx: &mut Tx, tenant: &str, gone: &[Outlived]) -> Result<()> {
        let words: Vec<_> = gone
            .iter()
            .map(|row| {
                let key = row.trigger_id.as_deref().unwrap_or(&row.id);
                (shard_of(key), &row.id)
            })
            .collect();
        let args = vec![tenant.into(), Arg::json(&words)?];
        let rows = tx.rows(&self.retention.lock_words, args).await?;
        let words: Vec<_> = rows
            .iter()
            .map(|row| Ok((row.int(0)?, row.text(1)?)))
            .collect::<Result<_>>()?;
        if words.is_empty() {
            return Ok(());
        }
        let args = vec![tenant.into(), Arg::json(&words)?];
        tx.push(&self.retention.delete_words, args).await
    }
}

fn texts(rows: &[Row]) -> Result<Vec<String>> {
    rows.iter().map(|row| row.text(0)).collect()
}
