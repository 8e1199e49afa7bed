//! Brokers that are away for a while.

use std::time::Duration;

use tidewire_core::Clock;
use tidewire_testkit::{Engine, Threads, eventually, run_on, servers};

use crate::{
    house::{House, at, is_full},
    listener::hear,
};

#[test]
fn nothing_is_lost_on_sqlite() {
    scenario(Engine::Sqlite);
}

#[test]
fn nothing_is_lost_on_postgres() {
    if is_full() {
        scenario(Engine::Postgres);
    }
}

fn scenario(engine: Engine) {
    run_on(engine, Threads::Many, async |engine| {
        // Whether there can be one at all.
        if servers::kafka().await.is_some() {
            Box::pin(nothing_is_lost(engine)).await;
        }
    });
}

async fn nothing_is_lost(engine: Engine) {
    let broker = servers::Kafka::start().await;
    let bus = at(broker.address());
    let mut house = House::open(engine, bus, Clock::system()).await;
    house.relay();
    house.work("w1");
    assert_eq!(house.bus.bus.check().await, Ok(()));
    let trigger = house.trigger("t").await;
    let first = house.fire(&trigger, "0").await;
    house.all_done(std::slice::from_ref(&first)).await;
    house.all_told().await;

    broker.kill().await;
    eventually("the bus is known to be away", || async {
        house.bus.bus.check().await.err()
    })
    .await;
    let mut fired = vec![first];
    for n in 1..=20 {
        fired.push(house.fire(&trigger, &n.to_string()).await);
    }
    // Deliveries go on, by the store.
    house.all_done(&fired).await;
    assert_eq!(house.outbox().await, 20);

    broker.start_again().await;
    tokio::time::timeout(Duration::from_secs(60), house.all_told())
        .await
        .unwrap();
    let settings = house.bus.settings().clone();
    let heard = hear(&settings, &settings.events_topic, 21).await;
    let mut ids = Vec::new();
    for event in &heard {
        if !ids.contains(&event.value["event_id"]) {
            ids.push(event.value["event_id"].clone());
        }
    }
    let expected: Vec<_> = fired
        .iter()
        .map(|fired| fired.execution_id.clone())
        .collect();
    assert_eq!(ids, expected, "all of them, in their order");
    for fired in &fired {
        assert_eq!(house.ran.times(&fired.job_id), 1);
    }
    eventually("the bus is known to be back", || async {
        house.bus.bus.check().await.ok()
    })
    .await;
    house.stop().await;
}
