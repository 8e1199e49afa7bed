//! Several matchers on one store, while events are appended and triggers edited.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tidewire_testkit::{Proxy, every_engine};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        kind: usize,
        count: usize,
    },
    Create {
        kind: usize,
    },
    /// A new config for the same events.
    Edit {
        nth: usize,
    },
    /// Off, and on again.
    Switch {
        nth: usize,
    },
    Delete {
        nth: usize,
    },
    /// A matcher is killed, and another one starts.
    Kill {
        nth: usize,
    },
    Pause {
        millis: u64,
    },
}

const KINDS: [&str; 3] = ["a.x", "a.y", "b.x"];
const PATTERNS: [&str; 5] = ["a.x", "a.y", "b.x", "a.*", "*"];
const MATCHERS: usize = 3;
/// Each does its steps one after the other, in a process of its own where there can be several.
const CLIENTS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        8 => (0..KINDS.len(), 1..30usize).prop_map(|(kind, count)| Step::Append { kind, count }),
        2 => (0..PATTERNS.len()).prop_map(|kind| Step::Create { kind }),
        2 => (0..20usize).prop_map(|nth| Step::Edit { nth }),
        1 => (0..20usize).prop_map(|nth| Step::Switch { nth }),
        1 => (0..20usize).prop_map(|nth| Step::Delete { nth }),
        1 => (0..MATCHERS).prop_map(|nth| Step::Kill { nth }),
        1 => (0..20u64).prop_map(|millis| Step::Pause { millis }),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 10..25), CLIENTS)
}

/// A trigger as its clients know it. Moments are counted by one clock for all of them.
#[derive(Debug)]
struct Known {
    pattern: usize,
    /// When it was saved: the answer had come.
    since: u64,
    /// When it began not to count, or was edited in a way that leaves events out.
    until: Option<u64>,
    /// When somebody first wanted to create it.
    begun: u64,
    /// It is there all the time.
    stays: bool,
}

#[derive(Default)]
struct World {
    moment: AtomicU64,
    triggers: Mutex<BTreeMap<String, Known>>,
    /// By the number in its payload: its type, and when its append began and was answered.
    events: Mutex<HashMap<u64, (usize, u64, u64)>>,
    number: AtomicU64,
}

impl World {
    fn now(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    fn nth(&self, nth: usize, may_end: bool) -> Option<String> {
        let triggers = self.triggers.lock().unwrap();
        let standing = triggers.iter().filter(|(_, known)| known.until.is_none());
        let standing = standing.filter(|(_, known)| !(may_end && known.stays));
        let ids: Vec<_> = standing.map(|(id, _)| id.clone()).collect();
        (!ids.is_empty()).then(|| ids[nth % ids.len()].clone())
    }

    /// From here on it need not fire.
    fn ends(&self, id: &str) {
        let now = self.now();
        let mut triggers = self.triggers.lock().unwrap();
        if let Some(known) = triggers.get_mut(id) {
            known.until.get_or_insert(now);
        }
    }
}

async fn client(house: &House, world: &World, steps: &[Step], kill: &(dyn Fn(usize) + Sync)) {
    for step in steps {
        match step {
            Step::Append { kind, count } => {
                let first = world.number.fetch_add(*count as u64, Ordering::SeqCst);
                let numbers = first..first + *count as u64;
                let begun = world.now();
                let events = numbers.clone().map(|n| (KINDS[*kind], json!(n)));
                house.append_all(events).await;
                let done = world.now();
                let mut events = world.events.lock().unwrap();
                events.extend(numbers.map(|n| (n, (*kind, begun, done))));
            }
            Step::Create { kind } => {
                let begun = world.now();
                let id = house.on(PATTERNS[*kind], json!({})).await;
                let known = Known {
                    pattern: *kind,
                    since: world.now(),
                    until: None,
                    begun,
                    stays: false,
                };
                world.triggers.lock().unwrap().insert(id, known);
            }
            Step::Edit { nth } => {
                let Some(id) = world.nth(*nth, false) else {
                    continue;
                };
                let pattern = world.triggers.lock().unwrap()[&id].pattern;
                let edit = TriggerEdit {
                    config: Some(config(PATTERNS[pattern], json!({"timeout_seconds": 9}))),
                    ..TriggerEdit::default()
                };
                // It may be gone, or edited at the same time.
                let _ = house.triggers.update(&house.tenant, &id, edit).await;
            }
            Step::Switch { nth } => {
                let Some(id) = world.nth(*nth, true) else {
                    continue;
                };
                world.ends(&id);
                for status in [TriggerStatus::Inactive, TriggerStatus::Active] {
                    let edit = TriggerEdit {
                        status: Some(status),
                        ..TriggerEdit::default()
                    };
                    let _ = house.triggers.update(&house.tenant, &id, edit).await;
                }
            }
            Step::Delete { nth } => {
                let Some(id) = world.nth(*nth, true) else {
                    continue;
                };
                world.ends(&id);
                let _ = house.triggers.delete(&house.tenant, &id).await;
            }
            Step::Kill { nth } => kill(*nth),
            Step::Pause { millis } => tokio::time::sleep(Duration::from_millis(*millis)).await,
        }
    }
}

async fn run(houses: &[House], plan: &[Vec<Step>]) {
    let world = World::default();
    for (kind, pattern) in PATTERNS.iter().enumerate() {
        let begun = world.now();
        let id = houses[0].on(pattern, json!({})).await;
        let known = Known {
            pattern: kind,
            since: world.now(),
            until: None,
            begun,
            stays: true,
        };
        world.triggers.lock().unwrap().insert(id, known);
    }
    let of = |n: usize| &houses[n % houses.len()];
    let matchers: Vec<_> = (0..MATCHERS).map(|n| Mutex::new(of(n).keep())).collect();
    let kill = |nth: usize| *matchers[nth].lock().unwrap() = of(nth).keep();
    let clients = plan.iter().enumerate();
    join_all(clients.map(|(n, steps)| client(of(n), &world, steps, &kill))).await;
    let fired = houses[0].settled().await;
    let mut counts: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for one in &fired {
        let n = one.payload["payload"].as_u64().unwrap();
        *counts.entry((&one.trigger, n)).or_default() += 1;
    }
    let (triggers, events) = (world.triggers.into_inner(), world.events.into_inner());
    let (triggers, events) = (triggers.unwrap(), events.unwrap());
    let mut sure = 0;
    for (id, known) in &triggers {
        let pattern = crate::TypePattern::parse(PATTERNS[known.pattern]).unwrap();
        for (n, (kind, begun, done)) in &events {
            let count = counts.remove(&(id.as_str(), *n)).unwrap_or(0);
            let matches = pattern.matches(KINDS[*kind]);
            let must = matches && known.since < *begun && known.until.is_none();
            let may = matches && known.begun < *done;
            sure += usize::from(must);
            assert!(count <= 1, "{id} fired {count} times for {n}");
            assert!(!must || count == 1, "{id} did not fire for {n}: {known:?}");
            assert!(
                may || count == 0,
                "{id} fired for {n}, which it does not want"
            );
        }
    }
    assert!(counts.is_empty(), "{counts:?}");
    assert!(sure > 0);
}

/// Random cases of each run.
const CASES: usize = 3;

#[every_engine(servers, multi_thread)]
async fn matchers_of_several_processes_fire_each_pair_once(engine: Engine) {
    let mut runner = TestRunner::default();
    for _ in 0..CASES {
        let plan = steps().new_tree(&mut runner).unwrap().current();
        // Cargo shows it if the test fails.
        eprintln!("{plan:?}");
        let first = House::open(engine).await;
        let houses = [first.second().await, first.second().await, first];
        run(&houses, &plan).await;
    }
}

#[every_engine(multi_thread)]
async fn matchers_of_one_process_fire_each_pair_once(engine: Engine) {
    let mut runner = TestRunner::default();
    for _ in 0..CASES {
        let plan = steps().new_tree(&mut runner).unwrap().current();
        eprintln!("{plan:?}");
        run(&[House::open(engine).await], &plan).await;
    }
}

#[every_engine(servers, multi_thread)]
async fn two_matchers_share_a_flood(engine: Engine) {
    let here = House::open(engine).await;
    let there = here.second().await;
    let trigger = here.on("t", json!({})).await;
    here.append_all((0..3000).map(|n| ("t", json!(n)))).await;
    let _matchers = (here.keep(), there.keep());
    let fired = here.settled().await;
    assert_eq!(numbers(&fired, &trigger), (0..3000).collect::<Vec<_>>());
}

/// Connections break at any point, also while a commit is under way: who committed is not told so.
#[every_engine(servers, multi_thread)]
async fn a_matcher_whose_connections_break_fires_each_event_once(engine: Engine) {
    let house = House::open(engine).await;
    let proxy = Proxy::start(house.store.address()).await;
    let db = house.store.through(proxy.address()).await;
    let far = House::over(db, &house.store, house.settings);
    let trigger = house.on("t", json!({})).await;
    let span = 0..1500u64;
    let matcher = far.keep();
    for some in span.clone().collect::<Vec<_>>().chunks(50) {
        house.append_all(some.iter().map(|n| ("t", json!(n)))).await;
        // A little later each time.
        for _ in 0..some[0] / 50 {
            house.count(None).await;
        }
        proxy.cut();
    }
    let fired = house.settled().await;
    assert_eq!(numbers(&fired, &trigger), span.collect::<Vec<_>>());
    matcher.stop().await;
}
