//! Redis that is killed, and comes back with its data, without the last of it, or empty.

use std::time::Duration;

use tidewire_testkit::{
    eventually,
    servers::{Redis, ServerOptions},
};
use tidewire_threads::Error;

use crate::house::{House, delta, ending, small};

async fn house(durable: bool) -> Option<(Redis, House)> {
    let redis = Redis::start(ServerOptions { durable }).await?;
    let house = House::with(small(redis.url())).await;
    Some((redis, house))
}

#[tokio::test]
async fn a_redis_that_kept_everything_goes_on_where_it_was() {
    let Some((redis, house)) = house(true).await else {
        return;
    };
    house.asks("x", "t1").await;
    house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    redis.kill().await;
    let away = house.says("x", vec![delta("t1", "d2")]).await.unwrap_err();
    assert!(
        matches!(away, Error::HotLog(_) | Error::HotLogUnknown(_)),
        "{away}"
    );
    redis.start_again().await;
    // Nobody has moved anything yet.
    let said = eventually("Redis to be heard", || async {
        house.says("x", vec![delta("t1", "d2")]).await.ok()
    })
    .await;
    assert_eq!(said[0].seq, 3);
    let _persister = house.persister();
    house.catches_up("x").await;
    assert_eq!(house.kinds("x").await.len(), 3);
}

#[tokio::test]
async fn a_redis_that_is_empty_gives_no_place_twice() {
    let Some((redis, house)) = house(true).await else {
        return;
    };
    let persister = house.persister();
    house.asks("x", "t1").await;
    house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    house.catches_up("x").await;
    persister.kill();
    // These are acknowledged, seen, and lost.
    let lost = house.says("x", vec![delta("t1", "lost1"), delta("t1", "lost2")]);
    let lost = lost.await.unwrap().last().unwrap().seq;
    let new = house.says("new", vec![delta("t9", "lost")]).await.unwrap()[0].seq;
    redis.kill().await;
    redis.start_empty().await;
    let _persister = house.persister();
    let said = eventually("Redis to be heard", || async {
        house.says("x", vec![delta("t1", "d2")]).await.ok()
    })
    .await;
    assert!(said[0].seq > lost + 1, "{said:?}");
    let anew = house.says("new", vec![delta("t9", "d1")]).await.unwrap();
    assert!(anew[0].seq > new + 1, "{anew:?}");
    house.catches_up("x").await;
    house.catches_up("new").await;
    let events = house.events("x").await;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let expected = [
        "turn.started",
        "message.delta",
        "thread.gap",
        "message.delta",
    ];
    assert_eq!(kinds, expected);
    let gap: serde_json::Value = serde_json::from_str(events[2].payload.get()).unwrap();
    assert_eq!(gap["after_seq"], 2);
    assert_eq!(gap["until_seq"], events[2].seq - 1);
    // The turn goes on, and its job with it.
    house
        .says("x", vec![ending("t1", "completed")])
        .await
        .unwrap();
    house.asks("x", "t2").await;
    let job = eventually("the next turn", || async {
        let jobs = house.claims("a").await;
        jobs.into_iter()
            .find(|job| job.job.payload.get().contains("\"t2\""))
    });
    job.await;
}

#[tokio::test]
async fn a_redis_that_was_emptied_while_it_ran_gives_no_place_twice() {
    let Some((_redis, house)) = house(true).await else {
        return;
    };
    let seen = house.says("x", vec![delta("t1", "lost")]).await.unwrap()[0].seq;
    let mut connection = house.redis().await;
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
    let _persister = house.persister();
    let said = house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    assert!(said[0].seq > seen + 1, "{said:?}");
    house.catches_up("x").await;
    assert_eq!(house.kinds("x").await, ["thread.gap", "t1 message.delta"]);
}

#[tokio::test]
async fn whoever_has_seen_what_is_lost_resumes_behind_it() {
    let Some((redis, house)) = house(false).await else {
        return;
    };
    let persister = house.persister();
    house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    house.catches_up("x").await;
    persister.kill();
    let seen = house.says("x", vec![delta("t1", "lost")]).await.unwrap()[0].seq;
    redis.kill().await;
    redis.start_empty().await;
    let _persister = house.persister();
    let resumed = eventually("Redis to be heard", || async {
        let page = house
            .threads
            .events(&house.tenant, "x", None, (seen, 10), Duration::ZERO)
            .await;
        page.ok()
    })
    .await;
    let kinds: Vec<_> = resumed.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["thread.gap"]);
    assert!(resumed[0].seq > seen);
}

#[tokio::test]
async fn a_redis_that_may_have_lost_the_last_second_gives_no_place_twice() {
    // It syncs each second: nobody can say what it had told before it was killed.
    let Some((redis, house)) = house(false).await else {
        return;
    };
    let persister = house.persister();
    house.asks("x", "t1").await;
    let last = house.says("x", vec![delta("t1", "d1")]).await.unwrap()[0].seq;
    redis.kill().await;
    redis.start_again().await;
    let said = eventually("Redis to be heard", || async {
        house.says("x", vec![delta("t1", "d2")]).await.ok()
    })
    .await;
    assert!(said[0].seq > last, "{said:?}");
    house.catches_up("x").await;
    let events = house.events("x").await;
    let gaps = events.iter().filter(|event| event.kind == "thread.gap");
    assert_eq!(gaps.count(), 1);
    drop(persister);
}

#[tokio::test]
async fn a_redis_that_has_less_than_the_store_takes_it_from_there() {
    let Some((redis, house)) = house(false).await else {
        return;
    };
    let persister = house.persister();
    for id in ["d1", "d2", "d3"] {
        house.says("x", vec![delta("t1", id)]).await.unwrap();
    }
    house
        .says("x", vec![ending("t1", "completed")])
        .await
        .unwrap();
    house.catches_up("x").await;
    persister.kill();
    redis.kill().await;
    redis.start_again().await;
    // As if its file ended before the last three.
    let (thread, mut connection) = (house.key("t:default/x"), house.redis().await);
    let () = redis::pipe()
        .hset(&thread, "seq", 1)
        .hset(format!("{thread}:u"), "t1", "running 1 0 1")
        .zadd(format!("{thread}:o"), "t1", 1)
        .hdel(format!("{thread}:i"), &["d2", "d3"])
        .xdel(format!("{thread}:s"), &["2-0", "3-0", "4-0"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let said = eventually("Redis to be heard", || async {
        let events = vec![delta("t1", "d2"), delta("t1", "d4")];
        house.says("x", events).await.ok()
    })
    .await;
    assert_eq!((said[0].seq, said[0].duplicated), (2, true));
    assert!(said[1].seq > 5, "{said:?}");
    // The turn stays as it had ended.
    assert_eq!(said[1].turn_status.unwrap().as_str(), "completed");
    let refused = house.says("x", vec![ending("t1", "failed")]).await;
    assert!(matches!(refused, Err(Error::Over { .. })), "{refused:?}");
    let _persister = house.persister();
    house.catches_up("x").await;
    let expected = [
        "t1 message.delta",
        "t1 message.delta",
        "t1 message.delta",
        "t1 turn.completed",
        "thread.gap",
        "t1 message.delta",
    ];
    assert_eq!(house.kinds("x").await, expected);
}
