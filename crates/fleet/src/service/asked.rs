//! What is offered to those who ask, and what is remembered for them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use tidewire_core::Time;
use tidewire_db::Db;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AT_ONCE, Answer, Ask, Fleet, Inner};
use crate::{
    Error, Offer,
    memory::{Member, Room},
    metrics::HeldOne,
    model,
    offers::{self, Offers},
    store::{AgentKey, HeadRow},
};

impl Fleet {
    /// Answers somebody who asks for its config, from memory unless something has changed.
    pub async fn config(&self, tenant: &Arc<str>, ask: Ask<'_>) -> Result<Answer, Error> {
        let answer = self.answer(tenant, ask).await?;
        let answers = &self.inner.answers;
        match answer {
            Answer::Config(_) => answers.changed.increment(1),
            Answer::Unchanged(_) => answers.unchanged.increment(1),
            Answer::None => answers.none.increment(1),
        }
        Ok(answer)
    }

    async fn answer(&self, tenant: &Arc<str>, ask: Ask<'_>) -> Result<Answer, Error> {
        let room = self.room(tenant).await?;
        self.catch_up(&room, ask.revision).await?;
        let judge = |offer: Option<Arc<Offer>>| match offer {
            None => Answer::None,
            Some(offer) if ask.if_none_match.is_some_and(|has| has.has(offer.tag())) => {
                Answer::Unchanged(offer)
            }
            Some(offer) => Answer::Config(offer),
        };
        let member = self.asking(&room, ask.agent_id).await?;
        let answer = judge(room.offer(member.as_deref()));
        if ask.wait.is_zero() || matches!(answer, Answer::Config(_)) {
            return Ok(answer);
        }
        self.hold(&room, ask, judge).await
    }

    /// Holds an answer until there is something new, the time is over, or the process stops.
    async fn hold(
        &self,
        room: &Arc<Room>,
        ask: Ask<'_>,
        judge: impl Fn(Option<Arc<Offer>>) -> Answer,
    ) -> Result<Answer, Error> {
        let _held = HeldOne::new();
        let mut changes = room.changes();
        let until = tokio::time::sleep_until(Instant::now() + ask.wait);
        let stop = self.inner.shutdown.cancelled();
        tokio::pin!(until, stop);
        loop {
            // What changed before the subscription is seen here, and what changes behind it is told.
            changes.borrow_and_update();
            let member = self.asking(room, ask.agent_id).await?;
            let answer = judge(room.offer(member.as_deref()));
            if matches!(answer, Answer::Config(_)) {
                return Ok(answer);
            }
            tokio::select! {
                biased;
                () = &mut stop => return Ok(answer),
                changed = changes.changed() => if changed.is_err() {
                    return Ok(answer);
                },
                () = &mut until => return Ok(answer),
            }
        }
    }

    /// The version that is offered just now.
    pub async fn offered(
        &self,
        tenant: &Arc<str>,
        agent_id: Option<&str>,
    ) -> Result<Option<Arc<Offer>>, Error> {
        let room = self.room(tenant).await?;
        let member = self.asking(&room, agent_id).await?;
        Ok(room.offer(member.as_deref()))
    }

    /// Tells when an agent should ask: at once, and then whenever it is offered something else.
    pub async fn watch(
        &self,
        tenant: &Arc<str>,
        agent_id: Option<String>,
    ) -> Result<Watching, Error> {
        let room = self.room(tenant).await?;
        self.asking(&room, agent_id.as_deref()).await?;
        Ok(Watching {
            changes: room.changes(),
            fleet: self.clone(),
            room,
            agent_id,
            told: None,
            _held: HeldOne::new(),
        })
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    /// The agent that asks, noted as seen.
    pub(super) async fn asking(
        &self,
        room: &Arc<Room>,
        agent_id: Option<&str>,
    ) -> Result<Option<Arc<Member>>, Error> {
        let Some(agent_id) = agent_id else {
            return Ok(None);
        };
        let member = match room.member(agent_id) {
            Some(member) => member,
            None => self.member(room, agent_id).await?,
        };
        member.see(self.inner.clock.now());
        Ok(Some(member))
    }

    pub(super) async fn member(
        &self,
        room: &Arc<Room>,
        agent_id: &str,
    ) -> Result<Arc<Member>, Error> {
        if let Some(member) = room.member(agent_id) {
            return Ok(member);
        }
        model::check_agent("agent_id", agent_id)?;
        loop {
            let revision = room.revision();
            self.inner.answers.queries.increment(1);
            let mut read = self.inner.db.read();
            let row = self
                .inner
                .store
                .agent(&mut read, &room.tenant, agent_id)
                .await?;
            let row = row.ok_or_else(|| Error::NoSuchAgent(agent_id.to_owned()))?;
            let member = room.remember(&row);
            // Whoever was told that it changed in between did not find it to be dropped.
            if room.revision() == revision {
                return Ok(member);
            }
        }
    }

    /// Whoever was told of a revision is not answered as of an older one.
    async fn catch_up(&self, room: &Arc<Room>, told: Option<u64>) -> Result<(), Error> {
        let Some(told) = told.filter(|told| room.revision() < *told) else {
            return Ok(());
        };
        self.renew(room).await?;
        let stored = room.revision();
        if stored < told {
            return Err(Error::Behind { told, stored });
        }
        Ok(())
    }

    pub(crate) fn room_if_known(&self, tenant: &str) -> Option<Arc<Room>> {
        let rooms = self
            .inner
            .rooms
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        rooms.get(tenant).map(Arc::clone)
    }

    pub(crate) fn rooms(&self) -> Vec<Arc<Room>> {
        let rooms = self
            .inner
            .rooms
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        rooms.values().map(Arc::clone).collect()
    }

    pub(super) async fn room(&self, tenant: &Arc<str>) -> Result<Arc<Room>, Error> {
        if let Some(room) = self.room_if_known(tenant) {
            return Ok(room);
        }
        let offers = self.inner.read_offers(tenant).await?;
        let mut rooms = self
            .inner
            .rooms
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let room = rooms
            .entry(Arc::clone(tenant))
            .or_insert_with(|| Arc::new(Room::new(Arc::clone(tenant), offers)));
        Ok(Arc::clone(room))
    }

    /// Takes in what has changed in the store.
    pub(crate) async fn renew(&self, room: &Arc<Room>) -> Result<(), Error> {
        let _reading = room.reading.lock().await;
        let (inner, known) = (&self.inner, room.revision());
        inner.answers.queries.increment(1);
        let mut read = inner.db.read();
        if inner.store.revision(&mut read, &room.tenant).await? <= known {
            return Ok(());
        }
        // In this order: agents that are read anew behind it have the labels of the offers or later ones.
        let offers = inner.read_offers(&room.tenant).await?;
        let mut read = inner.db.read();
        let changed = inner
            .store
            .changed_agents(&mut read, &room.tenant, known)
            .await?;
        room.renew(offers, &changed);
        Ok(())
    }

    pub(crate) async fn write(&self, seen: Vec<(AgentKey, Time)>) -> Result<(), Error> {
        let (store, seen) = (Arc::clone(&self.inner.store), Arc::new(seen));
        let written = self.inner.db.transact("fleet.seen", move |tx| {
            let (store, seen) = (Arc::clone(&store), Arc::clone(&seen));
            Box::pin(async move { store.seen(tx, &seen).await })
        });
        Ok(written.await?)
    }
}

impl Inner {
    async fn read_offers(&self, tenant: &str) -> Result<Offers, Error> {
        let mut read = self.db.read();
        // First: what is newer than its revision only is read once more.
        let revision = self.store.revision(&mut read, tenant).await?;
        let mut heads: Vec<HeadRow> = Vec::new();
        let mut before = i64::MAX.unsigned_abs();
        let mut newest = 0;
        self.answers.queries.increment(1);
        loop {
            self.answers.queries.increment(1);
            let page = self.store.heads(&mut read, tenant, before, AT_ONCE).await?;
            let is_last = page.len() < AT_ONCE;
            if let Some(last) = page.last() {
                before = last.version;
            }
            newest = page.first().map_or(newest, |head| head.version.max(newest));
            heads = offers::in_play(heads.into_iter().chain(page));
            if is_last {
                break;
            }
        }
        let versions: Vec<_> = heads.iter().map(|head| head.version).collect();
        let mut bodies = HashMap::new();
        if !versions.is_empty() {
            self.answers.queries.increment(1);
            let rows = self.store.bodies(&mut read, tenant, &versions).await?;
            bodies.extend(rows.into_iter().map(|body| (body.version, body)));
        }
        let mut list = Vec::with_capacity(heads.len());
        for head in &heads {
            let Some(body) = bodies.remove(&head.version) else {
                continue;
            };
            let offer = Offer::new(head, body.config, body.note.as_deref(), body.created_at)?;
            list.push(Arc::new(offer));
        }
        Ok(Offers::new(revision, newest, list))
    }
}

/// Somebody who is told when to ask.
pub struct Watching {
    fleet: Fleet,
    room: Arc<Room>,
    agent_id: Option<String>,
    changes: tokio::sync::watch::Receiver<Arc<Offers>>,
    /// The version of which it was told last, if it was told.
    told: Option<Option<u64>>,
    _held: HeldOne,
}

impl Watching {
    /// Waits until it should ask; the revision as of which there is something to be had. None: the
    /// end.
    pub async fn next(&mut self) -> Option<u64> {
        loop {
            let revision = self.changes.borrow_and_update().revision;
            // Gone meanwhile, or the store is away: asking will tell.
            let asking = self.fleet.asking(&self.room, self.agent_id.as_deref());
            let offered = match asking.await {
                Ok(member) => self
                    .room
                    .offer(member.as_deref())
                    .map(|offer| offer.version),
                Err(_) => None,
            };
            if self.told != Some(offered) {
                self.told = Some(offered);
                return Some(revision);
            }
            self.changes.changed().await.ok()?;
        }
    }
}
