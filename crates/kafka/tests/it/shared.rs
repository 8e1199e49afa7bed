//! How workers hear of jobs.

use std::{sync::Arc, time::Duration};

use tidewire_testkit::eventually;

use crate::house::{House, TENANT};

/// The store would let it wait for its time.
pub async fn a_worker_hears_of_a_job_before_it_is_due(mut house: House) {
    house.relay();
    house.work("w1");
    let trigger = house.trigger("t").await;
    // The first is heard when the group has come together; the others find it so.
    let first = house.fire(&trigger, "{}").await;
    house.all_done(std::slice::from_ref(&first)).await;
    let early = eventually("a delivery begins before it is due", || async {
        let fired = house.fire(&trigger, "{}").await;
        house.all_done(std::slice::from_ref(&fired)).await;
        let job = house.job(&fired.job_id).await;
        let started = job.started_at.unwrap();
        (started < job.run_at).then(|| job.run_at.since(started))
    })
    .await;
    assert!(early > Duration::ZERO);
    house.stop().await;
}

pub async fn consumers_of_a_group_share_the_partitions(mut house: House) {
    house.relay();
    house.work("w1");
    house.work("w2");
    let mut triggers: Vec<Arc<str>> = Vec::new();
    for n in 0..16 {
        triggers.push(house.trigger(&format!("t{n}")).await);
    }
    let both = async || {
        let mut fired = Vec::new();
        for trigger in &triggers {
            fired.push(house.fire(trigger, "{}").await);
        }
        house.all_done(&fired).await;
        for fired in &fired {
            assert_eq!(house.ran.times(&fired.job_id), 1);
            let log = house.process.jobs.get(TENANT, &fired.job_id).await.unwrap();
            assert_eq!(log.job.attempts, 1);
        }
        house.ran.by_worker()
    };
    eventually("each has partitions", || async {
        let before = house.ran.by_worker();
        let after = both().await;
        let gained = |name: &str| after.get(name) > before.get(name);
        (gained("w1") && gained("w2")).then_some(())
    })
    .await;
    house.stop().await;
}
