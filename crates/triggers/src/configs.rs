//! Configs as they are used: read, and kept. One that was saved never changes, so what is here is
//! never old, and reading a schema or a pattern is paid once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tidewire_db::Query;

use crate::{
    Config, Error,
    model::TriggerType,
    store::{ConfigRow, Store},
};

/// Configs that are kept; past it, memory starts anew.
const MOST: usize = 20_000;

/// A config that was saved, read.
#[derive(Debug)]
pub(crate) struct Known {
    pub id: Arc<str>,
    pub kind: TriggerType,
    pub config: Config,
}

impl Known {
    pub(crate) fn read(row: &ConfigRow) -> Result<Arc<Self>, Error> {
        let config = Config::parse(row.kind, &row.config).map_err(|problem| {
            // It could be read when it was saved.
            let detail = problem.errors.first().map_or_else(
                || problem.detail.clone(),
                |fault| format!("{} {}", fault.pointer, fault.detail),
            );
            tidewire_db::Error::Broken(format!("the config `{}` cannot be read: {detail}", row.id))
        })?;
        Ok(Arc::new(Known {
            id: Arc::clone(&row.id),
            kind: row.kind,
            config,
        }))
    }
}

/// Cheap to clone; clones share what they keep.
#[derive(Clone)]
pub(crate) struct Configs {
    store: Arc<Store>,
    /// By their ids, which are unique across tenants.
    known: Arc<Mutex<HashMap<Arc<str>, Arc<Known>>>>,
}

impl Configs {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Configs {
            store,
            known: Arc::default(),
        }
    }

    fn get(&self, id: &str) -> Option<Arc<Known>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).map(Arc::clone)
    }

    pub(crate) fn keep(&self, config: &Arc<Known>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(Arc::clone(&config.id), Arc::clone(config));
    }

    /// One config; `None` if it is gone, and nothing goes by it any more.
    pub(crate) async fn one(
        &self,
        query: &mut impl Query,
        tenant: &str,
        id: &str,
    ) -> Result<Option<Arc<Known>>, Error> {
        Ok(self.all(query, tenant, &[id]).await?.pop().flatten())
    }

    /// Configs of a tenant, each in its place.
    pub(crate) async fn all(
        &self,
        query: &mut impl Query,
        tenant: &str,
        ids: &[&str],
    ) -> Result<Vec<Option<Arc<Known>>>, Error> {
        let mut found: Vec<_> = ids.iter().map(|id| self.get(id)).collect();
        let mut missing: Vec<_> = ids
            .iter()
            .zip(&found)
            .filter(|(_, known)| known.is_none())
            .map(|(id, _)| *id)
            .collect();
        missing.sort_unstable();
        missing.dedup();
        for some in missing.chunks(500) {
            for row in self.store.configs(query, tenant, some).await? {
                let known = Known::read(&row)?;
                self.keep(&known);
                for (place, id) in ids.iter().enumerate() {
                    if **id == *known.id {
                        found[place] = Some(Arc::clone(&known));
                    }
                }
            }
        }
        Ok(found)
    }
}
