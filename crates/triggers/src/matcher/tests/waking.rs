//! When it looks. The poll interval is a day in most of these: what happens was told at once, or
//! asked for since nobody tells.

use crate::store::probe;
use tidewire_testkit::every_engine;

use super::*;

async fn at_rest(engine: Engine) -> House {
    House::with(engine, |settings| settings.poll_interval = NEVER).await
}

#[every_engine]
async fn an_append_in_this_process_is_matched_at_once(engine: Engine) {
    let house = at_rest(engine).await;
    let _matcher = house.keep();
    // It does not know the tenant before.
    let mut count = 0;
    for tenant in ["a", "b"] {
        let house = house.of(tenant);
        house.append("t", json!(0)).await;
        house.on("t", json!({})).await;
        for n in 1..10 {
            house.append("t", json!(n)).await;
            house.fires(n).await;
            count += 1;
        }
    }
    assert_eq!(count, 18);
}

#[every_engine(servers, multi_thread)]
async fn appends_and_saves_of_another_process_are_matched_here(engine: Engine) {
    let here = at_rest(engine).await;
    let there = here.second().await;
    let _matcher = here.keep();
    let mut count = 0;
    for tenant in ["a", "b"] {
        let (here, there) = (here.of(tenant), there.of(tenant));
        there.on("t", json!({})).await;
        for n in 1..5 {
            there.append("t", json!(n)).await;
            here.fires(n).await;
            count += 1;
        }
    }
    assert_eq!(count, 8);
}

/// Nobody is told: events come into the store as if by themselves.
#[every_engine]
async fn what_nobody_told_of_is_matched_within_the_poll_interval(engine: Engine) {
    let house = House::open(engine).await;
    let trigger = house.on("t", json!({})).await;
    house.append("t", json!(1)).await;
    let _matcher = house.keep();
    house.fires(1).await;
    house.sql(probe::COPY_EVENT).await;
    let fired = house.fires(2).await;
    assert_eq!(numbers(&fired, &trigger), [1, 1]);
}

/// Others append while a transaction that holds the log is open; it commits late, and has an event.
#[every_engine(servers, multi_thread)]
async fn an_event_that_is_committed_late_is_not_skipped(engine: Engine) {
    let house = House::open(engine).await;
    let other = house.second().await;
    let trigger = house.on("t", json!({})).await;
    house.append("t", json!(1)).await;
    let matcher = house.keep();
    house.fires(1).await;
    let (began, has_begun) = watch::channel(false);
    let (ends, may_end) = watch::channel(false);
    let db = house.store.second().await;
    let dialect = db.dialect();
    let lock = probe::lock_of(TENANT, dialect.lock());
    let lock = dialect.sql(&lock);
    let copy = dialect.sql(probe::COPY_EVENT_LATE);
    let holder = tokio::spawn(async move {
        let held: Result<(), tidewire_db::Error> = db
            .transact("holder", move |tx| {
                let (lock, copy) = (lock.clone(), copy.clone());
                let (began, mut may_end) = (began.clone(), may_end.clone());
                Box::pin(async move {
                    use tidewire_db::Query as _;
                    assert_eq!(tx.rows(&lock, Vec::new()).await?.len(), 1);
                    tx.push(&copy, Vec::new()).await?;
                    let _ = began.send(true);
                    let _ = may_end.wait_for(|end| *end).await;
                    Ok(())
                })
            })
            .await;
        held.unwrap();
    });
    let mut has_begun = has_begun;
    has_begun.wait_for(|begun| *begun).await.unwrap();
    // They queue behind it, in both processes.
    let appends = async {
        let here = house.append_all((10..15).map(|n| ("t", json!(n))));
        let there = other.append_all((20..25).map(|n| ("t", json!(n))));
        tokio::join!(here, there);
    };
    let release = async {
        // The matcher looks while it is open, and sees nothing.
        let restarted = house.keep();
        house.of("other").on("t", json!({})).await;
        house.of("other").append("t", json!(0)).await;
        house.of("other").fires(1).await;
        ends.send(true).unwrap();
        restarted.stop().await;
    };
    tokio::join!(appends, release);
    holder.await.unwrap();
    let fired = house.settled().await;
    let mut seen = numbers(&fired, &trigger);
    assert_eq!(seen[..2], [1, 2]);
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
    matcher.stop().await;
}

/// The cursor need not move for what sets nothing off.
#[every_engine]
async fn events_that_nobody_wants_cost_no_write(engine: Engine) {
    let house = House::open(engine).await;
    house.on("rare", json!({})).await;
    let _matcher = house.keep();
    for _ in 0..20 {
        house.append("t", json!(0)).await;
    }
    eventually("they were looked at", || async {
        let looked = house.triggers.events_behind() == 0;
        looked.then_some(())
    })
    .await;
    let store = &house.triggers.inner.store;
    assert_eq!(
        store.cursor(&mut house.db.read(), TENANT).await.unwrap(),
        None
    );
    house.append("rare", json!(1)).await;
    house.fires(1).await;
    let cursor = store.cursor(&mut house.db.read(), TENANT).await.unwrap();
    assert_eq!(cursor.unwrap().pos, 21);
}
