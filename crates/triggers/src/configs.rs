//! Configs as they are used: read, and kept. One that was saved never changes, so what is here is
//! never old, and reading a schema or a pattern is paid once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidewire_db::Query;

use crate::{
    Config, Error,
    model::TriggerType,
    store::{ConfigRow, Store},
};

/// Configs that are kept from their last use on; then up to as many more are, until those are used.
const MOST: usize = 20_000;

/// A config that was saved, read.
#[derive(Debug)]
pub(crate) struct Known {
    pub id: Arc<str>,
    pub kind: TriggerType,
    pub config: Config,
}

impl Known {
    pub(crate) fn read(row: &ConfigRow) -> tidewire_db::Result<Arc<Self>> {
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
    known: Arc<Mutex<Memory>>,
}

/// By their ids, which are unique across tenants.
#[derive(Default)]
struct Memory {
    used: HashMap<Arc<str>, Arc<Known>>,
    /// What was used before `used` was last full.
    old: HashMap<Arc<str>, Arc<Known>>,
}

impl Memory {
    fn get(&mut self, id: &str) -> Option<Arc<Known>> {
        if let Some(known) = self.used.get(id) {
            return Some(Arc::clone(known));
        }
        let known = self.old.remove(id)?;
        self.keep(Arc::clone(&known));
        Some(known)
    }

    fn keep(&mut self, config: Arc<Known>) {
        if self.used.len() >= MOST {
            self.old = std::mem::take(&mut self.used);
        }
        self.used.insert(Arc::clone(&config.id), config);
    }
}

impl Configs {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Configs {
            store,
            known: Arc::default(),
        }
    }

    fn get(&self, id: &str) -> Option<Arc<Known>> {
        self.memory().get(id)
    }

    pub(crate) fn keep(&self, config: &Arc<Known>) {
        self.memory().keep(Arc::clone(config));
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As after a restart.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        *self.memory() = Memory::default();
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

    /// Configs of any tenants, by (tenant, id), each in its place: one that is gone or cannot be read
    /// says so, and stands in nobody's way.
    pub(crate) async fn each(
        &self,
        query: &mut impl Query,
        keys: &[(&str, &str)],
    ) -> tidewire_db::Result<Vec<Result<Arc<Known>, String>>> {
        let found: Vec<_> = {
            let mut memory = self.memory();
            keys.iter().map(|(_, id)| memory.get(id)).collect()
        };
        let both = keys.iter().zip(&found);
        let mut missing: Vec<_> = both
            .filter(|(_, known)| known.is_none())
            .map(|(key, _)| *key)
            .collect();
        missing.sort_unstable();
        missing.dedup();
        let mut read = HashMap::new();
        for some in missing.chunks(500) {
            for (id, row) in self.store.configs_of(query, some).await? {
                let known = row.and_then(|row| Known::read(&row));
                if let Ok(known) = &known {
                    self.keep(known);
                }
                read.insert(id, known.map_err(|error| error.to_string()));
            }
        }
        let gone = || Err("it is not in the store".to_owned());
        let answer = |((_, id), known): (&(&str, &str), Option<_>)| match known {
            Some(known) => Ok(known),
            None => read.get(*id).cloned().unwrap_or_else(gone),
        };
        Ok(keys.iter().zip(found).map(answer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_when_memory_is_full() {
        let config = serde_json::value::RawValue::from_string(
            r#"{"job": {"type": "t"}, "every": "1m"}"#.to_owned(),
        );
        let kind = TriggerType::IntervalScheduled;
        let config = Config::parse(kind, &config.unwrap()).unwrap();
        let known = |n: usize| {
            Arc::new(Known {
                id: n.to_string().into(),
                kind,
                config: config.clone(),
            })
        };
        let mut memory = Memory::default();
        for n in 0..5 * MOST {
            memory.keep(known(n));
            assert!(memory.get("0").is_some(), "{n}");
        }
        assert!(memory.get("1").is_none());
        assert!(memory.used.len() + memory.old.len() <= 2 * MOST);
    }
}
