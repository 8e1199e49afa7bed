//! The suite.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use tidewire_core::Time;
use tidewire_testkit::{Engine, eventually};

use super::world::{Setup, World, answered, begin, completed, leases, said, turn, words};
use crate::support::Server;

/// A test of each scenario in a world.
macro_rules! suite {
    ($world:ty) => {
        use tidewire_testkit::{Engine, every_engine};

        suite!($world: a_thread_keeps_its_instance, an_idle_instance_goes, what_crashes_is_replaced,
            at_the_limit_a_thread_waits, a_warm_instance_was_there_before, a_killed_operator_leaves_nothing_undone,
            an_operator_may_be_killed_at_any_moment);

        #[every_engine(postgres)]
        async fn two_operators_start_one_instance_a_thread(engine: Engine) {
            if <$world as crate::agents::sticky::world::World>::is_there().await {
                crate::agents::sticky::scenarios::two_operators_start_one_instance_a_thread::<$world>(engine).await;
            }
        }
    };
    ($world:ty: $($scenario:ident),*) => {
        $(
            #[tokio::test]
            async fn $scenario() {
                if <$world as crate::agents::sticky::world::World>::is_there().await {
                    crate::agents::sticky::scenarios::$scenario::<$world>().await;
                }
            }
        )*
    };
}

const QUESTION: &str = "what is 6 * 7?";

pub async fn a_thread_keeps_its_instance<W: World>() {
    let world = W::start(Setup::default()).await;
    let server = world.server();
    let first = answered(server, "one", QUESTION).await;
    assert_eq!(answered(server, "one", QUESTION).await, first);
    let other = answered(server, "two", QUESTION).await;
    assert_ne!(other, first);
    assert_eq!(answered(server, "one", QUESTION).await, first);
    let both = BTreeSet::from([first, other]);
    assert_eq!(world.running().await, both);
    let leased = leases(server).await;
    let workers = leased.iter().map(|it| it["worker"].as_str().unwrap());
    assert_eq!(workers.map(str::to_owned).collect::<BTreeSet<_>>(), both);
}

pub async fn an_idle_instance_goes<W: World>() {
    let world = W::start(Setup {
        idle_timeout: Duration::from_secs(1),
        ..Setup::default()
    })
    .await;
    let server = world.server();
    let first = answered(server, "one", QUESTION).await;
    eventually("it has gone", async || {
        world.running().await.is_empty().then_some(())
    })
    .await;
    assert_eq!(leases(server).await.len(), 0);
    // The thread goes on as if nothing had been.
    assert_ne!(answered(server, "one", QUESTION).await, first);
}

pub async fn what_crashes_is_replaced<W: World>() {
    let world = W::start(Setup {
        pace: Duration::from_millis(30),
        ..Setup::default()
    })
    .await;
    let server = world.server();
    let id = begin(server, "one", &words(100)).await;
    let running = talking(server, "one", &id).await;
    world.crash(&running).await;
    let done = completed(server, "one", &id).await;
    assert_ne!(done["worker"], running.as_str());
    assert_eq!(said(server, "one", "turn.completed").await, 1);
    assert_eq!(said(server, "one", "turn.started").await, 2);
    // The one that took over keeps the thread.
    let next = answered(server, "one", QUESTION).await;
    assert_eq!(done["worker"], next.as_str());
    assert_eq!(world.running().await, BTreeSet::from([next]));
}

pub async fn at_the_limit_a_thread_waits<W: World>() {
    let world = W::start(Setup {
        max: 2,
        pace: Duration::from_millis(20),
        ..Setup::default()
    })
    .await;
    let server = world.server();
    let mut turns = Vec::new();
    for thread in ["one", "two"] {
        let id = begin(server, thread, &words(100)).await;
        talking(server, thread, &id).await;
        turns.push((thread, id));
    }
    turns.push(("three", begin(server, "three", QUESTION).await));
    let done = eventually("all are completed", async || {
        let running = world.running().await;
        assert!(running.len() <= 2, "{running:?}");
        let mut done = Vec::new();
        for (thread, id) in &turns {
            let turn = turn(server, thread, id).await;
            done.extend((turn["status"] == "completed").then_some(turn));
        }
        (done.len() == 3).then_some(done)
    })
    .await;
    let at = |turn: &Value, name: &str| -> Time { turn[name].as_str().unwrap().parse().unwrap() };
    let freed = at(&done[0], "finished_at").min(at(&done[1], "finished_at"));
    assert!(at(&done[2], "started_at") >= freed, "{done:#?}");
    for (thread, _) in &turns {
        assert_eq!(said(server, thread, "turn.completed").await, 1);
    }
}

pub async fn a_warm_instance_was_there_before<W: World>() {
    let world = W::start(Setup {
        warm: 1,
        ..Setup::default()
    })
    .await;
    let server = world.server();
    let warm = eventually("one is warm", async || {
        let held: Vec<_> = leases(server).await;
        let [lease] = &held[..] else {
            return None;
        };
        assert!(lease["thread_id"].is_null(), "{lease:#}");
        let running = world.running().await;
        let name = lease["worker"].as_str()?.to_owned();
        running.contains(&name).then_some(name)
    })
    .await;
    assert_eq!(answered(server, "one", QUESTION).await, warm);
    // It is the thread's for good, and another one is warm.
    assert_eq!(answered(server, "one", QUESTION).await, warm);
    eventually("the next is warm", async || {
        (world.running().await.len() == 2).then_some(())
    })
    .await;
}

pub async fn a_killed_operator_leaves_nothing_undone<W: World>() {
    let mut world = W::start(Setup {
        pace: Duration::from_millis(30),
        ..Setup::default()
    })
    .await;
    let id = begin(world.server(), "one", &words(100)).await;
    talking(world.server(), "one", &id).await;
    world.kill_operator().await;
    world.start_operator().await;
    let server = world.server();
    completed(server, "one", &id).await;
    assert_eq!(said(server, "one", "turn.completed").await, 1);
    let next = answered(server, "one", QUESTION).await;
    settles(&world, &BTreeSet::from([next])).await;
}

/// Each time at another point of what it does.
pub async fn an_operator_may_be_killed_at_any_moment<W: World>() {
    let mut world = W::start(Setup {
        pace: Duration::from_millis(5),
        ..Setup::default()
    })
    .await;
    let mut turns = Vec::new();
    for (round, at) in ["a lease", "an instance", "a turn"].into_iter().enumerate() {
        for n in 0..3 {
            let thread = format!("thread-{round}-{n}");
            let id = begin(world.server(), &thread, &words(40)).await;
            turns.push((thread, id));
        }
        let first = &turns[round * 3];
        eventually(at, async || {
            let server = world.server();
            let held = leases(server).await;
            let lease = held.iter().find(|it| it["thread_id"] == *first.0)?;
            let name = lease["worker"].as_str()?;
            let is_there = match round {
                0 => true,
                1 => world.running().await.contains(name),
                _ => said(server, &first.0, "message.delta").await > 0,
            };
            is_there.then_some(())
        })
        .await;
        world.kill_operator().await;
        world.start_operator().await;
    }
    let server = world.server();
    for (thread, id) in &turns {
        completed(server, thread, id).await;
        assert_eq!(said(server, thread, "turn.completed").await, 1, "{thread}");
    }
    // Nothing is left of what was half done.
    eventually("those run that have a thread", async || {
        let held = leases(server).await;
        let workers = held.iter().map(|it| it["worker"].as_str().unwrap());
        let workers: BTreeSet<_> = workers.map(str::to_owned).collect();
        (world.running().await == workers).then_some(())
    })
    .await;
}

pub async fn two_operators_start_one_instance_a_thread<W: World>(engine: Engine) {
    let world = W::start(Setup {
        engine,
        operators: 2,
        ..Setup::default()
    })
    .await;
    let server = world.server();
    let threads: Vec<_> = (0..6).map(|n| format!("thread-{n}")).collect();
    let mut turns = Vec::new();
    for thread in &threads {
        turns.push(begin(server, thread, QUESTION).await);
    }
    let mut all = BTreeSet::new();
    for (thread, id) in threads.iter().zip(&turns) {
        let first = completed(server, thread, id).await;
        assert_eq!(said(server, thread, "turn.started").await, 1, "{thread}");
        let worker = first["worker"].as_str().unwrap();
        assert_eq!(answered(server, thread, QUESTION).await, worker);
        all.insert(worker.to_owned());
    }
    assert_eq!(all.len(), threads.len());
    settles(&world, &all).await;
}

/// Waits until the turn is in the middle of its answer; who says it.
pub async fn talking(server: &Server, thread: &str, id: &str) -> String {
    let what = format!("the first word in {thread}");
    eventually(&what, async || {
        let has_begun = said(server, thread, "message.delta").await > 0;
        has_begun.then_some(())
    })
    .await;
    let turn = turn(server, thread, id).await;
    assert_eq!(turn["status"], "running", "it is too quick: {turn:#}");
    turn["worker"].as_str().expect("a name").to_owned()
}

/// Waits until these run, and no others.
async fn settles<W: World>(world: &W, expected: &BTreeSet<String>) {
    let what = format!("{expected:?} run alone");
    eventually(&what, async || {
        (world.running().await == *expected).then_some(())
    })
    .await;
}
