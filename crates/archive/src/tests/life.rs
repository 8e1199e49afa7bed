//! Ranges that join on to each other, whoever asks for what and when.

use std::time::Duration;

use tidewire_testkit::{Engine, every_engine};

use super::house::{House, TENANT, all_trimmed, only};
use crate::{Error, Wanted};

fn part(from: u64, to: u64) -> Wanted {
    Wanted {
        from_seq: Some(from),
        to_seq: Some(to),
        ..only("orders")
    }
}

#[every_engine]
async fn ranges_join_on_and_reruns_add_nothing(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 100, 10).await;

    let hole = house.archive(part(2, 10)).await;
    assert!(
        matches!(hole, Err(Error::Hole { archived: 0, .. })),
        "{hole:?}"
    );
    let beyond = house.archive(part(1, 101)).await;
    assert!(
        matches!(beyond, Err(Error::BeyondEnd { end: 100, .. })),
        "{beyond:?}"
    );
    let unknown = house.archive(only("nothing")).await;
    assert!(
        matches!(unknown, Err(Error::NoSuchStream(_))),
        "{unknown:?}"
    );
    assert_eq!(house.objects().await.len(), 0);

    assert_eq!(house.archive(part(1, 10)).await.unwrap().archives, 1);
    assert_eq!(house.archive(part(1, 10)).await.unwrap().archives, 0);
    // It begins behind what is sealed.
    assert_eq!(house.archive(part(3, 15)).await.unwrap().events, 5);
    let hole = house.archive(part(17, 20)).await.unwrap_err();
    assert!(hole.to_string().contains("begin at 16"), "{hole}");
    house.archive(only("orders")).await.unwrap();
    let ranges = [(1, 10), (11, 15), (16, 55), (56, 95), (96, 100)];
    assert_eq!(house.ranges("orders").await, ranges);
    assert_eq!(house.first("orders").await, 1);
    assert_eq!(house.objects().await.len(), 5);
    assert!(house.objects().await[0].starts_with("streams/orders/archives/"));
    assert_eq!(
        house.archive(only("orders")).await.unwrap(),
        Default::default()
    );

    // Trimming is a step of its own, and as far as was asked.
    let trim = Wanted {
        trim: true,
        ..part(1, 60)
    };
    assert_eq!(house.archive(trim.clone()).await.unwrap().trimmed, 60);
    assert_eq!(house.archive(trim).await.unwrap().trimmed, 0);
    assert_eq!(house.first("orders").await, 61);
    assert_eq!(house.archive(all_trimmed()).await.unwrap().trimmed, 39);
    assert_eq!(
        house.archive(all_trimmed()).await.unwrap(),
        Default::default()
    );
}

#[every_engine]
async fn only_what_is_old_enough_goes(engine: Engine) {
    let house = House::on(engine).await;
    // Twenty each 20 minutes.
    house.append("orders", 100, 10).await;
    let old = |minutes: u64, gather: bool| Wanted {
        older_than: Some(Duration::from_mins(minutes)),
        gather,
        ..all_trimmed()
    };
    // The last were stored 20 minutes ago, those before 40, …
    assert_eq!(
        house.archive(old(110, false)).await.unwrap(),
        Default::default()
    );
    assert_eq!(
        house.archive(old(90, true)).await.unwrap(),
        Default::default()
    );
    let report = house.archive(old(70, false)).await.unwrap();
    assert_eq!((report.events, report.trimmed), (40, 40));
    house.clock.advance(Duration::from_hours(24));
    // Few, and they have been old enough for too short a time.
    let patient = Duration::from_hours(24).as_secs() / 60;
    assert_eq!(
        house.archive(old(patient, true)).await.unwrap(),
        Default::default()
    );
    let report = house.archive(old(30, true)).await.unwrap();
    assert_eq!((report.events, report.trimmed), (60, 59));
    assert_eq!(house.first("orders").await, 100);
}

#[every_engine]
async fn an_object_that_is_not_what_was_sealed_is_not_trusted(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 30, 10).await;
    house.archive(only("orders")).await.unwrap();
    let key = house.objects().await.remove(0);
    let path = house.folder.path().join(&key);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = house.archive(all_trimmed()).await.unwrap_err();
    assert!(matches!(refused, Error::Broken { .. }), "{refused}");
    assert_eq!(house.first("orders").await, 1);
    let marks = house.archives.marks(TENANT, "orders").await.unwrap();
    assert_eq!((marks.archived_until, marks.trimmed_until), (30, 0));
}
