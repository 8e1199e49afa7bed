//! What is known of one kind of resource: what its watch says, and what our own requests were answered.
//!
//! A watch is behind: what was just asked for does not show in it yet. So an answer counts until the watch
//! has said something newer, and it is asked about again if the watch says nothing at all of it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Resource, ResourceExt as _, runtime::watcher::Event};

/// How long a watch may take to speak of what an answer showed, before it is asked about.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

pub struct Cache<K> {
    entries: HashMap<String, Entry<K>>,
    /// What a watch that begins anew has listed so far.
    listing: Option<HashMap<String, Arc<K>>>,
    /// Requests under way that make something, by name: whether the watch said meanwhile that it is gone.
    making: HashMap<String, bool>,
    is_synced: bool,
}

struct Entry<K> {
    object: Arc<K>,
    /// Since when only an answer speaks of it.
    unconfirmed: Option<Instant>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Cache {
            entries: HashMap::new(),
            listing: None,
            making: HashMap::new(),
            is_synced: false,
        }
    }
}

impl<K: Resource<DynamicType = ()>> Cache<K> {
    /// Takes in what the watch says; whether that changes anything, of which `differs` is the judge.
    pub fn watched(&mut self, event: Event<K>, differs: impl Fn(&K, &K) -> bool) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(HashMap::new());
                false
            }
            Event::InitApply(object) => {
                let listing = self.listing.get_or_insert_default();
                listing.insert(object.name_any(), Arc::new(object));
                false
            }
            Event::InitDone => {
                let listing = self.listing.take().unwrap_or_default();
                // What was made while it was listed may not be in it.
                self.entries
                    .retain(|name, it| it.unconfirmed.is_some() || listing.contains_key(name));
                for (name, object) in listing {
                    self.put(name, object, None);
                }
                self.is_synced = true;
                true
            }
            Event::Apply(object) => {
                let name = object.name_any();
                let object = Arc::new(object);
                let before = self.get(&name).cloned();
                self.put(name, Arc::clone(&object), None);
                before.is_none_or(|before| differs(&before, &object))
            }
            Event::Delete(object) => {
                let name = object.name_any();
                if let Some(is_gone) = self.making.get_mut(&name) {
                    *is_gone = true;
                }
                self.entries.remove(&name).is_some()
            }
        }
    }

    /// A request that makes this one begins.
    pub fn make(&mut self, name: &str) {
        self.making.insert(name.to_owned(), false);
    }

    /// It was answered, or failed.
    pub fn made(&mut self, name: &str, answer: Option<&K>)
    where
        K: Clone,
    {
        let is_gone = self.making.remove(name).unwrap_or(false);
        if let Some(object) = answer
            && !is_gone
        {
            let object = Arc::new(object.clone());
            self.put(name.to_owned(), object, Some(Instant::now()));
        }
    }

    /// Whether a request that makes it is under way.
    pub fn is_being_made(&self, name: &str) -> bool {
        self.making.contains_key(name)
    }

    /// A request about one that was there was answered. The watch may have said since that it is gone.
    pub fn answered(&mut self, object: K) {
        let name = object.name_any();
        if self.entries.contains_key(&name) {
            self.put(name, Arc::new(object), Some(Instant::now()));
        }
    }

    /// Somebody asked, and there is none of this name.
    pub fn is_gone(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// Names of which the watch says nothing although an answer did.
    pub fn unconfirmed(&self) -> Vec<String> {
        let is_late = |entry: &Entry<K>| {
            let since = entry.unconfirmed;
            since.is_some_and(|since| since.elapsed() > CONFIRMED_WITHIN)
        };
        let late = self.entries.iter().filter(|(_, entry)| is_late(entry));
        late.map(|(name, _)| name.clone()).collect()
    }

    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    pub fn get(&self, name: &str) -> Option<&Arc<K>> {
        self.entries.get(name).map(|entry| &entry.object)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.entries.values().map(|entry| &entry.object)
    }

    /// An older word never replaces a newer one.
    fn put(&mut self, name: String, object: Arc<K>, unconfirmed: Option<Instant>) {
        if let Some(entry) = self.entries.get_mut(&name) {
            let (is, was) = (version(&*object), version(&*entry.object));
            if is < was {
                return;
            }
            // The watch has said so already.
            let is_confirmed = is == was && entry.unconfirmed.is_none();
            entry.object = object;
            entry.unconfirmed = unconfirmed.filter(|_| !is_confirmed);
            return;
        }
        self.entries.insert(
            name,
            Entry {
                object,
                unconfirmed,
            },
        );
    }
}

/// They count up, which the API has promised since 1.35 and kept to before.
fn version<K: Resource>(object: &K) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version.and_then(|it| it.parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::api::ObjectMeta;

    use super::*;

    fn secret(name: &str, version: u32) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: Some(version.to_string()),
                ..ObjectMeta::default()
            },
            ..Secret::default()
        }
    }

    fn watched(cache: &mut Cache<Secret>, event: Event<Secret>) -> bool {
        cache.watched(event, |_, _| true)
    }

    fn make(cache: &mut Cache<Secret>, name: &str, version: u32) {
        cache.make(name);
        cache.made(name, Some(&secret(name, version)));
    }

    fn names(cache: &Cache<Secret>) -> Vec<String> {
        let mut names: Vec<_> = cache.all().map(|it| it.name_any()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_asked_for_is_known_before_the_watch_says_so() {
        let mut cache = Cache::default();
        cache.make("a");
        assert!(cache.is_being_made("a"));
        cache.made("a", Some(&secret("a", 7)));
        assert!(!cache.is_being_made("a"));
        assert_eq!(names(&cache), ["a"]);
        // And a watch that begins anew, with a list from before, does not take it away.
        watched(&mut cache, Event::Init);
        watched(&mut cache, Event::InitApply(secret("b", 3)));
        watched(&mut cache, Event::InitDone);
        assert_eq!(names(&cache), ["a", "b"]);
        watched(&mut cache, Event::Apply(secret("a", 7)));
        watched(&mut cache, Event::Init);
        watched(&mut cache, Event::InitDone);
        assert_eq!(names(&cache), [""; 0]);
    }

    #[test]
    fn an_answer_that_comes_behind_the_end_makes_no_ghost() {
        let mut cache = Cache::default();
        cache.make("a");
        watched(&mut cache, Event::Apply(secret("a", 7)));
        watched(&mut cache, Event::Delete(secret("a", 8)));
        cache.made("a", Some(&secret("a", 7)));
        assert_eq!(names(&cache), [""; 0]);
        // The same of one that was to go.
        make(&mut cache, "b", 9);
        watched(&mut cache, Event::Delete(secret("b", 11)));
        cache.answered(secret("b", 10));
        assert_eq!(names(&cache), [""; 0]);
    }

    #[test]
    fn an_older_word_does_not_replace_a_newer_one() {
        let mut cache = Cache::default();
        make(&mut cache, "a", 7);
        cache.answered(secret("a", 9));
        watched(&mut cache, Event::Apply(secret("a", 8)));
        let version = |cache: &Cache<Secret>| cache.get("a").unwrap().resource_version();
        assert_eq!(version(&cache).as_deref(), Some("9"));
        watched(&mut cache, Event::Apply(secret("a", 10)));
        assert_eq!(version(&cache).as_deref(), Some("10"));
    }

    #[test]
    fn only_what_differs_counts_as_a_change() {
        let mut cache = Cache::default();
        assert!(cache.watched(Event::Apply(secret("a", 1)), |_, _| false));
        assert!(!cache.watched(Event::Apply(secret("a", 2)), |_, _| false));
        assert!(cache.watched(Event::Apply(secret("a", 3)), |_, _| true));
        assert!(cache.watched(Event::Delete(secret("a", 4)), |_, _| false));
        assert!(!cache.watched(Event::Delete(secret("a", 4)), |_, _| false));
    }
}
