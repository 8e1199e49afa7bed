//! What a tenant's events are matched with: its event triggers, found by an event's type.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{Filter, Rule, TypePattern, configs::Known, store::RuleRow};

/// A trigger, or what it was before its last edit, for a stretch of the log.
pub(super) struct Entry {
    pub row: RuleRow,
    pub config: Arc<Known>,
    filter: Option<Box<Filter>>,
}

impl Entry {
    /// Whether an event at this position counts for it.
    pub(super) fn counts(&self, pos: u64) -> bool {
        self.row.from_pos < pos && self.row.until_pos.is_none_or(|until| pos <= until)
    }

    pub(super) fn filter(&self) -> Option<&Filter> {
        self.filter.as_deref()
    }
}

/// All of a tenant. In the order of the triggers' ids.
pub(super) struct Book {
    /// As they were read, to see whether they still are the same.
    pub rows: Vec<RuleRow>,
    /// Configs that cannot be used, and were complained about.
    pub unreadable: HashSet<Arc<str>>,
    entries: Vec<Entry>,
    exact: HashMap<Box<str>, Vec<u32>>,
    prefixes: HashMap<Box<str>, Vec<u32>>,
    /// Of all prefixes, each once.
    lengths: BTreeSet<usize>,
}

impl Book {
    /// `configs` has what could be read; what could not stands in `unreadable`.
    pub(super) fn new(
        rows: Vec<RuleRow>,
        configs: &HashMap<Arc<str>, Arc<Known>>,
        unreadable: HashSet<Arc<str>>,
    ) -> Self {
        let mut book = Book {
            rows: Vec::new(),
            unreadable,
            entries: Vec::with_capacity(rows.len()),
            exact: HashMap::new(),
            prefixes: HashMap::new(),
            lengths: BTreeSet::new(),
        };
        for row in &rows {
            let Some(config) = configs.get(&row.config_id) else {
                continue;
            };
            let Rule::Event { event_type, filter } = &config.config.rule else {
                continue;
            };
            let place = u32::try_from(book.entries.len()).unwrap_or(u32::MAX);
            let list = match event_type {
                TypePattern::Exact(exact) => book.exact.entry(exact.as_str().into()),
                TypePattern::Prefix(prefix) => {
                    book.lengths.insert(prefix.len());
                    book.prefixes.entry(prefix.as_str().into())
                }
            };
            list.or_default().push(place);
            book.entries.push(Entry {
                row: row.clone(),
                filter: filter.clone(),
                config: Arc::clone(config),
            });
        }
        book.rows = rows;
        book
    }

    /// The configs that it holds.
    pub(super) fn configs(&self) -> impl Iterator<Item = &Arc<Known>> {
        self.entries.iter().map(|entry| &entry.config)
    }

    /// Where the first of what triggers were before an edit ends.
    pub(super) fn first_end(&self) -> Option<u64> {
        self.rows.iter().filter_map(|row| row.until_pos).min()
    }

    pub(super) fn entry(&self, place: u32) -> &Entry {
        &self.entries[place as usize]
    }

    /// The places of those that listen to a type.
    pub(super) fn listening(&self, kind: &str) -> Vec<u32> {
        let exact = self.exact.get(kind).into_iter();
        let prefixes = self
            .lengths
            .iter()
            .map_while(|length| kind.get(..*length))
            .filter_map(|prefix| self.prefixes.get(prefix));
        let lists: Vec<&Vec<u32>> = exact.chain(prefixes).collect();
        let mut places: Vec<u32> = lists.iter().copied().flatten().copied().collect();
        if lists.len() > 1 {
            places.sort_unstable();
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;
    use crate::{Config, TriggerType};

    fn book(patterns: &[&str]) -> Book {
        let mut rows = Vec::new();
        let mut configs = HashMap::new();
        for (n, pattern) in patterns.iter().enumerate() {
            let id: Arc<str> = format!("{n:05}").into();
            let raw = json!({"job": {"type": "j"}, "event_type": pattern});
            let raw = to_raw_value(&raw).unwrap();
            let config = Config::parse(TriggerType::Event, &raw).unwrap();
            let known = Known {
                id: Arc::clone(&id),
                kind: TriggerType::Event,
                config,
            };
            configs.insert(Arc::clone(&id), Arc::new(known));
            rows.push(RuleRow {
                trigger_id: Arc::clone(&id),
                from_pos: 0,
                until_pos: None,
                config_id: id,
            });
        }
        Book::new(rows, &configs, HashSet::new())
    }

    #[test]
    fn a_type_is_heard_by_those_who_name_it_or_how_it_begins() {
        let patterns = ["a.b", "*", "a.*", "a.b.*", "a.b", "b*", "a.b.c.d*", "a*"];
        let book = book(&patterns);
        for kind in [
            "a.b", "a", "a.b.c", "a.b.c.d", "b", "bee", "c", "a.", "a.b.",
        ] {
            let all = patterns.iter().enumerate();
            let slow = all
                .filter(|(_, pattern)| TypePattern::parse(pattern).unwrap().matches(kind))
                .map(|(n, _)| u32::try_from(n).unwrap());
            assert_eq!(book.listening(kind), slow.collect::<Vec<_>>(), "{kind}");
        }
    }

    /// What makes ten thousand triggers cheap for an event that few of them want.
    #[test]
    fn an_event_is_compared_with_those_alone_who_listen_to_its_type() {
        let patterns: Vec<_> = (0..10_000)
            .map(|n| match n % 2 {
                0 => format!("type.{n}"),
                _ => format!("type.{n}.*"),
            })
            .collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let book = book(&patterns);
        for n in 0..1000 {
            assert_eq!(book.listening(&format!("type.{}", 2 * n)), [2 * n]);
            let kind = format!("type.{}.x", 2 * n + 1);
            assert_eq!(book.listening(&kind), [2 * n + 1]);
        }
    }
}
