//! Several processes append, fail, hang up and follow in random interleavings; afterwards the log
//! must be one that nobody could tell from a log with a single writer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use reqwest::Method;
use serde_json::{Value, json};
use tidewire_core::Clock;
use tidewire_testkit::{Answer, Engine, Proxy, TestApp, TestStore, eventually, every_engine};

use crate::house::{NEVER, Tail, process};

/// Random cases of each run.
const CASES: usize = 5;
const TENANTS: usize = 2;
/// The last of them reaches the store by a way on which accidents happen.
const PROCESSES: usize = 3;
/// Each of them is one client of one process.
const CLIENTS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Append {
        tenant: usize,
        /// Streams, and keys that others use too.
        events: Vec<(u8, Option<u8>)>,
        /// Hangs up before the answer, after so many milliseconds.
        hang_up: Option<u64>,
    },
    /// Appends where it believes the stream to end: others may have been faster.
    Guarded {
        tenant: usize,
        stream: u8,
    },
    Pause {
        millis: u64,
    },
}

#[derive(Clone, Debug)]
enum Accident {
    /// Connections are reset.
    Cut,
    /// No byte gets through, also in the middle of a transaction.
    Stall { millis: u64 },
}

#[derive(Clone, Debug)]
struct Plan {
    clients: Vec<Vec<Step>>,
    accidents: Vec<(u64, Accident)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let tenant = 0..TENANTS;
    let events = vec((0..3u8, prop::option::weighted(0.5, 0..40u8)), 1..6);
    let hang_up = prop::option::weighted(0.1, 0..8u64);
    let append =
        (tenant.clone(), events, hang_up).prop_map(|(tenant, events, hang_up)| Step::Append {
            tenant,
            events,
            hang_up,
        });
    let guarded = (tenant, 0..3u8).prop_map(|(tenant, stream)| Step::Guarded { tenant, stream });
    let pause = (0..15u64).prop_map(|millis| Step::Pause { millis });
    let step = prop_oneof![6 => append, 2 => guarded, 2 => pause];
    let accident = prop_oneof![
        Just(Accident::Cut),
        (1..400u64).prop_map(|millis| Accident::Stall { millis }),
    ];
    (
        vec(vec(step, 10..25), CLIENTS),
        vec((0..80u64, accident), 2..8),
    )
        .prop_map(|(clients, accidents)| Plan { clients, accidents })
}

#[every_engine(servers, multi_thread)]
async fn processes_that_share_a_store_keep_one_order(engine: Engine) {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..CASES {
        let plan = plan().new_tree(&mut runner).unwrap().current();
        // Cargo shows it if the test fails.
        eprintln!("{plan:?}");
        run(engine, plan).await;
    }
}

/// The same with one process, whose store knows that it is alone.
#[every_engine(sqlite, multi_thread)]
async fn one_process_keeps_one_order(engine: Engine) {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..CASES {
        let plan = plan().new_tree(&mut runner).unwrap().current();
        eprintln!("{plan:?}");
        let store = TestStore::on(engine, tidewire_events::MIGRATIONS).await;
        let app = process(store.db.clone(), Clock::system(), NEVER).await.0;
        check(Arc::new(vec![app]), plan.clients, async {}).await;
    }
}

async fn run(engine: Engine, plan: Plan) {
    let store = TestStore::on(engine, tidewire_events::MIGRATIONS).await;
    let proxy = Proxy::start(store.address()).await;
    let mut apps = Vec::new();
    for n in 0..PROCESSES {
        let db = if n + 1 < PROCESSES {
            store.second().await
        } else {
            store.through(proxy.address()).await
        };
        apps.push(process(db, Clock::system(), NEVER).await.0);
    }
    let accidents = async {
        for (after, accident) in plan.accidents {
            tokio::time::sleep(Duration::from_millis(after)).await;
            match accident {
                Accident::Cut => proxy.cut(),
                Accident::Stall { millis } => {
                    proxy.pause();
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    proxy.resume();
                }
            }
        }
    };
    check(Arc::new(apps), plan.clients, accidents).await;
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Tenant, number of the event, its key, and the answer.
    stored: Vec<(usize, u64, Option<u8>, Value)>,
    /// Refused for good: none of these may be in the log.
    refused: HashSet<u64>,
}

async fn check(
    apps: Arc<Vec<TestApp>>,
    clients: Vec<Vec<Step>>,
    accidents: impl Future<Output = ()>,
) {
    let mut followers = Vec::new();
    for (tenant, app) in (0..TENANTS).flat_map(|tenant| apps.iter().map(move |app| (tenant, app))) {
        followers.push((tenant, tokio::spawn(follow(tail(app, tenant).await))));
    }
    let told = Arc::new(Mutex::new(Told::default()));
    let clients: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, steps)| tokio::spawn(client(n, Arc::clone(&apps), steps, Arc::clone(&told))))
        .collect();
    accidents.await;
    for client in clients {
        client.await.unwrap();
    }
    let told = Arc::into_inner(told).unwrap().into_inner().unwrap();
    let mut logs = Vec::new();
    for tenant in 0..TENANTS {
        // Followers read up to here.
        let last = json!({"type": "last", "stream": "last", "dedupe_key": "last"});
        insist(&apps[0], tenant, &last).await;
        let log = whole(&apps[0], tenant).await;
        is_in_order(&log);
        logs.push(log);
    }
    for (tenant, follower) in followers {
        let seen = follower.await.unwrap();
        let places: Vec<_> = seen
            .iter()
            .map(|(place, _)| place.parse::<u64>().unwrap())
            .collect();
        assert_eq!(places, (1..=seen.len() as u64).collect::<Vec<_>>());
        let seen: Vec<_> = seen.into_iter().map(|(_, event)| event).collect();
        // What a client that hung up has sent may still come behind the last.
        let so_far = logs[tenant].get(..seen.len()).unwrap_or_default();
        assert!(seen == so_far, "a follower saw another log");
    }
    is_as_told(&logs, &told);
}

async fn tail(app: &TestApp, tenant: usize) -> Tail {
    let request = app.request(Method::GET, "/v1/events/tail?after=0");
    Tail::of(request.header("x-tenant", format!("t{tenant}"))).await
}

async fn follow(mut tail: Tail) -> Vec<(String, Value)> {
    let mut seen = Vec::new();
    loop {
        let (place, event) = tail.next().await;
        let last = event["type"] == "last";
        seen.push((place, event));
        if last {
            return seen;
        }
    }
}

async fn post(app: &TestApp, tenant: usize, body: &Value) -> Answer {
    let request = app.request(Method::POST, "/v1/events");
    let request = request.header("x-tenant", format!("t{tenant}"));
    TestApp::send(request.json(body)).await
}

/// Sends what has keys until it is stored.
async fn insist(app: &TestApp, tenant: usize, body: &Value) -> Value {
    let answer = eventually("an append is taken", || async {
        let answer = post(app, tenant, body).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer.json()
}

async fn client(n: usize, apps: Arc<Vec<TestApp>>, steps: Vec<Step>, told: Arc<Mutex<Told>>) {
    let app = &apps[n % apps.len()];
    for (place, step) in steps.into_iter().enumerate() {
        // What tells every event from all others.
        let number = |event: usize| ((n * 1000 + place) * 100 + event) as u64;
        match step {
            Step::Pause { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Append {
                tenant,
                events,
                hang_up,
            } => {
                let bodies: Vec<_> = events
                    .iter()
                    .enumerate()
                    .map(|(event, (stream, key))| {
                        let key = key.map(|key| format!("k{key}"));
                        json!({"type": "t", "stream": format!("s{stream}"), "dedupe_key": key, "payload": number(event)})
                    })
                    .map(without_null_key)
                    .collect();
                let body = json!(bodies);
                if let Some(millis) = hang_up {
                    let patience = Duration::from_millis(millis);
                    let _ = tokio::time::timeout(patience, post(app, tenant, &body)).await;
                    continue;
                }
                let answers = if events.iter().all(|(_, key)| key.is_some()) {
                    insist(app, tenant, &body).await
                } else {
                    let answer = post(app, tenant, &body).await;
                    if answer.status == 503 {
                        // Whether it was stored is not known, and to send it again might double it.
                        continue;
                    }
                    answer.expect(201).json()
                };
                let answers = answers.as_array().unwrap().clone();
                let mut told = told.lock().unwrap();
                for (event, answer) in answers.into_iter().enumerate() {
                    told.stored
                        .push((tenant, number(event), events[event].1, answer));
                }
            }
            Step::Guarded { tenant, stream } => {
                let Some(end) = end_of(app, tenant, stream).await else {
                    continue;
                };
                let body = json!({"type": "t", "stream": format!("s{stream}"), "expected_seq": end, "payload": number(0)});
                let answer = post(app, tenant, &body).await;
                match answer.status {
                    201 => {
                        let answer = answer.json();
                        assert_eq!(answer["seq"], end + 1);
                        told.lock()
                            .unwrap()
                            .stored
                            .push((tenant, number(0), None, answer));
                    }
                    409 => drop(told.lock().unwrap().refused.insert(number(0))),
                    503 => {}
                    _ => panic!("{}", answer.text),
                }
            }
        }
    }
}

fn without_null_key(mut event: Value) -> Value {
    if event["dedupe_key"].is_null() {
        event.as_object_mut().unwrap().remove("dedupe_key");
    }
    event
}

/// The last `seq` of a stream, if the process can say it now.
async fn end_of(app: &TestApp, tenant: usize, stream: u8) -> Option<u64> {
    let path = format!("/v1/events?stream=s{stream}&limit=1");
    let request = app.request(Method::GET, &path);
    let answer = TestApp::send(request.header("x-tenant", format!("t{tenant}"))).await;
    (answer.status == 200).then(|| answer.json()["events"][0]["seq"].as_u64().unwrap_or(0))
}

/// A tenant's log from its start, as the list shows it.
async fn whole(app: &TestApp, tenant: usize) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    loop {
        let request = app.request(Method::GET, &format!("/v1/events?limit=100{cursor}"));
        let page = TestApp::send(request.header("x-tenant", format!("t{tenant}"))).await;
        let page = page.expect(200).json();
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    events.reverse();
    events
}

/// The numbers have no gap and no repeat, time does not go back, and no key is stored twice.
fn is_in_order(log: &[Value]) {
    let mut seqs: HashMap<&str, u64> = HashMap::new();
    let mut keys = HashSet::new();
    let mut ids = HashSet::new();
    let mut time = "";
    for event in log {
        let seq = seqs.entry(event["stream"].as_str().unwrap()).or_default();
        *seq += 1;
        assert_eq!(event["seq"], *seq, "{event}");
        if let Some(key) = event["dedupe_key"].as_str() {
            assert!(keys.insert(key), "{key} was stored twice");
        }
        assert!(ids.insert(event["id"].as_str().unwrap()));
        let stored_at = event["created_at"].as_str().unwrap();
        assert!(stored_at >= time, "{event} is from before {time}");
        time = stored_at;
    }
}

/// What was acknowledged is there once, duplicates are the first event, what was refused is not
/// there.
fn is_as_told(logs: &[Vec<Value>], told: &Told) {
    let mut by_number = BTreeMap::new();
    let mut by_key = HashMap::new();
    for (tenant, event) in logs
        .iter()
        .enumerate()
        .flat_map(|(tenant, log)| log.iter().map(move |event| (tenant, event)))
    {
        if let Some(number) = event["payload"].as_u64() {
            assert!(
                by_number.insert(number, event).is_none(),
                "{event} was stored twice"
            );
            assert!(!told.refused.contains(&number), "{event} was refused");
        }
        if let Some(key) = event["dedupe_key"].as_str() {
            by_key.insert((tenant, key.to_owned()), event);
        }
    }
    for (tenant, number, key, answer) in &told.stored {
        let stored = match key {
            // Its own first attempt may have been stored while the answer was lost.
            Some(key) => by_key.get(&(*tenant, format!("k{key}"))),
            None => by_number.get(number),
        };
        let stored = stored.unwrap_or_else(|| panic!("{answer} is not in the log"));
        for field in ["id", "stream", "seq", "created_at"] {
            assert_eq!(stored[field], answer[field], "{field} of {answer}");
        }
        if answer["duplicated"] == false {
            assert_eq!(stored["payload"], *number, "{answer}");
        }
    }
}
