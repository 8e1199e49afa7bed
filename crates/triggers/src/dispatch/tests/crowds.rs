//! Many deliveries at once, to endpoints of which some are dead or slow.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio::sync::Semaphore;

use super::{
    house::{House, brisk, local_client, settings},
    sink::{Got, Reply, Sink, status},
};
use crate::{CircuitState, DispatchSettings, GateSettings, Rate, model::ExecutionStatus};

fn executions(got: &[Got]) -> HashSet<String> {
    got.iter()
        .map(|got| got.header("webhook-id").to_owned())
        .collect()
}

#[every_engine(multi_thread)]
async fn a_dead_endpoint_costs_the_others_nothing_and_gets_all_of_it_when_it_is_back(
    engine: Engine,
) {
    let house = House::open(engine).await;
    let back = Arc::new(AtomicBool::new(false));
    let is_back = Arc::clone(&back);
    let dead = Sink::start(move |_| match is_back.load(Ordering::SeqCst) {
        false => status(500),
        true => status(200),
    })
    .await;
    let well = Sink::always(status(200)).await;
    let sick = house
        .trigger(&dead.url("/dead?token=secret"), json!({}))
        .await;
    let mut healthy = Vec::new();
    for n in 0..20 {
        healthy.push(house.trigger(&well.url(&format!("/{n}")), json!({})).await);
    }
    // The dead one's come first, so that they stand before all others in the queue.
    let lost = house.fire_many(&sick, 400).await;
    for trigger in &healthy {
        house.fire_many(trigger, 5).await;
    }
    let working = house.work();
    house.succeed(100).await;
    assert_eq!(executions(&well.got()).len(), 100);

    // It is left alone, and seen to be; now and then it is probed.
    let listed = eventually("it is listed", || async {
        let listed = house.triggers.endpoints(&house.tenant).await.unwrap();
        listed.into_iter().next()
    })
    .await;
    assert_eq!(listed.endpoint, dead.url("/dead"));
    assert_ne!(listed.circuit, CircuitState::Closed);
    assert_eq!((listed.failures, listed.worker.as_str()), (5, "w"));
    let asked = dead.count();
    eventually("it is probed", || async {
        (dead.count() > asked).then_some(())
    })
    .await;
    let tried = dead.count();
    assert!(tried < lost.len() / 2, "it was asked {tried} times");
    let mut put_off = 0;
    for one in &lost[lost.len() - 20..] {
        let waiting = house.look(&one.execution_id).await;
        assert_eq!(waiting.status, ExecutionStatus::Pending);
        put_off += usize::from(waiting.error.unwrap().starts_with("not sent yet: "));
    }
    assert!(put_off > 10, "people see why: {put_off}");
    back.store(true, Ordering::SeqCst);
    house.succeed(500).await;
    assert_eq!(executions(&dead.got()).len(), lost.len());
    eventually("it is well again", || async {
        let listed = house.triggers.endpoints(&house.tenant).await.unwrap();
        listed.is_empty().then_some(())
    })
    .await;
    assert_eq!(house.counts().await, (500, 500));
    working.stop().await;
}

#[every_engine(multi_thread)]
async fn a_slow_endpoint_does_not_take_all_slots(engine: Engine) {
    let house = House::open(engine).await;
    let permits = Arc::new(Semaphore::new(0));
    let slow = Sink::always(Reply::After(Arc::clone(&permits), Box::new(status(200)))).await;
    let well = Sink::always(status(200)).await;
    let slowly = house
        .trigger(&slow.url("/"), json!({"timeout_seconds": 60}))
        .await;
    let fast = house.trigger(&well.url("/"), json!({})).await;
    let limits = DispatchSettings {
        concurrency: 8,
        gate: GateSettings {
            concurrency: 3,
            ..brisk()
        },
    };
    house.fire_many(&slowly, 100).await;
    let working = house.work_with(local_client(), limits, "w");
    eventually("it is busy", || async { (slow.now() == 3).then_some(()) }).await;
    house.fire_many(&fast, 100).await;
    house.succeed(100).await;
    assert_eq!((well.count(), slow.count()), (100, 3));
    permits.add_permits(1000);
    house.succeed(200).await;
    assert_eq!(slow.most(), 3, "never more at once");
    assert_eq!(
        executions(&slow.got()).len(),
        slow.count(),
        "each came once"
    );
    working.stop().await;
}

#[every_engine(multi_thread)]
async fn a_backlog_of_one_endpoint_drains_without_an_attempt_too_many(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    let trigger = house
        .trigger(&sink.url("/"), json!({"retry": {"max_attempts": 1}}))
        .await;
    let fired = house.fire_many(&trigger, 1500).await;
    let limits = settings(GateSettings {
        concurrency: 4,
        ..brisk()
    });
    let working = house.work_with(local_client(), limits, "w");
    house.succeed(1500).await;
    assert!(sink.most() <= 4);
    assert_eq!(sink.count(), 1500);
    assert_eq!(house.job(&fired[1499]).await.attempts, 1);
    working.stop().await;
}

#[every_engine(sqlite)]
async fn an_endpoint_gets_no_more_a_second_than_it_may(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    let rate = Rate {
        count: 20,
        per: Duration::from_secs(1),
        burst: 5,
    };
    let limits = settings(GateSettings {
        rate: Some(rate),
        ..brisk()
    });
    house.fire_many(&trigger, 40).await;
    let started = std::time::Instant::now();
    let working = house.work_with(local_client(), limits, "w");
    house.succeed(40).await;
    // 5 at once, and one each 50 ms: less time than that is more than its share.
    assert!(started.elapsed() >= 34 * Duration::from_millis(50));
    assert_eq!(sink.count(), 40);
    working.stop().await;
}

#[every_engine(servers, multi_thread)]
async fn two_workers_share_the_deliveries_and_one_view_of_the_endpoints(engine: Engine) {
    let house = House::open(engine).await;
    let dead = Sink::always(status(500)).await;
    let well = Sink::always(status(200)).await;
    let sick = house.trigger(&dead.url("/"), json!({})).await;
    let fast = house.trigger(&well.url("/"), json!({})).await;
    let workers = [
        house.work_with(local_client(), settings(brisk()), "one"),
        house.work_with(local_client(), settings(brisk()), "two"),
    ];
    house.fire_many(&sick, 100).await;
    house.fire_many(&fast, 300).await;
    house.succeed(300).await;
    assert_eq!(well.count(), 300, "each once");
    let listed = eventually("it is listed", || async {
        let listed = house.triggers.endpoints(&house.tenant).await.unwrap();
        (!listed.is_empty()).then_some(listed)
    })
    .await;
    assert_eq!(listed.len(), 1, "once");
    let others = house.triggers.endpoints("another").await.unwrap();
    assert!(others.is_empty());
    for working in workers {
        working.stop().await;
    }
    let listed = house.triggers.endpoints(&house.tenant).await.unwrap();
    assert!(listed.is_empty(), "nobody says so any more");
}

#[every_engine(multi_thread)]
async fn each_of_many_endpoints_gets_its_own(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    let mut wanted = HashMap::new();
    let working = house.work();
    for n in 0..30 {
        let path = format!("/{n}");
        let trigger = house.trigger(&sink.url(&path), json!({})).await;
        for fired in house.fire_many(&trigger, 10).await {
            wanted.insert(fired.execution_id, path.clone());
        }
    }
    house.succeed(300).await;
    for got in sink.got() {
        assert_eq!(wanted.remove(got.header("webhook-id")), Some(got.path));
    }
    assert!(wanted.is_empty());
    working.stop().await;
}
