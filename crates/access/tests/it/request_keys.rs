//! A POST that is sent twice.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tidewire_access::KEPT;
use tidewire_testkit::{Engine, every_engine};

use crate::server::{ADMIN, Reply, Server, locked};

async fn make(server: &Server, by: &str, key: &str, name: &str) -> Reply {
    let headers = [("x-api-key", by), ("idempotency-key", key)];
    server
        .send(Method::POST, "/v1/things", &headers, Some(json!(name)))
        .await
}

#[every_engine]
async fn without_a_key_every_request_counts(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    for n in 0..3 {
        let made = server.post(ADMIN, "/v1/things", json!("x")).await;
        assert_eq!(made.is(201).body["made_before"], n);
        assert_eq!(made.header("idempotent-replayed"), None);
    }
}

#[every_engine]
async fn the_first_answer_is_given_again(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let first = make(&server, ADMIN, "k", "x").await;
    first.is(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    server.post(ADMIN, "/v1/things", json!("between")).await;
    let again = make(&server, ADMIN, "k", "x").await;
    again.is(201);
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("content-type"), Some("application/json"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(server.things.count().await, 2);
}

#[every_engine]
async fn another_body_is_refused(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    make(&server, ADMIN, "k", "x").await.is(201);
    make(&server, ADMIN, "k", "y").await.is(422);
    make(&server, ADMIN, "k", "x").await.is(201);
    assert_eq!(server.things.count().await, 1);
}

#[every_engine]
async fn a_failure_leaves_nothing_and_is_not_remembered(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    make(&server, ADMIN, "k", "bad").await.is(409);
    assert_eq!(server.things.count().await, 0);
    let second = make(&server, ADMIN, "k", "good").await;
    second.is(201);
    assert_eq!(second.header("idempotent-replayed"), None);
}

#[every_engine]
async fn tenants_do_not_share_keys(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (_, one) = server.tenant("one").await;
    let (_, two) = server.tenant("two").await;
    for by in [&one, &two] {
        let made = make(&server, by, "k", "x").await;
        assert_eq!(made.is(201).header("idempotent-replayed"), None);
    }
    assert_eq!(server.things.count().await, 2);
}

#[every_engine]
async fn a_second_request_does_not_wait_for_the_first(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    server.gate.shut();
    let meet = async {
        server.gate.arrivals(1).await;
        let second = make(&server, ADMIN, "k", "x").await;
        let other_body = make(&server, ADMIN, "k", "y").await;
        server.gate.open();
        (second, other_body)
    };
    let (first, (second, other_body)) = tokio::join!(make(&server, ADMIN, "k", "x"), meet);
    first.is(201);
    second.is(409);
    other_body.is(409);
    assert_eq!(second.header("retry-after"), Some("1"));
    let third = make(&server, ADMIN, "k", "x").await;
    assert_eq!(third.is(201).header("idempotent-replayed"), Some("true"));
    assert_eq!(server.things.count().await, 1);
}

#[every_engine(multi_thread)]
async fn a_request_right_behind_the_answer_is_not_held_for_unfinished(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    for n in 0..50 {
        let key = n.to_string();
        make(&server, ADMIN, &key, "x").await.is(201);
        make(&server, ADMIN, &key, "x").await.is(201);
    }
    assert_eq!(server.things.count().await, 50);
}

#[every_engine]
async fn a_client_that_hangs_up_finds_its_answer_later(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    server.gate.shut();
    tokio::select! {
        _ = make(&server, ADMIN, "k", "x") => panic!("the gate is shut"),
        () = server.gate.arrivals(1) => {}
    }
    make(&server, ADMIN, "k", "x").await.is(409);
    server.gate.open();
    let again = async {
        loop {
            let reply = make(&server, ADMIN, "k", "x").await;
            if reply.status != 409 {
                return reply;
            }
            tokio::task::yield_now().await;
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .unwrap();
    assert_eq!(again.is(201).header("idempotent-replayed"), Some("true"));
    assert_eq!(server.things.count().await, 1);
}

#[every_engine]
async fn a_malformed_key_is_refused(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    for key in ["", "two words", &"x".repeat(256)] {
        make(&server, ADMIN, key, "x").await.is(400);
    }
    assert_eq!(server.things.count().await, 0);
}

#[every_engine]
async fn an_answer_is_kept_for_a_day(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    make(&server, ADMIN, "k", "x").await.is(201);
    server.clock.advance(KEPT - Duration::from_secs(1));
    let again = make(&server, ADMIN, "k", "x").await;
    assert_eq!(again.is(201).header("idempotent-replayed"), Some("true"));
    server.clock.advance(Duration::from_secs(1));
    // Not swept yet, and aged all the same.
    let new = make(&server, ADMIN, "k", "another body").await;
    assert_eq!(new.is(201).header("idempotent-replayed"), None);
    let again = make(&server, ADMIN, "k", "another body").await;
    assert_eq!(again.is(201).header("idempotent-replayed"), Some("true"));
}

#[every_engine]
async fn the_sweep_takes_what_is_old_of_every_tenant_and_leaves_the_rest(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (_, other) = server.tenant("other").await;
    // More than one transaction of the sweep, and more of one instant than one of them takes.
    for n in 0..1100u32 {
        if n > 600 && n % 3 == 0 {
            server.clock.advance(Duration::from_micros(1));
        }
        make(&server, ADMIN, &n.to_string(), "x").await.is(201);
    }
    make(&server, &other, "k", "x").await.is(201);
    let keys = server.access.request_keys();
    assert_eq!(keys.sweep(server.clock.now()).await.unwrap(), 0);
    server.clock.advance(Duration::from_secs(3600));
    make(&server, ADMIN, "young", "x").await.is(201);
    server.clock.advance(KEPT - Duration::from_secs(1800));
    assert_eq!(keys.sweep(server.clock.now()).await.unwrap(), 1101);
    assert_eq!(keys.sweep(server.clock.now()).await.unwrap(), 0);
    let young = make(&server, ADMIN, "young", "x").await;
    assert_eq!(young.is(201).header("idempotent-replayed"), Some("true"));
    let old = make(&server, ADMIN, "0", "x").await;
    assert_eq!(old.is(201).header("idempotent-replayed"), None);
}

/// Two processes share a store and not their memory.
#[every_engine]
async fn two_processes_make_one_thing(engine: Engine) {
    use tidewire_access::{Answer, Request, Service};

    let server = Server::start(engine, locked()).await;
    let other = Service::new(server.db.clone(), server.clock.clone(), &locked());
    let tenant = "default".into();
    let ask = async |service: &Service| {
        let things = server.things.clone();
        let request = Request {
            tenant: &tenant,
            route: "things.make",
            key: Some("k"),
            body: b"x",
        };
        service
            .request_keys()
            .run(request, move |tx| {
                let things = things.clone();
                Box::pin(async move {
                    let before = things.make(tx, "x").await?;
                    Ok::<_, crate::store::Error>(Answer::new(201, &before)?)
                })
            })
            .await
            .unwrap()
    };
    let (here, there) = tokio::join!(ask(&server.access), ask(&other));
    assert_eq!(here.answer, there.answer);
    assert!(here.replayed != there.replayed);
    assert_eq!(server.things.count().await, 1);
    let body: Value = serde_json::from_str(&here.answer.json).unwrap();
    assert_eq!(body, 0);
}
