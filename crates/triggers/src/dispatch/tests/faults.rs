//! Endpoints that answer badly, or not at all.

use std::time::Duration;

use serde_json::{Value, json};
use tidewire_core::Time;
use tidewire_jobs::Status;
use tidewire_outbound::AddressPolicy;
use tidewire_testkit::{Engine, eventually, every_engine};
use tokio::net::TcpListener;

use super::{
    house::{House, brisk, client, settings},
    sink::{Reply, Sink, status, with},
};
use crate::{TriggerStatus, model::ExecutionStatus};

fn once() -> Value {
    json!({"retry": {"max_attempts": 1}})
}

#[every_engine]
async fn what_may_pass_is_tried_again_and_each_try_is_kept(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    for bad in [408, 425, 429, 500, 502, 503] {
        let sink = Sink::start(move |got| match got.number {
            0 | 1 => with(bad, "", "not now"),
            _ => with(200, "", "thanks"),
        })
        .await;
        let seen = house.deliver(&sink.url("/"), json!({})).await;
        assert_eq!(seen.status, ExecutionStatus::Success, "{bad}");
        assert_eq!(seen.error, None);
        let tries: Vec<_> = seen
            .attempts
            .iter()
            .map(|tried| (tried.attempt, tried.status, tried.body.as_deref()))
            .collect();
        let bad = Some(i64::from(bad));
        assert_eq!(
            tries,
            [
                (1, bad, Some("not now")),
                (2, bad, Some("not now")),
                (3, Some(200), Some("thanks"))
            ]
        );
        let error = seen.attempts[0].error.as_deref().unwrap();
        assert!(error.starts_with("the endpoint answered"), "{error}");
        let attempts: Vec<_> = sink
            .got()
            .iter()
            .map(|got| got.header("x-tidewire-attempt").to_owned())
            .collect();
        assert_eq!(attempts, ["1", "2", "3"]);
        let ids: Vec<_> = sink.got();
        assert_eq!(ids[0].header("webhook-id"), ids[2].header("webhook-id"));
    }
    working.stop().await;
}

#[every_engine(sqlite)]
async fn what_will_not_pass_fails_at_once(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    let elsewhere = Sink::always(status(200)).await;
    let location = format!("location: {}\r\n", elsewhere.url("/"));
    for bad in [301, 302, 307, 400, 401, 404, 409, 422] {
        let sink = Sink::always(with(bad, &location, "no")).await;
        let seen = house.deliver(&sink.url("/"), json!({})).await;
        assert_eq!(seen.status, ExecutionStatus::Failure, "{bad}");
        assert_eq!((sink.count(), seen.attempts.len()), (1, 1));
        let error = seen.error.unwrap();
        assert!(
            error.starts_with(&format!("the endpoint answered {bad}")),
            "{error}"
        );
        assert_eq!(error.contains("redirects are not followed"), bad < 400);
    }
    assert_eq!(elsewhere.connections(), 0);
    working.stop().await;
}

#[every_engine]
async fn an_endpoint_that_is_gone_lets_its_trigger_rest(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    let sink = Sink::always(status(410)).await;
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    let fired = house.fire(&trigger, json!({})).await;
    let seen = house.ended(&fired).await;
    assert_eq!(seen.status, ExecutionStatus::Failure);
    assert!(seen.error.unwrap().contains("410"));
    let mut read = house.store.db.read();
    let store = &house.triggers.inner.store;
    let now = store.status_of(&mut read, &house.tenant, &trigger).await;
    assert_eq!(now.unwrap(), TriggerStatus::Inactive);
    working.stop().await;
}

/// When a delivery that was answered so is due again, from now.
async fn next_try(house: &House, headers: String, cap: u32) -> Duration {
    let sink = Sink::always(with(429, &headers, "")).await;
    let config = json!({"retry": {"max_attempts": 3, "base_seconds": 0.01, "cap_seconds": cap}});
    let trigger = house.trigger(&sink.url("/"), config).await;
    let fired = house.fire(&trigger, json!({})).await;
    eventually("it is put back", || async {
        let job = house.job(&fired).await;
        let waits = job.status == Status::Pending && job.attempts == 1;
        (waits && job.last_error.is_some()).then(|| job.run_at.since(house.store.clock.now()))
    })
    .await
}

#[every_engine(sqlite)]
async fn an_endpoint_may_say_when(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let wait = next_try(&house, "retry-after: 1800\r\n".to_owned(), 7200).await;
    assert!(minutes(25) < wait && wait <= minutes(30), "{wait:?}");
    let date = house.store.clock.now().plus(minutes(30));
    let date = std::time::UNIX_EPOCH + date.since(Time::EPOCH);
    let header = format!("Retry-After: {}\r\n", httpdate::fmt_http_date(date));
    let wait = next_try(&house, header, 7200).await;
    assert!(minutes(25) < wait && wait <= minutes(31), "{wait:?}");
    let wait = next_try(&house, "retry-after: 1800\r\n".to_owned(), 600).await;
    assert!(minutes(5) < wait && wait <= minutes(10), "{wait:?}");
    working.stop().await;
}

#[every_engine(sqlite)]
async fn each_way_of_not_answering_has_its_words(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = taken.local_addr().unwrap();
    drop(taken);
    let head = |text: &str| text.as_bytes().to_vec();
    let huge = format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\n\r\n", "x".repeat(200_000));
    let dripping = Reply::Drip(
        head("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"),
        head("x"),
    );
    for (reply, words) in [
        (
            Reply::Hang,
            "no answer within 300ms: still waiting for the answer to begin",
        ),
        (
            dripping,
            "no answer within 300ms: the answer began and has not ended",
        ),
        (Reply::Bye(head(&huge)), "sent a head that is too large"),
        (
            Reply::Bye(head("SSH-2.0-OpenSSH_9.2p1\r\n\r\n")),
            "sent something that is not HTTP",
        ),
        (
            Reply::Bye(Vec::new()),
            "closed the connection without an answer",
        ),
        (
            Reply::Bye(head("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
            "broke off in the middle of its answer",
        ),
    ] {
        let sink = Sink::always(reply).await;
        let mut config = once();
        config["timeout_seconds"] = json!(0.3);
        let seen = house.deliver(&sink.url("/secret?token=1"), config).await;
        assert_eq!(seen.status, ExecutionStatus::Failure, "{words}");
        let error = seen.error.unwrap();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(seen.attempts[0].error.as_deref(), Some(error.as_str()));
        assert_eq!(seen.attempts[0].status, None);
    }
    let seen = house.deliver(&format!("http://{refused}/"), once()).await;
    assert_eq!(
        seen.error.unwrap(),
        format!(
            "cannot connect to {refused}: connection refused: is it running, and is the port right?"
        )
    );
    working.stop().await;
}

#[every_engine]
async fn of_a_long_answer_the_beginning_is_kept(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    let endless = Reply::Drip(
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        "€\0".repeat(4000).into_bytes(),
    );
    let sink = Sink::always(endless).await;
    let seen = house.deliver(&sink.url("/"), once()).await;
    assert_eq!(seen.status, ExecutionStatus::Success);
    let body = seen.attempts[0].body.clone().unwrap();
    assert!(body.len() <= 16 << 10 && body.len() > 15 << 10);
    assert!(body.starts_with("€\u{fffd}€"));
    eventually("nobody listens any more", || async {
        (sink.left() == 1).then_some(())
    })
    .await;
    let long = with(200, "", &"x".repeat(20_000));
    let sink = Sink::always(long).await;
    for _ in 0..2 {
        let seen = house.deliver(&sink.url("/"), once()).await;
        assert_eq!(seen.attempts[0].body, Some("x".repeat(16 << 10)));
    }
    assert_eq!(
        sink.connections(),
        1,
        "it was read to its end, and is used again"
    );
    working.stop().await;
}

#[every_engine]
async fn an_address_that_may_not_be_called_is_not(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    let strict = client(AddressPolicy::public());
    let working = house.work_with(strict, settings(brisk()), "w");
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/", sink.address.port());
        let seen = house.deliver(&url, json!({})).await;
        assert_eq!(seen.status, ExecutionStatus::Failure);
        assert_eq!(seen.attempts.len(), 1, "it is not tried again");
        let error = seen.error.unwrap();
        assert!(
            error.starts_with("the endpoint's address is not allowed: ")
                && error.contains("--allow-subnet"),
            "{error}"
        );
    }
    assert_eq!(sink.connections(), 0);
    working.stop().await;
}

#[every_engine(sqlite)]
async fn a_kept_connection_that_was_closed_costs_no_attempt(engine: Engine) {
    let house = House::open(engine).await;
    let working = house.work();
    // Closes each connection at its second request, without a word.
    let sink = Sink::start(|got| match got.on_connection {
        0 => status(200),
        _ => Reply::Bye(Vec::new()),
    })
    .await;
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    for _ in 0..5 {
        let fired = house.fire(&trigger, json!({})).await;
        let seen = house.ended(&fired).await;
        assert_eq!(seen.status, ExecutionStatus::Success);
        assert_eq!(seen.attempts.len(), 1);
    }
    assert!(sink.count() > 5, "none was closed");

    // A delivery that is to be made once is not repeated on the quiet.
    let before = sink.count();
    let seen = house.deliver(&sink.url("/"), once()).await;
    assert_eq!(sink.count(), before + 1);
    match sink.got().pop().unwrap().on_connection {
        0 => assert_eq!(seen.status, ExecutionStatus::Success),
        _ => assert!(seen.error.unwrap().contains("without an answer")),
    }
    working.stop().await;
}

#[every_engine]
async fn what_cannot_be_delivered_says_why(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    // A job that only looks like a delivery.
    let job = tidewire_jobs::NewJob::new(crate::DISPATCH);
    let alone = house.jobs.enqueue(&house.tenant, job).await.unwrap().job;
    let trigger = house.trigger(&sink.url("/"), json!({})).await;
    let orphan = house.fire(&trigger, json!({})).await;
    let store = std::sync::Arc::clone(&house.triggers.inner.store);
    let dropped = house.store.db.transact("test.drop", move |tx| {
        let store = std::sync::Arc::clone(&store);
        Box::pin(async move { store.drop_configs(tx).await })
    });
    dropped.await.unwrap();
    house.triggers.inner.configs.forget();
    let working = house.work();
    let seen = house.ended(&orphan).await;
    assert_eq!(seen.status, ExecutionStatus::Failure);
    assert!(seen.error.unwrap().contains("is not there any more"));
    let failed = eventually("it fails", || async {
        let job = house.jobs.get(&house.tenant, &alone.id).await.unwrap().job;
        (job.status == Status::Failed).then_some(job)
    })
    .await;
    assert_eq!(failed.attempts, 1);
    assert!(failed.last_error.unwrap().contains("made by a trigger"));
    assert_eq!(sink.connections(), 0);
    working.stop().await;
}
