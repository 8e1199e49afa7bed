//! A process without brokers: it starts, says so, and ends.

use std::time::Duration;

use tidewire_core::Clock;
use tidewire_testkit::{Engine, Threads, run_on};

use crate::house::{House, at};

#[test]
fn a_process_starts_and_ends_without_brokers() {
    run_on(Engine::Sqlite, Threads::Many, async |engine| {
        // Nobody listens on the discard port.
        let mut house = House::open(engine, at("127.0.0.1:9"), Clock::system()).await;
        house.relay();
        house.work("w1");
        let trigger = house.trigger("t").await;
        let fired = house.fire(&trigger, "{}").await;
        // By the store.
        house.all_done(std::slice::from_ref(&fired)).await;
        assert_eq!(house.outbox().await, 1);
        assert_eq!(
            house.bus.bus.check().await,
            Err("does not answer".to_owned())
        );
        tokio::time::timeout(Duration::from_secs(20), house.stop())
            .await
            .expect("it ends without them too");
    });
}
