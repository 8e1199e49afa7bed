//! What a controller remembers of a tenant, so that nothing is asked of the store as long as nothing
//! changes: what is offered, as of a revision, and who the agents are.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use tidewire_core::Time;
use tokio::sync::{Mutex, watch};

use crate::{
    Labels, Offer,
    offers::{Asker, Offers},
    store::AgentRow,
};

/// One tenant's fleet.
pub(crate) struct Room {
    pub tenant: Arc<str>,
    offers: watch::Sender<Arc<Offers>>,
    members: RwLock<HashMap<Arc<str>, Arc<Member>>>,
    /// One at a time reads the store for everybody.
    pub reading: Mutex<()>,
}

/// An agent that has asked.
pub(crate) struct Member {
    pub agent_id: Arc<str>,
    pub labels: Labels,
    /// In microseconds.
    seen: AtomicI64,
    /// The last of these that was written down.
    written: AtomicI64,
}

impl Room {
    pub fn new(tenant: Arc<str>, offers: Offers) -> Self {
        Room {
            tenant,
            offers: watch::Sender::new(Arc::new(offers)),
            members: RwLock::default(),
            reading: Mutex::default(),
        }
    }

    pub fn offers(&self) -> Arc<Offers> {
        Arc::clone(&self.offers.borrow())
    }

    pub fn revision(&self) -> u64 {
        self.offers.borrow().revision
    }

    /// What is offered to this agent, or to somebody who does not say who it is.
    pub fn offer(&self, member: Option<&Member>) -> Option<Arc<Offer>> {
        let offers = self.offers.borrow();
        offers.for_whom(member.map(Member::asker)).map(Arc::clone)
    }

    /// Is told of each change from now on.
    pub fn changes(&self) -> watch::Receiver<Arc<Offers>> {
        self.offers.subscribe()
    }

    pub fn somebody_waits(&self) -> bool {
        self.offers.receiver_count() > 0
    }

    /// Takes in what the store says, if it is newer, and tells who waits. The agents that changed are
    /// dropped first, or they would be judged by what they were.
    pub fn renew(&self, offers: Offers, changed: &[String]) {
        if !changed.is_empty() {
            let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
            for agent in changed {
                members.remove(agent.as_str());
            }
        }
        self.offers.send_if_modified(|known| {
            let newer = offers.revision > known.revision;
            if newer {
                *known = Arc::new(offers);
            }
            newer
        });
    }

    pub fn member(&self, agent_id: &str) -> Option<Arc<Member>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.get(agent_id).map(Arc::clone)
    }

    /// Remembers an agent as the store has it; when it was seen here is kept.
    pub fn remember(&self, row: &AgentRow) -> Arc<Member> {
        let stored = row.last_seen_at.map_or(0, Time::micros);
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let seen = members.get(&row.agent_id).map_or(stored, |known| {
            known.seen.load(Ordering::Relaxed).max(stored)
        });
        let member = Arc::new(Member {
            agent_id: Arc::clone(&row.agent_id),
            labels: row.labels.clone(),
            seen: AtomicI64::new(seen),
            written: AtomicI64::new(stored),
        });
        members.insert(Arc::clone(&row.agent_id), Arc::clone(&member));
        member
    }

    /// Those who were seen so much later than is written down.
    pub fn unwritten(&self, more_than: i64) -> Vec<Arc<Member>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members
            .values()
            .filter(|member| {
                let seen = member.seen.load(Ordering::Relaxed);
                seen - member.written.load(Ordering::Relaxed) > more_than
            })
            .map(Arc::clone)
            .collect()
    }
}

impl Member {
    pub fn asker(&self) -> Asker<'_> {
        Asker {
            agent_id: &self.agent_id,
            labels: &self.labels,
        }
    }

    pub fn see(&self, at: Time) {
        self.seen.fetch_max(at.micros(), Ordering::Relaxed);
    }

    pub fn seen(&self) -> Time {
        Time::from_micros(self.seen.load(Ordering::Relaxed))
    }

    pub fn wrote(&self, at: Time) {
        self.written.fetch_max(at.micros(), Ordering::Relaxed);
    }
}
