//! How those who schedule occurrences tell the scheduler of their process.

use std::sync::{Mutex, PoisonError};

use tidewire_core::Time;
use tokio::sync::Notify;

/// The earliest of the times that were told since the scheduler last asked.
#[derive(Default)]
pub(crate) struct Due {
    earliest: Mutex<Option<Time>>,
    notify: Notify,
}

impl Due {
    /// An occurrence is due then. To be told once it is durable.
    pub(crate) fn tell(&self, at: Time) {
        let mut earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever was told of an earlier one will look for this one too.
        if earliest.is_none_or(|known| at < known) {
            *earliest = Some(at);
            self.notify.notify_one();
        }
    }

    pub(super) fn take(&self) -> Option<Time> {
        let mut earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        earliest.take()
    }

    /// Until something is told that was not taken.
    pub(super) async fn told(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_earliest_is_told_and_none_is_missed() {
        let due = Due::default();
        let at = Time::from_millis;
        due.tell(at(5));
        due.tell(at(3));
        due.tell(at(4));
        due.told().await;
        assert_eq!(due.take(), Some(at(3)));
        assert_eq!(due.take(), None);
        due.tell(at(9));
        due.told().await;
        assert_eq!(due.take(), Some(at(9)));
    }
}
