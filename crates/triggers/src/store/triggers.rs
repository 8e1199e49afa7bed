//! Triggers and their configs.

use std::sync::Arc;

use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Row, Sql, Tx};

use super::{Store, insert, json, named};
use crate::model::{Page, TriggerStatus, TriggerType};

pub(super) struct Statements {
    insert: Sql,
    update: Sql,
    delete: Sql,
    get: Sql,
    lock: Sql,
    of_id: Sql,
    list: Sql,
    count: Sql,
    counts: Sql,
    insert_config: Sql,
    retire_config: Sql,
    configs: Sql,
    configs_of: Sql,
}

const TRIGGER: &str = "t.tenant, t.id, t.name, t.type, t.status, t.config_id, t.from_pos,
    t.saved_at, t.fired_until, t.next_run, t.created_at, t.updated_at, c.config";

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let from =
            "FROM triggers t JOIN trigger_configs c ON c.tenant = t.tenant AND c.id = t.config_id";
        let filter =
            "t.tenant = ? AND t.type = coalesce(?, t.type) AND t.status = coalesce(?, t.status)";
        let ids = dialect.json_ids("r", "id").arg(2).with(&[("tenant", 1)]);
        let configs = format!(
            "SELECT c.id, c.type, c.config FROM {} {} WHERE c.tenant = {} AND c.id = {}",
            ids.from,
            dialect.then("trigger_configs c"),
            ids.col("tenant"),
            ids.col("id")
        );
        let keys = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("id")]);
        let configs_of = format!(
            "SELECT c.id, c.type, c.config FROM {} {} WHERE c.tenant = {} AND c.id = {}",
            keys.from,
            dialect.then("trigger_configs c"),
            keys.col("tenant"),
            keys.col("id")
        );
        Statements {
            insert: dialect.sql(
                "INSERT INTO triggers (tenant, id, name, type, status, config_id, from_pos, saved_at,
                    fired_until, next_run, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ),
            update: dialect.sql(
                "UPDATE triggers SET name = ?, status = ?, config_id = ?, from_pos = ?, saved_at = ?,
                    fired_until = ?, next_run = ?, updated_at = ? WHERE tenant = ? AND id = ?",
            ),
            delete: dialect.sql("DELETE FROM triggers WHERE tenant = ? AND id = ?"),
            get: dialect.sql(&format!("SELECT {TRIGGER} {from} WHERE t.tenant = ? AND t.id = ?")),
            // The row first and alone: a config never changes.
            lock: dialect.sql(&format!(
                "SELECT id FROM triggers WHERE tenant = ? AND id = ?{}",
                dialect.lock()
            )),
            of_id: dialect.sql(&format!("SELECT {TRIGGER} {from} WHERE t.id = ?")),
            list: dialect.sql(&format!(
                "SELECT {TRIGGER} {from} WHERE {filter} ORDER BY t.id DESC LIMIT ? OFFSET ?"
            )),
            count: dialect.sql(&format!("SELECT count(*) FROM triggers t WHERE {filter}")),
            counts: dialect.sql("SELECT type, status, count(*) FROM triggers GROUP BY type, status"),
            insert_config: insert(
                dialect,
                "trigger_configs",
                &[
                    Column::Id("tenant"),
                    Column::Id("id"),
                    Column::Id("trigger_id"),
                    Column::Id("type"),
                    Column::Time("created_at"),
                    Column::Time("retired_at"),
                    Column::Text("config"),
                ],
            ),
            retire_config: dialect
                .sql("UPDATE trigger_configs SET retired_at = ? WHERE tenant = ? AND id = ?"),
            configs: dialect.sql(&configs),
            configs_of: dialect.sql(&configs_of),
        }
    }
}

/// A trigger as it is stored, with its config as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct TriggerRow {
    pub tenant: Arc<str>,
    pub id: Arc<str>,
    pub name: String,
    pub kind: TriggerType,
    pub status: TriggerStatus,
    pub config_id: Arc<str>,
    /// Events behind this position count.
    pub from_pos: u64,
    /// When its config was saved.
    pub saved_at: Time,
    /// The last occurrence that was fired or left out.
    pub fired_until: Option<Time>,
    pub next_run: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub config: Box<RawValue>,
}

/// A config that was saved.
#[derive(Clone, Debug)]
pub(crate) struct ConfigRow {
    pub id: Arc<str>,
    pub kind: TriggerType,
    pub config: Box<RawValue>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TriggerFilter {
    pub kind: Option<TriggerType>,
    pub status: Option<TriggerStatus>,
}

impl TriggerFilter {
    fn args(self, tenant: &str) -> Vec<Arg> {
        vec![
            tenant.into(),
            self.kind.map(TriggerType::as_str).into(),
            self.status.map(TriggerStatus::as_str).into(),
        ]
    }
}

impl Store {
    pub(crate) async fn insert_trigger(&self, tx: &mut Tx, row: &TriggerRow) -> Result<()> {
        let args = vec![
            (&row.tenant).into(),
            (&row.id).into(),
            (&row.name).into(),
            row.kind.as_str().into(),
            row.status.as_str().into(),
            (&row.config_id).into(),
            row.from_pos.into(),
            row.saved_at.into(),
            row.fired_until.into(),
            row.next_run.into(),
            row.created_at.into(),
            row.updated_at.into(),
        ];
        tx.push(&self.triggers.insert, args).await
    }

    /// Writes a trigger back; its type, tenant and id stay.
    pub(crate) async fn update_trigger(&self, tx: &mut Tx, row: &TriggerRow) -> Result<()> {
        let args = vec![
            (&row.name).into(),
            row.status.as_str().into(),
            (&row.config_id).into(),
            row.from_pos.into(),
            row.saved_at.into(),
            row.fired_until.into(),
            row.next_run.into(),
            row.updated_at.into(),
            (&row.tenant).into(),
            (&row.id).into(),
        ];
        tx.push(&self.triggers.update, args).await
    }

    pub(crate) async fn delete_trigger(&self, tx: &mut Tx, tenant: &str, id: &str) -> Result<()> {
        let args = vec![tenant.into(), id.into()];
        tx.push(&self.triggers.delete, args).await
    }

    pub(crate) async fn trigger(
        &self,
        query: &mut impl Query,
        tenant: &str,
        id: &str,
    ) -> Result<Option<TriggerRow>> {
        let args = vec![tenant.into(), id.into()];
        let row = query.row(&self.triggers.get, args).await?;
        row.map(|row| trigger(&row)).transpose()
    }

    /// A trigger that stays as it is until the end of this transaction, but for what it does itself.
    pub(crate) async fn lock_trigger(
        &self,
        tx: &mut Tx,
        tenant: &str,
        id: &str,
    ) -> Result<Option<TriggerRow>> {
        let args = vec![tenant.into(), id.into()];
        if tx.row(&self.triggers.lock, args).await?.is_none() {
            return Ok(None);
        }
        self.trigger(tx, tenant, id).await
    }

    /// A trigger of any tenant.
    pub(crate) async fn trigger_of_id(
        &self,
        query: &mut impl Query,
        id: &str,
    ) -> Result<Option<TriggerRow>> {
        let row = query.row(&self.triggers.of_id, vec![id.into()]).await?;
        row.map(|row| trigger(&row)).transpose()
    }

    /// A page of triggers, newest first, and how many there are in all.
    pub(crate) async fn list_triggers(
        &self,
        query: &mut impl Query,
        tenant: &str,
        filter: TriggerFilter,
        page: Page,
    ) -> Result<(Vec<TriggerRow>, u64)> {
        let count = query.row(&self.triggers.count, filter.args(tenant)).await?;
        let count = count.map(|row| row.count(0)).transpose()?.unwrap_or(0);
        let mut args = filter.args(tenant);
        args.extend([page.size.into(), page.offset().into()]);
        let rows = query.rows(&self.triggers.list, args).await?;
        Ok((rows.iter().map(trigger).collect::<Result<_>>()?, count))
    }

    /// How many triggers there are of each type and status, of all tenants.
    pub(crate) async fn count_triggers(
        &self,
        query: &mut impl Query,
    ) -> Result<Vec<(TriggerType, TriggerStatus, u64)>> {
        let rows = query.rows(&self.triggers.counts, Vec::new()).await?;
        rows.iter()
            .map(|row| Ok((named(row, 0)?, named(row, 1)?, row.count(2)?)))
            .collect()
    }

    /// Keeps a config. One of a test without a trigger is retired from the start.
    pub(crate) async fn insert_config(
        &self,
        tx: &mut Tx,
        tenant: &str,
        trigger_id: Option<&str>,
        row: &ConfigRow,
        (created_at, retired_at): (Time, Option<Time>),
    ) -> Result<()> {
        let row = [(
            tenant,
            &*row.id,
            trigger_id,
            row.kind.as_str(),
            self.time(created_at),
            self.opt_time(retired_at),
            row.config.get(),
        )];
        let args = vec![Arg::json(&row)?];
        tx.push(&self.triggers.insert_config, args).await
    }

    /// No further firing goes by this config.
    pub(crate) async fn retire_config(
        &self,
        tx: &mut Tx,
        tenant: &str,
        id: &str,
        at: Time,
    ) -> Result<()> {
        let args = vec![at.into(), tenant.into(), id.into()];
        tx.push(&self.triggers.retire_config, args).await
    }

    /// Configs by their ids, in no order; those that are gone are left out.
    pub(crate) async fn configs(
        &self,
        query: &mut impl Query,
        tenant: &str,
        ids: &[&str],
    ) -> Result<Vec<ConfigRow>> {
        let args = vec![tenant.into(), Arg::json(ids)?];
        let rows = query.rows(&self.triggers.configs, args).await?;
        rows.iter().map(config).collect()
    }

    /// Configs of any tenants, by (tenant, id) and in no order, with their ids: each is there or says
    /// what is wrong with its row.
    pub(crate) async fn configs_of(
        &self,
        query: &mut impl Query,
        keys: &[(&str, &str)],
    ) -> Result<Vec<(String, Result<ConfigRow>)>> {
        let args = vec![Arg::json(keys)?];
        let rows = query.rows(&self.triggers.configs_of, args).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, config(row))))
            .collect()
    }
}

fn config(row: &Row) -> Result<ConfigRow> {
    Ok(ConfigRow {
        id: row.text(0)?.into(),
        kind: named(row, 1)?,
        config: json(row, 2)?,
    })
}

fn trigger(row: &Row) -> Result<TriggerRow> {
    Ok(TriggerRow {
        tenant: row.text(0)?.into(),
        id: row.text(1)?.into(),
        name: row.text(2)?,
        kind: named(row, 3)?,
        status: named(row, 4)?,
        config_id: row.text(5)?.into(),
        from_pos: row.count(6)?,
        saved_at: row.time(7)?,
        fired_until: row.opt_time(8)?,
        next_run: row.opt_time(9)?,
        created_at: row.time(10)?,
        updated_at: row.time(11)?,
        config: json(row, 12)?,
    })
}
