//! Which logs have grown: for whoever follows many of them by reading the table, and wants to sleep
//! while nothing comes.
//!
//! It costs an append a look at a list that is nearly always empty or has one entry. What is told
//! here is a hint, like everything live: a position that the log reached, never an event.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
};

use tokio::sync::Notify;

use crate::feed::Feeds;

/// Tells which of a set of logs have grown, by whatever process.
pub struct Growth {
    watched: Arc<Watched>,
    feeds: Arc<Feeds>,
}

#[derive(Default)]
struct Watched {
    logs: Mutex<Logs>,
    wake: Notify,
}

#[derive(Default)]
struct Logs {
    /// How far each is known to reach.
    heads: HashMap<Arc<str>, u64>,
    /// Those that grew since somebody asked.
    grown: HashMap<Arc<str>, u64>,
}

impl Growth {
    pub(crate) fn new(feeds: &Arc<Feeds>) -> Self {
        let growth = Growth {
            watched: Arc::default(),
            feeds: Arc::clone(feeds),
        };
        feeds.growths.add(&growth.watched);
        growth
    }

    /// From here on these logs are told about, and no others. To be called before their heads are
    /// read: what is appended in between is told then.
    pub fn watch(&self, tenants: impl IntoIterator<Item = Arc<str>>) {
        let mut added = false;
        {
            let mut logs = self.watched.lock();
            let mut old = std::mem::take(&mut logs.heads);
            for tenant in tenants {
                let known = old.remove(&tenant);
                added |= known.is_none();
                logs.heads.insert(tenant, known.unwrap_or(0));
            }
            let Logs { heads, grown } = &mut *logs;
            grown.retain(|tenant, _| heads.contains_key(tenant));
        }
        if added {
            self.feeds.somebody_joined();
        }
    }

    /// The logs that have grown since this was last asked, and where they were last seen to end.
    #[must_use]
    pub fn take(&self) -> HashMap<Arc<str>, u64> {
        std::mem::take(&mut self.watched.lock().grown)
    }

    /// Waits until a log has grown. Loses nothing if it is dropped.
    pub async fn changed(&self) {
        loop {
            let woken = self.watched.wake.notified();
            if !self.watched.lock().grown.is_empty() {
                return;
            }
            woken.await;
        }
    }
}

impl Watched {
    fn lock(&self) -> std::sync::MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self, tenant: &str, pos: u64) -> bool {
        let mut logs = self.lock();
        let Some((tenant, head)) = logs.heads.get_key_value(tenant) else {
            return false;
        };
        if pos <= *head {
            return false;
        }
        let tenant = Arc::clone(tenant);
        logs.heads.insert(Arc::clone(&tenant), pos);
        logs.grown.insert(tenant, pos);
        drop(logs);
        self.wake.notify_one();
        true
    }
}

/// All of them in this process.
#[derive(Default)]
pub(crate) struct Growths(RwLock<Vec<Weak<Watched>>>);

impl Growths {
    fn add(&self, watched: &Arc<Watched>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(watched));
    }

    /// Tells that a log reaches `pos`; whether that was news to anybody.
    pub(crate) fn committed(&self, tenant: &str, pos: u64) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut is_news = false;
        for watched in all.iter().filter_map(Weak::upgrade) {
            is_news |= watched.committed(tenant, pos);
        }
        is_news
    }

    /// Adds the logs that anybody watches.
    pub(crate) fn watched(&self, tenants: &mut Vec<Arc<str>>) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for watched in all.iter().filter_map(Weak::upgrade) {
            tenants.extend(watched.lock().heads.keys().map(Arc::clone));
        }
    }
}
