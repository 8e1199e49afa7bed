//! From asking for a turn to its end.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidewire_testkit::{Engine, TestApp, eventually, every_engine};

use super::{
    House,
    house::{delta, ending},
};

#[every_engine]
async fn a_turn_is_taken_in_run_by_an_agent_and_ended_by_its_word(engine: Engine) {
    let house = House::on(engine).await;
    let body =
        json!({"thread_id": "t", "turn_id": "a", "input": {"ask": [1, 2.50]}, "agent": "poet"});
    let accepted = house.app.post("/v1/turns", &body).await.expect(202).json();
    let first = json!({"thread_id": "t", "turn_id": "a", "status": "accepted", "seq": 1});
    assert_eq!(accepted, first);
    assert_eq!(house.status("t", "a").await, "accepted");

    let held = house.claim("w1").await;
    assert_eq!(
        held.payload,
        json!({"thread_id": "t", "turn_id": "a", "input": {"ask": [1, 2.50]}, "seq": 1})
    );
    let turn = house.turn("t", "a").await;
    assert_eq!(
        (&turn["status"], &turn["worker"]),
        (&json!("running"), &json!("w1"))
    );

    let said = house.says("t", delta("a", "Hel")).await.expect(201).json();
    assert_eq!(
        (&said["seq"], &said["turn_status"]),
        (&json!(2), &json!("running"))
    );
    let end = json!([delta("a", "lo"), ending("a", "completed")]);
    let said = house.says("t", end).await.expect(201).json();
    assert_eq!(said[1]["seq"], 4);
    assert_eq!(said[1]["turn_status"], "completed");

    let turn = house.turn("t", "a").await;
    assert_eq!(turn["status"], "completed");
    assert_eq!(turn["ended_seq"], 4);
    let job = house.app.get(&format!("/v1/jobs/{}", held.job)).await;
    assert_eq!(job.expect(200).json()["status"], "done");
    // Agents that know the jobs' protocol and no more say so too.
    let done = house.report(&held, "complete", json!({})).await.expect(200);
    assert_eq!(done.json()["status"], "done");
    // Whatever has become of it: the first answer.
    let again = house.app.post("/v1/turns", &body).await.expect(200).json();
    assert_eq!(again, first);
    assert_eq!(
        house.story("t").await,
        [
            "a turn.started",
            "a message.delta",
            "a message.delta",
            "a turn.completed"
        ]
    );
}

#[every_engine]
async fn ids_are_made_up_and_a_repeated_request_makes_no_second_turn(engine: Engine) {
    let house = House::on(engine).await;
    let body = json!({"input": "hello"});
    let made = house.app.post("/v1/turns", &body).await.expect(202).json();
    let other = house.app.post("/v1/turns", &body).await.expect(202).json();
    assert_ne!(made["thread_id"], other["thread_id"]);
    assert_eq!(made["turn_id"].as_str().unwrap().len(), 26);

    // A turn that is named without its thread.
    let body = json!({"turn_id": "once", "input": "hello"});
    let first = house.app.post("/v1/turns", &body).await.expect(202).json();
    let again = house.app.post("/v1/turns", &body).await.expect(200).json();
    assert_eq!(first, again);

    let keyed = |body: serde_json::Value| {
        let request = house.app.request(Method::POST, "/v1/turns").json(&body);
        TestApp::send(request.header("idempotency-key", "k1"))
    };
    let first = keyed(json!({"input": 1})).await.expect(202);
    let again = keyed(json!({"input": 1})).await.expect(202);
    assert_eq!(first.json(), again.json());
    assert_eq!(again.headers["idempotent-replayed"], "true");
    keyed(json!({"input": 2})).await.expect(422);
}

#[every_engine]
async fn turns_of_a_thread_run_one_after_the_other(engine: Engine) {
    let house = House::on(engine).await;
    for turn in ["a", "b", "c"] {
        house.ask("t", turn).await.expect(202);
    }
    house.ask("other", "x").await.expect(202);
    let mut held = house.claims("w").await;
    held.sort_by(|one, other| one.turn.cmp(&other.turn));
    let turns: Vec<_> = held.iter().map(|one| one.turn.as_str()).collect();
    assert_eq!(turns, ["a", "x"], "the others wait");
    assert_eq!(house.turn("t", "b").await["job_id"], json!(null));

    let refused = json!({"thread_id": "t", "turn_id": "d", "input": 1, "on_busy": "reject"});
    let refused = house.app.post("/v1/turns", &refused).await.expect(409);
    assert!(
        refused.text.contains("busy with the turn `a`"),
        "{}",
        refused.text
    );

    house.says("t", ending("a", "failed")).await.expect(201);
    let b = house.claim("w").await;
    assert_eq!(b.turn, "b");
    // The job's end ends the turn too, and takes its output along.
    let output = json!({"output": {"n": 1}});
    house.report(&b, "complete", output).await.expect(200);
    assert_eq!(house.status("t", "b").await, "completed");
    let c = house.claim("w").await;
    assert_eq!(c.turn, "c");
    assert_eq!(
        house.story("t").await,
        [
            "a turn.started",
            "b turn.started",
            "c turn.started",
            "a turn.failed",
            "b turn.completed"
        ]
    );
    let events = house.events("t").await;
    assert_eq!(events[4]["payload"], json!({"output": {"n": 1}}));
}

#[every_engine]
async fn an_interrupt_cancels_what_is_open_and_goes_first(engine: Engine) {
    let house = House::on(engine).await;
    for turn in ["a", "b"] {
        house.ask("t", turn).await.expect(202);
    }
    let a = house.claim("w").await;
    let body = json!({"thread_id": "t", "turn_id": "c", "input": 1, "on_busy": "interrupt"});
    let accepted = house.app.post("/v1/turns", &body).await.expect(202).json();
    assert_eq!(accepted["seq"], 5);
    for turn in ["a", "b"] {
        assert_eq!(house.status("t", turn).await, "cancelled");
    }
    let lost = house.report(&a, "heartbeat", json!({})).await.expect(409);
    assert!(
        lost.text.contains("cancelled") || lost.text.contains("ended"),
        "{}",
        lost.text
    );
    assert_eq!(house.claim("w").await.turn, "c");
    // Sent again, it interrupts nothing.
    house.app.post("/v1/turns", &body).await.expect(200);
    assert_eq!(house.status("t", "c").await, "running");
}

#[every_engine]
async fn a_cancelled_turn_stays_cancelled_whatever_comes_late(engine: Engine) {
    let house = House::on(engine).await;
    for turn in ["a", "b"] {
        house.ask("t", turn).await.expect(202);
    }
    let a = house.claim("w").await;
    let cancel = |turn: &str| {
        let path = format!("/v1/turns/{turn}/cancel");
        let (app, body) = (&house.app, json!({"thread_id": "t", "reason": "no longer"}));
        async move { app.post(&path, &body).await }
    };
    // Twice at once: it is said once.
    let (one, two) = tokio::join!(cancel("a"), cancel("a"));
    assert_eq!(one.expect(202).json(), two.expect(202).json());
    let late = house
        .says("t", delta("a", "too late"))
        .await
        .expect(201)
        .json();
    assert_eq!(late["turn_status"], "cancelled");
    house.says("t", ending("a", "completed")).await.expect(409);
    house.report(&a, "heartbeat", json!({})).await.expect(409);
    assert_eq!(house.status("t", "a").await, "cancelled");
    assert_eq!(house.turn("t", "a").await["error"], "no longer");

    // The one that waited goes on; cancelled too, by its job.
    let b = house.claim("w").await;
    let path = format!("/v1/jobs/{}/cancel", b.job);
    house.app.post(&path, &json!({})).await.expect(200);
    assert_eq!(house.status("t", "b").await, "cancelled");
    cancel("b").await.expect(202);
    cancel("unknown").await.expect(404);
    assert_eq!(
        house.story("t").await,
        [
            "a turn.started",
            "b turn.started",
            "a turn.cancelled",
            "a message.delta",
            "b turn.cancelled"
        ]
    );
    house.ask("t", "c").await.expect(202);
    house.says("t", ending("c", "completed")).await.expect(201);
    let refused = cancel("c").await.expect(409);
    assert!(refused.text.contains("completed"), "{}", refused.text);
}

#[every_engine]
async fn the_turn_of_a_crashed_agent_is_taken_over_and_failed_after_its_attempts(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    // One that is told to stop gives it back, and that is no attempt.
    let first = house.claim("w0").await;
    house.says("t", delta("a", "…")).await.expect(201);
    let released = house.report(&first, "release", json!({})).await;
    released.expect(200);
    for attempt in 1..=3 {
        let held = eventually("the turn is handed out", || async {
            house.claims(&format!("w{attempt}")).await.pop()
        })
        .await;
        assert_eq!(held.turn, "a");
        house.says("t", delta("a", "…")).await.expect(201);
        // No word from it any more.
        house.pass(Duration::from_secs(61)).await;
    }
    eventually("the turn is given up", || async {
        (house.status("t", "a").await == "failed").then_some(())
    })
    .await;
    assert_eq!(
        house.story("t").await,
        [
            "a turn.started",
            "a message.delta",
            "a turn.started",
            "a message.delta",
            "a turn.started",
            "a message.delta",
            "a turn.started",
            "a message.delta",
            "a turn.failed"
        ]
    );
    let events = house.events("t").await;
    assert_eq!(events[2]["payload"], json!({"attempt": 1, "agent": "w1"}));
    assert_eq!(events[4]["payload"], json!({"attempt": 2, "agent": "w2"}));
    let error = house.turn("t", "a").await["error"].clone();
    assert!(
        error.as_str().unwrap().contains("attempt 3 of 3"),
        "{error}"
    );
}

#[every_engine]
async fn an_agent_may_begin_turns_of_its_own(engine: Engine) {
    let house = House::on(engine).await;
    house
        .says("t", json!({"type": "thread.ready"}))
        .await
        .expect(201);
    house.says("t", delta("own", "hm")).await.expect(201);
    assert_eq!(house.status("t", "own").await, "running");
    // It is open: who comes now waits.
    house.ask("t", "asked").await.expect(202);
    assert!(house.claims("w").await.is_empty());
    house
        .says("t", ending("own", "completed"))
        .await
        .expect(201);
    assert_eq!(house.claim("w").await.turn, "asked");
    // One that begins and ends at once.
    let once = json!([delta("quick", "x"), ending("quick", "completed")]);
    house.says("t", once).await.expect(201);
    assert_eq!(house.status("t", "quick").await, "completed");
}

#[every_engine]
async fn the_agent_of_a_threads_last_turn_has_the_next_one_for_a_while(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    house.claim("one").await;
    house.says("t", ending("a", "completed")).await.expect(201);
    for turn in ["b", "c"] {
        house.ask("t", turn).await.expect(202);
    }
    assert!(
        house.claims("two").await.is_empty(),
        "it is kept for another"
    );
    assert_eq!(house.claim("one").await.turn, "b");
    // Nobody waits for an agent that does not come back.
    house.says("t", ending("b", "completed")).await.expect(201);
    house.pass(Duration::from_secs(3)).await;
    let c = eventually("it is anybody's", || async {
        house.claims("two").await.pop()
    })
    .await;
    assert_eq!(c.turn, "c");
}
