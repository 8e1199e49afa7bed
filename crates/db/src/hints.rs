//! Wake-ups between processes that share a store. Hints only: each may be lost, and everything
//! still happens within the poll interval.
//!
//! On PostgreSQL they travel by NOTIFY, sent by the application after its commit and gathered for
//! ten milliseconds, in a transaction of their own: a NOTIFY inside every writing transaction would
//! make all of their commits wait for each other. A process does not hear its own.

mod postgres;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::{Notify, broadcast};

pub(crate) use postgres::start;

/// Hints that a receiver may fall behind; then it is told that it missed some.
const BUFFERED: usize = 4096;
/// Hints that wait to be sent; past it the others are told to look at everything.
const MOST_WAITING: usize = 4096;

/// What another process says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    One {
        topic: String,
        key: String,
        value: i64,
    },
    /// Some were lost: look yourself. A receiver that lagged behind has missed some too.
    Everything,
}

/// Which of two values of one topic and key is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Least,
    Greatest,
}

/// Whether other processes are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No other process can share this store.
    Alone,
    /// Hints arrive.
    Told,
    /// Nobody tells: whoever waits must ask the store, often while somebody waits.
    Polled,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Hints {
    inner: Arc<Inner>,
}

struct Inner {
    heard: broadcast::Sender<Arc<Hint>>,
    waiting: Mutex<Waiting>,
    wake: Notify,
    reach: AtomicU8,
    /// Whether anybody can hear what is sent here.
    sends: bool,
}

#[derive(Default)]
struct Waiting {
    hints: BTreeMap<(&'static str, String), i64>,
    /// Too many came at once.
    everything: bool,
}

impl Hints {
    pub(crate) fn new(reach: Reach, sends: bool) -> Self {
        Hints {
            inner: Arc::new(Inner {
                heard: broadcast::channel(BUFFERED).0,
                waiting: Mutex::default(),
                wake: Notify::new(),
                reach: AtomicU8::new(reach as u8),
                sends,
            }),
        }
    }

    /// Tells the other processes, soon. Of several values for one key before that, one is told.
    pub fn send(&self, topic: &'static str, key: &str, value: i64, keep: Keep) {
        if !self.inner.sends {
            return;
        }
        let mut waiting = self.lock();
        if waiting.everything {
            return;
        }
        if waiting.hints.len() >= MOST_WAITING {
            waiting.hints.clear();
            waiting.everything = true;
        } else {
            waiting
                .hints
                .entry((topic, key.to_owned()))
                .and_modify(|known| {
                    *known = match keep {
                        Keep::Least => value.min(*known),
                        Keep::Greatest => value.max(*known),
                    };
                })
                .or_insert(value);
        }
        drop(waiting);
        self.inner.wake.notify_one();
    }

    /// What other processes say from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Hint>> {
        self.inner.heard.subscribe()
    }

    #[must_use]
    pub fn reach(&self) -> Reach {
        match self.inner.reach.load(Ordering::Relaxed) {
            alone if alone == Reach::Alone as u8 => Reach::Alone,
            told if told == Reach::Told as u8 => Reach::Told,
            _ => Reach::Polled,
        }
    }

    fn set_reach(&self, reach: Reach) {
        self.inner.reach.store(reach as u8, Ordering::Relaxed);
    }

    /// Hands a hint to those of this process who listen.
    fn hear(&self, hint: Hint) {
        // Nobody may be listening.
        let _ = self.inner.heard.send(Arc::new(hint));
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.inner
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
