//! Who has registered, and what is known of each.

use std::sync::Arc;

use tidewire_core::Time;
use tidewire_db::{Arg, Column, Dialect, Query, Result, Row, Sql, Tx};

use super::{Store, labels, opt_number, opt_text};
use crate::{
    Labels, SERVERS,
    model::{Attempt, AttemptState},
};

#[derive(Clone, Debug)]
pub(crate) struct AgentRow {
    pub agent_id: Arc<str>,
    /// Sorts by age.
    pub id: String,
    pub name: Option<String>,
    pub labels: Labels,
    pub registered_at: Time,
    pub last_seen_at: Option<Time>,
    pub attempt: Option<Attempt>,
    pub running: Option<u64>,
}

/// What is known of an agent before it reports.
#[derive(Clone)]
pub(crate) struct AttemptRow {
    pub version: Option<u64>,
    pub state: Option<AttemptState>,
    pub error: Option<String>,
    pub at: Option<Time>,
    pub running: Option<u64>,
}

/// An agent, and whose.
pub(crate) type AgentKey = (Arc<str>, Arc<str>);

pub(super) struct Statements {
    agent: Sql,
    agents: Sql,
    lock_agent: Sql,
    insert_agent: Sql,
    update_agent: Sql,
    delete_agent: Sql,
    attempts: Sql,
    report: Sql,
    seen: Sql,
}

const AGENT: &str = "agent_id, id, name, labels, registered_at, last_seen_at,
    attempt_version, attempt_state, attempt_error, attempt_at, running_version";

impl Statements {
    pub(super) fn new(dialect: &'static Dialect) -> Self {
        let sql = |text: &str| dialect.sql(text);
        let (insert_new, unless_known) = dialect.insert_new();
        let keys = dialect.json_rows("r", &[Column::Id("tenant"), Column::Id("agent_id")]);
        let reports = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("agent_id"),
                Column::Int("version"),
                Column::Id("state"),
                Column::Text("error"),
                Column::Time("at"),
                Column::Int("running"),
                Column::Time("seen"),
            ],
        );
        let seen = dialect.json_rows(
            "r",
            &[
                Column::Id("tenant"),
                Column::Id("agent_id"),
                Column::Time("at"),
            ],
        );
        let later = |at: &str| {
            format!(
                "CASE WHEN fleet_agents.last_seen_at > {at} THEN fleet_agents.last_seen_at ELSE {at} END"
            )
        };
        Statements {
            agent: sql(&format!(
                "SELECT {AGENT} FROM fleet_agents WHERE tenant = ? AND agent_id = ?"
            )),
            agents: sql(&format!(
                "SELECT {AGENT} FROM fleet_agents WHERE tenant = ? AND is_server = ? AND id < ? ORDER BY id DESC LIMIT ?"
            )),
            lock_agent: sql(&format!(
                "SELECT {AGENT} FROM fleet_agents WHERE tenant = ? AND agent_id = ?{}",
                dialect.lock()
            )),
            insert_agent: sql(&format!(
                "{insert_new} fleet_agents (tenant, agent_id, id, is_server, name, labels, registered_at, last_seen_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?){unless_known}"
            )),
            update_agent: sql(
                "UPDATE fleet_agents SET is_server = ?, name = ?, labels = ? WHERE tenant = ? AND agent_id = ?",
            ),
            delete_agent: sql("DELETE FROM fleet_agents WHERE tenant = ? AND agent_id = ?"),
            attempts: sql(&format!(
                "SELECT a.tenant, a.agent_id, a.attempt_version, a.attempt_state, a.attempt_error, a.attempt_at,
                    a.running_version
                 FROM {} {} WHERE a.tenant = {} AND a.agent_id = {}{}",
                keys.from,
                dialect.then("fleet_agents a"),
                keys.col("tenant"),
                keys.col("agent_id"),
                dialect.lock(),
            )),
            report: dialect.update_rows(
                "fleet_agents",
                &reports,
                &["tenant", "agent_id"],
                &[
                    ("attempt_version", reports.col("version")),
                    ("attempt_state", reports.col("state")),
                    ("attempt_error", reports.col("error")),
                    ("attempt_at", reports.col("at")),
                    ("running_version", reports.col("running")),
                    ("last_seen_at", reports.col("seen")),
                ],
            ),
            seen: dialect.update_rows(
                "fleet_agents",
                &seen,
                &["tenant", "agent_id"],
                &[("last_seen_at", &later(seen.col("at")))],
            ),
        }
    }
}

impl Store {
    pub(crate) async fn agent(
        &self,
        query: &mut impl Query,
        tenant: &str,
        id: &str,
    ) -> Result<Option<AgentRow>> {
        let row = query
            .row(&self.agents.agent, vec![tenant.into(), id.into()])
            .await?;
        row.as_ref().map(agent).transpose()
    }

    /// Nobody else registers it until the commit.
    pub(crate) async fn lock_agent(
        &self,
        tx: &mut Tx,
        tenant: &str,
        id: &str,
    ) -> Result<Option<AgentRow>> {
        let row = tx
            .row(&self.agents.lock_agent, vec![tenant.into(), id.into()])
            .await?;
        row.as_ref().map(agent).transpose()
    }

    /// Agents, or servers, that registered before this one (its `id`), newest first.
    pub(crate) async fn agents(
        &self,
        query: &mut impl Query,
        tenant: &str,
        servers: bool,
        before: &str,
        limit: u32,
    ) -> Result<Vec<AgentRow>> {
        let servers = u32::from(servers).into();
        let args = vec![tenant.into(), servers, before.into(), limit.into()];
        let rows = query.rows(&self.agents.agents, args).await?;
        rows.iter().map(agent).collect()
    }

    /// False, and nothing is changed, if somebody else has registered it meanwhile.
    pub(crate) async fn insert_agent(
        &self,
        tx: &mut Tx,
        tenant: &str,
        agent: &AgentRow,
    ) -> Result<bool> {
        let args = vec![
            tenant.into(),
            (&agent.agent_id).into(),
            (&agent.id).into(),
            is_server(&agent.labels),
            opt_text(agent.name.clone()),
            Arg::json(&agent.labels)?,
            agent.registered_at.into(),
            agent.registered_at.into(),
        ];
        Ok(tx.execute(&self.agents.insert_agent, args).await? > 0)
    }

    pub(crate) async fn update_agent(
        &self,
        tx: &mut Tx,
        tenant: &str,
        id: &str,
        name: Option<&str>,
        labels: &Labels,
    ) -> Result<()> {
        let args = vec![
            is_server(labels),
            opt_text(name.map(str::to_owned)),
            Arg::json(labels)?,
            tenant.into(),
            id.into(),
        ];
        tx.execute(&self.agents.update_agent, args).await.map(drop)
    }

    pub(crate) async fn delete_agent(&self, tx: &mut Tx, tenant: &str, id: &str) -> Result<()> {
        let args = vec![tenant.into(), id.into()];
        tx.execute(&self.agents.delete_agent, args).await.map(drop)
    }

    /// What is known of these agents, of those that are known. Their keys must be sorted.
    pub(crate) async fn attempts(
        &self,
        tx: &mut Tx,
        keys: &[&AgentKey],
    ) -> Result<Vec<(AgentKey, AttemptRow)>> {
        let rows = tx
            .rows(&self.agents.attempts, vec![Arg::json(keys)?])
            .await?;
        rows.iter()
            .map(|row| {
                let key = (row.text(0)?.into(), row.text(1)?.into());
                let known = AttemptRow {
                    version: opt_number(row, 2)?,
                    state: state(row, 3)?,
                    error: row.opt_text(4)?,
                    at: row.opt_time(5)?,
                    running: opt_number(row, 6)?,
                };
                Ok((key, known))
            })
            .collect()
    }

    pub(crate) async fn report(
        &self,
        tx: &mut Tx,
        reports: &[(AgentKey, AttemptRow)],
        seen_at: Time,
    ) -> Result<()> {
        let time = |at| self.dialect.json_time(at);
        let seen = time(seen_at);
        let rows: Vec<_> = reports
            .iter()
            .map(|((tenant, id), known)| {
                let state = known.state.map(AttemptState::as_str);
                let (at, error) = (known.at.map(time), known.error.as_deref());
                (
                    tenant,
                    id,
                    known.version,
                    state,
                    error,
                    at,
                    known.running,
                    &seen,
                )
            })
            .collect();
        tx.push(&self.agents.report, vec![Arg::json(&rows)?]).await
    }

    /// The keys must be sorted.
    pub(crate) async fn seen(&self, tx: &mut Tx, seen: &[(AgentKey, Time)]) -> Result<()> {
        let rows: Vec<_> = seen
            .iter()
            .map(|((tenant, id), at)| (tenant, id, self.dialect.json_time(*at)))
            .collect();
        tx.push(&self.agents.seen, vec![Arg::json(&rows)?]).await
    }
}

fn is_server(labels: &Labels) -> Arg {
    u32::from(labels.contains_key(SERVERS)).into()
}

fn state(row: &Row, column: usize) -> Result<Option<AttemptState>> {
    let text = row.opt_text(column)?;
    Ok(text.as_deref().and_then(AttemptState::parse))
}

fn agent(row: &Row) -> Result<AgentRow> {
    let (version, state, at) = (opt_number(row, 6)?, state(row, 7)?, row.opt_time(9)?);
    let error = row.opt_text(8)?;
    let attempt = match (version, state, at) {
        (Some(version), Some(state), Some(at)) => Some(Attempt {
            version,
            state,
            error,
            at,
        }),
        _ => None,
    };
    Ok(AgentRow {
        agent_id: row.text(0)?.into(),
        id: row.text(1)?,
        name: row.opt_text(2)?,
        labels: labels(row, 3)?,
        registered_at: row.time(4)?,
        last_seen_at: row.opt_time(5)?,
        attempt,
        running: opt_number(row, 10)?,
    })
}
