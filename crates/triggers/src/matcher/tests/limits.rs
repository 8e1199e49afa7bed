//! How deep, how fast, and how much.

use std::collections::BTreeSet;

use tidewire_jobs::{ClaimRequest, ClaimedJob, Filter};
use tidewire_testkit::every_engine;

use super::*;
use crate::MAX_DEPTH;

impl House {
    /// Takes what is due, as endpoints are sent it.
    async fn deliver(&self) -> Vec<ClaimedJob> {
        let request = ClaimRequest {
            filter: Filter::default(),
            worker: "w".to_owned(),
            limit: 100,
            wait: Duration::ZERO,
            lease: None,
        };
        let claimed = self.jobs.claim(request).await.unwrap();
        for job in &claimed {
            let token = job.lease_token.clone();
            let done = self.jobs.complete(&self.tenant, &job.job.id, token, None);
            done.await.unwrap();
        }
        claimed
    }
}

/// Two triggers whose endpoints each append what the other one listens to, and send back how deep
/// they are.
#[every_engine]
async fn triggers_that_set_each_other_off_come_to_an_end(engine: Engine) {
    let house = House::open(engine).await;
    house.on("ping", json!({})).await;
    house.on("pong", json!({})).await;
    let _matcher = house.keep();
    house.append("ping", json!(0)).await;
    let mut delivered = 0;
    while delivered < MAX_DEPTH {
        house.fires(delivered as usize + 1).await;
        for job in house.deliver().await {
            delivered += 1;
            let fired = fired(&job.job);
            assert_eq!(fired.depth, delivered);
            let next = match fired.payload["type"].as_str() {
                Some("ping") => "pong",
                _ => "ping",
            };
            house
                .append_at(fired.depth, [(next, json!(delivered))])
                .await;
        }
    }
    let fired = house.settled().await;
    assert_eq!(fired.len(), MAX_DEPTH as usize);
    assert!(house.deliver().await.len() <= 1, "the marker's alone");
}

/// One whose endpoint appends what it listens to and does not say how deep it is.
#[every_engine]
async fn a_loop_that_nobody_can_see_is_held_to_the_rate(engine: Engine) {
    let house = House::with(engine, |settings| settings.event_rate = 5).await;
    house.on("t", json!({})).await;
    let _matcher = house.keep();
    house.append("t", json!(0)).await;
    let (mut delivered, mut seconds) = (0, 0);
    while delivered < 20 {
        house.fires(delivered + 1).await;
        let due = house.deliver().await;
        if due.is_empty() {
            house.clock.advance(Duration::from_secs(1));
            seconds += 1;
        }
        for job in due {
            delivered += 1;
            let n = fired(&job.job).payload["payload"].as_u64().unwrap();
            house.append("t", json!(n + 1)).await;
        }
        assert!(delivered <= 5 + seconds * 5, "{delivered} in {seconds} s");
    }
}

#[every_engine]
async fn what_comes_too_fast_goes_later_in_order_and_all_of_it_goes(engine: Engine) {
    let house = House::with(engine, |settings| settings.event_rate = 50).await;
    let fast = house.on("t", json!({})).await;
    let slow = house
        .on("t", json!({"filter": {"payload": {"$lt": 10}}}))
        .await;
    let matcher = house.keep();
    house.append_all((0..300).map(|n| ("t", json!(n)))).await;
    let first = house.settled().await;
    assert_eq!(numbers(&first, &fast), (0..300).collect::<Vec<_>>());
    let start = house.clock.now();
    let late = |fired: &[Fired], of: &str| {
        let of = fired.iter().filter(|one| one.trigger == of);
        of.map(|one| one.run_at.millis() - start.millis())
            .collect::<Vec<_>>()
    };
    let waits = late(&first, &fast);
    assert!(waits.is_sorted());
    assert_eq!(waits.iter().filter(|wait| **wait == 0).count(), 50);
    assert_eq!((waits[50], waits[51], waits[299]), (20, 40, 5000));
    // Each trigger has a rate of its own.
    assert_eq!(late(&first, &slow), [0; 10]);
    // What comes while some wait goes behind them; after a rest all is as before.
    house.clock.advance(Duration::from_secs(2));
    house.append("t", json!(300)).await;
    let second = house.settled().await;
    assert_eq!(late(&second, &fast)[300], 5020);
    house.clock.advance(Duration::from_secs(60));
    house.append("t", json!(301)).await;
    let third = house.settled().await;
    assert_eq!(late(&third, &fast)[301], 62_000);
    matcher.stop().await;
}

#[every_engine]
async fn an_event_that_is_too_deep_is_kept_and_sets_nothing_off(engine: Engine) {
    let house = House::open(engine).await;
    let trigger = house.on("t", json!({})).await;
    let _matcher = house.keep();
    house.append_at(15, [("t", json!(15))]).await;
    house.append_at(16, [("t", json!(16))]).await;
    house.append_at(99, [("t", json!(99))]).await;
    house.append_at(1, [("t", json!(1))]).await;
    let fired = house.settled().await;
    assert_eq!(numbers(&fired, &trigger), [15, 1]);
    assert_eq!((fired[0].depth, fired[1].depth), (16, 2));
}

async fn many(house: &House, count: usize) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for some in (0..count).collect::<Vec<_>>().chunks(500) {
        let configs = some.iter().map(|_| config("t", json!({})));
        ids.extend(house.create_all(configs.collect()).await);
    }
    ids
}

/// More than one transaction fires: an event is done in parts.
#[every_engine(multi_thread)]
async fn a_type_with_more_triggers_than_fire_at_once(engine: Engine) {
    let house = House::open(engine).await;
    let triggers = many(&house, 1200).await;
    let _matcher = house.keep();
    let another = house.keep();
    house.append_all((0..2).map(|n| ("t", json!(n)))).await;
    house.append("other", json!(0)).await;
    let fired = house.settled().await;
    another.stop().await;
    assert_eq!(fired.len(), 2 * triggers.len());
    let counts = counts(&fired);
    for trigger in &triggers {
        assert_eq!(counts[trigger.as_str()], 2);
    }
}

#[every_engine(sqlite, multi_thread)]
async fn one_event_that_ten_thousand_triggers_want(engine: Engine) {
    let house = House::open(engine).await;
    let triggers = many(&house, 10_000).await;
    let _matcher = house.keep();
    house.append("t", json!(0)).await;
    let fired = house.settled().await;
    let of: BTreeSet<_> = fired.iter().map(|one| one.trigger.clone()).collect();
    assert_eq!((fired.len(), of), (10_000, triggers));
}

/// Large events for many triggers: no transaction takes all of it.
#[every_engine]
async fn large_events_are_fired_in_pieces(engine: Engine) {
    let house = House::open(engine).await;
    let triggers = many(&house, 30).await;
    let _matcher = house.keep();
    let large = json!("x".repeat(200_000));
    house
        .append_all([("t", large.clone()), ("t", large.clone())])
        .await;
    let fired = house.settled().await;
    assert_eq!(fired.len(), 2 * triggers.len());
    assert!(fired.iter().all(|one| one.payload["payload"] == large));
}

/// A flood in one log, and one event in another.
#[every_engine]
async fn logs_take_turns(engine: Engine) {
    let house = House::open(engine).await;
    let (flood, drop) = (house.of("flood"), house.of("drop"));
    flood.on("t", json!({})).await;
    drop.on("t", json!({})).await;
    flood.append_all((0..6000).map(|n| ("t", json!(n)))).await;
    drop.append("t", json!(0)).await;
    let _matcher = house.keep();
    drop.fires(1).await;
    assert!(house.triggers.events_behind() > 0, "the flood is not over");
    assert_eq!(flood.settled().await.len(), 6000);
    eventually("nothing is behind", || async {
        (house.triggers.events_behind() == 0).then_some(())
    })
    .await;
}
