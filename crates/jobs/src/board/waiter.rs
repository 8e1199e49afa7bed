//! Those who wait for jobs.

use std::{sync::Arc, time::Duration};

use tidewire_core::{Clock, Time};
use tokio::{sync::Notify, time::Instant};

use super::{Board, Filter};

/// Somebody who waits, as the board knows it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) filter: Arc<Filter>,
    pub(super) worker: Arc<str>,
    pub(super) notify: Arc<Notify>,
    /// It was told to look and has not looked yet.
    pub(super) woken: bool,
}

/// A place among those who wait for jobs. Dropping it gives the place up, and a wake-up that it did
/// not use goes to the others.
#[derive(Debug)]
pub(crate) struct Waiter {
    board: Arc<Board>,
    id: u64,
    filter: Arc<Filter>,
    worker: Arc<str>,
    notify: Arc<Notify>,
}

impl Board {
    pub(crate) fn waiter(self: &Arc<Self>, filter: Arc<Filter>, worker: Arc<str>) -> Waiter {
        let notify = Arc::new(Notify::new());
        let mut state = self.lock();
        let id = state.next_waiter;
        state.next_waiter += 1;
        let waiting = Waiting {
            filter: Arc::clone(&filter),
            worker: Arc::clone(&worker),
            notify: Arc::clone(&notify),
            woken: false,
        };
        state.waiters.insert(id, waiting);
        Waiter {
            board: Arc::clone(self),
            id,
            filter,
            worker,
            notify,
        }
    }

    /// Whether anybody waits who was not told to look.
    pub(crate) fn somebody_waits(&self) -> bool {
        self.lock().waiters.values().any(|waiter| !waiter.woken)
    }

    /// Until somebody begins to wait, if nobody has since the last time.
    pub(crate) async fn wait_begins(&self) {
        self.wait_begins.notified().await;
    }
}

impl Waiter {
    /// Waits until something is due, at most until `end`; whether something is. It looks by itself
    /// every `poll`, should a wake-up be lost.
    pub(crate) async fn due(&self, clock: &Clock, end: Option<Instant>, poll: Duration) -> bool {
        loop {
            let now = clock.now();
            let next = self.look();
            if next.is_some_and(|due| due <= now) {
                return true;
            }
            let started = Instant::now();
            if end.is_some_and(|end| end <= started) {
                return false;
            }
            self.board.wait_begins.notify_one();
            let wait = next.map_or(poll, |due| due.since(now).min(poll));
            let until = started + wait.max(Duration::from_millis(1));
            let until = end.map_or(until, |end| end.min(until));
            tokio::select! {
                () = self.notify.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    fn look(&self) -> Option<Time> {
        let mut state = self.board.lock();
        if let Some(waiting) = state.waiters.get_mut(&self.id) {
            waiting.woken = false;
        }
        state.next_due(&self.filter, Some(&self.worker))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.board.lock();
        if state
            .waiters
            .remove(&self.id)
            // What was one worker's own is of no use to others.
            .is_some_and(|waiting| waiting.woken && !waiting.filter.own)
        {
            state.wake_where(usize::MAX, |_| true);
        }
    }
}
