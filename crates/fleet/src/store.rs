//! All SQL of fleets. What each table is for:
//!
//! - `fleet_versions`: every config that was pushed. Rows never change.
//! - `fleet_changes`: what changed who is offered what, numbered by each tenant's revision: a push and
//!   each raise of a share (`version`, `percent`), and an agent that got new labels or was forgotten
//!   (`agent_id`). A version's share is the greatest that it was given.
//! - `fleet_agents`: who has registered, and what is known of each.
//! - `fleet_schemas`: the schema that a tenant's configs must fit.

mod agents;

use std::sync::Arc;

use serde_json::value::RawValue;
use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Error, Query, Result, Row, Sql, Tx};

pub(crate) use agents::{AgentKey, AgentRow, AttemptRow};

use crate::{Gate, Labels, model::Version};

pub(crate) struct Store {
    dialect: &'static Dialect,
    revision: Sql,
    newest: Sql,
    heads: Sql,
    bodies: Sql,
    versions: Sql,
    version: Sql,
    changed_agents: Sql,
    insert_version: Sql,
    insert_change: Sql,
    agents: agents::Statements,
    schema: Sql,
    delete_schema: Sql,
    insert_schema: Sql,
}

/// What decides to whom a version is offered.
#[derive(Clone, Debug)]
pub(crate) struct HeadRow {
    pub version: u64,
    pub etag: String,
    pub labels: Labels,
    pub percent: u32,
}

/// What an answer is made of.
pub(crate) struct BodyRow {
    pub version: u64,
    pub config: Box<RawValue>,
    pub note: Option<String>,
    pub created_at: Time,
}

/// What changes who is offered what.
#[derive(Clone, Copy)]
pub(crate) enum Change<'c> {
    Share { version: u64, percent: u32 },
    Agent { agent_id: &'c str },
}

const VERSION: &str = "v.version, v.etag, v.labels,
    (SELECT max(c.percent) FROM fleet_changes c WHERE c.tenant = v.tenant AND c.version = v.version)";
const REST: &str = "v.gate, v.author, v.note, v.rollback_of, v.created_at, v.config";
impl Store {
    pub(crate) fn new(dialect: &'static Dialect) -> Arc<Self> {
        let sql = |text: &str| dialect.sql(text);
        Arc::new(Store {
            dialect,
            revision: sql("SELECT max(revision) FROM fleet_changes WHERE tenant = ?"),
            newest: sql("SELECT max(version) FROM fleet_versions WHERE tenant = ?"),
            heads: sql(&format!(
                "SELECT {VERSION} FROM fleet_versions v WHERE v.tenant = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?"
            )),
            bodies: sql(&bodies(dialect)),
            versions: sql(&format!(
                "SELECT {VERSION}, {REST} FROM fleet_versions v WHERE v.tenant = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?"
            )),
            version: sql(&format!(
                "SELECT {VERSION}, {REST} FROM fleet_versions v WHERE v.tenant = ? AND v.version = ?"
            )),
            changed_agents: sql(
                "SELECT agent_id FROM fleet_changes WHERE tenant = ? AND revision > ? AND agent_id IS NOT NULL",
            ),
            insert_version: sql(
                "INSERT INTO fleet_versions (tenant, version, etag, labels, gate, author, note, rollback_of, created_at, config)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ),
            insert_change: sql(
                "INSERT INTO fleet_changes (tenant, revision, version, percent, agent_id, author, created_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            ),
            agents: agents::Statements::new(dialect),
            schema: sql("SELECT json_schema FROM fleet_schemas WHERE tenant = ?"),
            delete_schema: sql("DELETE FROM fleet_schemas WHERE tenant = ?"),
            insert_schema: sql(
                "INSERT INTO fleet_schemas (tenant, saved_at, json_schema) VALUES (?, ?, ?)",
            ),
        })
    }

    /// How many changes there were.
    pub(crate) async fn revision(&self, query: &mut impl Query, tenant: &str) -> Result<u64> {
        greatest(query.row(&self.revision, vec![tenant.into()]).await?)
    }

    /// The newest version; 0 if there is none.
    pub(crate) async fn newest(&self, query: &mut impl Query, tenant: &str) -> Result<u64> {
        greatest(query.row(&self.newest, vec![tenant.into()]).await?)
    }

    /// Versions before this one, newest first.
    pub(crate) async fn heads(
        &self,
        query: &mut impl Query,
        tenant: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<HeadRow>> {
        let args = vec![tenant.into(), before.into(), limit.into()];
        let rows = query.rows(&self.heads, args).await?;
        rows.iter().map(head).collect()
    }

    pub(crate) async fn bodies(
        &self,
        query: &mut impl Query,
        tenant: &str,
        versions: &[u64],
    ) -> Result<Vec<BodyRow>> {
        let versions: Vec<_> = versions.iter().map(|version| [version]).collect();
        let args = vec![tenant.into(), Arg::json(&versions)?];
        let rows = query.rows(&self.bodies, args).await?;
        let body = |row: &Row| {
            Ok(BodyRow {
                version: row.count(0)?,
                config: document(row, 1)?,
                note: row.opt_text(2)?,
                created_at: row.time(3)?,
            })
        };
        rows.iter().map(body).collect()
    }

    pub(crate) async fn versions(
        &self,
        query: &mut impl Query,
        tenant: &str,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Version>> {
        let args = vec![tenant.into(), before.into(), limit.into()];
        let rows = query.rows(&self.versions, args).await?;
        rows.iter().map(version).collect()
    }

    pub(crate) async fn version(
        &self,
        query: &mut impl Query,
        tenant: &str,
        number: u64,
    ) -> Result<Option<Version>> {
        let args = vec![tenant.into(), number.into()];
        let row = query.row(&self.version, args).await?;
        row.as_ref().map(version).transpose()
    }

    /// Agents that are not as they were at a revision.
    pub(crate) async fn changed_agents(
        &self,
        query: &mut impl Query,
        tenant: &str,
        behind: u64,
    ) -> Result<Vec<String>> {
        let args = vec![tenant.into(), behind.into()];
        let rows = query.rows(&self.changed_agents, args).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    pub(crate) async fn insert_version(
        &self,
        tx: &mut Tx,
        tenant: &str,
        version: &Version,
    ) -> Result<()> {
        let args = vec![
            tenant.into(),
            version.version.into(),
            (&version.etag).into(),
            Arg::json(&version.labels)?,
            opt_text(version.gate.map(|gate| gate.to_string())),
            (&version.author).into(),
            opt_text(version.note.clone()),
            opt_count(version.rollback_of),
            version.created_at.into(),
            version.config.get().into(),
        ];
        tx.execute(&self.insert_version, args).await.map(drop)
    }

    /// The tenant must be locked.
    pub(crate) async fn insert_change(
        &self,
        tx: &mut Tx,
        tenant: &str,
        revision: u64,
        change: Change<'_>,
        (author, at): (Option<&str>, Time),
    ) -> Result<()> {
        let (version, percent, agent_id) = match change {
            Change::Share { version, percent } => (version.into(), percent.into(), Arg::Null),
            Change::Agent { agent_id } => (Arg::Null, Arg::Null, agent_id.into()),
        };
        let author = opt_text(author.map(str::to_owned));
        let args = vec![
            tenant.into(),
            revision.into(),
            version,
            percent,
            agent_id,
            author,
            at.into(),
        ];
        tx.execute(&self.insert_change, args).await.map(drop)
    }

    pub(crate) async fn schema(
        &self,
        query: &mut impl Query,
        tenant: &str,
    ) -> Result<Option<Box<RawValue>>> {
        let row = query.row(&self.schema, vec![tenant.into()]).await?;
        row.as_ref().map(|row| document(row, 0)).transpose()
    }

    pub(crate) async fn put_schema(
        &self,
        tx: &mut Tx,
        tenant: &str,
        schema: Option<&RawValue>,
        now: Time,
    ) -> Result<()> {
        tx.execute(&self.delete_schema, vec![tenant.into()]).await?;
        let Some(schema) = schema else { return Ok(()) };
        let args = vec![tenant.into(), now.into(), schema.get().into()];
        tx.execute(&self.insert_schema, args).await.map(drop)
    }
}

/// Configs by a list of versions.
fn bodies(dialect: &Dialect) -> String {
    let versions = dialect.json_rows("r", &[Column::Int("version")]).arg(2);
    format!(
        "SELECT v.version, v.config, v.note, v.created_at FROM {} {} WHERE v.tenant = ?1 AND v.version = {}",
        versions.from,
        dialect.then("fleet_versions v"),
        versions.col("version"),
    )
}

fn greatest(row: Option<Row>) -> Result<u64> {
    let found = row.map(|row| opt_number(&row, 0)).transpose()?;
    Ok(found.flatten().unwrap_or_default())
}

fn opt_number(row: &Row, column: usize) -> Result<Option<u64>> {
    let number = row.opt_int(column)?;
    Ok(number.and_then(|number| u64::try_from(number).ok()))
}

fn opt_text(text: Option<String>) -> Arg {
    text.map_or(Arg::Null, Arg::Text)
}

fn opt_count(number: Option<u64>) -> Arg {
    number.map_or(Arg::Null, Arg::from)
}

fn broken(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Broken(format!("a stored {what} cannot be read: {error}"))
}

fn document(row: &Row, column: usize) -> Result<Box<RawValue>> {
    let text = row.text(column)?;
    RawValue::from_string(text).map_err(|error| broken("document", &error))
}

fn labels(row: &Row, column: usize) -> Result<Labels> {
    serde_json::from_str(&row.text(column)?).map_err(|error| broken("label", &error))
}

fn head(row: &Row) -> Result<HeadRow> {
    let percent = row.opt_int(3)?.unwrap_or_default();
    Ok(HeadRow {
        version: row.count(0)?,
        etag: row.text(1)?,
        labels: labels(row, 2)?,
        percent: u32::try_from(percent).unwrap_or_default(),
    })
}

fn version(row: &Row) -> Result<Version> {
    let HeadRow {
        version,
        etag,
        labels,
        percent,
    } = head(row)?;
    let gate = row.opt_text(4)?.map(|text| text.parse::<Gate>());
    Ok(Version {
        version,
        etag,
        labels,
        percent,
        gate: gate.transpose().map_err(|error| broken("gate", &error))?,
        author: row.text(5)?,
        note: row.opt_text(6)?,
        rollback_of: opt_number(row, 7)?,
        created_at: row.time(8)?,
        config: document(row, 9)?,
    })
}
