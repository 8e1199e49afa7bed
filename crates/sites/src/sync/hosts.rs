//! How many requests one host gets at once. Seats are given in the order in which they were asked for,
//! one for each request, so that a site with a million records and one with ten take turns.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hosts that are remembered; past it those that nobody asks are forgotten.
const MANY: usize = 1_000;

pub(crate) struct Hosts {
    seats: usize,
    by_name: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Hosts {
    pub fn new(seats: usize) -> Self {
        Hosts {
            seats: seats.clamp(1, Semaphore::MAX_PERMITS),
            by_name: Mutex::default(),
        }
    }

    /// A place among those that ask this host.
    pub async fn seat(&self, host: &str) -> OwnedSemaphorePermit {
        let seats = self.of(host);
        let seat = seats.acquire_owned().await;
        seat.expect("the seats are never closed")
    }

    fn of(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seats) = hosts.get(host) {
            return Arc::clone(seats);
        }
        if hosts.len() >= MANY {
            hosts.retain(|_, seats| Arc::strong_count(seats) > 1);
        }
        let seats = Arc::new(Semaphore::new(self.seats));
        hosts.insert(host.to_owned(), Arc::clone(&seats));
        seats
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_host_has_so_many_seats_and_others_have_theirs() {
        let hosts = Hosts::new(2);
        let one = hosts.seat("a:80").await;
        let _two = hosts.seat("a:80").await;
        assert!(hosts.seat("a:80").now_or_never().is_none());
        assert!(hosts.seat("b:80").now_or_never().is_some());
        drop(one);
        assert!(hosts.seat("a:80").now_or_never().is_some());
    }

    #[tokio::test]
    async fn seats_are_given_in_the_order_of_asking() {
        let hosts = Hosts::new(1);
        let first = hosts.seat("a").await;
        let mut second = Box::pin(hosts.seat("a"));
        let mut third = Box::pin(hosts.seat("a"));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_some());
        assert!(third.as_mut().now_or_never().is_some());
    }
}
