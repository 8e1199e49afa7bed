//! Threads over faults, with each hot log: agents, clients who come and go, and what they depend on being
//! killed on the way. What every client has put together is what the store has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tidewire_core::clock;
use tidewire_testkit::{
    Engine, eventually, every_engine,
    servers::{Redis, ServerOptions},
};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{House, assert_problem, client, full, lasting_address};

const TURNS: usize = 10;
const DELTAS: usize = 5;

/// What clients and agents are at, wherever the server is at the moment.
#[derive(Clone)]
struct Place {
    url: String,
    client: reqwest::Client,
    /// Turns whose end an agent was told to be stored.
    ended: Arc<AtomicU64>,
}

impl Place {
    fn at(address: &str) -> Self {
        Place {
            url: format!("http://{address}"),
            client: client(),
            ended: Arc::default(),
        }
    }

    /// The answer, however often it has to be asked for.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        loop {
            let request = self.client.post(format!("{}{path}", self.url)).json(body);
            if let Ok(answer) = request.send().await
                && answer.status() != 503
            {
                let status = answer.status().as_u16();
                if let Ok(body) = answer.json().await {
                    return (status, body);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get(&self, path: &str) -> Value {
        loop {
            let request = self.client.get(format!("{}{path}", self.url));
            if let Ok(answer) = request.send().await
                && answer.status() == 200
                && let Ok(body) = answer.json().await
            {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks for turns, one behind the other.
    async fn asks(self, thread: String) {
        for turn in 0..TURNS {
            let body = json!({
                "thread_id": thread, "turn_id": format!("{thread}-t{turn}"), "input": turn,
            });
            let (status, answer) = self.post("/v1/turns", &body).await;
            assert!(status == 202 || status == 200, "{status} {answer}");
        }
    }

    /// Runs turns until it is aborted.
    async fn runs(self, worker: &'static str) {
        loop {
            let claim =
                json!({"worker": worker, "types": ["agent.turn"], "limit": 1, "wait_seconds": 1});
            let (status, claimed) = self.post("/v1/jobs/claim", &claim).await;
            assert_eq!(status, 200, "{claimed}");
            for job in claimed["jobs"].as_array().unwrap() {
                self.run(job).await;
            }
        }
    }

    async fn run(&self, job: &Value) {
        let (thread, turn) = (
            job["payload"]["thread_id"].as_str().unwrap(),
            job["payload"]["turn_id"].as_str().unwrap(),
        );
        let path = format!("/v1/threads/{thread}/events");
        // The attempt is told by the token alone.
        let attempt = &job["lease_token"].as_str().unwrap()[..8];
        for n in 0..=DELTAS {
            let kind = if n == DELTAS {
                "turn.completed"
            } else {
                "message.delta"
            };
            let event = json!({
                "type": kind, "turn_id": turn, "event_id": format!("{turn}:{attempt}:{n}"),
                "payload": {"delta": n},
            });
            let (status, answer) = self.post(&path, &event).await;
            let over = status == 409 || (n < DELTAS && answer["turn_status"] == "completed");
            if over {
                return;
            }
            assert_eq!(status, 201, "{answer}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Follows a thread, hangs up at random and resumes, until all of its turns have ended; every event
    /// as it came.
    async fn follows(self, thread: String) -> Vec<(u64, String)> {
        let (mut seen, mut ended): (Vec<(u64, String)>, usize) = (Vec::new(), 0);
        while ended < TURNS {
            let last = seen.last().map_or(0, |(seq, _)| *seq);
            let path = format!("{}/v1/threads/{thread}/events/stream", self.url);
            let request = self.client.request(Method::GET, path);
            let answer = request
                .header("Last-Event-ID", last.to_string())
                .send()
                .await;
            let Ok(mut answer) = answer else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            if answer.status() != 200 {
                // Not there yet, or the server is not.
                assert!([404, 503].contains(&answer.status().as_u16()), "{answer:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let some = (clock::random_fraction() * 40.0) as usize + 1;
            let mut buffer = String::new();
            let mut taken = 0;
            while taken < some && ended < TURNS {
                let Some(frame) = frame(&mut answer, &mut buffer).await else {
                    break;
                };
                let Some(event) = frame else { continue };
                taken += 1;
                let kind = event["type"].as_str().unwrap();
                ended += usize::from(kind == "turn.completed");
                seen.push((
                    event["seq"].as_u64().unwrap(),
                    event["event_id"].to_string(),
                ));
            }
        }
        seen
    }
}

/// The next frame: its event, if it has one. None at the end of the stream, however it came.
async fn frame(answer: &mut Response, buffer: &mut String) -> Option<Option<Value>> {
    loop {
        if let Some(end) = buffer.find("\n\n") {
            let frame: String = buffer.drain(..end + 2).collect();
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
            let data = field("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
            if let Some(event) = &data {
                let id = field("id: ").expect("every event has an id");
                assert_eq!(event["seq"].to_string(), id);
            }
            return Some(data);
        }
        let more = answer.chunk().await.ok().flatten()?;
        buffer.push_str(&String::from_utf8_lossy(&more));
    }
}

struct Load {
    place: Place,
    threads: Vec<String>,
    asking: JoinSet<()>,
    following: JoinSet<(String, Vec<(u64, String)>)>,
    agents: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(place: &Place) -> Self {
        let count = if full() { 100 } else { 12 };
        let threads: Vec<_> = (0..count).map(|n| format!("x{n}")).collect();
        let mut load = Load {
            place: place.clone(),
            asking: JoinSet::new(),
            following: JoinSet::new(),
            agents: Vec::new(),
            threads: threads.clone(),
        };
        for thread in threads {
            load.asking.spawn(place.clone().asks(thread.clone()));
            let of = place.clone();
            load.following.spawn(async move {
                let seen = of.follows(thread.clone()).await;
                (thread, seen)
            });
        }
        for worker in ["one", "two"] {
            load.agents.push(tokio::spawn(place.clone().runs(worker)));
        }
        load
    }

    /// Waits until this part of all turns has ended.
    async fn reached(&self, part: f64) {
        let turns = (self.threads.len() * TURNS) as f64 * part;
        eventually("the load to go on", || async {
            (self.place.ended.load(Ordering::Relaxed) as f64 >= turns).then_some(())
        })
        .await;
    }

    /// An agent dies in the middle of what it does, and another one comes.
    fn kill_agent(&mut self) {
        self.agents.remove(0).abort();
        self.agents
            .push(tokio::spawn(self.place.clone().runs("three")));
    }

    /// Everybody is done; what each has seen is what is read, and what the store has.
    async fn held_against_the_store(mut self) {
        while let Some(asked) = self.asking.join_next().await {
            asked.unwrap();
        }
        while let Some(followed) = self.following.join_next().await {
            let (thread, seen) = followed.unwrap();
            let read = self
                .place
                .get(&format!("/v1/threads/{thread}/events?limit=5000"))
                .await;
            let read = read["events"].as_array().unwrap();
            let ids: Vec<_> = read
                .iter()
                .map(|event| {
                    (
                        event["seq"].as_u64().unwrap(),
                        event["event_id"].to_string(),
                    )
                })
                .collect();
            assert_eq!(seen, ids[..seen.len()], "{thread}");
            for (place, event) in read.iter().enumerate() {
                assert_eq!(event["seq"], place + 1, "{thread}: a gap or a repeat");
            }
            for turn in 0..TURNS {
                let turn = format!("{thread}-t{turn}");
                let ends = read
                    .iter()
                    .filter(|event| event["turn_id"] == turn && event["type"] == "turn.completed");
                assert_eq!(ends.count(), 1, "{turn}");
            }
            // The log itself, which no hot log stands before.
            eventually("the store to have it all", || async {
                let path = format!("/v1/events?stream=thread:{thread}&limit=500");
                let page = self.place.get(&path).await;
                let stored = page["events"].as_array().unwrap().len();
                (stored == read.len().min(500)).then_some(())
            })
            .await;
        }
        self.agents.iter().for_each(JoinHandle::abort);
    }
}

fn house(house: House, address: &str) -> House {
    house.with(&[
        "--addr",
        address,
        "--lease",
        "1s",
        "--poll-interval",
        "100ms",
        "--job-retry-base",
        "10ms",
        "--agent-affinity",
        "0s",
        "--log-level",
        "error",
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_what_the_store_has_over_crashes() {
    let address = lasting_address();
    let house = house(House::new(), &address);
    let mut server = house.start();
    let mut load = Load::start(&Place::at(&address));
    load.reached(0.2).await;
    load.kill_agent();
    load.reached(0.5).await;
    server.kill();
    server = house.start();
    load.held_against_the_store().await;
    server.stop().await;
}

#[every_engine(multi_thread, postgres)]
async fn clients_see_what_the_store_has_over_crashes_with_redis(engine: Engine) {
    let Some(redis) = Redis::start(ServerOptions { durable: true }).await else {
        return;
    };
    let address = lasting_address();
    let house = house(House::on(engine).await, &address).with(&["--hot-log", redis.url()]);
    let front = house.with(&["--roles", "api,worker,sweeper"]).start();
    let persists = house.with(&["--roles", "persister", "--addr", "127.0.0.1:0"]);
    let persister = persists.start();
    let mut load = Load::start(&Place::at(&address));
    load.reached(0.2).await;
    load.kill_agent();
    load.reached(0.35).await;
    persister.kill();
    let persister = persists.start();
    load.reached(0.6).await;
    redis.kill().await;
    redis.start_again().await;
    load.held_against_the_store().await;
    persister.stop().await;
    front.stop().await;
}

/// All that a server does in one process, on a file and a Redis.
async fn alone() -> Option<(Redis, House)> {
    let redis = Redis::start(ServerOptions { durable: true }).await?;
    let house = House::new().with(&["--hot-log", redis.url()]);
    Some((redis, house))
}

#[tokio::test]
async fn while_redis_is_away_clients_are_told_to_come_again() {
    let Some((redis, house)) = alone().await else {
        return;
    };
    let server = house.start();
    let turn = |n: u32| json!({"thread_id": "x", "turn_id": format!("t{n}"), "input": n});
    server.post("/v1/turns", &turn(1)).await.expect(202);
    let health = server.get("/health").await.expect(200).json();
    assert!(health.to_string().contains("hot_log"), "{health}");
    redis.kill().await;
    for answer in [
        server.post("/v1/turns", &turn(2)).await,
        server
            .post("/v1/threads/x/events", &json!({"type": "custom"}))
            .await,
        server
            .post("/v1/turns/t1/cancel", &json!({"thread_id": "x"}))
            .await,
        server.get("/v1/threads/x/events").await,
    ] {
        assert_problem(&answer.expect(503));
    }
    let health = server.get("/health").await.expect(503);
    assert!(health.text.contains("does not answer"), "{}", health.text);
    redis.start_empty().await;
    let accepted = eventually("Redis to be heard", || async {
        let answer = server.post("/v1/turns", &turn(2)).await;
        (answer.status == 202).then(|| answer.json())
    })
    .await;
    // Behind every place that may have been given out, and what is missing is marked.
    assert!(accepted["seq"].as_u64().unwrap() > 2, "{accepted}");
    let events = server.get("/v1/threads/x/events").await.expect(200).json();
    let kinds: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["type"])
        .collect();
    assert!(kinds.contains(&&json!("thread.gap")), "{events}");
    let log = server.stop().await;
    let password = redis.url().split([':', '@']).nth(2).unwrap();
    assert!(!log.contains(password), "the log has Redis's password");
}

#[tokio::test]
async fn a_request_with_a_key_happens_once() {
    let Some((_redis, house)) = alone().await else {
        return;
    };
    let server = house.start();
    let send = async |body: Value| {
        let request = server.request(Method::POST, "/v1/turns").json(&body);
        let request = request.header("Idempotency-Key", "k1");
        tidewire_testkit::TestApp::send(request).await
    };
    let first = send(json!({"input": 1})).await.expect(202);
    let again = send(json!({"input": 1})).await.expect(202);
    assert_eq!(first.json(), again.json());
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = send(json!({"input": 2})).await;
    assert_eq!(other.status, 422, "{}", other.text);
    let threads = eventually("the thread to be stored", || async {
        let threads = server.list("/v1/threads", "threads").await;
        (!threads.is_empty()).then_some(threads)
    });
    assert_eq!(threads.await.len(), 1);
    server.stop().await;
}
