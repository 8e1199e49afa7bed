//! Who is let in, and as whom.

use http::Method;
use serde_json::json;
use tidewire_testkit::{Engine, every_engine};

use crate::server::{ADMIN, AGENT, NEXT_AGENT, Reply, Server, locked, text};

async fn whoami(server: &Server, headers: &[(&str, &str)]) -> Reply {
    server.send(Method::GET, "/v1/whoami", headers, None).await
}

#[every_engine]
async fn a_key_opens_in_either_header(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, key) = server.tenant("acme").await;
    let bearer = format!("Bearer {key}");
    let shouted = format!("BEARER {key}");
    for headers in [
        &[("authorization", bearer.as_str())][..],
        &[("authorization", shouted.as_str())],
        &[("x-api-key", key.as_str())],
        &[("x-api-key", key.as_str()), ("authorization", &bearer)],
    ] {
        let who = whoami(&server, headers).await;
        assert_eq!(who.is(200).body["tenant"], tenant);
    }
}

#[every_engine]
async fn no_key_and_a_wrong_key_are_refused_with_a_challenge(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let well_formed = format!("tw_{}", "A".repeat(43));
    for headers in [
        &[][..],
        &[("x-api-key", "nonsense")],
        &[("x-api-key", well_formed.as_str())],
        // Once more: the answer from memory is the same.
        &[("x-api-key", well_formed.as_str())],
        &[("authorization", "Basic dTpw")],
        &[("authorization", "Bearer")],
    ] {
        let reply = whoami(&server, headers).await;
        reply.is(401);
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer"),
            "{headers:?}"
        );
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
    }
}

#[every_engine]
async fn two_different_keys_are_a_bad_request(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (_, key) = server.tenant("acme").await;
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str()), ("x-api-key", ADMIN)];
    whoami(&server, &headers).await.is(400);
}

#[every_engine]
async fn a_key_may_do_what_its_scopes_say(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, _) = server.tenant("acme").await;
    let (_, reader) = server.key(&tenant, &["read"]).await;
    let (_, writer) = server.key(&tenant, &["write"]).await;
    server.get(&reader, "/v1/whoami").await.is(200);
    server.post(&reader, "/v1/things", json!("x")).await.is(403);
    server.get(&writer, "/v1/whoami").await.is(403);
    server.post(&writer, "/v1/things", json!("x")).await.is(201);
}

#[every_engine]
async fn only_the_operator_sees_tenants_and_mints_keys(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, key) = server.tenant("acme").await;
    let keys = format!("/v1/tenants/{tenant}/keys");
    for key in [key.as_str(), AGENT] {
        server.get(key, "/v1/tenants").await.is(403);
        server.get(key, &keys).await.is(403);
        server
            .post(key, "/v1/tenants", json!({"name": "x"}))
            .await
            .is(403);
        server
            .post(key, &keys, json!({"scopes": ["admin"]}))
            .await
            .is(403);
        server.delete(key, &format!("{keys}/x")).await.is(403);
        // Also before anything is said about the body.
        server
            .post(key, "/v1/tenants", json!({"nonsense": 1}))
            .await
            .is(403);
    }
}

#[every_engine]
async fn a_minted_admin_key_is_the_operators(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, _) = server.tenant("acme").await;
    let (_, admin) = server.key(&tenant, &["admin"]).await;
    server.get(&admin, "/v1/tenants").await.is(200);
    let who = server.get(&admin, "/v1/whoami").await;
    assert_eq!(who.is(200).body["tenant"], "default");
    let who = whoami(&server, &[("x-api-key", &admin), ("x-tenant", &tenant)]).await;
    assert_eq!(who.is(200).body["tenant"], tenant);
}

#[every_engine]
async fn the_operator_chooses_a_tenant_and_a_tenant_does_not(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, key) = server.tenant("acme").await;
    let who = whoami(&server, &[("x-api-key", ADMIN)]).await;
    assert_eq!(who.is(200).body["tenant"], "default");
    for chosen in [tenant.as_str(), "default"] {
        let who = whoami(&server, &[("x-api-key", ADMIN), ("x-tenant", chosen)]).await;
        assert_eq!(who.is(200).body["tenant"], chosen);
        let who = whoami(&server, &[("x-api-key", &key), ("x-tenant", chosen)]).await;
        who.is(403);
    }
    for unknown in ["nobody", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        let who = whoami(&server, &[("x-api-key", ADMIN), ("x-tenant", unknown)]).await;
        who.is(404);
    }
    // A key that is not valid learns nothing of tenants.
    whoami(
        &server,
        &[("x-api-key", "nonsense"), ("x-tenant", "nobody")],
    )
    .await
    .is(401);
    // A key that is not in memory yet is held to the same.
    let (_, fresh) = server.key(&tenant, &["read"]).await;
    whoami(&server, &[("x-api-key", &fresh), ("x-tenant", &tenant)])
        .await
        .is(403);
}

#[every_engine]
async fn the_agents_key_has_the_scope_fleet_and_no_other(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    // Both are good while one takes the other's place.
    for key in [AGENT, NEXT_AGENT] {
        let refused = server.get(key, "/v1/whoami").await;
        assert!(text(&refused.is(403).body, "detail").contains("fleet"));
        server.post(key, "/v1/things", json!("x")).await.is(403);
    }
}

#[every_engine]
async fn a_revoked_key_opens_nothing_any_more(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, kept) = server.tenant("acme").await;
    let (id, key) = server.key(&tenant, &["read"]).await;
    server.get(&key, "/v1/whoami").await.is(200);
    let path = format!("/v1/tenants/{tenant}/keys/{id}");
    server.delete(ADMIN, &path).await.is(204);
    server.get(&key, "/v1/whoami").await.is(401);
    server.delete(ADMIN, &path).await.is(404);
    server.get(&kept, "/v1/whoami").await.is(200);
    let keys = server
        .get(ADMIN, &format!("/v1/tenants/{tenant}/keys"))
        .await;
    assert_eq!(keys.body["keys"].as_array().unwrap().len(), 1);
}

/// Whoever is in the middle of a request meets the revocation at any point; once it is answered
/// nobody gets through.
#[every_engine(multi_thread)]
async fn a_revocation_wins_over_lookups_that_are_under_way(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, _) = server.tenant("acme").await;
    for _ in 0..20 {
        let (id, key) = server.key(&tenant, &["read"]).await;
        let path = format!("/v1/tenants/{tenant}/keys/{id}");
        let users = futures_util::future::join_all((0..8).map(|_| server.get(&key, "/v1/whoami")));
        let (_, revoked) = tokio::join!(users, server.delete(ADMIN, &path));
        revoked.is(204);
        server.get(&key, "/v1/whoami").await.is(401);
    }
}

#[every_engine]
async fn keys_outlive_the_process(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, key) = server.tenant("acme").await;
    let again = server.again().await;
    let who = again.get(&key, "/v1/whoami").await;
    assert_eq!(who.is(200).body["tenant"], tenant);
    let listed = again.get(ADMIN, "/v1/tenants").await;
    assert_eq!(listed.body["tenants"].as_array().unwrap().len(), 2);
}
