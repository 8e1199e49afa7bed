//! Agents: who they are, and what they say.

use std::sync::Arc;

use tidewire_core::{Problem, ids, page};

use super::{Fleet, PageOf, asker, cut, last_seen, lock};
use crate::{
    Agent, Error, Registration, Report, model,
    statuses::Said,
    store::{AgentKey, AgentRow, Change},
};

impl Fleet {
    /// Makes an agent known, or takes in what it says of itself now; its id.
    pub async fn register(
        &self,
        tenant: &Arc<str>,
        registration: Registration,
    ) -> Result<Arc<str>, Error> {
        registration.check()?;
        let now = self.inner.clock.now();
        let id = ids::new_id(&self.inner.clock);
        let row = AgentRow {
            agent_id: registration.agent_id.unwrap_or_else(|| id.clone()).into(),
            id,
            name: registration.name,
            labels: registration.labels,
            registered_at: now,
            last_seen_at: Some(now),
            attempt: None,
            running: None,
        };
        let (inner, of, new) = (Arc::clone(&self.inner), Arc::clone(tenant), row.clone());
        let registered = self.inner.db.transact("fleet.register", move |tx| {
            let (inner, tenant, row) = (Arc::clone(&inner), Arc::clone(&of), new.clone());
            Box::pin(async move {
                let id = &row.agent_id;
                let Some(known) = inner.store.lock_agent(tx, &tenant, id).await? else {
                    return match inner.store.insert_agent(tx, &tenant, &row).await? {
                        true => Ok(()),
                        false => Err(tx.yield_to_others("another has registered the agent")),
                    };
                };
                if known.name == row.name && known.labels == row.labels {
                    return Ok(());
                }
                let (name, labels) = (row.name.as_deref(), &row.labels);
                inner
                    .store
                    .update_agent(tx, &tenant, id, name, labels)
                    .await?;
                if known.labels != row.labels {
                    lock(tx, &tenant).await?;
                    let relabelled = Change::Agent { agent_id: id };
                    inner.change(tx, &tenant, relabelled, (None, now)).await?;
                }
                Ok(())
            })
        });
        registered.await?;
        let room = self.room(tenant).await?;
        self.renew(&room).await?;
        // As the store has it, since others may register it too.
        self.asking(&room, Some(&row.agent_id)).await?;
        Ok(row.agent_id)
    }

    /// Forgets one that is gone for good. Should it ask again all the same, it is told to register, and
    /// is who it was.
    pub async fn forget(&self, tenant: &Arc<str>, agent_id: &str) -> Result<(), Error> {
        model::check_agent("id", agent_id)?;
        let (inner, of) = (Arc::clone(&self.inner), Arc::clone(tenant));
        let gone: Arc<str> = agent_id.into();
        let forgotten = self.inner.db.transact("fleet.forget", move |tx| {
            let (inner, tenant, id) = (Arc::clone(&inner), Arc::clone(&of), Arc::clone(&gone));
            Box::pin(async move {
                if inner.store.lock_agent(tx, &tenant, &id).await?.is_none() {
                    return Err(Error::NoSuchAgent(id.to_string()));
                }
                inner.store.delete_agent(tx, &tenant, &id).await?;
                lock(tx, &tenant).await?;
                let by = (None, inner.clock.now());
                let forgotten = Change::Agent { agent_id: &id };
                inner.change(tx, &tenant, forgotten, by).await?;
                Ok(())
            })
        });
        forgotten.await?;
        self.renew(&self.room(tenant).await?).await
    }

    /// Newest first, and the cursor of the next page; or, in their place, servers of Tidewire.
    pub async fn agents(
        &self,
        tenant: &Arc<str>,
        servers: bool,
        page: &PageOf,
    ) -> Result<(Vec<Agent>, Option<String>), Error> {
        const LIST: &str = "agents";
        let limit = page::limit(page.limit)?;
        let before = page.behind(LIST)?.unwrap_or_else(|| "~".to_owned());
        let room = self.room(tenant).await?;
        let mut read = self.inner.db.read();
        let rows = self
            .inner
            .store
            .agents(&mut read, tenant, servers, &before, limit + 1);
        let (rows, next) = cut(LIST, rows.await?, limit, |last| last.id.clone());
        let offers = room.offers();
        let shown = rows.into_iter().map(|row| Agent {
            offered: offers
                .for_whom(Some(asker(&row)))
                .map(|offer| offer.version),
            last_seen_at: last_seen(&room, &row),
            agent_id: row.agent_id.to_string(),
            name: row.name,
            labels: row.labels,
            registered_at: row.registered_at,
            last_attempt: row.attempt,
            running: row.running,
        });
        Ok((shown.collect(), next))
    }

    /// Takes in what an agent says of a version that it tried; durable when this returns.
    pub async fn report(
        &self,
        tenant: &Arc<str>,
        agent_id: &str,
        report: Report,
    ) -> Result<(), Error> {
        model::check_agent("id", agent_id)?;
        let room = self.room(tenant).await?;
        let member = self.member(&room, agent_id).await?;
        if report.version > room.offers().newest {
            self.renew(&room).await?;
        }
        let newest = room.offers().newest;
        if !(1..=newest).contains(&report.version) {
            let detail = format!("is {}, and the newest version is {newest}", report.version);
            return Err(Problem::invalid("/version", detail).into());
        }
        let at = self.inner.clock.now();
        member.see(at);
        let agent: AgentKey = (Arc::clone(tenant), Arc::clone(&member.agent_id));
        let said = Said {
            agent,
            report: report.cut(),
            at,
        };
        match self.inner.statuses.submit(said).await? {
            true => Ok(()),
            false => Err(Error::NoSuchAgent(agent_id.to_owned())),
        }
    }
}
