//! Many at once, in one process and in several on one store.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tidewire_testkit::{Engine, eventually, every_engine};

use super::{
    House,
    house::{Held, delta, ending},
};

const TURNS: usize = 30;

/// Runs what it gets until all turns of the threads have ended; how many it ran.
async fn agent(house: &House, name: &str, threads: &[&str]) -> usize {
    let mut ran = 0;
    loop {
        let held = house.claims(name).await;
        for Held { turn, payload, .. } in &held {
            let thread = payload["thread_id"].as_str().unwrap();
            house.says(thread, delta(turn, "…")).await.expect(201);
            house
                .says(thread, ending(turn, "completed"))
                .await
                .expect(201);
            ran += 1;
        }
        if held.is_empty() {
            let mut open = 0;
            for thread in threads {
                let path = format!("/v1/threads/{thread}/turns?limit=500");
                let turns = house.app.get(&path).await.json();
                let turns = turns["turns"].as_array().map_or(&[][..], Vec::as_slice);
                open += TURNS - turns.iter().filter(|t| t["status"] == "completed").count();
            }
            if open == 0 {
                return ran;
            }
        }
    }
}

/// Turns come while turns end: none is forgotten, and no two of a thread run at once.
async fn turns_come_and_go(houses: [&House; 2]) {
    let threads = ["t1", "t2", "t3"];
    let asks = async {
        let all = (0..TURNS).flat_map(|n| threads.map(|thread| (n, thread)));
        stream::iter(all)
            .for_each_concurrent(8, |(n, thread)| async move {
                let house = houses[n % 2];
                house.ask(thread, &format!("turn-{n}")).await.expect(202);
            })
            .await;
    };
    let (one, two, ()) = tokio::join!(
        agent(houses[0], "one", &threads),
        agent(houses[1], "two", &threads),
        asks
    );
    assert_eq!(one + two, TURNS * threads.len());
    for thread in threads {
        let story = houses[0].story(thread).await;
        assert_eq!(story.len(), TURNS * 3);
        let mut running = None;
        let mut ended = HashSet::new();
        for said in &story {
            let (turn, kind) = said.split_once(' ').unwrap();
            match kind {
                "message.delta" => assert_eq!(running.replace(turn), None, "{story:#?}"),
                "turn.completed" => {
                    assert_eq!(running.take(), Some(turn), "{story:#?}");
                    assert!(ended.insert(turn));
                }
                _ => {}
            }
        }
        assert_eq!(ended.len(), TURNS);
    }
}

#[every_engine]
async fn turns_that_come_while_others_end_all_get_their_turn(engine: Engine) {
    let house = House::on(engine).await;
    turns_come_and_go([&house, &house]).await;
}

#[every_engine(postgres, mysql)]
async fn two_processes_share_threads(engine: Engine) {
    let one = House::on(engine).await;
    let two = one.second().await;
    turns_come_and_go([&one, &two]).await;
}

#[every_engine(postgres, mysql)]
async fn a_process_follows_what_another_one_appends(engine: Engine) {
    let one = House::on(engine).await;
    let two = one.second().await;
    one.ask("t", "a").await.expect(202);
    let polls = async {
        let path = "/v1/threads/t/events?from_seq=1&wait=30";
        two.app.get(path).await.expect(200).json()
    };
    let says = async { one.says("t", delta("a", "x")).await.expect(201) };
    let (page, _) = tokio::join!(polls, says);
    assert_eq!(page["events"][0]["seq"], 2);
}

#[every_engine]
async fn the_same_turn_asked_for_many_times_at_once_is_one(engine: Engine) {
    let house = House::on(engine).await;
    let answers: Vec<_> = stream::iter(0..20)
        .map(|_| house.ask("t", "a"))
        .buffer_unordered(20)
        .collect()
        .await;
    let created = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(created, 1);
    for answer in answers {
        assert_eq!(
            answer.json(),
            json!({"thread_id": "t", "turn_id": "a", "status": "accepted", "seq": 1})
        );
    }
    assert_eq!(house.story("t").await, ["a turn.started"]);
    eventually("its job is there once", || async {
        let jobs = house
            .app
            .get("/v1/jobs?type=agent.turn")
            .await
            .expect(200)
            .json();
        (jobs["jobs"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
}
