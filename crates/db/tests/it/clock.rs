//! The engine's clock, as a process that shares a store goes by it.

use std::time::Duration;

use tidewire_core::{Clock, Time};
use tidewire_testkit::{Engine, TestStore, every_engine};

#[every_engine]
async fn a_clock_is_corrected_by_the_engines(engine: Engine) {
    let store = TestStore::on(engine, &[]).await;
    // Tests and engines run on one machine: the two clocks are one.
    let right = Clock::system();
    let skew = store.db.measure_clock(&right).await.unwrap();
    // SQLite tells milliseconds.
    assert!(skew.ahead.abs() <= skew.unsure + 1000, "{skew:?}");

    let late = Clock::fake(Time::from_micros(right.now().micros() - 3_600_000_000));
    let skew = store.db.measure_clock(&late).await.unwrap();
    assert!(late.correct(skew));
    let off = right
        .now()
        .since(late.now())
        .max(late.now().since(right.now()));
    assert!(off < Duration::from_mins(1), "{off:?}");
}
