//! Many at once, in one process and in several on one store.

use futures_util::future::join_all;
use serde_json::json;
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{House, Instance};

impl Instance<'_> {
    /// It is given this turn as soon as its process knows of it.
    async fn gets(&self, turn: &str) {
        // Where nobody tells of jobs, processes look for them often while somebody waits.
        let body = json!({"worker": "w", "wait_seconds": 30});
        let claimed = self.post("/v1/jobs/claim", &body).await.expect(200).json();
        assert_eq!(super::turn_of(&claimed["jobs"][0]), turn);
    }
}

/// A lease is released because there is nothing to do, and a turn comes at that moment: it is the
/// instance's, or it is everybody's.
async fn released_while_a_turn_comes(houses: [&House; 2]) {
    let (mut busy, mut released) = (0, 0);
    for n in 0..30 {
        let (thread, worker) = (format!("t-{n}"), format!("i-{n}"));
        let instance = houses[0].instance(&worker, Some(&thread)).await;
        let asks = houses[1].ask(&thread, "a");
        let (status, asked) = tokio::join!(houses[0].release(&worker, false), asks);
        asked.expect(202);
        if status == "busy" {
            busy += 1;
            assert_eq!(houses[0].claims("passer-by").await.len(), 0, "{thread}");
            instance.gets("a").await;
            assert_eq!(houses[0].release(&worker, true).await, "released");
        } else {
            released += 1;
            assert_eq!(status, "released");
        }
        let body = json!({"worker": "passer-by", "wait_seconds": 30});
        let claims = houses[0].app.post("/v1/jobs/claim", &body);
        let job = claims.await.expect(200).json()["jobs"][0].clone();
        assert_eq!(job["payload"]["thread_id"], thread);
        let path = format!("/v1/jobs/{}/complete", job["id"].as_str().unwrap());
        let body = json!({"lease_token": job["lease_token"]});
        houses[0].app.post(&path, &body).await.expect(200);
    }
    assert_eq!(busy + released, 30);
}

#[every_engine]
async fn a_turn_that_comes_while_its_lease_is_released_is_not_lost(engine: Engine) {
    let house = House::on(engine).await;
    released_while_a_turn_comes([&house, &house]).await;
}

#[every_engine(servers)]
async fn nor_is_one_that_another_process_takes(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    released_while_a_turn_comes([&here, &there]).await;
}

#[every_engine(servers)]
async fn of_those_who_want_a_thread_at_once_one_gets_it(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    for n in 0..10 {
        let thread = format!("t-{n}");
        let asks = (0..6).map(|who| {
            let house = [&here, &there][who % 2];
            let worker = format!("i-{n}-{who}");
            let thread = &thread;
            async move {
                let held = house
                    .hold(json!([{"worker": worker, "thread_id": thread}]))
                    .await;
                held[0]["status"] == "held"
            }
        });
        let held = join_all(asks).await;
        assert_eq!(held.iter().filter(|held| **held).count(), 1, "{thread}");
    }
    // One instance, wanted for two threads.
    for n in 0..10 {
        let worker = format!("w-{n}");
        here.hold(json!([{"worker": worker}])).await;
        let binds = [&here, &there].into_iter().enumerate().map(|(who, house)| {
            let thread = format!("u-{n}-{who}");
            let worker = &worker;
            async move {
                house
                    .hold(json!([{"worker": worker, "thread_id": thread}]))
                    .await
            }
        });
        let bound = join_all(binds).await;
        let held = bound.iter().filter(|bound| bound[0]["status"] == "held");
        assert_eq!(held.count(), 1, "{bound:?}");
    }
}

#[every_engine(servers)]
async fn another_process_learns_of_what_became_of_a_lease(engine: Engine) {
    let here = House::on(engine).await;
    let there = here.second().await;
    let made = here.instance("i-1", None).await;
    let instance = Instance {
        house: &there,
        key: made.key,
    };
    instance.get("/v1/threads/t").await.expect(403);
    here.hold(json!([{"worker": "i-1", "thread_id": "t"}]))
        .await;
    instance.get("/v1/threads/t").await.expect(200);
    here.pass(super::MINUTE / 2).await;
    here.hold(json!([{"worker": "i-1"}])).await;
    here.pass(super::MINUTE / 2).await;
    instance.get("/v1/threads/t").await.expect(200);
    // The turn comes here, and the instance asks there.
    here.ask("t", "a").await.expect(202);
    instance.gets("a").await;
    assert_eq!(here.release("i-1", true).await, "released");
    eventually("the key opens nothing", || async {
        let answer = instance.get("/v1/threads/t").await;
        (answer.status == 401).then_some(())
    })
    .await;
}
