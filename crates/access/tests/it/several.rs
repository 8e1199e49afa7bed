//! Several processes on one store.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tidewire_access::{KEPT, worker};
use tidewire_testkit::{Engine, eventually, every_engine};

use crate::server::{ADMIN, Reply, Server, locked, text};

async fn make(server: &Server, name: &str) -> Reply {
    let headers = [("x-api-key", ADMIN), ("idempotency-key", "k")];
    let body = Some(json!(name));
    server
        .send(Method::POST, "/v1/things", &headers, body)
        .await
}

#[every_engine(servers)]
async fn a_key_opens_every_process_at_once_and_none_soon_after_it_is_revoked(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let there = here.another().await;
    let (tenant, key) = here.tenant("acme").await;
    for server in [&here, &there] {
        let who = server.get(&key, "/v1/whoami").await;
        assert_eq!(who.is(200).body["tenant"], tenant);
    }
    let listed = here.get(ADMIN, &format!("/v1/tenants/{tenant}/keys")).await;
    let id = text(&listed.body["keys"][0], "id");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let hears = tokio::spawn(worker::hear_revocations(there.access.clone(), async {
        let _ = stopped.await;
    }));
    let path = format!("/v1/tenants/{tenant}/keys/{id}");
    here.delete(ADMIN, &path).await.is(204);
    here.get(&key, "/v1/whoami").await.is(401);
    eventually("the other process refuses the key", || async {
        let who = there.get(&key, "/v1/whoami").await;
        (who.status == 401).then_some(())
    })
    .await;
    there.get(&key, "/v1/whoami").await.is(401);
    drop(stop);
    hears.await.unwrap();
}

#[every_engine(servers)]
async fn of_two_who_revoke_a_key_at_once_one_finds_it(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let there = here.another().await;
    let (tenant, _) = here.tenant("acme").await;
    for _ in 0..10 {
        let (id, _) = here.key(&tenant, &["read"]).await;
        let path = format!("/v1/tenants/{tenant}/keys/{id}");
        let (one, two) = tokio::join!(here.delete(ADMIN, &path), there.delete(ADMIN, &path));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 404]);
    }
}

/// Both run the effect, and both are in the middle of it before either is done.
#[every_engine(servers)]
async fn two_processes_that_meet_over_a_request_key_make_one_thing(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let there = here.another().await;
    for server in [&here, &there] {
        server.gate.shut();
    }
    let meet = async {
        here.gate.arrivals(1).await;
        there.gate.arrivals(1).await;
        here.gate.open();
        there.gate.open();
    };
    let (one, two, ()) = tokio::join!(make(&here, "x"), make(&there, "x"), meet);
    assert_eq!(one.is(201).body, two.is(201).body);
    let replayed = [&one, &two].map(|reply| reply.header("idempotent-replayed").is_some());
    assert!(replayed[0] != replayed[1], "{replayed:?}");
    assert_eq!(here.things.count().await, 1);
    make(&there, "another body").await.is(422);
}

#[every_engine(servers)]
async fn two_processes_that_meet_over_an_aged_request_key_make_one_thing_more(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let there = here.another().await;
    make(&here, "x").await.is(201);
    here.clock.advance(KEPT);
    // The second one comes while the first has put its own in the place of the old one, and has not
    // committed yet; it waits for that.
    here.gate.shut();
    let meet = async {
        here.gate.arrivals(2).await;
        tokio::join!(make(&there, "x"), async { here.gate.open() }).0
    };
    let (one, two) = tokio::join!(make(&here, "x"), meet);
    assert_eq!(one.is(201).body, two.is(201).body);
    assert_eq!(here.things.count().await, 2);
}

#[every_engine(servers)]
async fn an_effect_that_fails_lets_the_other_process_have_its_turn(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let there = here.another().await;
    here.gate.shut();
    let meet = async {
        here.gate.arrivals(1).await;
        tokio::join!(make(&there, "good"), async { here.gate.open() }).0
    };
    let (bad, good) = tokio::join!(make(&here, "bad"), meet);
    bad.is(409);
    assert_eq!(good.is(201).header("idempotent-replayed"), None);
    assert_eq!(here.things.count().await, 1);
}

#[every_engine(servers)]
async fn processes_that_sweep_at_once_sweep_everything_once(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let there = here.another().await;
    for n in 0..30 {
        let key = n.to_string();
        let headers = [("x-api-key", ADMIN), ("idempotency-key", key.as_str())];
        let body = Some(json!("x"));
        here.send(Method::POST, "/v1/things", &headers, body)
            .await
            .is(201);
    }
    here.clock.advance(KEPT + Duration::from_secs(1));
    let now = here.clock.now();
    let sweeps = [&here, &there].map(|server| server.access.request_keys().sweep(now));
    let swept = futures_util::future::join_all(sweeps).await;
    assert_eq!(swept.into_iter().map(Result::unwrap).sum::<u64>(), 30);
}

#[every_engine(servers)]
async fn the_last_use_of_a_key_is_the_last_one_anywhere(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let there = here.another().await;
    let (tenant, key) = here.tenant("acme").await;
    let flush = async |server: &Server| {
        worker::keep_last_used(server.access.clone(), std::future::ready(())).await;
    };
    let path = format!("/v1/tenants/{tenant}/keys");
    here.get(&key, "/v1/whoami").await.is(200);
    here.clock.advance(Duration::from_secs(40));
    let last = here.clock.now().to_string();
    there.get(&key, "/v1/whoami").await.is(200);
    // Written down in the other order.
    flush(&there).await;
    flush(&here).await;
    let keys = here.get(ADMIN, &path).await.body["keys"].clone();
    assert_eq!(keys[0]["last_used_at"], last);
}

#[every_engine(servers)]
async fn processes_that_start_at_once_make_the_default_tenant_once(engine: Engine) {
    let here = Server::start(engine, locked()).await;
    let mut starts = Vec::new();
    for _ in 0..4 {
        starts.push(here.another());
    }
    futures_util::future::join_all(starts).await;
    let listed = here.get(ADMIN, "/v1/tenants").await;
    assert_eq!(listed.body["tenants"].as_array().unwrap().len(), 1);
}
