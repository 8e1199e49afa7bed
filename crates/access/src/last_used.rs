//! When a key was last used: noted in memory on the hot path, at most once in [`EVERY`] for each
//! key, and written behind it. A note that is lost with the process costs that much accuracy. Several
//! processes that serve one key write little more than one: each sees the others' notes whenever it
//! asks the store for the key again.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tidewire_core::Time;
use tidewire_db::Db;
use tokio::sync::Notify;

use crate::store::{KeyName, Store};

/// How old the last note of a key must be before it is noted again.
const EVERY: Duration = Duration::from_secs(30);
/// Keys that one transaction writes.
const AT_ONCE: usize = 500;

/// When a key was last noted. Lives beside the key in the cache.
pub(crate) struct LastNote(AtomicI64);

impl Default for LastNote {
    /// Never, as far as is known.
    fn default() -> Self {
        LastNote(AtomicI64::new(i64::MIN))
    }
}

impl LastNote {
    /// Takes over what the store says: another process may have noted the key since.
    pub(crate) fn seen(&self, at: Option<Time>) {
        if let Some(at) = at {
            self.0.fetch_max(at.micros(), Ordering::Relaxed);
        }
    }

    /// Whether the key is due for a note now; only one of many who ask at once is told so.
    fn due(&self, now: Time) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let every = i64::try_from(EVERY.as_micros()).unwrap_or(i64::MAX);
        let now = now.micros();
        now.saturating_sub(last) >= every
            && self
                .0
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[derive(Default)]
pub(crate) struct LastUsed {
    notes: Mutex<HashMap<KeyName, Time>>,
    noted: Notify,
}

impl LastUsed {
    pub(crate) fn note(&self, last: &LastNote, now: Time, key: impl FnOnce() -> KeyName) {
        if last.due(now) {
            self.put([(key(), now)]);
        }
    }

    fn put(&self, notes: impl IntoIterator<Item = (KeyName, Time)>) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(notes);
        self.noted.notify_one();
    }

    /// Waits until there is something to write.
    pub(crate) async fn noted(&self) {
        self.noted.notified().await;
    }

    /// Writes what was noted. What cannot be written now is kept for the next time.
    pub(crate) async fn flush(&self, db: &Db, store: &Store) -> tidewire_db::Result<()> {
        let notes = std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut notes: Vec<_> = notes.into_iter().collect();
        // In one order, so that two processes that write down the same keys do not lock each other.
        notes.sort_unstable();
        let mut chunks = notes.chunks(AT_ONCE);
        while let Some(chunk) = chunks.next() {
            let (store, batch) = (store.clone(), Arc::<[_]>::from(chunk));
            let written = db
                .transact("api_keys.used", move |tx| {
                    let (store, batch) = (store.clone(), Arc::clone(&batch));
                    Box::pin(async move { store.used(tx, &batch).await })
                })
                .await;
            if let Err(error) = written {
                self.put(chunk.iter().chain(chunks.flatten()).cloned());
                return Err(error);
            }
        }
        Ok(())
    }
}
