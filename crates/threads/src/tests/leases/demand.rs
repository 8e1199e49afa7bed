//! Which threads want an instance.

use serde_json::{Value, json};
use tidewire_testkit::{Engine, every_engine};

use super::{House, delta, ending};

impl House {
    async fn demand(&self) -> Value {
        self.app.get("/v1/agents/demand").await.expect(200).json()
    }

    /// The demand when it is another than this.
    async fn next_demand(&self, seen: &Value) -> Value {
        let seen = seen["revision"].as_str().unwrap();
        let path = format!("/v1/agents/demand?revision={seen}&wait_seconds=30");
        let next = self.app.get(&path).await.expect(200).json();
        assert_ne!(next["revision"], seen, "it is held until then");
        next
    }
}

/// Each thread with its turn, that turn's state, who has it, and who has the thread.
fn told(demand: &Value) -> Vec<String> {
    let threads = demand["threads"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    threads
        .map(|thread| {
            let fields = ["thread_id", "turn_id", "status", "worker", "leased_by"];
            fields.map(|field| text(&thread[field])).join(" ")
        })
        .collect()
}

#[every_engine]
async fn it_tells_each_threads_first_open_turn(engine: Engine) {
    let house = House::on(engine).await;
    assert_eq!(told(&house.demand().await), [""; 0]);
    house.ask("t", "a").await.expect(202);
    let since = house.clock.now().to_string();
    house.ask("t", "b").await.expect(202);
    let ask = json!({"thread_id": "u", "turn_id": "c", "input": 1, "agent": "poet"});
    house.app.post("/v1/turns", &ask).await.expect(202);
    // Nobody was asked for this one.
    house.says("v", delta("own", "x")).await.expect(201);
    let demand = house.demand().await;
    assert_eq!(told(&demand), ["t a accepted - -", "u c accepted - -"]);
    let threads = &demand["threads"];
    assert_eq!(
        (&threads[0]["agent"], &threads[1]["agent"]),
        (&Value::Null, &json!("poet"))
    );
    assert_eq!(
        (&threads[0]["since"], &threads[0]["tenant_id"]),
        (&json!(since), &json!("default"))
    );
    let instance = house.instance("i-1", Some("t")).await;
    let demand = house.demand().await;
    assert_eq!(told(&demand)[0], "t a accepted - i-1");
    // Going on with a lease says nothing new.
    house
        .hold(json!([{"worker": "i-1", "lease_seconds": 90}]))
        .await;
    let again = house.demand().await;
    assert_eq!(again["revision"], demand["revision"]);
    assert_ne!(
        again["threads"][0]["leased_until"],
        demand["threads"][0]["leased_until"]
    );
    instance.claims().await;
    assert_eq!(told(&house.demand().await)[0], "t a running i-1 i-1");
    instance
        .says("t", ending("a", "completed"))
        .await
        .expect(201);
    assert_eq!(told(&house.demand().await)[0], "t b accepted - i-1");
    house.pass(super::MINUTE * 2).await;
    assert_eq!(told(&house.demand().await)[0], "t b accepted - -");
}

#[every_engine]
async fn an_answer_that_is_held_comes_with_the_next_change(engine: Engine) {
    let house = House::on(engine).await;
    let mut seen = house.demand().await;
    for (turn, expected) in [("a", "t a accepted - -"), ("b", "")] {
        let (next, ()) = tokio::join!(house.next_demand(&seen), async {
            match turn {
                "a" => house.ask("t", "a").await.expect(202),
                _ => house.says("t", ending("a", "completed")).await.expect(201),
            };
        });
        assert_eq!(told(&next).join(""), expected);
        seen = next;
    }
    let path = "/v1/agents/demand?wait_seconds=61";
    house.app.get(path).await.expect(400);
}

#[every_engine(servers)]
async fn a_turn_that_another_process_takes_is_told_here(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    let seen = here.demand().await;
    let (next, _) = tokio::join!(here.next_demand(&seen), async {
        there.ask("t", "a").await.expect(202)
    });
    assert_eq!(told(&next), ["t a accepted - -"]);
    let (next, _) = tokio::join!(here.next_demand(&next), there.instance("i-1", Some("t")));
    assert_eq!(told(&next), ["t a accepted - i-1"]);
}
