//! What scenarios need of wherever instances run.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tidewire_testkit::{Engine, eventually};

use crate::support::Server;

/// How long leases are: short, as what a killed operator leaves behind waits for their ends, and long enough to be
/// renewed in time on a machine that has much else to do. An instance whose key lapses in the middle of a turn gives
/// the turn up.
pub const LEASE: &str = "10s";

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub engine: Engine,
    pub operators: usize,
    /// Instances at most, of each operator.
    pub max: u32,
    pub warm: u32,
    pub idle_timeout: Duration,
    /// Between two words of an answer.
    pub pace: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            engine: Engine::Sqlite,
            operators: 1,
            max: 8,
            warm: 0,
            idle_timeout: Duration::from_secs(600),
            pace: Duration::from_millis(1),
        }
    }
}

/// Somewhere that instances run, with operators of its own; all of it goes when it is dropped. Instances are
/// reference agents that take turns which name no agent.
pub trait World: Sized {
    /// Whether it can be had here.
    async fn is_there() -> bool {
        true
    }

    /// A server, and operators that have reached it.
    async fn start(setup: Setup) -> Self;

    /// One that answers.
    fn server(&self) -> &Server;

    /// The instances that run, whoever started them.
    async fn running(&self) -> BTreeSet<String>;

    /// Ends an instance at this instant.
    async fn crash(&self, instance: &str);

    /// Ends the operator that was started first, at this instant.
    async fn kill_operator(&mut self);

    async fn start_operator(&mut self);
}

/// What a client of the server sees.
pub async fn begin(server: &Server, thread: &str, input: &str) -> String {
    let body = json!({"thread_id": thread, "input": input});
    let answer = server.post("/v1/turns", &body).await.expect(202).json();
    answer["turn_id"].as_str().expect("an id").to_owned()
}

pub async fn turn(server: &Server, thread: &str, turn: &str) -> Value {
    let path = format!("/v1/threads/{thread}/turns");
    let turns = server.list(&path, "turns").await;
    let found = turns.into_iter().find(|it| it["turn_id"] == turn);
    found.expect("the thread has the turn")
}

/// The turn when it has ended, as it must.
pub async fn completed(server: &Server, thread: &str, id: &str) -> Value {
    let what = format!("the turn of {thread} is completed");
    let turn = eventually(&what, async || {
        let turn = turn(server, thread, id).await;
        let is_over = !matches!(turn["status"].as_str(), Some("accepted" | "running"));
        is_over.then_some(turn)
    })
    .await;
    assert_eq!(turn["status"], "completed", "{turn:#}");
    turn
}

/// Who ran the turn.
pub async fn answered(server: &Server, thread: &str, input: &str) -> String {
    let id = begin(server, thread, input).await;
    let turn = completed(server, thread, &id).await;
    turn["worker"].as_str().expect("a name").to_owned()
}

/// How often something was said in a thread.
pub async fn said(server: &Server, thread: &str, kind: &str) -> usize {
    let path = format!("/v1/threads/{thread}/events?limit=500");
    let answer = server.get(&path).await;
    if answer.status == 404 {
        return 0;
    }
    let events = answer.expect(200).json();
    let events = events["events"].as_array().expect("a list");
    events.iter().filter(|event| event["type"] == kind).count()
}

pub async fn leases(server: &Server) -> Vec<Value> {
    server.list("/v1/agents/leases", "leases").await
}

/// An input whose answer has at least so many words.
pub fn words(count: usize) -> String {
    vec!["word"; count].join(" ")
}
