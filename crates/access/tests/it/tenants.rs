//! Making and listing tenants and keys.

use http::Method;
use serde_json::json;
use tidewire_access::worker;
use tidewire_testkit::{Engine, every_engine};

use crate::server::{ADMIN, Server, locked, text};

#[every_engine]
async fn a_tenant_comes_with_a_key_that_works(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let made = server
        .post(ADMIN, "/v1/tenants", json!({"name": "acme"}))
        .await;
    made.is(201);
    assert_eq!(made.body["name"], "acme");
    assert!(made.body["created_at"].is_string());
    let key = text(&made.body, "api_key");
    assert!(key.starts_with("tw_"));
    let who = server.get(&key, "/v1/whoami").await;
    who.is(200);
    assert_eq!(who.body["tenant"], made.body["id"]);
    assert_eq!(who.body["scopes"], "read,write,worker");
}

#[every_engine]
async fn tenants_are_listed_newest_first_page_by_page(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    for n in 0..5 {
        server
            .clock
            .advance(std::time::Duration::from_millis(u64::from(n % 2 == 0)));
        server.tenant(&format!("t{n}")).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/tenants?limit=2".to_owned();
    for pages in 1.. {
        let page = server.get(ADMIN, &path).await;
        page.is(200);
        let tenants = page.body["tenants"].as_array().unwrap();
        assert!(tenants.len() <= 2);
        names.extend(tenants.iter().map(|tenant| text(tenant, "name")));
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/tenants?limit=2&cursor={cursor}"),
            None => {
                assert_eq!(pages, 3);
                break;
            }
        }
    }
    assert_eq!(names, ["t4", "t3", "t2", "t1", "t0", "default"]);
}

#[every_engine]
async fn keys_are_listed_without_their_secrets_page_by_page(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, first) = server.tenant("acme").await;
    let (id, second) = server.key(&tenant, &["read"]).await;
    let path = format!("/v1/tenants/{tenant}/keys?limit=1");
    let page = server.get(ADMIN, &path).await;
    page.is(200);
    let listed = &page.body["keys"][0];
    assert_eq!(listed["id"], id);
    assert_eq!(listed["scopes"], json!(["read"]));
    assert!(listed["created_at"].is_string() && listed["last_used_at"].is_null());
    let cursor = text(&page.body, "next_cursor");
    let rest = server.get(ADMIN, &format!("{path}&cursor={cursor}")).await;
    rest.is(200);
    assert_eq!(rest.body["keys"].as_array().unwrap().len(), 1);
    assert!(rest.body["next_cursor"].is_null());
    let shown = format!("{}{}", page.body, rest.body);
    assert!(!shown.contains(&first) && !shown.contains(&second) && !shown.contains("hash"));
}

#[every_engine]
async fn a_key_is_minted_with_the_scopes_that_were_asked_for(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, _) = server.tenant("acme").await;
    let path = format!("/v1/tenants/{tenant}/keys");
    let made = server
        .post(ADMIN, &path, json!({"scopes": ["fleet", "read"]}))
        .await;
    assert_eq!(made.is(201).body["scopes"], json!(["read", "fleet"]));
    for (body, scopes) in [
        (Some(json!({})), "read,write,worker"),
        (Some(json!(null)), "read,write,worker"),
        (None, "read,write,worker"),
    ] {
        let made = server
            .send(Method::POST, &path, &[("x-api-key", ADMIN)], body)
            .await;
        let key = text(&made.is(201).body, "api_key");
        assert_eq!(
            server.get(&key, "/v1/whoami").await.is(200).body["scopes"],
            scopes
        );
    }
}

#[every_engine]
async fn bad_input_is_named(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, _) = server.tenant("acme").await;
    let keys = format!("/v1/tenants/{tenant}/keys");
    for (path, body, pointer) in [
        ("/v1/tenants", json!({"name": ""}), "/name"),
        ("/v1/tenants", json!({"name": "x".repeat(256)}), "/name"),
        ("/v1/tenants", json!({"name": "a\0b"}), "/name"),
        ("/v1/tenants", json!({"name": 7}), "/name"),
        ("/v1/tenants", json!({"name": "a", "color": 1}), "/color"),
        (&keys, json!({"scopes": []}), "/scopes"),
        (&keys, json!({"scopes": ["agent"]}), "/scopes"),
        (&keys, json!({"scopes": ["root"]}), "/scopes/0"),
        (&keys, json!({"scopes": "read"}), "/scopes"),
    ] {
        let reply = server.post(ADMIN, path, body.clone()).await;
        reply.is(400);
        assert_eq!(reply.body["errors"][0]["pointer"], pointer, "{body}");
    }
    for query in ["limit=0", "limit=501", "limit=x", "cursor=x", "colour=1"] {
        for path in ["/v1/tenants", keys.as_str()] {
            server.get(ADMIN, &format!("{path}?{query}")).await.is(400);
        }
    }
    let foreign = server.get(ADMIN, &format!("{keys}?limit=1")).await;
    assert!(foreign.body["next_cursor"].is_null());
}

#[every_engine]
async fn what_does_not_exist_is_not_found(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (acme, _) = server.tenant("acme").await;
    let (other, _) = server.tenant("other").await;
    let (key, secret) = server.key(&acme, &["read"]).await;
    let none = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    server
        .get(ADMIN, &format!("/v1/tenants/{none}/keys"))
        .await
        .is(404);
    server
        .post(ADMIN, &format!("/v1/tenants/{none}/keys"), json!({}))
        .await
        .is(404);
    for path in [
        format!("/v1/tenants/{acme}/keys/{none}"),
        format!("/v1/tenants/{none}/keys/{key}"),
        // Another tenant's key.
        format!("/v1/tenants/{other}/keys/{key}"),
    ] {
        server.delete(ADMIN, &path).await.is(404);
    }
    server.get(&secret, "/v1/whoami").await.is(200);
}

#[every_engine]
async fn the_last_use_of_a_key_is_shown_and_not_written_each_time(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    let (tenant, key) = server.tenant("acme").await;
    server.key(&tenant, &["read"]).await;
    let path = format!("/v1/tenants/{tenant}/keys");
    let last_used = async || {
        worker::keep_last_used(server.access.clone(), std::future::ready(())).await;
        let keys = server.get(ADMIN, &path).await.body["keys"].clone();
        assert!(keys[0]["last_used_at"].is_null(), "nobody used this one");
        keys[1]["last_used_at"].clone()
    };
    assert!(last_used().await.is_null());
    let first = server.clock.now().to_string();
    server.get(&key, "/v1/whoami").await.is(200);
    assert_eq!(last_used().await, first);
    server.clock.advance(std::time::Duration::from_secs(29));
    server.get(&key, "/v1/whoami").await.is(200);
    assert_eq!(last_used().await, first);
    server.clock.advance(std::time::Duration::from_secs(1));
    server.get(&key, "/v1/whoami").await.is(200);
    assert_eq!(last_used().await, server.clock.now().to_string());
}

#[every_engine]
async fn the_default_tenant_is_made_once(engine: Engine) {
    let server = Server::start(engine, locked()).await;
    server.access.start().await.unwrap();
    let listed = server.get(ADMIN, "/v1/tenants").await;
    assert_eq!(listed.body["tenants"].as_array().unwrap().len(), 1);
    assert_eq!(listed.body["tenants"][0]["id"], "default");
}
