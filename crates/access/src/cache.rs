//! A map that cannot outgrow its bound: two generations, the older of which is dropped whole when
//! the younger one is full. What is looked up moves to the younger, so what is in use stays.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

pub(crate) struct Bounded<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation: usize,
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    /// Holds at least the last `most / 2` entries that were used, and never more than `most`.
    pub(crate) fn new(most: usize) -> Self {
        Bounded {
            young: HashMap::new(),
            old: HashMap::new(),
            generation: (most / 2).max(1),
        }
    }

    pub(crate) fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// The key as it is kept.
    pub(crate) fn get_key<Q>(&mut self, key: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key)?;
        self.young.get_key_value(key).map(|(key, _)| key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.young.retain(|_, value| keep(value));
        self.old.retain(|_, value| keep(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let mut cache = Bounded::new(10);
        cache.insert(0, "kept");
        for n in 1..1000 {
            cache.insert(n, "passing");
            assert_eq!(cache.get(&0), Some(&"kept"), "after {n}");
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn what_is_removed_is_gone_from_both_generations() {
        let mut cache = Bounded::new(4);
        for n in 0..3 {
            cache.insert(n, ());
        }
        for n in 0..3 {
            cache.remove(&n);
            assert!(cache.get(&n).is_none());
        }
    }
}
