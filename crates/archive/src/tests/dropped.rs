//! A run that ends anywhere leaves a state that the next one completes.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
};

use tidewire_testkit::{Engine, every_engine};

use super::house::{House, TENANT, all_trimmed};
use crate::Wanted;

/// Goes on with a future for so many steps, and drops it then; what it has come to, if it has.
async fn for_steps<T>(steps: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = steps;
    std::future::poll_fn(move |context: &mut Context<'_>| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

fn wanted(stream: &str) -> Wanted {
    Wanted {
        stream: Some(stream.to_owned()),
        ..all_trimmed()
    }
}

/// What is dropped may still have a transaction under way; it has ended when another one has passed.
async fn settled(house: &House) {
    for _ in 0..3 {
        house.store.db.ping_writer().await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[every_engine]
async fn a_run_may_end_between_any_two_steps(engine: Engine) {
    let house = House::on(engine).await;
    let mut steps = 1;
    loop {
        let stream = format!("s{steps}");
        house.append(&stream, 60, 10).await;
        let log = house.log().await;
        let done = for_steps(steps, house.archive(wanted(&stream))).await;
        assert_eq!(log, house.log().await, "after {steps} steps");
        settled(&house).await;
        let report = house.archive(wanted(&stream)).await.unwrap();
        assert_eq!(log, house.log().await, "after {steps} steps and a run");
        let marks = house.archives.marks(TENANT, &stream).await.unwrap();
        assert_eq!((marks.archived_until, marks.trimmed_until), (60, 59));
        assert_eq!(house.first(&stream).await, 60);
        if let Some(done) = done {
            assert_eq!(done.unwrap().trimmed, 59);
            assert_eq!(report, Default::default());
            break;
        }
        // Each boundary at first, then with growing steps: a run has some hundred.
        steps += 1 + steps / 12;
    }
    // Steps that are ready at the same time count as one.
    assert!(steps > 5, "a run has {steps} steps only");
    // What was in flight is not known to anybody, and nothing else is wrong.
    let found = house.verify(false).await;
    assert_eq!(found.problems, []);
    assert_eq!(found.events, found.streams * 60);
}

#[every_engine]
async fn a_restore_may_end_between_any_two_steps(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 110, 3000).await;
    let log = house.log().await;
    let mut steps = 1;
    loop {
        house.archive(all_trimmed()).await.unwrap();
        assert_eq!(house.first("orders").await, 110);
        let restoring = house.restore("orders", 1);
        let done = for_steps(steps, restoring).await;
        assert_eq!(log, house.log().await, "after {steps} steps");
        settled(&house).await;
        house.restore("orders", 1).await;
        assert_eq!(house.first("orders").await, 1);
        assert_eq!(log, house.log().await, "after {steps} steps and a run");
        if done.is_some() {
            break;
        }
        steps += 1 + steps / 12;
    }
    assert!(steps > 5, "a restore has {steps} steps only");
    assert_eq!(house.verify(false).await.problems, []);
}
