//! Several sweepers on one store, while everything else goes on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tidewire_jobs::{JobFilter, Status};
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{HOUR, KEPT};
use crate::{
    Error, ExecutionQuery, ExecutionStatus, RetentionStatus, TriggerSettings, model::Page,
    service::executions::tests::World,
};

#[every_engine]
async fn a_long_history_is_moved_step_by_step_by_two_at_once(engine: Engine) {
    let world = World::open(engine).await;
    let trigger = world.webhook("a").await;
    let payload = json!({});
    futures_util::future::join_all((0..1_100).map(|_| world.call(&trigger, &payload))).await;
    let mut kept = world.claim(300).await;
    kept.truncate(100);
    loop {
        let claimed = world.claim(500).await;
        if claimed.is_empty() {
            break;
        }
        futures_util::future::join_all(claimed.iter().map(|job| world.complete(job))).await;
    }
    // 300 of them run still.
    let second = match engine {
        Engine::Sqlite => world.of_tenant("default"),
        Engine::Postgres | Engine::MySql => world.second().await,
    };
    world.clock.advance(3 * HOUR);
    let (one, other) = tokio::join!(world.sweep(), second.sweep());
    assert_eq!(one.archived + other.archived, 800);
    assert_eq!(world.rows().await[..2], [300, 800]);
    world.clock.advance(45 * HOUR);
    let (one, other) = tokio::join!(world.sweep(), second.sweep());
    assert_eq!(one.deleted + other.deleted, 800);
    assert_eq!(world.rows().await[..4], [300, 0, 0, 300]);
    futures_util::future::join_all(kept.iter().map(|job| world.complete(job))).await;
    let (one, other) = tokio::join!(world.sweep(), second.sweep());
    assert_eq!(one.archived + other.archived, 100);
    assert_eq!(world.rows().await[..2], [200, 100]);
}

/// Firings, reports, retries and sweeps at once, over periods that are shorter than what is done.
#[every_engine(multi_thread)]
async fn sweeps_race_with_everything_and_nothing_is_lost(engine: Engine) {
    let short = TriggerSettings {
        active_for: Duration::from_millis(100),
        keep_for: Duration::from_millis(400),
        ..TriggerSettings::default()
    };
    let world = Arc::new(World::with(engine, short).await);
    let second = match engine {
        Engine::Sqlite => Arc::clone(&world),
        Engine::Postgres | Engine::MySql => Arc::new(world.second().await),
    };
    let trigger = world.webhook("a").await;
    let over = Arc::new(AtomicBool::new(false));

    let sweepers = [&world, &second].map(|world| {
        let (world, over) = (Arc::clone(world), Arc::clone(&over));
        tokio::spawn(async move {
            let mut swept = (0, 0);
            while !over.load(Ordering::SeqCst) {
                let some = world.triggers.sweep(true).await.unwrap();
                swept = (swept.0 + some.archived, swept.1 + some.deleted);
                world.clock.advance(Duration::from_millis(15));
            }
            swept
        })
    });
    let workers = [&world, &second].map(|world| {
        let (world, over) = (Arc::clone(world), Arc::clone(&over));
        tokio::spawn(async move {
            let mut ended = 0_usize;
            while !over.load(Ordering::SeqCst) {
                let claimed = world.claim(7).await;
                for job in &claimed {
                    ended += 1;
                    match ended % 3 {
                        0 => world.complete(job).await,
                        _ => world.fail(job).await,
                    }
                }
                if claimed.is_empty() {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let mut fired = Vec::new();
    for n in 0..60 {
        let payload = json!({"n": n});
        let some = (0..4).map(|_| world.call(&trigger, &payload));
        fired.extend(futures_util::future::join_all(some).await);
        // Whatever has become of it: it is retried, or it is not there, or it is of no use.
        let old = &fired[fired.len() * 2 / 3];
        let (by_hand, by_job) = tokio::join!(
            world
                .triggers
                .retry_execution(&world.tenant, &old.execution_id),
            second
                .jobs
                .retry(&second.tenant, &fired[fired.len() / 2].job_id),
        );
        if let Err(error) = by_hand {
            assert!(
                matches!(
                    error,
                    Error::NotRetriable { .. } | Error::NoSuchExecution(_)
                ),
                "{error:?}"
            );
        }
        if let Err(error) = by_job {
            assert!(
                matches!(
                    error,
                    tidewire_jobs::Error::NoSuchJob(_) | tidewire_jobs::Error::WrongState { .. }
                ),
                "{error:?}"
            );
        }
        if n % 10 == 0 {
            second
                .jobs
                .retry_all(&second.tenant, &JobFilter::default())
                .await
                .unwrap();
        }
    }
    over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let mut swept = (0, 0);
    for sweeper in sweepers {
        let (archived, deleted) = sweeper.await.unwrap();
        swept = (swept.0 + archived, swept.1 + deleted);
    }
    assert!(
        swept.0 >= swept.1,
        "what is deleted was archived: {swept:?}"
    );

    // Each is in one place at most, and says what its job says.
    let mut found = BTreeMap::new();
    for retention in RetentionStatus::ALL {
        for number in 1..=10 {
            let query = ExecutionQuery {
                retention_status: Some(*retention),
                ..ExecutionQuery::default()
            };
            let page = Page::of(Some(number), Some(100)).unwrap();
            let listed = world.triggers.executions(&world.tenant, query, page).await;
            for execution in listed.unwrap().0 {
                let twice = found.insert(execution.id.clone(), execution);
                assert!(twice.is_none(), "{twice:?}");
            }
        }
    }
    for one in &fired {
        let job = world
            .jobs
            .find(&world.tenant, &[&one.job_id])
            .await
            .unwrap();
        let wanted = match job[0].as_ref().map(|job| job.status) {
            None => None,
            Some(Status::Done) => Some(ExecutionStatus::Success),
            Some(Status::Failed | Status::Cancelled) => Some(ExecutionStatus::Failure),
            Some(Status::Pending | Status::Running) => Some(ExecutionStatus::Pending),
        };
        let execution = found.get(&one.execution_id);
        assert_eq!(
            execution.map(|found| found.execution_status),
            wanted,
            "{one:?}"
        );
        if wanted == Some(ExecutionStatus::Pending) {
            assert_eq!(
                execution.map(|found| found.retention_status),
                Some(RetentionStatus::Active)
            );
        }
    }
    // A claim passes over what somebody has locked at that moment, and the keeper finds it.
    let _keeper = world.keep_jobs();
    eventually("all has ended, and is gone", async || {
        world.end_all(true).await;
        world.clock.advance(HOUR);
        world.sweep().await;
        let mut left = world.rows().await;
        left[6] = 0;
        (left == [0; KEPT.len()]).then_some(())
    })
    .await;
}
