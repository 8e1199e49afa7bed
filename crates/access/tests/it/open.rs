//! A server without keys.

use http::Method;
use serde_json::json;
use tidewire_testkit::{Engine, every_engine};

use crate::server::{Server, open, text};

#[every_engine]
async fn without_a_key_everybody_is_the_operator(engine: Engine) {
    let server = Server::start(engine, open()).await;
    let who = server.send(Method::GET, "/v1/whoami", &[], None).await;
    assert_eq!(who.is(200).body["tenant"], "default");
    let name = Some(json!({"name": "acme"}));
    let made = server.send(Method::POST, "/v1/tenants", &[], name).await;
    let tenant = text(&made.is(201).body, "id");
    let headers = [("x-tenant", tenant.as_str())];
    let who = server.send(Method::GET, "/v1/whoami", &headers, None).await;
    assert_eq!(who.is(200).body["tenant"], tenant);
    let headers = [("x-tenant", "nobody")];
    let who = server.send(Method::GET, "/v1/whoami", &headers, None).await;
    who.is(404);
}

#[every_engine]
async fn a_key_that_is_shown_is_meant(engine: Engine) {
    let server = Server::start(engine, open()).await;
    let name = Some(json!({"name": "acme"}));
    let made = server.send(Method::POST, "/v1/tenants", &[], name).await;
    let key = text(&made.is(201).body, "api_key");
    let who = server.get(&key, "/v1/whoami").await;
    assert_eq!(who.is(200).body["tenant"], made.body["id"]);
    server.get(&key, "/v1/tenants").await.is(403);
    server.get("misspelt", "/v1/whoami").await.is(401);
    let who = server
        .send(
            Method::GET,
            "/v1/whoami",
            &[("authorization", "Bearer")],
            None,
        )
        .await;
    who.is(401);
}
