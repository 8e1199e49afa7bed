//! Several who do the same at the same time.

use tidewire_testkit::{Engine, every_engine};

use super::house::{House, all_trimmed};

fn assert_joined(ranges: &[(u64, u64)], end: u64) {
    let mut reached = 0;
    for (from, to) in ranges {
        assert_eq!(*from, reached + 1, "{ranges:?}");
        reached = *to;
    }
    assert_eq!(reached, end, "{ranges:?}");
}

async fn both(one: &House, other: &House) {
    one.append("orders", 200, 10).await;
    one.say("t", 90).await;
    let log = one.log().await;
    let (first, second) = tokio::join!(one.archive(all_trimmed()), other.archive(all_trimmed()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.events + second.events, 290);
    assert_eq!(first.trimmed + second.trimmed, 288);
    assert_joined(&one.ranges("orders").await, 200);
    assert_joined(&one.ranges("thread:t").await, 90);
    let sealed = first.archives + second.archives;
    assert_eq!(one.objects().await.len() as u64, sealed);
    assert_eq!(log, one.log().await);
    assert_eq!(log, other.log().await);
    assert_eq!(one.verify(false).await.problems, []);
}

#[every_engine]
async fn two_archivers_of_one_process_seal_each_event_once(engine: Engine) {
    let house = House::on(engine).await;
    both(&house, &house).await;
}

#[every_engine(servers)]
async fn two_archivers_of_two_processes_seal_each_event_once(engine: Engine) {
    let house = House::on(engine).await;
    let second = house.second().await;
    both(&house, &second).await;
}

#[every_engine]
async fn what_is_trimmed_and_restored_at_once_is_in_one_place_at_least(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 120, 10).await;
    let log = house.log().await;
    house.archive(all_trimmed()).await.unwrap();
    for _ in 0..5 {
        let (trimmed, _, read) = tokio::join!(
            house.archive(all_trimmed()),
            house.restore("orders", 1),
            house.log()
        );
        trimmed.unwrap();
        assert_eq!(log, read);
        assert_eq!(log, house.log().await);
        assert_eq!(house.verify(false).await.problems, []);
    }
}

#[every_engine]
async fn a_schedule_asks_once_however_many_keep_it(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 20, 10).await;
    let age = std::time::Duration::from_hours(720);
    let count = async || {
        let filter = tidewire_jobs::JobFilter::default();
        let page = house
            .jobs
            .list(super::house::TENANT, &filter, None, 50)
            .await;
        page.unwrap().jobs.len()
    };
    house.archives.tick(age).await.unwrap();
    assert_eq!(count().await, 0);
    house.clock.advance(age);
    let (one, other) = tokio::join!(house.archives.tick(age), house.archives.tick(age));
    one.unwrap();
    other.unwrap();
    assert_eq!(count().await, 1);
    house.clock.advance(std::time::Duration::from_hours(1));
    house.archives.tick(age).await.unwrap();
    assert_eq!(count().await, 2);
}
