//! Instances of agents, each with a thread of its own.

mod demand;
mod races;

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidewire_testkit::{Answer, Engine, TestApp, every_engine};

use super::{
    House,
    house::{delta, ending},
};
use crate::AGENT_TURN;

const MINUTE: Duration = Duration::from_mins(1);

impl House {
    /// What came of asking for these leases.
    pub async fn hold(&self, leases: Value) -> Vec<Value> {
        let body = json!({"leases": leases});
        let held = self.app.post("/v1/agents/leases", &body).await.expect(200);
        held.json()["leases"].as_array().unwrap().clone()
    }

    /// An instance that has its lease.
    pub async fn instance(&self, worker: &str, thread: Option<&str>) -> Instance<'_> {
        let held = self
            .hold(json!([{"worker": worker, "thread_id": thread}]))
            .await;
        assert_eq!(held[0]["status"], "held", "{held:?}");
        Instance {
            house: self,
            key: held[0]["api_key"].as_str().unwrap().to_owned(),
        }
    }

    pub async fn release(&self, worker: &str, lost: bool) -> String {
        let body = json!({"leases": [{"worker": worker, "lost": lost}]});
        let path = "/v1/agents/leases/release";
        let released = self.app.post(path, &body).await.expect(200).json();
        released["leases"][0]["status"].as_str().unwrap().to_owned()
    }

    pub async fn leases(&self) -> Vec<Value> {
        let page = self.app.get("/v1/agents/leases").await.expect(200).json();
        page["leases"].as_array().unwrap().clone()
    }
}

/// A process that knows its key alone.
pub struct Instance<'h> {
    pub house: &'h House,
    pub key: String,
}

impl Instance<'_> {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.house.app.request(method, path).bearer_auth(&self.key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        TestApp::send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path);
        let request = request.header("content-type", "application/json");
        TestApp::send(request.body(body.to_string())).await
    }

    /// The jobs that it is given.
    pub async fn claims(&self) -> Vec<Value> {
        let body = json!({"worker": "whoever", "types": [AGENT_TURN], "limit": 10});
        let claimed = self.post("/v1/jobs/claim", &body).await.expect(200);
        claimed.json()["jobs"].as_array().unwrap().clone()
    }

    /// The turns that it is given.
    pub async fn turns(&self) -> Vec<String> {
        let jobs = self.claims().await;
        jobs.iter().map(turn_of).collect()
    }

    /// Runs the one turn that there is.
    pub async fn runs(&self, thread: &str) -> String {
        let jobs = self.claims().await;
        assert_eq!(jobs.len(), 1, "there is one turn to run");
        let turn = turn_of(&jobs[0]);
        self.says(thread, delta(&turn, "x")).await.expect(201);
        self.says(thread, ending(&turn, "completed"))
            .await
            .expect(201);
        turn
    }

    pub async fn says(&self, thread: &str, event: Value) -> Answer {
        self.post(&format!("/v1/threads/{thread}/events"), &event)
            .await
    }

    pub async fn report(&self, job: &Value, what: &str, mut body: Value) -> Answer {
        body["lease_token"] = job["lease_token"].clone();
        let path = format!("/v1/jobs/{}/{what}", job["id"].as_str().unwrap());
        self.post(&path, &body).await
    }
}

fn turn_of(job: &Value) -> String {
    job["payload"]["turn_id"].as_str().unwrap().to_owned()
}

const NOTHING: [String; 0] = [];

#[every_engine]
async fn a_threads_turns_go_to_its_instance(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    let instance = house.instance("i-1", Some("t")).await;
    let other = house.instance("i-2", Some("u")).await;
    assert_eq!(house.claims("passer-by").await.len(), 0);
    assert_eq!(other.turns().await, NOTHING);
    let jobs = instance.claims().await;
    assert_eq!(
        (turn_of(&jobs[0]), &jobs[0]["locked_by"]),
        ("a".to_owned(), &json!("i-1"))
    );
    instance.says("t", delta("a", "x")).await.expect(201);
    instance
        .report(&jobs[0], "heartbeat", json!({}))
        .await
        .expect(200);
    instance
        .report(&jobs[0], "complete", json!({}))
        .await
        .expect(200);
    assert_eq!(house.status("t", "a").await, "completed");
    // Those that come later, also one that waits for another.
    house.ask("t", "b").await.expect(202);
    house.ask("t", "c").await.expect(202);
    house.pass(MINUTE / 2).await;
    assert_eq!(house.claims("passer-by").await.len(), 0);
    assert_eq!(instance.runs("t").await, "b");
    assert_eq!(house.claims("passer-by").await.len(), 0);
    assert_eq!(instance.runs("t").await, "c");
    assert_eq!(house.turn("t", "c").await["worker"], "i-1");
    // Its lease has ended, and so has its right.
    house.ask("t", "d").await.expect(202);
    house.pass(MINUTE / 2).await;
    assert_eq!(house.claims("passer-by").await.len(), 1);
}

#[every_engine]
async fn a_lease_is_refused_where_it_would_take_anothers(engine: Engine) {
    let house = House::on(engine).await;
    house.instance("i-1", Some("t")).await;
    let held = house
        .hold(json!([
            {"worker": "i-2", "thread_id": "t"},
            {"worker": "i-1", "thread_id": "u"},
            {"worker": "i-3", "thread_id": "u", "tenant_id": "nobody"},
            {"worker": "i-3", "thread_id": "u"},
            {"worker": "i-4", "thread_id": "u"},
        ]))
        .await;
    let reasons: Vec<_> = held.iter().map(|one| &one["reason"]).collect();
    let expected = json!([
        "the thread `t` is leased by `i-1`",
        "the instance has the thread `t`",
        "there is no tenant `nobody`",
        null,
        "the thread `u` is leased by `i-3`",
    ]);
    assert_eq!(json!(reasons), expected);
    let refused = held.iter().filter(|one| one["status"] == "refused");
    assert_eq!(refused.count(), 4);
    assert!(
        held.iter()
            .all(|one| one["status"] == "held" || one["api_key"].is_null())
    );
    assert_eq!(house.leases().await.len(), 2);
    // Of another tenant it is another thread.
    let made = house
        .app
        .post("/v1/tenants", &json!({"name": "acme"}))
        .await;
    let acme = made.expect(201).json()["id"].clone();
    let held = house
        .hold(json!([{"tenant_id": acme, "worker": "i-1", "thread_id": "t"}]))
        .await;
    assert_eq!(held[0]["status"], "held");
    // Whoever revokes an instance's key has it stopped.
    let path = "/v1/tenants/default/keys";
    let keys = house.app.get(path).await.expect(200).json();
    let of = |key: &&Value| key["worker"] == "i-1";
    let key = keys["keys"].as_array().unwrap().iter().find(of).unwrap();
    assert_eq!(
        (&key["thread_id"], &key["scopes"]),
        (&json!("t"), &json!(["agent"]))
    );
    let path = format!("{path}/{}", key["id"].as_str().unwrap());
    TestApp::send(house.app.request(Method::DELETE, &path))
        .await
        .expect(204);
    let held = house.hold(json!([{"worker": "i-1"}])).await;
    assert_eq!(held[0]["reason"], "its key was revoked: release it");
}

#[every_engine]
async fn what_is_asked_for_wrongly_is_told_and_nothing_is_done(engine: Engine) {
    let house = House::on(engine).await;
    for (leases, pointer) in [
        (json!([{"worker": "i 1"}]), "/leases/0/worker"),
        (
            json!([{"worker": "a"}, {"worker": "a"}]),
            "/leases/1/worker",
        ),
        (
            json!([{"worker": "a", "lease_seconds": 4}]),
            "/leases/0/lease_seconds",
        ),
        (
            json!([{"worker": "a", "thread_id": "x/y"}]),
            "/leases/0/thread_id",
        ),
        (json!([{"worker": "a", "agent": ""}]), "/leases/0/agent"),
        (
            json!([{"worker": "a", "tenant_id": ""}]),
            "/leases/0/tenant_id",
        ),
    ] {
        let body = json!({"leases": leases});
        let refused = house.app.post("/v1/agents/leases", &body).await.expect(400);
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer);
    }
    assert!(house.leases().await.is_empty());
    assert_eq!(house.release("nobody", true).await, "unknown");
}

#[every_engine]
async fn a_warm_instance_can_claim_alone_until_it_has_a_thread(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    let warm = house.instance("i-1", None).await;
    assert_eq!(warm.turns().await, NOTHING);
    warm.get("/v1/threads/t").await.expect(403);
    warm.says("t", delta("a", "x")).await.expect(403);
    let held = house
        .hold(json!([{"worker": "i-1", "thread_id": "t"}]))
        .await;
    assert!(held[0]["api_key"].is_null(), "it was shown");
    warm.get("/v1/threads/t").await.expect(200);
    assert_eq!(warm.runs("t").await, "a");
    // A renewal need not say it again.
    let held = house.hold(json!([{"worker": "i-1"}])).await;
    assert_eq!(held[0]["thread_id"], "t");
}

#[every_engine]
async fn an_expired_lease_gives_way_to_the_next_one(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    let gone = house.instance("i-1", Some("t")).await;
    let late = gone.claims().await.remove(0);
    house.pass(MINUTE / 2).await;
    let renewed = house.hold(json!([{"worker": "i-1"}])).await;
    assert_eq!(renewed[0]["status"], "held");
    house.pass(MINUTE - Duration::from_secs(1)).await;
    gone.get("/v1/threads/t").await.expect(200);
    let refused = house
        .hold(json!([{"worker": "i-2", "thread_id": "t"}]))
        .await;
    assert_eq!(refused[0]["status"], "refused");
    house.pass(Duration::from_secs(1)).await;
    let told = gone.get("/v1/threads/t").await.expect(401).json();
    assert!(
        told["detail"].as_str().unwrap().contains("lease has ended"),
        "{told}"
    );
    // It can be taken up again …
    house.hold(json!([{"worker": "i-1"}])).await;
    gone.get("/v1/threads/t").await.expect(200);
    house.pass(MINUTE).await;
    // … until somebody else has its thread, and with it the turn that it had in hand.
    let next = house.instance("i-2", Some("t")).await;
    let job = next.claims().await.remove(0);
    assert_eq!(
        (turn_of(&job), &job["attempts"]),
        ("a".to_owned(), &json!(2))
    );
    gone.report(&late, "complete", json!({})).await.expect(401);
    next.report(&job, "complete", json!({})).await.expect(200);
    let refused = house
        .hold(json!([{"worker": "i-1", "thread_id": "t"}]))
        .await;
    assert_eq!(refused[0]["reason"], "the thread `t` is leased by `i-2`");
    assert_eq!(house.leases().await.len(), 1);
}

#[every_engine]
async fn a_lease_with_something_to_do_is_busy(engine: Engine) {
    let house = House::on(engine).await;
    let instance = house.instance("i-1", Some("t")).await;
    house.ask("t", "a").await.expect(202);
    assert_eq!(house.release("i-1", false).await, "busy");
    let job = instance.claims().await.remove(0);
    assert_eq!(house.release("i-1", false).await, "busy");
    instance
        .report(&job, "complete", json!({}))
        .await
        .expect(200);
    assert_eq!(house.release("i-1", false).await, "released");
    assert_eq!(house.release("i-1", false).await, "unknown");
    instance.get("/v1/threads/t").await.expect(401);
    house.ask("u", "a").await.expect(202);
    assert_eq!(house.claims("passer-by").await.len(), 1);
    // What the instance says of itself is something to do too.
    let talker = house.instance("i-2", Some("v")).await;
    talker.says("v", delta("own", "x")).await.expect(201);
    assert_eq!(house.release("i-2", false).await, "busy");
    talker
        .says("v", ending("own", "completed"))
        .await
        .expect(201);
    assert_eq!(house.release("i-2", false).await, "released");
}

#[every_engine]
async fn the_turn_of_a_lost_instance_is_handed_over_at_once(engine: Engine) {
    let house = House::on(engine).await;
    for (turn, claims) in [("a", true), ("b", false)] {
        let instance = house.instance(&format!("i-{turn}"), Some("t")).await;
        house.ask("t", turn).await.expect(202);
        let had = match claims {
            true => instance.claims().await,
            false => Vec::new(),
        };
        assert_eq!(house.release(&format!("i-{turn}"), true).await, "released");
        for job in &had {
            instance
                .report(job, "heartbeat", json!({}))
                .await
                .expect(401);
        }
        // Time has stood still.
        let held = house.claim("passer-by").await;
        assert_eq!(held.turn, turn);
        house.report(&held, "complete", json!({})).await.expect(200);
    }
    let story = house.story("t").await;
    let expected = [
        "a turn.started",
        "a turn.started",
        "a turn.completed",
        "b turn.started",
        "b turn.completed",
    ];
    assert_eq!(story, expected);
}

#[every_engine]
async fn an_attempt_that_failed_is_tried_again_by_the_same_instance(engine: Engine) {
    let house = House::on(engine).await;
    let instance = house.instance("i-1", Some("t")).await;
    house.ask("t", "a").await.expect(202);
    let job = instance.claims().await.remove(0);
    instance
        .report(&job, "release", json!({}))
        .await
        .expect(200);
    assert_eq!(house.claims("passer-by").await.len(), 0);
    let job = instance.claims().await.remove(0);
    let failed = json!({"error": "boom", "retry_in_seconds": 5});
    instance.report(&job, "fail", failed).await.expect(200);
    assert_eq!(instance.turns().await, NOTHING, "it is not due yet");
    house.pass(Duration::from_secs(5)).await;
    assert_eq!(house.claims("passer-by").await.len(), 0);
    assert_eq!(instance.turns().await, ["a"]);
}

#[every_engine]
async fn a_turn_for_another_agent_is_not_kept_for_the_instance(engine: Engine) {
    let house = House::on(engine).await;
    house.instance("i-1", Some("t")).await;
    let ask = json!({"thread_id": "t", "turn_id": "a", "input": 1, "agent": "other"});
    house.app.post("/v1/turns", &ask).await.expect(202);
    house.hold(json!([{"worker": "i-1"}])).await;
    assert_eq!(house.claims("passer-by").await.len(), 1);
    assert_eq!(house.release("i-1", false).await, "released");
}

#[every_engine]
async fn leases_are_listed_and_forgotten_long_after_they_have_ended(engine: Engine) {
    let house = House::on(engine).await;
    for n in 0..5 {
        let thread = format!("t-{n}");
        let lease = json!({"worker": format!("i-{n}"), "agent": "poet", "thread_id": thread});
        house.hold(json!([lease])).await;
        house.clock.advance(Duration::from_millis(1));
    }
    let ask = json!({"thread_id": "t-4", "turn_id": "a", "input": 1, "agent": "poet"});
    house.app.post("/v1/turns", &ask).await.expect(202);
    let came = house.clock.now().to_string();
    let mut workers = Vec::new();
    let mut path = "/v1/agents/leases?limit=2".to_owned();
    loop {
        let page = house.app.get(&path).await.expect(200).json();
        workers.extend(page["leases"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => path = format!("/v1/agents/leases?limit=2&cursor={next}"),
            None => break,
        }
    }
    let names: Vec<_> = workers
        .iter()
        .map(|one| one["worker"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["i-4", "i-3", "i-2", "i-1", "i-0"]);
    assert_eq!(workers[0]["last_turn_at"], came);
    assert_eq!(
        (&workers[0]["agent"], &workers[1]["last_turn_at"]),
        (&json!("poet"), &Value::Null)
    );
    house.pass(Duration::from_mins(61)).await;
    assert_eq!(house.leases().await.len(), 5);
    house.hold(json!([{"worker": "i-new"}])).await;
    let left = house.leases().await;
    let left: Vec<_> = left
        .iter()
        .map(|one| one["worker"].as_str().unwrap())
        .collect();
    assert_eq!(left, ["i-new"]);
    let keys = house
        .app
        .get("/v1/tenants/default/keys")
        .await
        .expect(200)
        .json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}
